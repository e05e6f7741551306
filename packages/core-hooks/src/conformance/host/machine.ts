/**
 * The machine under the scripted host: pages that are used again, grants between two domains, event channels whose
 * events arrive later, as a hypervisor's do.
 */
import { PAGE_BYTES } from '../../memory.js';
import type { Address } from '../../memory.js';
import type { EventEnd } from '../../services.js';
import type { FlatMemory } from '../../testing/flat-memory.js';

/** What freed pages are filled with: whoever still reads them finds no frame there. */
const GONE = 0xdb;
const FIRST_REF = 8;

/** A granted page. */
interface Grant {
  readonly page: Address;
  readonly writable: boolean;
  mapped: number;
}

/** A channel between two ends, by port. */
interface Port {
  readonly handler: () => void;
  peer: number;
  masked: boolean;
  pending: boolean;
}

/** Memory, grants and event channels of one machine. */
export class BenchTop {
  /** Free runs of pages, by their length. */
  private readonly free = new Map<number, Address[]>();
  private readonly grants = new Map<number, Grant>();
  private readonly ports = new Map<number, Port>();
  private readonly due: number[] = [];
  private nextRef = FIRST_REF;
  private nextPort = 1;

  /** @param memory fresh, or reset. */
  constructor(readonly memory: FlatMemory) {}

  /** `pages` zeroed pages, one after the other. */
  take(pages: number): Address {
    const address = this.free.get(pages)?.pop();
    if (address === undefined) return this.memory.allocate(pages);
    this.memory.clear(address, pages * PAGE_BYTES);
    return address;
  }

  /** Gives pages back. */
  give(address: Address, pages: number): void {
    this.memory.bytes.fill(GONE, address, address + pages * PAGE_BYTES);
    const run = this.free.get(pages);
    if (run === undefined) this.free.set(pages, [address]);
    else run.push(address);
  }

  /** Grants pages to the other domain. */
  grant(address: Address, pages: number, writable: boolean): Uint32Array {
    return Uint32Array.from({ length: pages }, (_, i) => {
      const ref = this.nextRef++;
      this.grants.set(ref, { page: address + i * PAGE_BYTES, writable, mapped: 0 });
      return ref;
    });
  }

  /** Ends grants; false, and nothing ends, while one is mapped. */
  revoke(refs: Uint32Array): boolean {
    if (refs.some((ref) => (this.grants.get(ref)?.mapped ?? 0) > 0)) return false;
    for (const ref of refs) this.grants.delete(ref);
    return true;
  }

  /** Maps granted pages. All or nothing. */
  map(refs: ArrayLike<number>, writable: boolean): { addresses: Uint32Array; unmap: () => void } {
    const grants = Array.from(refs, (ref) => {
      const grant = this.grants.get(ref);
      if (grant === undefined) throw new RangeError(`reference ${ref} is not granted to this domain`);
      if (writable && !grant.writable) throw new RangeError(`reference ${ref} is granted for reading only`);
      return grant;
    });
    for (const grant of grants) grant.mapped++;
    const unmap = (): void => {
      for (const grant of grants) grant.mapped--;
    };
    return { addresses: Uint32Array.from(grants, ({ page }) => page), unmap };
  }

  /** Opens a port; `peer` is the port that it binds, or 0. */
  open(handler: () => void, peer = 0): EventEnd {
    const number = this.nextPort++;
    const other = this.ports.get(peer);
    if (peer !== 0 && (other === undefined || other.peer !== 0))
      throw new RangeError(`port ${peer} is not there to be bound`);
    this.ports.set(number, { handler, peer, masked: false, pending: false });
    if (other !== undefined) {
      other.peer = number;
      this.raise(number); // binding raises an event at the end that binds, in case one was missed
    }
    return {
      port: number,
      notify: () => this.raise(this.ports.get(number)?.peer ?? 0),
      unmask: () => {
        const port = this.ports.get(number);
        if (port === undefined) return;
        port.masked = false;
        if (port.pending) this.raise(number);
      },
      close: () => {
        const port = this.ports.get(number);
        if (port === undefined) return;
        this.ports.delete(number);
        const partner = this.ports.get(port.peer);
        if (partner !== undefined) partner.peer = 0;
      },
    };
  }

  /** Raises what the other end of a port's channel hears: what a device does with a vector. */
  raiseOther(number: number): void {
    this.raise(this.ports.get(number)?.peer ?? 0);
  }

  /** An event for a port, delivered by {@link deliver}. */
  raise(number: number): void {
    const port = this.ports.get(number);
    if (port === undefined) return;
    if (port.masked) {
      port.pending = true;
      return;
    }
    port.masked = true;
    port.pending = false;
    this.due.push(number);
  }

  /** Runs the handlers of events that came; answers whether there were any. */
  deliver(): boolean {
    const due = this.due.splice(0);
    for (const number of due) this.ports.get(number)?.handler();
    return due.length > 0;
  }

  /** Event channels that are open. */
  get openPorts(): readonly number[] {
    return [...this.ports.keys()];
  }
}
