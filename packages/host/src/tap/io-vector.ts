/**
 * An iovec array in memory of its own, made once: the list of places that one readv or writev moves.
 *
 * A place is an offset into the memory that the vector was made for. A device may keep places of its own at
 * the front (`reserved`); the caller fills the rest. The vector owns the array, never what it points to.
 */
import { IOVEC } from './abi.js';
import type { Libc } from './ffi.js';

const WORDS = IOVEC.sizeBytes / 4;
const LENGTH_WORD = IOVEC.lengthAt / 4;
const TWO_TO_32 = 2 ** 32;

/** Places for one scattered read or gathered write. */
export class IoVector {
  /** Address of the array, for the kernel. */
  readonly address: number;
  /** Places in use, with the reserved ones. */
  count: number;
  /** Bytes of all places that were added. */
  bytes = 0;

  private readonly words: Uint32Array;
  private readonly base: number;
  private readonly capacity: number;

  /**
   * @param memory what offsets given to `add` are relative to.
   * @param places how many may be added.
   * @param reserved places at the front that `setAbsolute` fills.
   */
  constructor(
    libc: Libc,
    memory: Uint8Array,
    readonly places: number,
    readonly reserved: number,
  ) {
    // One more than promised, for a device's own place behind the caller's.
    this.capacity = reserved + places + 1;
    this.words = new Uint32Array(new ArrayBuffer(this.capacity * IOVEC.sizeBytes));
    this.address = libc.addressOf(this.words);
    this.base = libc.addressOf(memory);
    this.count = reserved;
  }

  /** Forgets the places that were added; the reserved ones stay. */
  clear(): void {
    this.count = this.reserved;
    this.bytes = 0;
  }

  /**
   * Adds a place.
   * @returns false when all are in use, and nothing was added.
   */
  add(offset: number, length: number): boolean {
    if (this.count >= this.reserved + this.places) return false;
    this.setAbsolute(this.count, this.base + offset, length);
    this.count++;
    this.bytes += length;
    return true;
  }

  /** Sets any slot to an address of the process. For the owner of the vector. */
  setAbsolute(slot: number, address: number, length: number): void {
    const at = slot * WORDS;
    this.words[at] = address;
    this.words[at + 1] = address / TWO_TO_32;
    this.words[at + LENGTH_WORD] = length;
    this.words[at + LENGTH_WORD + 1] = 0;
  }
}
