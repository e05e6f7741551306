/**
 * The transport checksums that this driver fills in itself: whole ones, for a backend that takes no blank
 * checksum, and pseudo headers, for a backend that sends a segment without one (Linux's netfront mends that,
 * too). Neither is usual; a frame that is not understood is left as it is.
 */
import { Checksum } from '@netaccel/core-hooks';
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import { ETHERNET_HEADER_BYTES } from '@netaccel/xen/netif';

const TYPE_AT = 12;
const VLAN_TAG_BYTES = 4;
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const;
const Protocol = { tcp: 6, udp: 17 } as const;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const IPV4_FRAGMENT = 0x3fff;
/** Where the checksum is in a TCP and a UDP header. */
const CHECKSUM_AT = { [Protocol.tcp]: 16, [Protocol.udp]: 6 } as const;

/** What was found; one record, used again. */
const found = {
  ipv6: false,
  protocol: 0 as number,
  /** Offsets from the frame's first byte. */
  ip: 0,
  transport: 0,
  /** Where the checksum is. */
  field: 0,
  /** Bytes of the transport header and what it carries. */
  bytes: 0,
};

function half(bytes: Uint8Array, at: Address): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function setHalf(bytes: Uint8Array, at: Address, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Finds TCP or UDP over IP, all headers within the first fragment. Fragments and IPv6 extensions are refused. */
function locate(bytes: Uint8Array, frame: Frame): boolean {
  const { address, length, totalBytes } = frame;
  let ip = ETHERNET_HEADER_BYTES;
  if (length < ip + VLAN_TAG_BYTES) return false;
  let type = half(bytes, address + TYPE_AT);
  if (type === EtherType.vlan) {
    type = half(bytes, address + TYPE_AT + VLAN_TAG_BYTES);
    ip += VLAN_TAG_BYTES;
  }
  const at = address + ip;
  if (type === EtherType.ipv4 && length >= ip + IPV4_BYTES) {
    const headerBytes = (bytes[at]! & 15) << 2;
    if (headerBytes < IPV4_BYTES || (half(bytes, at + 6) & IPV4_FRAGMENT) !== 0) return false;
    found.ipv6 = false;
    found.protocol = bytes[at + 9]!;
    found.transport = ip + headerBytes;
    found.bytes = half(bytes, at + 2) - headerBytes;
  } else if (type === EtherType.ipv6 && length >= ip + IPV6_BYTES) {
    found.ipv6 = true;
    found.protocol = bytes[at + 6]!;
    found.transport = ip + IPV6_BYTES;
    found.bytes = half(bytes, at + 4);
  } else return false;
  found.ip = ip;
  if (found.protocol !== Protocol.tcp && found.protocol !== Protocol.udp) return false;
  found.field = found.transport + CHECKSUM_AT[found.protocol];
  return (
    found.field + 2 <= length &&
    found.field + 2 <= found.transport + found.bytes &&
    found.transport + found.bytes <= totalBytes
  );
}

/** The sum over `length` bytes of a chain from `offset` on; fragments may end at odd bytes. */
function sumChain(memory: Memory, head: Frame, offset: number, length: number): number {
  let sum = 0;
  let odd = false;
  for (let f: Frame | null = head; f !== null && length > 0; f = f.next) {
    if (offset >= f.length) {
      offset -= f.length;
      continue;
    }
    const take = Math.min(f.length - offset, length);
    const part = memory.sum(f.address + offset, take, 0);
    sum = fold(sum + (odd ? ((part & 0xff) << 8) | (part >>> 8) : part));
    if ((take & 1) === 1) odd = !odd;
    length -= take;
    offset = 0;
  }
  return sum;
}

/**
 * Fills in a blank checksum where the backend would not; afterwards it is good.
 * @param can which blank checksums the backend takes.
 * @returns whether it was filled in.
 */
export function fillChecksum(
  memory: Memory,
  frame: Frame,
  can: { readonly checksumIpv4: boolean; readonly checksumIpv6: boolean },
): boolean {
  const { bytes } = memory;
  if (!locate(bytes, frame) || (found.ipv6 ? can.checksumIpv6 : can.checksumIpv4)) return false;
  // The field holds the pseudo header's sum: that is what blank means.
  const sum = ~sumChain(memory, frame, found.transport, found.bytes) & 0xffff;
  setHalf(bytes, frame.address + found.field, sum === 0 ? 0xffff : sum);
  frame.checksum = Checksum.good;
  return true;
}

/** Puts the pseudo header's sum where a blank checksum has it. False when the frame is not TCP over IP. */
export function blankChecksum(memory: Memory, frame: Frame): boolean {
  const { bytes } = memory;
  if (!locate(bytes, frame) || found.protocol !== Protocol.tcp) return false;
  const addresses = frame.address + found.ip + (found.ipv6 ? 8 : 12);
  const sum = memory.sum(addresses, found.ipv6 ? 32 : 8, fold(found.protocol + found.bytes));
  setHalf(bytes, frame.address + found.field, fold(sum));
  frame.checksum = Checksum.blank;
  return true;
}
