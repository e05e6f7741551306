/**
 * The Internet checksum over a part of a frame chain, and of its pseudo header (RFC 1071, 793, 8200): what
 * software does for a guest that takes no blank checksums, and for segments that it cut.
 */
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import type { Headers } from './headers.js';

/** Folds a sum to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** The sum over `length` bytes of a chain from `offset` on, added to `initial`; fragments may begin at odd bytes. */
export function sumChain(
  memory: Memory,
  head: Frame,
  offset: number,
  length: number,
  initial: number,
): number {
  let sum = initial;
  let odd = false;
  let frame: Frame | null = head;
  while (frame !== null && offset >= frame.length) {
    offset -= frame.length;
    frame = frame.next;
  }
  for (; frame !== null && length > 0; frame = frame.next) {
    const take = Math.min(frame.length - offset, length);
    const part = memory.sum(frame.address + offset, take, 0);
    sum = fold(sum + (odd ? ((part & 0xff) << 8) | (part >>> 8) : part));
    odd = odd !== ((take & 1) === 1);
    length -= take;
    offset = 0;
  }
  return sum;
}

/** The sum of the pseudo header for `bytes` of transport header and payload; `at` is where the frame's headers are. */
export function sumPseudo(memory: Memory, at: Address, headers: Headers, bytes: number): number {
  const addresses = headers.version === 4 ? 12 : 8;
  const addressBytes = headers.version === 4 ? 8 : 32;
  return memory.sum(at + headers.network + addresses, addressBytes, fold(headers.protocol + bytes));
}
