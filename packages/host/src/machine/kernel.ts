/** What a lab's plan says of a domain's kernel, as its machine is told. */
import type { DomainOptions } from '@netaccel/xen/sim';

/** Of a host, for its driver domain; of a guest, for the guest. */
export function kernelOf({ eventChannels }: DomainOptions): DomainOptions {
  return eventChannels === undefined ? {} : { eventChannels };
}
