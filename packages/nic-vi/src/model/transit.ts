/**
 * A frame on its way through the NIC: pieces of memory in order, what is known of its headers, and what is
 * still to be written into the copy that arrives. One is made for each engine and used again for each frame; it
 * owns no memory. Addresses are signed words here, as everywhere in the device.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import type { Memory } from '@netaccel/core-hooks';
import { FrameHeaders, network16, pair } from '../headers.js';
import { Limit } from '../bits.js';

/** What is known of the transport checksum of a frame in transit. */
export enum TransitChecksum {
  /** The receiving NIC verifies it. */
  unknown = 0,
  /** The sending NIC has just computed it, and nothing touched the frame since. */
  good = 1,
  /** As good, and the field holds only the pseudo header sum (wire checksums `blank`). */
  blank = 2,
}

/** Pieces of one frame. */
export class Transit {
  /** Address of the first piece. */
  address = 0;
  /** Bytes of all. */
  total = 0;
  /** How many pieces. */
  count = 0;
  /** Address of each piece, when there are several. */
  readonly addresses = new Int32Array(Limit.fragments);
  /** Bytes of each piece, when there are several. */
  readonly lengths = new Int32Array(Limit.fragments);
  /** The frame's headers, once somebody has parsed them. */
  readonly headers: FrameHeaders;
  /** Whether {@link headers} is of this frame. */
  parsed = false;
  /** What is known of the checksum: a {@link TransitChecksum}. */
  checksum: number = TransitChecksum.unknown;
  /** Offset of two bytes that are to be replaced in the copy; 0 for none. */
  patchAt = 0;
  /** The two bytes, as a number. */
  patchValue = 0;
  /** The frame lies in its sender's memory and may change while it is copied: the copy is judged again. */
  shared = false;
  /** The frame before was of the same flow and went to the same port: its filter is this one's. */
  sameFlow = false;

  /**
   * @param memory the memory that frames are in.
   * @param headers for a part of another frame: that frame's.
   */
  constructor(
    private readonly memory: Memory,
    headers?: FrameHeaders,
  ) {
    this.headers = headers ?? new FrameHeaders(memory);
  }

  /** Makes it empty. */
  reset(): void {
    this.single(0, 0);
    this.count = 0;
  }

  /** Makes it one piece. */
  single(address: number, length: number): void {
    this.address = address;
    this.total = length;
    this.count = 1;
    this.parsed = false;
    this.checksum = TransitChecksum.unknown;
    this.patchAt = 0;
    this.sameFlow = false;
  }

  /** Adds bytes; joins them to the last piece where they follow it. False when there are too many pieces. */
  append(address: number, length: number): boolean {
    const { addresses, lengths, count } = this;
    if (count === 0) this.address = address;
    else {
      if (count === 1) {
        addresses[0] = this.address;
        lengths[0] = this.total;
      }
      if (((addresses[count - 1]! + lengths[count - 1]!) | 0) === address) {
        lengths[count - 1]! += length;
        this.total += length;
        return true;
      }
      if (count === Limit.fragments) return false;
      addresses[count] = address;
      lengths[count] = length;
    }
    this.count = count + 1;
    this.total += length;
    return true;
  }

  /** Address of piece `i`. */
  pieceAddress(i: number): number {
    return this.count === 1 ? this.address : this.addresses[i]!;
  }

  /** Bytes of piece `i`. */
  pieceLength(i: number): number {
    return this.count === 1 ? this.total : this.lengths[i]!;
  }

  /** Copies `length` bytes from `from` of the frame to `to`. */
  read(to: number, from: number, length: number): void {
    const { addresses, lengths, memory } = this;
    if (this.count === 1) {
      memory.copy(to >>> 0, (this.address + from) >>> 0, length);
      return;
    }
    for (let i = 0; length > 0; i++) {
      const size = lengths[i]!;
      if (from >= size) {
        from -= size;
        continue;
      }
      const part = length < size - from ? length : size - from;
      memory.copy(to >>> 0, (addresses[i]! + from) >>> 0, part);
      to = (to + part) | 0;
      length -= part;
      from = 0;
    }
  }

  /** The Internet sum over `length` bytes from `from` on, added to `initial`. */
  sum(from: number, length: number, initial: number): number {
    const { addresses, lengths, memory } = this;
    if (this.count === 1) return memory.sum((this.address + from) >>> 0, length, initial);
    let sum = initial;
    let odd = false;
    for (let i = 0; length > 0; i++) {
      const size = lengths[i]!;
      if (from >= size) {
        from -= size;
        continue;
      }
      const part = length < size - from ? length : size - from;
      const at = (addresses[i]! + from) >>> 0;
      // A piece that begins at an odd byte of the frame is summed with its bytes swapped (RFC 1071, 2.B).
      sum = odd ? swap16(memory.sum(at, part, swap16(sum))) : memory.sum(at, part, sum);
      if ((part & 1) !== 0) odd = !odd;
      length -= part;
      from = 0;
    }
    return sum;
  }

  /**
   * Whether the addresses that were judged are the ones in the copy at `to`: a guest can write its frame while
   * the NIC reads it, so what arrived counts.
   */
  isUnchanged(to: number): boolean {
    const h = this.headers;
    const { bytes, halves } = this.memory;
    if ((to & 1) !== 0) {
      const at = to >>> 0;
      return pair(bytes, at) === h.mac0 && pair(bytes, at + 4) === h.mac1 && pair(bytes, at + 8) === h.mac2;
    }
    const at = to >>> 1;
    return (
      (halves[at]! | (halves[at + 1]! << 16)) === h.mac0 &&
      (halves[at + 2]! | (halves[at + 3]! << 16)) === h.mac1 &&
      (halves[at + 4]! | (halves[at + 5]! << 16)) === h.mac2
    );
  }

  /** The 16-bit number at `from`, in network order. */
  half(from: number): number {
    const { addresses, lengths } = this;
    const bytes = this.memory.bytes;
    if (this.count === 1) {
      const at = (this.address + from) >>> 0;
      return (bytes[at]! << 8) | bytes[at + 1]!;
    }
    let value = 0;
    let need = 2;
    for (let i = 0; i < this.count && need > 0; i++) {
      const size = lengths[i]!;
      for (; from < size && need > 0; from++, need--)
        value = (value << 8) | bytes[(addresses[i]! + from) >>> 0]!;
      from -= size;
    }
    return value;
  }

  /**
   * Writes the patch, if it falls into a copied part.
   * @param to where the part was copied to.
   * @param from the part's offset in the frame.
   * @param length its bytes.
   */
  patch(to: number, from: number, length: number): void {
    const at = this.patchAt - from;
    if (this.patchAt === 0 || at + 1 < 0 || at >= length) return;
    const { bytes, halves } = this.memory;
    const first = (to + at) >>> 0;
    if ((first & 1) === 0 && at >= 0 && at + 1 < length) {
      halves[first >>> 1] = network16(this.patchValue);
      return;
    }
    if (at >= 0) bytes[first] = this.patchValue >>> 8;
    if (at + 1 < length) bytes[first + 1] = this.patchValue & 0xff;
  }
}

/** The two bytes of a number, exchanged. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
