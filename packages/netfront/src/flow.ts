/**
 * Which flow a frame belongs to, as one of a few hundred buckets: what transmit keeps order by, and what
 * spreads frames over queues. Called once for each frame, before anybody else looks at it.
 *
 * Frames of one flow always come to one bucket; different flows may share one, which costs a little
 * acceleration and no correctness. TCP is told apart by addresses and ports. All other IP goes by addresses
 * and protocol alone, as receive hashing in NICs does: only the first IP fragment of a datagram has ports, and
 * a flow that sends long and short datagrams would otherwise be two.
 */
import { ETHERNET_HEADER_BYTES } from '@netaccel/xen/netif';
import type { Address, Memory } from '@netaccel/core-hooks';

/** Buckets that flows fall into. */
export const FLOW_BUCKETS = 256;
const BUCKET_BITS = 8;
/** The bucket of frames that nobody sorted, because nobody needed to know: none of the others. */
export const UNSORTED = FLOW_BUCKETS;

// Halves (16-bit words) from the start of the frame.
const TYPE_AT = 6;
const IP_AT = ETHERNET_HEADER_BYTES / 2;
const TAG_HALVES = 2;
const TCP = 6;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const PORTS_BYTES = 4;

/** A number in network order as the machine reads it from memory: what is compared is never swapped per frame. */
function fromNetwork(value: number): number {
  return new Uint16Array(Uint8Array.of(value >>> 8, value & 0xff).buffer)[0]!;
}
const IPV4 = fromNetwork(0x0800);
const IPV6 = fromNetwork(0x86dd);
const VLAN = fromNetwork(0x8100);
/** More fragments, or a fragment offset. */
const FRAGMENT = fromNetwork(0x3fff);

// Odd multipliers: the fractional parts of the golden ratio and of the square roots of 2 and 3.
const MIX_A = 0x9e3779b1 | 0;
const MIX_B = 0x6a09e667 | 0;
const MIX_C = 0xbb67ae85 | 0;

function finish(hash: number): number {
  hash ^= hash >>> 15;
  return Math.imul(hash, MIX_A) >>> (32 - BUCKET_BITS);
}

/** The bucket of what is not IP, or is too short to be: by its MAC addresses. */
function byAddresses(halves: Uint16Array, at: number, length: number): number {
  if (length < ETHERNET_HEADER_BYTES) return 0;
  let hash = 0;
  for (let i = 0; i < TYPE_AT; i++) hash = Math.imul(hash ^ halves[at + i]!, MIX_A) ^ (hash >>> 13);
  return finish(hash);
}

function ipv4(halves: Uint16Array, bytes: Uint8Array, ip: number, length: number): number {
  const protocol = bytes[(ip << 1) + 9]!;
  let hash =
    Math.imul(halves[ip + 6]! | (halves[ip + 7]! << 16), MIX_A) ^
    Math.imul(halves[ip + 8]! | (halves[ip + 9]! << 16), MIX_B) ^
    protocol;
  if (protocol === TCP && (halves[ip + 3]! & FRAGMENT) === 0) {
    const headerBytes = (bytes[ip << 1]! & 15) << 2;
    const tcp = ip + (headerBytes >>> 1);
    if (headerBytes >= IPV4_BYTES && length >= headerBytes + PORTS_BYTES)
      hash ^= Math.imul(halves[tcp]! | (halves[tcp + 1]! << 16), MIX_C);
  }
  return finish(hash);
}

function ipv6(halves: Uint16Array, bytes: Uint8Array, ip: number, length: number): number {
  const protocol = bytes[(ip << 1) + 6]!;
  let hash = protocol;
  for (let i = 4; i < IPV6_BYTES / 2; i++) hash = Math.imul(hash ^ halves[ip + i]!, MIX_A) ^ (hash >>> 13);
  if (protocol === TCP && length >= IPV6_BYTES + PORTS_BYTES) {
    const tcp = ip + IPV6_BYTES / 2;
    hash ^= Math.imul(halves[tcp]! | (halves[tcp + 1]! << 16), MIX_C);
  }
  return finish(hash);
}

/**
 * The bucket of a frame, 0 to {@link FLOW_BUCKETS} - 1.
 * @param memory the memory that it lies in.
 * @param address its first byte; even.
 * @param length bytes that may be looked at: the first fragment.
 */
export function flowBucket(memory: Memory, address: Address, length: number): number {
  const { halves, bytes } = memory;
  const at = address >>> 1;
  if (length < ETHERNET_HEADER_BYTES + IPV4_BYTES) return byAddresses(halves, at, length);
  let ip = at + IP_AT;
  let type = halves[at + TYPE_AT]!;
  let left = length - ETHERNET_HEADER_BYTES;
  if (type === VLAN) {
    type = halves[at + TYPE_AT + TAG_HALVES]!;
    ip += TAG_HALVES;
    left -= TAG_HALVES * 2;
  }
  if (type === IPV4 && left >= IPV4_BYTES) return ipv4(halves, bytes, ip, left);
  if (type === IPV6 && left >= IPV6_BYTES) return ipv6(halves, bytes, ip, left);
  return byAddresses(halves, at, length);
}
