// A plain Memory over any buffer: no kernels, written to be obviously right.
import type { Memory } from '@netaccel/core-hooks';

export class PlainMemory implements Memory {
  readonly bytes: Uint8Array;
  readonly halves: Uint16Array;
  readonly words: Uint32Array;
  /** Called before each copy: what another processor might do in that moment. */
  beforeCopy: (to: number, from: number) => void = () => undefined;

  constructor(buffer: ArrayBuffer | SharedArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.halves = new Uint16Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  copy(to: number, from: number, length: number): void {
    this.check(to, length);
    this.check(from, length);
    this.beforeCopy(to, from);
    this.bytes.copyWithin(to, from, from + length);
  }

  clear(address: number, length: number): void {
    this.check(address, length);
    this.bytes.fill(0, address, address + length);
  }

  sum(address: number, length: number, initial: number): number {
    this.check(address, length);
    return naiveSum(this.bytes.subarray(address, address + length), initial);
  }

  private check(address: number, length: number): void {
    if (!Number.isInteger(address) || address < 0 || length < 0 || address + length > this.bytes.length)
      throw new RangeError(`${length} bytes at ${address} are outside the memory`);
  }
}

/** RFC 1071, word for word. */
export function naiveSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}
