/**
 * The Toeplitz hash of receive-side scaling (netif.h): XOR of the key's 32-bit windows under the input's one
 * bits. A table per input byte, made when the key is set, makes it one lookup per byte.
 */
import type { Address } from '@netaccel/core-hooks';

/** Longest key: windows for 36 bytes of input. */
export const MOST_KEY_BYTES = 40;
/** Longest input: two IPv6 addresses and two ports. */
const MOST_INPUT_BYTES = 36;

/** The hash under one key. */
export class Toeplitz {
  private readonly tables = new Uint32Array(MOST_INPUT_BYTES * 256);

  /** Sets the key; octets that are missing are zero. */
  setKey(key: Uint8Array): void {
    const { tables } = this;
    const bit = (n: number) => ((key[n >>> 3] ?? 0) >>> (7 - (n & 7))) & 1;
    for (let at = 0; at < MOST_INPUT_BYTES; at++) {
      const base = at * 256;
      for (let i = 0; i < 8; i++) {
        // The window of the byte's bit i begins at that bit's place in the key.
        let window = 0;
        for (let n = 0; n < 32; n++) window = (window << 1) | bit(at * 8 + i + n);
        tables[base + (0x80 >>> i)] = window;
      }
      for (let value = 1; value < 256; value++)
        tables[base + value] = tables[base + (value & (value - 1))]! ^ tables[base + (value & -value)]!;
    }
  }

  /** Adds `length` bytes at `at` as the input's bytes from `place` on; the result is a signed 32-bit number. */
  add(bytes: Uint8Array, at: Address, length: number, place: number, hash: number): number {
    const { tables } = this;
    for (let i = 0; i < length; i++) hash ^= tables[(place + i) * 256 + bytes[at + i]!]!;
    return hash;
  }
}
