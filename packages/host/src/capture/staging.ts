/**
 * The bytes of a capture that is being written, on their way to the file.
 *
 * Has one buffer, made once or lent by a domain's memory; packets are put together in it and it goes out whole, so that a packet costs
 * neither an allocation nor a system call. Used by the capture writer only.
 */
import type { Address, Memory } from '@netaccel/core-hooks';

/** A part of a domain's memory that is lent to a writer for as long as it lives. */
export interface LentBuffer {
  /** The memory. Frames that lie in it are copied by its own kernel, several times faster than from elsewhere. */
  readonly memory: Memory;
  /** First byte of the part; a multiple of 4. */
  readonly address: Address;
  /** Its bytes; a multiple of 4. */
  readonly bytes: number;
}

/** Where full buffers go. The bytes are valid during the call. Throws to say that it cannot go on. */
export type CaptureSink = (bytes: Uint8Array) => void;

/** A buffer with a place to write at, and where it is emptied to. */
export class Staging {
  /** The buffer. */
  readonly bytes: Uint8Array;
  /** The same bytes for fields. */
  readonly view: DataView;
  /** Index of the next byte to write. */
  at = 0;
  /** What the sink threw, or null. Nothing goes out after that. */
  failure: unknown = null;
  /** Bytes that went out. */
  sentBytes = 0;
  private readonly halves: Uint16Array;
  private readonly words: Uint32Array;

  private readonly lent: LentBuffer | null;

  /**
   * @param from a buffer that is lent, or the bytes of one to make, a multiple of 4.
   * @param sink where it is emptied to.
   */
  constructor(
    from: LentBuffer | number,
    private readonly sink: CaptureSink,
  ) {
    this.lent = typeof from === 'number' ? null : from;
    const size = typeof from === 'number' ? from : from.bytes;
    const buffer = typeof from === 'number' ? new ArrayBuffer(size) : from.memory.bytes.buffer;
    const start = typeof from === 'number' ? 0 : from.memory.bytes.byteOffset + from.address;
    this.bytes = new Uint8Array(buffer, start, size);
    this.view = new DataView(buffer, start, size);
    this.halves = new Uint16Array(buffer, start, size >>> 1);
    this.words = new Uint32Array(buffer, start, size >>> 2);
  }

  /** Makes room for `count` bytes in one piece; false when the sink failed. `count` fits the empty buffer. */
  reserve(count: number): boolean {
    return this.at + count <= this.bytes.length ? this.failure === null : this.flush();
  }

  /** Sends what is there; false when the sink failed, now or before. */
  flush(): boolean {
    if (this.failure !== null) return false;
    if (this.at === 0) return true;
    try {
      this.sink(this.bytes.subarray(0, this.at));
    } catch (error) {
      this.failure = error;
      return false;
    }
    this.sentBytes += this.at;
    this.at = 0;
    return true;
  }

  /** Writes zeros. */
  zero(count: number): void {
    for (let i = 0; i < count; i++) this.bytes[this.at++] = 0;
  }

  /** Writes all of `from`. */
  put(from: Uint8Array): void {
    this.bytes.set(from, this.at);
    this.at += from.length;
  }

  /**
   * Copies out of a domain's memory: by its kernel where the buffer is part of it, else in words where both
   * sides are aligned alike, since a view for `set` would be an allocation for each fragment.
   */
  copy(memory: Memory, from: Address, length: number): void {
    const { lent } = this;
    if (lent !== null && lent.memory === memory) {
      memory.copy(lent.address + this.at, from, length);
      this.at += length;
      return;
    }
    const end = from + length;
    const { bytes } = this;
    const sourceBytes = memory.bytes;
    let source = from;
    let target = this.at;
    const apart = source ^ target;
    if ((apart & 3) === 0) {
      const { words } = this;
      const sourceWords = memory.words;
      for (; (source & 3) !== 0 && source < end; source++) bytes[target++] = sourceBytes[source]!;
      for (; source + 4 <= end; source += 4, target += 4) words[target >>> 2] = sourceWords[source >>> 2]!;
    } else if ((apart & 1) === 0) {
      const { halves } = this;
      const sourceHalves = memory.halves;
      if ((source & 1) !== 0 && source < end) bytes[target++] = sourceBytes[source++]!;
      for (; source + 2 <= end; source += 2, target += 2) halves[target >>> 1] = sourceHalves[source >>> 1]!;
    }
    while (source < end) bytes[target++] = sourceBytes[source++]!;
    this.at = target;
  }
}
