/**
 * Which queue a frame goes to when the guest has several and leaves the choice to us: by flow, so that a flow
 * keeps its order.
 *
 * TCP is told apart by addresses and ports; all other IP by addresses alone, since only the first IP fragment of
 * a datagram has ports; the rest by MAC addresses. Called once per frame by `Connection.deliver`.
 */
import type { Address } from '@netaccel/core-hooks';
import { ETHERNET_HEADER_BYTES } from '@netaccel/xen/netif';
import { Protocol } from './headers.js';

const TYPE_AT = 12;
const TAG_BYTES = 4;
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const;
const IPV4_BYTES = 20;
const IPV4_ADDRESSES = 12;
const IPV6_BYTES = 40;
const IPV6_ADDRESSES = 8;
const PORTS_BYTES = 4;
const FRAGMENT = 0x3fff;
/** Odd, with bits well spread: the golden ratio's fraction. */
const MIX = 0x9e3779b1;
/** The finishing multipliers of MurmurHash3. */
const FINISH_A = 0x85ebca6b;
const FINISH_B = 0xc2b2ae35;

/** Where the parts of an IP packet are that name its flow; offsets from the frame's first byte. */
export interface IpPlace {
  /** 4 or 6. */
  version: number;
  /** Source address, then destination. */
  addresses: number;
  /** First byte after the IP header; IPv6 extension headers are not walked. */
  transport: number;
  /** The protocol there; 0 for a fragment. */
  protocol: number;
}

/** Finds the IP header within `length` bytes at `at`; false when there is none. */
export function locateIp(bytes: Uint8Array, at: Address, length: number, place: IpPlace): boolean {
  if (length < ETHERNET_HEADER_BYTES + IPV4_BYTES) return false;
  let ip = ETHERNET_HEADER_BYTES;
  let type = (bytes[at + TYPE_AT]! << 8) | bytes[at + TYPE_AT + 1]!;
  if (type === EtherType.vlan) {
    type = (bytes[at + TYPE_AT + TAG_BYTES]! << 8) | bytes[at + TYPE_AT + TAG_BYTES + 1]!;
    ip += TAG_BYTES;
  }
  const header = at + ip;
  if (type === EtherType.ipv4 && length >= ip + IPV4_BYTES) {
    place.version = 4;
    place.addresses = ip + IPV4_ADDRESSES;
    place.transport = ip + (bytes[header]! & 15) * 4;
    const whole = (((bytes[header + 6]! << 8) | bytes[header + 7]!) & FRAGMENT) === 0;
    place.protocol = whole ? bytes[header + 9]! : 0;
    return true;
  }
  if (type !== EtherType.ipv6 || length < ip + IPV6_BYTES) return false;
  place.version = 6;
  place.addresses = ip + IPV6_ADDRESSES;
  place.transport = ip + IPV6_BYTES;
  place.protocol = bytes[header + 6]!;
  return true;
}

function mix(bytes: Uint8Array, at: number, words: number, hash: number): number {
  for (let end = at + words * 4; at < end; at += 4) {
    const word = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    hash = Math.imul(hash ^ word, MIX);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Spreads what the last bits mixed in left uneven: whoever takes a remainder looks at the low bits only. */
function finish(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), FINISH_A);
  hash = Math.imul(hash ^ (hash >>> 13), FINISH_B);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const found: IpPlace = { version: 0, addresses: 0, transport: 0, protocol: 0 };

/** A hash of the frame's flow, unsigned 32 bits; `length` bytes at `at` may be looked at. */
export function flowHash(bytes: Uint8Array, at: Address, length: number): number {
  if (!locateIp(bytes, at, length, found))
    return length < ETHERNET_HEADER_BYTES ? 0 : finish(mix(bytes, at, 3, 0));
  let hash = mix(bytes, at + found.addresses, found.version === 4 ? 2 : 8, 0);
  if (found.protocol === Protocol.tcp && length >= found.transport + PORTS_BYTES)
    hash = mix(bytes, at + found.transport, 1, hash);
  return finish(hash);
}
