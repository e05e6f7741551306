/**
 * The machine's memory as the device works on it. Words are signed here: a 32-bit value then always is a small
 * integer to the engine and arithmetic on it stays integer arithmetic (measured: a quarter of the time per frame).
 * An address is made unsigned again (`>>> 0`) where it leaves for `Memory`.
 */
import type { Memory } from '@netaccel/core-hooks';

/** Views of one memory, made once for each NIC object. */
export class DeviceMemory {
  /** 32-bit words, signed. */
  readonly words: Int32Array;
  /** 16-bit halves. */
  readonly halves: Uint16Array;
  /** Bytes. */
  readonly bytes: Uint8Array;
  /** Counters and times. */
  readonly doubles: Float64Array;

  /**
   * @param memory the machine's.
   * @param concurrent whether other threads use it at the same time.
   */
  constructor(
    readonly memory: Memory,
    readonly concurrent: boolean,
  ) {
    const { buffer, byteOffset, length } = memory.bytes;
    this.words = new Int32Array(buffer, byteOffset, length >>> 2);
    this.doubles = new Float64Array(buffer, byteOffset, length >>> 3);
    this.halves = memory.halves;
    this.bytes = memory.bytes;
  }

  /** Reads a word that another thread publishes: what it wrote before is seen after. */
  load(at: number): number {
    return this.concurrent ? Atomics.load(this.words, at) : this.words[at]!;
  }

  /** Publishes a word: what was written before is seen by whoever reads it. */
  store(at: number, value: number): void {
    if (this.concurrent) Atomics.store(this.words, at, value);
    else this.words[at] = value;
  }
}
