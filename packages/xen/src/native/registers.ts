/** Device registers of another domain on a real host: a page of memory, and a bell to ring after each write. */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { MappedPages, Memory, Registers } from '@netaccel/core-hooks';
import type { EventChannel } from '../machine.js';

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

  /** Stores the word, then rings. */
  write32(offset: number, value: number): void {
    Atomics.store(this.words, this.at(offset), value);
    if (this.mapped) this.doorbell.notify();
  }

  /** The word as it is. */
  read32(offset: number): number {
    return Atomics.load(this.words, this.at(offset));
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
