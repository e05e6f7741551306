/**
 * The one memory of a lab: a shared WebAssembly memory of fixed size, and the kernels that work on it.
 * Every domain of every host in the lab, and every NIC model, has the same one, so that a byte's address means
 * the same everywhere and a wire hands a frame over with one copy. Made by a machine; never grown.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory } from '@netaccel/core-hooks';
import { kernelBytes } from './kernels.js';

/** A WebAssembly.Memory, as far as a lab needs it; it can be posted to a worker. */
export interface MemoryHandle {
  /** The bytes. */
  readonly buffer: SharedArrayBuffer;
}

interface Kernels {
  readonly copy: (to: number, from: number, length: number) => void;
  readonly fill: (at: number, byte: number, length: number) => void;
  readonly same: (at: number, word: number, length: number) => number;
  readonly sum: (at: number, length: number, initial: number) => number;
}

// TypeScript declares WebAssembly with the DOM only, and this runs in both.
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => MemoryHandle;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
  readonly RuntimeError: new () => Error;
};

const WASM_PAGE_BYTES = 65536;
let compiled: object | undefined;

/** Memory shared by all domains of a lab. */
export class SharedMemory implements Memory {
  /** The whole memory as bytes. */
  readonly bytes: Uint8Array;
  /** As 16-bit words; index = address / 2. */
  readonly halves: Uint16Array;
  /** The same as signed words: what `Atomics.wait` and `notify` take. */
  readonly ints: Int32Array;
  /** As 32-bit words; index = address / 4. */
  readonly words: Uint32Array;
  private readonly kernels: Kernels;

  /** @param handle the memory: a new one from {@link SharedMemory.ofPages}, or one that came from another thread. */
  constructor(readonly handle: MemoryHandle) {
    this.bytes = new Uint8Array(handle.buffer);
    this.halves = new Uint16Array(handle.buffer);
    this.words = new Uint32Array(handle.buffer);
    this.ints = new Int32Array(handle.buffer);
    compiled ??= new WebAssembly.Module(kernelBytes);
    this.kernels = new WebAssembly.Instance(compiled, { lab: { memory: handle } }).exports as Kernels;
  }

  /** A new memory of at least `pages` pages of `PAGE_BYTES`, all zero. */
  static ofPages(pages: number): SharedMemory {
    const size = Math.ceil((pages * PAGE_BYTES) / WASM_PAGE_BYTES);
    return new SharedMemory(new WebAssembly.Memory({ initial: size, maximum: size, shared: true }));
  }

  /** Copies `length` bytes; the ranges may overlap. A range outside of the memory throws a `RangeError`. */
  copy(to: Address, from: Address, length: number): void {
    try {
      this.kernels.copy(to, from, length);
    } catch (error) {
      throw outside(error, `copy of ${length} bytes from ${from} to ${to}`, this.bytes.length);
    }
  }

  /** Sets `length` bytes to zero. */
  clear(address: Address, length: number): void {
    this.fill(address, 0, length);
  }

  /** Sets `length` bytes to `byte`. */
  fill(address: Address, byte: number, length: number): void {
    try {
      this.kernels.fill(address, byte, length);
    } catch (error) {
      throw outside(error, `fill of ${length} bytes at ${address}`, this.bytes.length);
    }
  }

  /** Whether each 32-bit word of `length` bytes, a multiple of 32, is `word`. */
  same(address: Address, word: number, length: number): boolean {
    try {
      return this.kernels.same(address, word, length) !== 0;
    } catch (error) {
      throw outside(error, `comparison of ${length} bytes at ${address}`, this.bytes.length);
    }
  }

  /** RFC 1071's sum in network order, added to `initial`: 16 bits, folded, not complemented. */
  sum(address: Address, length: number, initial: number): number {
    try {
      return this.kernels.sum(address, length, initial);
    } catch (error) {
      throw outside(error, `sum of ${length} bytes at ${address}`, this.bytes.length);
    }
  }
}

/** A trap of a kernel, said as Memory promises; anything else as it is. */
function outside(error: unknown, what: string, size: number): unknown {
  if (!(error instanceof WebAssembly.RuntimeError)) return error;
  return new RangeError(`${what} leaves the memory of ${size} bytes; check the bounds before the call`);
}
