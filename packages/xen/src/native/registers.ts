/** Device registers of another domain on a real host: a page of memory, and a bell to ring after each write. */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { MappedPages, Memory, Registers } from '@netaccel/core-hooks';
import type { EventChannel } from '../machine.js';

const GONE = 0xffffffff;

/** A mapped page of registers. */
export class NativeRegisters implements Registers {
  private readonly words: Uint32Array;
  private readonly first: number;
  private mapped = true;

  constructor(
    memory: Memory,
    private readonly pages: MappedPages,
    private readonly doorbell: EventChannel,
  ) {
    this.words = memory.words;
    this.first = pages.addresses[0]! >>> 2;
  }

  /** Stores the word, then rings. Nothing once the page is unmapped: its place may be another's by then. */
  write32(offset: number, value: number): void {
    const at = this.at(offset);
    if (!this.mapped) return;
    Atomics.store(this.words, at, value);
    this.doorbell.notify();
  }

  /** The word as it is; all ones once the page is unmapped, as a device that is gone reads. */
  read32(offset: number): number {
    const at = this.at(offset);
    return this.mapped ? Atomics.load(this.words, at) : GONE;
  }

  /** Unmaps the page. Idempotent. */
  unmap(): void {
    this.mapped = false;
    this.pages.unmap();
  }

  private at(offset: number): number {
    if ((offset & ~(PAGE_BYTES - 4)) !== 0)
      throw new RangeError(`register offset ${offset}: a multiple of 4 below ${PAGE_BYTES} expected`);
    return this.first + (offset >>> 2);
  }
}
