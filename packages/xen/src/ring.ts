/**
 * A shared ring (Xen public headers, `io/ring.h`): one page, a 64-byte header, a power of two of slots.
 *
 * The frontend produces requests, the backend answers in place. Indices run free in 32 bits and are masked
 * only to find a slot. Each side keeps its own index private; the peer's is read once per batch, bounded, and
 * never believed beyond a ring's worth. Both drivers use these two classes; the owner of the page is the
 * frontend, which zeroed it and granted it.
 */
import type { Address, Memory } from '@netaccel/core-hooks';
import { layout } from './layout.js';

/** The ring's header. */
export const ringHeader = layout('sring', 64, 'xen/include/public/io/ring.h', {
  req_prod: [0, 4, 'u', 'requests produced'],
  req_event: [4, 4, 'u', 'notify the backend when req_prod passes here'],
  rsp_prod: [8, 4, 'u', 'responses produced'],
  rsp_event: [12, 4, 'u', 'notify the frontend when rsp_prod passes here'],
  private: [16, 4, 'b', 'unused here'],
  pad: [20, 44, 'b', 'zero'],
});

const REQ_PROD = ringHeader.fields.req_prod.offset >>> 2;
const REQ_EVENT = ringHeader.fields.req_event.offset >>> 2;
const RSP_PROD = ringHeader.fields.rsp_prod.offset >>> 2;
const RSP_EVENT = ringHeader.fields.rsp_event.offset >>> 2;

/** Prepares a zeroed page as an empty ring: events at 1, so that the first entry notifies. */
export function initialiseRing(memory: Memory, page: Address, start = 0): void {
  const words = memory.words;
  const header = page >>> 2;
  Atomics.store(words, header + REQ_PROD, start);
  Atomics.store(words, header + RSP_PROD, start);
  Atomics.store(words, header + REQ_EVENT, (start + 1) >>> 0);
  Atomics.store(words, header + RSP_EVENT, (start + 1) >>> 0);
}

/** What both ends know of the ring: where slots are. */
abstract class Ring {
  protected readonly words: Uint32Array;
  protected readonly header: number;
  private readonly first: Address;
  private readonly mask: number;

  /**
   * @param memory the memory that the page is in.
   * @param page the ring's page.
   * @param slots how many, a power of two.
   * @param slotBytes bytes from one slot to the next.
   */
  constructor(
    memory: Memory,
    page: Address,
    readonly slots: number,
    private readonly slotBytes: number,
  ) {
    this.words = memory.words;
    this.header = page >>> 2;
    this.first = page + ringHeader.size;
    this.mask = slots - 1;
  }

  /** Address of the slot that a free-running index names. */
  slot(index: number): Address {
    return this.first + (index & this.mask) * this.slotBytes;
  }
}

/**
 * The frontend's end: produces requests, consumes responses.
 *
 * @example
 * ```ts
 * const at = ring.slot(ring.produced);   // fill it, then
 * ring.produced = (ring.produced + 1) >>> 0;
 * if (ring.publish()) channel.notify();
 * ```
 */
export class FrontRing extends Ring {
  /** Requests filled in, published or not. */
  produced: number;
  /** Responses taken. */
  consumed: number;
  private published: number;

  constructor(memory: Memory, page: Address, slots: number, slotBytes: number, start = 0) {
    super(memory, page, slots, slotBytes);
    this.produced = start;
    this.consumed = start;
    this.published = start;
  }

  /** Slots in which a request can be written. */
  get free(): number {
    return this.slots - ((this.produced - this.consumed) >>> 0);
  }

  /** Publishes what was produced; true when the backend must be notified. */
  publish(): boolean {
    const { words, header, produced, published: old } = this;
    this.published = produced;
    Atomics.store(words, header + REQ_PROD, produced);
    const event = Atomics.load(words, header + REQ_EVENT);
    return (produced - event) >>> 0 < (produced - old) >>> 0;
  }

  /**
   * Responses that wait, read once. Minus one when the peer claims more than it can have answered: fence it.
   */
  available(): number {
    const waiting = (Atomics.load(this.words, this.header + RSP_PROD) - this.consumed) >>> 0;
    return waiting > (this.produced - this.consumed) >>> 0 ? -1 : waiting;
  }

  /**
   * Asks to be notified when `after` further responses are there, then looks again.
   * @returns what {@link available} says now: zero means it is safe to sleep.
   */
  arm(after = 1): number {
    Atomics.store(this.words, this.header + RSP_EVENT, (this.consumed + after) >>> 0);
    return this.available();
  }
}

/** The backend's end: consumes requests, produces responses. */
export class BackRing extends Ring {
  /** Requests taken. */
  consumed: number;
  /** Responses filled in, published or not. */
  produced: number;
  private published: number;

  constructor(memory: Memory, page: Address, slots: number, slotBytes: number) {
    super(memory, page, slots, slotBytes);
    // A frontend may have produced before the backend attached, and a backend may attach again after a crash:
    // what it answered before is in rsp_prod (Linux xen-netback does the same).
    this.produced = Atomics.load(this.words, this.header + RSP_PROD);
    this.consumed = this.produced;
    this.published = this.produced;
  }

  /** Requests that wait, read once; minus one when the peer claims more than the ring holds (XSA-39). */
  available(): number {
    const request = Atomics.load(this.words, this.header + REQ_PROD);
    if ((request - this.produced) >>> 0 > this.slots) return -1;
    return (request - this.consumed) >>> 0;
  }

  /** Publishes the responses; true when the frontend must be notified. */
  publish(): boolean {
    const { words, header, produced, published: old } = this;
    this.published = produced;
    Atomics.store(words, header + RSP_PROD, produced);
    const event = Atomics.load(words, header + RSP_EVENT);
    return (produced - event) >>> 0 < (produced - old) >>> 0;
  }

  /** Asks to be notified of the next `after` requests, then looks again: zero means it is safe to sleep. */
  arm(after = 1): number {
    Atomics.store(this.words, this.header + REQ_EVENT, (this.consumed + after) >>> 0);
    return this.available();
  }
}
