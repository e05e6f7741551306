/**
 * The control ring of a hostile frontend: requests that say anything, with a page of data that is its own. Owned by
 * `HostileFrontend`, which gives it back.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { SharedPages } from '@netaccel/core-hooks';
import { encode } from '../layout.js';
import type { Domain, DomainId, EventChannel } from '../machine.js';
import { CONTROL_RING_SLOTS, controlRequest } from '../netif/index.js';
import { FrontRing, initialiseRing } from '../ring.js';

/** A control ring that is written as its owner is told. */
export class HostileControl {
  private readonly pages: SharedPages;
  private readonly ring: FrontRing;
  private readonly channel: EventChannel;

  /** @throws MachineError when pages or ports are not to be had; the pages are kept by the caller's `release` then. */
  constructor(
    private readonly domain: Domain,
    peer: DomainId,
    start: number,
  ) {
    this.pages = domain.grants.share(peer, 2, 'write');
    initialiseRing(domain.memory, this.pages.address, start);
    this.ring = new FrontRing(
      domain.memory,
      this.pages.address,
      CONTROL_RING_SLOTS,
      controlRequest.size,
      start,
    );
    this.channel = domain.events.allocateUnbound(peer, () => this.channel.unmask());
  }

  /** What a backend must know of it. */
  get keys(): Readonly<Record<string, string>> {
    return {
      'ctrl-ring-ref': String(this.pages.refs[0]),
      'event-channel-ctrl': String(this.channel.port),
    };
  }

  /** The reference of the page that its requests may name. */
  get reference(): number {
    return this.pages.refs[1]!;
  }

  /** Fills the page of data from its beginning. */
  fill(bytes: ArrayLike<number>): void {
    this.domain.memory.bytes.set(Array.from(bytes).slice(0, PAGE_BYTES), this.pages.address + PAGE_BYTES);
  }

  /** Writes a request over the next slot, publishes it and notifies; takes whatever answers came. */
  ask(type: number, data: readonly [number, number, number]): void {
    const { ring, domain } = this;
    const id = ring.produced & 0xffff;
    const [data0, data1, data2] = data;
    const request = encode(controlRequest, { id, type, data0, data1, data2 });
    domain.memory.bytes.set(request, ring.slot(ring.produced));
    ring.produced = (ring.produced + 1) >>> 0;
    ring.consumed = (ring.consumed + Math.max(0, ring.available())) >>> 0;
    if (ring.publish()) this.channel.notify();
  }

  /** Closes its channel. */
  hangUp(): void {
    this.channel.close();
  }

  /** Gives the pages back; false while the backend has some of them. */
  release(): boolean {
    this.hangUp();
    return this.pages.release();
  }
}
