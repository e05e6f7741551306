/**
 * Which bus address the NIC knows a byte of memory by: what a driver keeps of its buffer registrations.
 *
 * Read for every fragment that is sent. One word per page of the whole memory, made once.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Frame, Memory } from '@netaccel/core-hooks';

const PAGE_SHIFT = Math.log2(PAGE_BYTES);
const OFFSET_MASK = PAGE_BYTES - 1;
/** No bus address: the page is not registered. */
export const NOT_REGISTERED = -1;

/** Most descriptors that a frame takes: one for each fragment, and for each page that one goes on to. */
export function mostPieces(frame: Frame): number {
  let pieces = frame.totalBytes >>> PAGE_SHIFT;
  for (let f: Frame | null = frame; f !== null; f = f.next) pieces++;
  return pieces;
}

/** Memory address to bus address, page by page. */
export class BusMap {
  private readonly pages: Int32Array;

  /** @param memory the memory that addresses point into. */
  constructor(memory: Memory) {
    this.pages = new Int32Array(memory.bytes.length >>> PAGE_SHIFT).fill(NOT_REGISTERED);
  }

  /**
   * Remembers that `count` pages from `address` on are known by consecutive bus pages from `bus` on.
   * @param address a page boundary.
   * @param bus a page boundary.
   */
  add(address: Address, count: number, bus: number): void {
    for (let i = 0; i < count; i++) this.pages[(address >>> PAGE_SHIFT) + i] = (bus >>> PAGE_SHIFT) + i;
  }

  /** Forgets pages. */
  remove(address: Address, count: number): void {
    this.pages.fill(NOT_REGISTERED, address >>> PAGE_SHIFT, (address >>> PAGE_SHIFT) + count);
  }

  /**
   * The bus address of a run of bytes that the NIC can take as one fragment, or {@link NOT_REGISTERED} when some
   * page of it is not registered, or its pages are not consecutive on the bus.
   */
  find(address: Address, length: number): number {
    const first = address >>> PAGE_SHIFT;
    const bus = this.pages[first]!;
    if (bus === NOT_REGISTERED) return NOT_REGISTERED;
    const last = (address + length - 1) >>> PAGE_SHIFT;
    for (let page = first + 1; page <= last; page++)
      if (this.pages[page] !== bus + (page - first)) return NOT_REGISTERED;
    return ((bus << PAGE_SHIFT) | (address & OFFSET_MASK)) >>> 0;
  }

  /** Whether the NIC knows every page that a frame lies in. */
  has(frame: Frame): boolean {
    for (let f: Frame | null = frame; f !== null; f = f.next)
      for (let at = f.address; at < f.address + f.length; at = (at | OFFSET_MASK) + 1)
        if (this.pages[at >>> PAGE_SHIFT] === NOT_REGISTERED) return false;
    return true;
  }

  /**
   * Appends the fragments that a run of bytes is on the bus: one for each run of consecutive bus pages.
   * @param addresses their bus addresses, from index `n` on.
   * @param lengths their bytes.
   * @returns how many there are now; 0 when a page is not registered, -1 when they do not fit the arrays.
   */
  gather(address: Address, length: number, addresses: Uint32Array, lengths: Uint32Array, n: number): number {
    const end = address + length;
    let at = address;
    let next = NOT_REGISTERED;
    while (at < end) {
      const bus = this.pages[at >>> PAGE_SHIFT]!;
      if (bus === NOT_REGISTERED) return 0;
      const bytes = Math.min(end, (at | OFFSET_MASK) + 1) - at;
      if (bus === next) lengths[n - 1]! += bytes;
      else {
        if (n === addresses.length) return -1;
        addresses[n] = (bus << PAGE_SHIFT) | (at & OFFSET_MASK);
        lengths[n++] = bytes;
      }
      next = bus + 1;
      at += bytes;
    }
    return n;
  }
}
