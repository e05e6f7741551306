/**
 * TCP, UDP and IPv4 header checksums (RFC 1071) of frames in transit: verified on the way in, filled in on the
 * way out. Sums are 16 bits in network order, folded, not complemented, as `Memory.sum` has them.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import { Net } from '../bits.js';
import { network16, type FrameHeaders } from '../headers.js';
import type { DeviceMemory } from './device-memory.js';
import type { Transit } from './transit.js';

/** Folds a sum of 16-bit numbers, below 2^32, to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** The sum of the pseudo header of a TCP or UDP frame whose transport header and payload are `length` bytes. */
export function pseudoSum(h: FrameHeaders, length: number): number {
  // Halves as they lie in memory: their sum is the network order's sum with its bytes exchanged.
  const s = h.source0;
  const d = h.destination0;
  let sum = (s & 0xffff) + (s >>> 16) + (d & 0xffff) + (d >>> 16);
  if (h.version === 6) sum += sum6(h);
  return fold(network16(fold(sum)) + h.protocol + length);
}

function sum6(h: FrameHeaders): number {
  const { source1: a, source2: b, source3: c, destination1: x, destination2: y, destination3: z } = h;
  const source = (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16) + (c & 0xffff) + (c >>> 16);
  const destination = (x & 0xffff) + (x >>> 16) + (y & 0xffff) + (y >>> 16) + (z & 0xffff) + (z >>> 16);
  return source + destination;
}

/** 1 when the frame's checksums are right, -1 when one is wrong, 0 when it has none that can be verified. */
export function verifyChecksum(frame: Transit, device: DeviceMemory): number {
  const h = frame.headers;
  if (h.payload === 0) return 0;
  if (h.version === 4) {
    const short = frame.count === 1 && h.l4 - h.l3 === 20 && (frame.address & 1) === 0;
    const sum = short
      ? headerSum(device.halves, (frame.address + h.l3) >>> 1)
      : frame.sum(h.l3, h.l4 - h.l3, 0);
    if (sum !== 0xffff) return -1;
  }
  if (h.protocol === Net.udp && frame.half(h.l4 + 6) === 0) return h.version === 4 ? 0 : -1;
  return transportSum(frame) === 0xffff ? 1 : -1;
}

/** The sum of pseudo header, transport header and payload: 0xffff when the checksum is right. */
function transportSum(frame: Transit): number {
  const h = frame.headers;
  const length = h.ipEnd - h.l4;
  // The addresses lie right before a transport header without IP options: one sum takes both.
  const addresses = h.version === 4 ? 8 : 32;
  if (h.l4 - h.l3 === addresses + (h.version === 4 ? 12 : 8))
    return frame.sum(h.l4 - addresses, length + addresses, h.protocol + length);
  return frame.sum(h.l4, length, pseudoSum(h, length));
}

/** The sum of an IPv4 header without options: ten halves, too few for a call. */
function headerSum(halves: Uint16Array, at: number): number {
  return fold(
    halves[at]! +
      halves[at + 1]! +
      halves[at + 2]! +
      halves[at + 3]! +
      halves[at + 4]! +
      halves[at + 5]! +
      halves[at + 6]! +
      halves[at + 7]! +
      halves[at + 8]! +
      halves[at + 9]!,
  );
}

/**
 * What the TCP or UDP checksum field should hold; whatever is in it now does not matter.
 * @param frame its headers were parsed, and it has a payload.
 */
export function transportChecksum(frame: Transit): number {
  const h = frame.headers;
  const sum = transportSum(frame) + (~frame.half(h.checksumAt) & 0xffff);
  return complement(fold(sum), h.protocol);
}

/** A folded sum as the field holds it: complemented, and for UDP never 0, which would say that there is none. */
export function complement(sum: number, protocol: number): number {
  const value = ~sum & 0xffff;
  return value === 0 && protocol === Net.udp ? 0xffff : value;
}
