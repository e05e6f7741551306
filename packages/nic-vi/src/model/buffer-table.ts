/**
 * The buffer table: which pages the device knows, and whose they are. A bus address is an entry's number
 * with an offset into its page; a descriptor can only reach entries of its VI's own owner. Looked up for each
 * DMA by both engines, under a VI's or a port's lock; changed by control under both.
 */
import type { Address } from '@netaccel/core-hooks';
import { Page } from '../bits.js';
import { NicError } from '../control.js';
import type { NicPlan } from './plan.js';
import { BufferWord, NicWord } from './state.js';
import type { Transit } from './transit.js';

/** One NIC's buffer table. */
export class BufferTable {
  private readonly base: number;
  private readonly entries: number;
  private readonly hint: number;

  /**
   * @param words the device's words.
   * @param plan where the table is.
   */
  constructor(
    private readonly words: Int32Array,
    plan: NicPlan,
  ) {
    this.base = plan.bufferBase;
    this.entries = plan.bufferPages;
    this.hint = plan.base + NicWord.bufferHint;
  }

  /**
   * Adds `length` bytes from `bus` on to a transit, page by page; each page's owner is checked. Pages that lie one
   * after the other make one piece. (The engines look up a buffer within one page themselves.)
   * @returns false for a rights breach, or when there are too many pieces: nothing of it may be used.
   */
  walk(bus: number, length: number, owner: number, into: Transit): boolean {
    const { words, entries, base } = this;
    let entry = bus >>> Page.shift;
    let offset = bus & Page.offsetMask;
    while (length > 0) {
      if (entry >= entries) return false;
      const at = base + entry * BufferWord.size;
      if (words[at + BufferWord.owner] !== owner) return false;
      const room = Page.bytes - offset;
      const part = length < room ? length : room;
      if (!into.append((words[at]! & Page.addressMask) | offset, part)) return false;
      length -= part;
      entry++;
      offset = 0;
    }
    return true;
  }

  /**
   * Enters pages one after the other.
   * @returns bus address of the first.
   * @throws NicError `NO_BUFFER_SPACE` when no run of that many entries is free.
   */
  register(vi: number, owner: number, pages: ArrayLike<Address>): number {
    const { words, base } = this;
    const count = pages.length;
    let first = this.findFree(words[this.hint]!, count);
    if (first < 0) first = this.findFree(0, count);
    if (first < 0)
      throw new NicError(
        'NO_BUFFER_SPACE',
        `${count} free entries one after the other expected in a buffer table of ${this.entries}, none seen; ` +
          `register fewer pages at a time, or make the NIC with more bufferPages`,
      );
    for (let i = 0; i < count; i++) {
      const at = base + (first + i) * BufferWord.size;
      words[at + BufferWord.page] = (pages[i]! & Page.addressMask) | vi;
      Atomics.store(words, at + BufferWord.owner, owner);
    }
    words[this.hint] = first + count;
    return (first << Page.shift) >>> 0;
  }

  /** Ends `count` entries of a VI from `bus` on. False when one of them is not its own: nothing changed. */
  unregister(vi: number, bus: number, count: number): boolean {
    const { words, base } = this;
    const first = bus >>> Page.shift;
    if ((bus & Page.offsetMask) !== 0 || first + count > this.entries) return false;
    for (let i = first; i < first + count; i++) if (!this.isOf(vi, i)) return false;
    for (let i = first; i < first + count; i++) Atomics.store(words, base + i * 2 + BufferWord.owner, 0);
    return true;
  }

  /** Ends all entries of a VI. */
  unregisterAll(vi: number): void {
    for (let i = 0; i < this.entries; i++)
      if (this.isOf(vi, i)) Atomics.store(this.words, this.base + i * BufferWord.size + BufferWord.owner, 0);
  }

  private isOf(vi: number, entry: number): boolean {
    const at = this.base + entry * BufferWord.size;
    return this.words[at + BufferWord.owner] !== 0 && (this.words[at]! & Page.offsetMask) === vi;
  }

  private findFree(from: number, count: number): number {
    const { words, base, entries } = this;
    let run = 0;
    for (let i = from; i < entries; i++) {
      run = words[base + i * BufferWord.size + BufferWord.owner] === 0 ? run + 1 : 0;
      if (run === count) return i - count + 1;
    }
    return -1;
  }
}
