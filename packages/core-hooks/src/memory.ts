/**
 * The memory that frames, rings and descriptors live in, as a driver or a plugin sees it.
 *
 * A machine hands each domain one flat `Memory`; an *address* is a byte offset into it. In a lab it is
 * one shared WebAssembly memory; on a real Xen host it is one reserved arena into which granted pages are
 * mapped. Views are made once, with the memory; nothing here allocates.
 */

/** Bytes in a page, and so in one grant (Xen's PAGE_SIZE on x86). */
export const PAGE_BYTES = 4096;

/** A byte offset into {@link Memory.bytes}. Always below 2^32. */
export type Address = number;

/** One flat memory and the three kernels that work on it. */
export interface Memory {
  /** The whole memory as bytes. */
  readonly bytes: Uint8Array;
  /** The whole memory as 16-bit words in the machine's byte order; index = address / 2. */
  readonly halves: Uint16Array;
  /** The whole memory as 32-bit words in the machine's byte order; index = address / 4. */
  readonly words: Uint32Array;
  /**
   * Copies `length` bytes from `from` to `to`. The ranges may overlap. The caller has checked the bounds:
   * a range outside the memory throws a `RangeError`.
   */
  copy(to: Address, from: Address, length: number): void;
  /** Sets `length` bytes to zero: what is shared with a peer is zeroed first (XSA-403). */
  clear(address: Address, length: number): void;
  /**
   * The Internet checksum's sum (RFC 1071) over `length` bytes in network order, added to `initial`:
   * 16 bits, folded, not complemented. An odd last byte counts as if a zero byte followed it.
   */
  sum(address: Address, length: number, initial: number): number;
}
