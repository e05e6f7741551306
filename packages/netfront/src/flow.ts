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
import type { Address } from '@netaccel/core-hooks';

/** Buckets that flows fall into. */
export const FLOW_BUCKETS = 256;
const BUCKET_BITS = 8;

const TYPE_AT = 12;
const VLAN_TAG_BYTES = 4;
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const;
const TCP = 6;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const PORTS_BYTES = 4;
/** More fragments, or a fragment offset, in the second byte pair of an IPv4 header's second word. */
const IPV4_FRAGMENT = 0x3fff;

// Odd multipliers: the fractional parts of the golden ratio and of the square roots of 2 and 3.
const MIX_A = 0x9e3779b1;
const MIX_B = 0x6a09e667;
const MIX_C = 0xbb67ae85;

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function finish(hash: number): number {
  hash ^= hash >>> 15;
  return Math.imul(hash, MIX_A) >>> (32 - BUCKET_BITS);
}

/** The bucket of what is not IP, or is too short to be: by its MAC addresses. */
function byAddresses(bytes: Uint8Array, at: Address, length: number): number {
  if (length < ETHERNET_HEADER_BYTES) return 0;
  return finish(
    Math.imul(word(bytes, at), MIX_A) ^
      Math.imul(word(bytes, at + 4), MIX_B) ^
      Math.imul(word(bytes, at + 8), MIX_C),
  );
}

/**
 * The bucket of a frame, 0 to {@link FLOW_BUCKETS} - 1.
 * @param bytes the memory.
 * @param at the first byte of the frame.
 * @param length bytes that may be looked at: the first fragment.
 */
export function flowBucket(bytes: Uint8Array, at: Address, length: number): number {
  let ip = ETHERNET_HEADER_BYTES;
  if (length < ip + IPV4_BYTES) return byAddresses(bytes, at, length);
  let type = (bytes[at + TYPE_AT]! << 8) | bytes[at + TYPE_AT + 1]!;
  if (type === EtherType.vlan) {
    type = (bytes[at + TYPE_AT + VLAN_TAG_BYTES]! << 8) | bytes[at + TYPE_AT + VLAN_TAG_BYTES + 1]!;
    ip += VLAN_TAG_BYTES;
    if (length < ip + IPV4_BYTES) return byAddresses(bytes, at, length);
  }
  const header = at + ip;
  if (type === EtherType.ipv4) {
    let hash = Math.imul(word(bytes, header + 12), MIX_A) ^ Math.imul(word(bytes, header + 16), MIX_B);
    const protocol = bytes[header + 9]!;
    hash ^= protocol;
    if (protocol === TCP && (((bytes[header + 6]! << 8) | bytes[header + 7]!) & IPV4_FRAGMENT) === 0) {
      const headerBytes = (bytes[header]! & 15) << 2;
      if (headerBytes >= IPV4_BYTES && length >= ip + headerBytes + PORTS_BYTES)
        hash ^= Math.imul(word(bytes, header + headerBytes), MIX_C);
    }
    return finish(hash);
  }
  if (type === EtherType.ipv6 && length >= ip + IPV6_BYTES) {
    let hash = 0;
    for (let i = 8; i < IPV6_BYTES; i += 4)
      hash = Math.imul(hash ^ word(bytes, header + i), MIX_A) ^ (hash >>> 13);
    const protocol = bytes[header + 6]!;
    hash ^= protocol;
    if (protocol === TCP && length >= ip + IPV6_BYTES + PORTS_BYTES)
      hash ^= Math.imul(word(bytes, header + IPV6_BYTES), MIX_C);
    return finish(hash);
  }
  return byAddresses(bytes, at, length);
}
