/**
 * Software segmentation: the headers of each piece of a large TCP segment, for a guest that does not take it
 * whole. The payload is not touched: `GuestReceive` copies each piece's headers from here and its payload from
 * the frame.
 */
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import { fold, sumChain, sumPseudo } from './checksum.js';
import type { Headers } from './headers.js';

const TCP_SEQUENCE = 4;
const TCP_FLAGS = 13;
const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;
const IPV4_LENGTH = 2;
const IPV4_ID = 4;
const IPV4_CHECKSUM = 10;
const IPV6_LENGTH = 4;
const IPV6_BYTES = 40;

function get16(bytes: Uint8Array, at: Address): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function put16(bytes: Uint8Array, at: Address, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** How many pieces a frame is cut into; at least one. */
export function countSegments(headers: Headers, segmentBytes: number): number {
  return Math.max(1, Math.ceil((headers.end - headers.payload) / segmentBytes));
}

/**
 * Writes to `to` the headers of piece `index` of `count`: sequence number, lengths, IPv4 identification and
 * header checksum; FIN and PSH on the last piece only, CWR on the first only (RFC 3168). The transport checksum
 * is the pseudo header's sum; {@link fillChecksum} completes it.
 * @returns payload bytes of the piece.
 */
export function cutHeaders(
  memory: Memory,
  frame: Frame,
  headers: Headers,
  index: number,
  count: number,
  to: Address,
): number {
  const { bytes } = memory;
  const { network, transport, payload, end } = headers;
  const first = index * frame.segmentBytes;
  const length = Math.min(frame.segmentBytes, end - payload - first);
  memory.copy(to, frame.address, payload);

  if (headers.version === 4) {
    put16(bytes, to + network + IPV4_LENGTH, payload - network + length);
    put16(bytes, to + network + IPV4_ID, get16(bytes, to + network + IPV4_ID) + index);
    put16(bytes, to + network + IPV4_CHECKSUM, 0);
    put16(bytes, to + network + IPV4_CHECKSUM, ~memory.sum(to + network, transport - network, 0));
  } else {
    put16(bytes, to + network + IPV6_LENGTH, payload - network - IPV6_BYTES + length);
  }

  const sequence = to + transport + TCP_SEQUENCE;
  const advanced = get16(bytes, sequence) * 0x10000 + get16(bytes, sequence + 2) + first;
  put16(bytes, sequence, advanced >>> 16);
  put16(bytes, sequence + 2, advanced);
  if (index > 0) bytes[to + transport + TCP_FLAGS]! &= ~CWR;
  if (index < count - 1) bytes[to + transport + TCP_FLAGS]! &= ~(FIN | PSH);
  put16(bytes, to + headers.checksum, sumPseudo(memory, to, headers, payload - transport + length));
  return length;
}

/**
 * Completes the transport checksum of headers at `to` whose checksum field holds the pseudo header's sum, for
 * `length` bytes of the frame's payload from `first` on.
 */
export function fillChecksum(
  memory: Memory,
  frame: Frame,
  headers: Headers,
  first: number,
  length: number,
  to: Address,
): void {
  const { transport, payload } = headers;
  // An odd header cannot be: TCP's is a multiple of 4 and UDP's is 8, so the payload's words are not shifted.
  const sum = sumChain(
    memory,
    frame,
    payload + first,
    length,
    memory.sum(to + transport, payload - transport, 0),
  );
  const checksum = ~fold(sum) & 0xffff;
  // Zero means "none" for UDP (RFC 768) and is the same number as all ones for both.
  put16(memory.bytes, to + headers.checksum, checksum === 0 ? 0xffff : checksum);
}
