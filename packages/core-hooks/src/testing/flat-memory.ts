/**
 * A plain memory for tests and examples: one ArrayBuffer, kernels in TypeScript, and a page allocator.
 * Slow and simple on purpose; a machine's memory has the same interface and WebAssembly kernels.
 */
import { PAGE_BYTES } from '../memory.js';
import type { Address, Memory } from '../memory.js';

/**
 * Memory of a test.
 *
 * @example
 * ```ts
 * const memory = new FlatMemory(64);
 * const page = memory.allocate(1);
 * memory.bytes[page] = 1;
 * memory.copy(page + 8, page, 1);
 * ```
 */
export class FlatMemory implements Memory {
  readonly bytes: Uint8Array;
  readonly halves: Uint16Array;
  readonly words: Uint32Array;
  private next = PAGE_BYTES; // page 0 stays unused, so that address 0 is nobody's

  /** @param pages size of the memory. */
  constructor(readonly pages: number) {
    const buffer = new ArrayBuffer(pages * PAGE_BYTES);
    this.bytes = new Uint8Array(buffer);
    this.halves = new Uint16Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  /** `pages` zeroed pages, one after the other, never given back. */
  allocate(pages: number): Address {
    const address = this.next;
    this.next += pages * PAGE_BYTES;
    if (this.next > this.bytes.length)
      throw new RangeError(`this test memory has ${this.pages} pages, all in use; make it larger`);
    return address;
  }

  /** Forgets every allocation, and zeroes what was allocated: for the next test. */
  reset(): void {
    this.bytes.fill(0, 0, this.next);
    this.next = PAGE_BYTES;
  }

  copy(to: Address, from: Address, length: number): void {
    this.check(to, length);
    this.check(from, length);
    this.bytes.copyWithin(to, from, from + length);
  }

  clear(address: Address, length: number): void {
    this.check(address, length);
    this.bytes.fill(0, address, address + length);
  }

  sum(address: Address, length: number, initial: number): number {
    this.check(address, length);
    let sum = initial;
    for (let i = 0; i < length; i++) sum += i & 1 ? this.bytes[address + i]! : this.bytes[address + i]! << 8;
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
    return sum;
  }

  private check(address: Address, length: number): void {
    if (address < 0 || length < 0 || address + length > this.bytes.length)
      throw new RangeError(
        `${length} bytes at ${address} are outside a memory of ${this.bytes.length} bytes`,
      );
  }
}
