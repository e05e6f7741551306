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
/** The bucket of frames that nobody sorted, because nobody needed to know: none of the others. */
export const UNSORTED = FLOW_BUCKETS;

/** Frames on transmit rings, by flow bucket: the rings count, the fast path looks. */
export class SlowFlows {
  private readonly frames = new Uint16Array(FLOW_BUCKETS);
  private unsorted = 0;

  /** A frame goes on a ring. */
  begin(bucket: number): void {
    if (bucket === UNSORTED) this.unsorted++;
    else this.frames[bucket]!++;
  }

  /** The backend is done with one. */
  end(bucket: number): void {
    if (bucket === UNSORTED) this.unsorted--;
    else this.frames[bucket]!--;
  }

  /** Whether a frame of this flow may be on a ring. Unsorted ones may be of any flow. */
  busy(bucket: number): boolean {
    return this.unsorted !== 0 || this.frames[bucket] !== 0;
  }
}

const TYPE_AT = 12;
const VLAN_TAG_BYTES = 4;
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const;
const TCP = 6;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const PORTS_BYTES = 4;
/** Of an IPv4 header's 32 bits from byte 6 on: fragment flag and offset, and the protocol. */
const FRAGMENT_AND_PROTOCOL = 0x3fff00ff;

// Odd multipliers: the fractional parts of the golden ratio and of the square roots of 2 and 3.
const MIX_A = 0x9e3779b1 | 0;
const MIX_B = 0x6a09e667 | 0;
const MIX_C = 0xbb67ae85 | 0;

function finish(hash: number): number {
  hash ^= hash >>> 15;
  return Math.imul(hash, MIX_A) >>> (32 - BUCKET_BITS);
}

/** The bucket of what is not IP, or is too short to be: by its MAC addresses. */
function byAddresses(view: DataView, at: Address, length: number): number {
  if (length < ETHERNET_HEADER_BYTES) return 0;
  return finish(
    Math.imul(view.getInt32(at), MIX_A) ^
      Math.imul(view.getInt32(at + 4), MIX_B) ^
      Math.imul(view.getInt32(at + 8), MIX_C),
  );
}

function ipv4(view: DataView, ip: Address, length: number): number {
  const protocol = view.getInt32(ip + 6) & FRAGMENT_AND_PROTOCOL;
  let hash =
    Math.imul(view.getInt32(ip + 12), MIX_A) ^ Math.imul(view.getInt32(ip + 16), MIX_B) ^ (protocol & 0xff);
  if (protocol === TCP) {
    const headerBytes = (view.getUint8(ip) & 15) << 2;
    if (headerBytes >= IPV4_BYTES && length >= headerBytes + PORTS_BYTES)
      hash ^= Math.imul(view.getInt32(ip + headerBytes), MIX_C);
  }
  return finish(hash);
}

function ipv6(view: DataView, ip: Address, length: number): number {
  const protocol = view.getUint8(ip + 6);
  let hash: number = protocol;
  for (let i = 8; i < IPV6_BYTES; i += 4)
    hash = Math.imul(hash ^ view.getInt32(ip + i), MIX_A) ^ (hash >>> 13);
  if (protocol === TCP && length >= IPV6_BYTES + PORTS_BYTES)
    hash ^= Math.imul(view.getInt32(ip + IPV6_BYTES), MIX_C);
  return finish(hash);
}

/**
 * The bucket of a frame, 0 to {@link FLOW_BUCKETS} - 1.
 * @param view the memory that it lies in. A view's unaligned reads took a third of the time of bytes or halves.
 * @param at its first byte.
 * @param length bytes that may be looked at: the first fragment.
 */
export function flowBucket(view: DataView, at: Address, length: number): number {
  if (length < ETHERNET_HEADER_BYTES + IPV4_BYTES) return byAddresses(view, at, length);
  let ip = at + ETHERNET_HEADER_BYTES;
  let left = length - ETHERNET_HEADER_BYTES;
  let type = view.getUint16(at + TYPE_AT);
  if (type === EtherType.vlan) {
    type = view.getUint16(at + TYPE_AT + VLAN_TAG_BYTES);
    ip += VLAN_TAG_BYTES;
    left -= VLAN_TAG_BYTES;
  }
  if (type === EtherType.ipv4 && left >= IPV4_BYTES) return ipv4(view, ip, left);
  if (type === EtherType.ipv6 && left >= IPV6_BYTES) return ipv6(view, ip, left);
  return byAddresses(view, at, length);
}
