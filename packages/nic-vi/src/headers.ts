/**
 * Where the headers of a frame are, found with every bound checked: Ethernet, one VLAN tag, IPv4, IPv6, TCP, UDP.
 *
 * One `FrameHeaders` is made by whoever parses (the NIC, the merger, a plugin) and filled again for each
 * frame. Addresses and ports are kept as the 16-bit halves lie in memory, two to an integer, so that a flow key is
 * compared and hashed without swapping; `network16` and `pair` make constants to compare with. Machines are
 * little-endian here, as everywhere that Xen and WebAssembly run.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import type { Address, Memory } from '@netaccel/core-hooks';
import { Ev, Net } from './bits.js';

/** A 16-bit number in network order, as it is read from `Memory.halves`; its own inverse. */
export function network16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

/** Four bytes from `bytes[at]` on as {@link FrameHeaders} keeps them: two halves, the first one low. */
export function pair(bytes: ArrayLike<number>, at: number): number {
  const first = (bytes[at]! & 0xff) | ((bytes[at + 1]! & 0xff) << 8);
  return first | ((bytes[at + 2]! & 0xff) << 16) | (bytes[at + 3]! << 24);
}

/** Writes what {@link pair} read back as four bytes. */
export function unpair(value: number, bytes: Uint8Array, at: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Protocol numbers (IANA). */
export const Protocol = {
  /** TCP. */
  tcp: 6,
  /** UDP. */
  udp: 17,
} as const;
/** Ethernet types. */
export const EtherType = {
  /** IPv4. */
  ipv4: 0x0800,
  /** ARP. */
  arp: 0x0806,
  /** A VLAN tag (IEEE 802.1Q). */
  vlan: 0x8100,
  /** IPv6. */
  ipv6: 0x86dd,
} as const;
/** TCP's flag bits, as in the header's 14th byte. */
export const TcpFlag = {
  /** No more data. */
  fin: 1,
  /** A connection begins. */
  syn: 2,
  /** It ends at once. */
  rst: 4,
  /** Deliver now. */
  psh: 8,
  /** The acknowledgement number counts. */
  ack: 16,
  /** The urgent pointer counts. */
  urg: 32,
  /** Congestion was seen (RFC 3168). */
  ece: 64,
  /** The window was reduced for it. */
  cwr: 128,
} as const;
/** Bytes of an Ethernet header. */
export const ETHERNET_BYTES = 14;
/** Bytes of a VLAN tag. */
export const VLAN_BYTES = 4;
/** {@link FrameHeaders.vlan} of a frame without a tag. */
export const UNTAGGED = 0x1000;
/** Bytes from the start of a frame that are enough to find every header of an ordinary frame. */
export const HEADER_ROOM = 192;

/** Words of an ordinary frame as {@link isOrdinary} reads them, in network order; what may differ is masked out. */
enum Plain {
  /** From byte 12: Ethernet type IPv4; version 4, five words of header; any type of service. */
  ipv4 = 0x0800_4500,
  anyService = ~0xff,
  /** From byte 20: no fragment, whatever the time to live; the protocol. */
  fragmentAndProtocol = 0x3fff_00ff,
  l4 = 34,
  leastUdp = 42,
  leastTcpHeader = 20,
}

/**
 * Whether a frame is what nearly all frames are: TCP or UDP over IPv4, whole, with no tag and no IP options, and
 * every length within bounds. Of such a frame {@link FrameHeaders.parse} would find all it can find. It answers for a
 * few reads; of any other frame `parse` says what it is.
 *
 * @param view the memory that frames are in.
 * @param at its first byte.
 * @param readable bytes that lie there in one piece.
 * @param total bytes of the whole frame.
 */
export function isOrdinary(view: DataView, at: Address, readable: number, total: number): boolean {
  if (readable < Plain.leastUdp || (view.getInt32(at + 12) & Plain.anyService) !== Plain.ipv4) return false;
  const end = Net.ethernetBytes + view.getUint16(at + 16);
  if (end > total) return false;
  const protocol = view.getInt32(at + 20) & Plain.fragmentAndProtocol;
  if (protocol === Net.udp) return end >= Plain.leastUdp && view.getUint16(at + 38) === end - Plain.l4;
  const room = (end < readable ? end : readable) - Plain.l4;
  if (protocol !== Net.tcp || room < Plain.leastTcpHeader) return false;
  const headerBytes = (view.getUint8(at + 46) & 0xf0) >>> 2;
  return headerBytes >= Plain.leastTcpHeader && headerBytes <= room;
}

/** The headers of one frame. Fields that do not apply to a frame hold 0, except where said. */
export class FrameHeaders {
  /** First four bytes of the destination MAC, as {@link pair}. */
  mac0 = 0;
  /** Its last two bytes, and in the high half the first two of the source MAC. */
  mac1 = 0;
  /** Last four bytes of the source MAC. */
  mac2 = 0;
  /** VLAN id 0 to 4095, or {@link UNTAGGED}. */
  vlan: number = UNTAGGED;
  /** Ethernet type, after the tag, as a number. */
  etherType = 0;
  /** 4, 6, or 0 when it is neither or its header is broken. */
  version = 0;
  /** Offset of the IP header. */
  l3 = 0;
  /** Offset of the transport header; for an unfragmented IP frame only. */
  l4 = 0;
  /** Protocol number. */
  protocol = 0;
  /** Offset of the end of the IP packet: Ethernet padding lies behind it. */
  ipEnd = 0;
  /** Offset of what follows the TCP or UDP header; 0 unless it is one of them, complete and unfragmented. */
  payload = 0;
  /** Source port, and in the high half the destination port, as they lie in memory. */
  ports = 0;
  /** Source address, first four bytes; all of an IPv4 one. */
  source0 = 0;
  /** IPv6: bytes 4 to 7. */
  source1 = 0;
  /** IPv6: bytes 8 to 11. */
  source2 = 0;
  /** IPv6: bytes 12 to 15. */
  source3 = 0;
  /** Destination address, first four bytes; all of an IPv4 one. */
  destination0 = 0;
  /** IPv6: bytes 4 to 7. */
  destination1 = 0;
  /** IPv6: bytes 8 to 11. */
  destination2 = 0;
  /** IPv6: bytes 12 to 15. */
  destination3 = 0;
  /** TCP flags, {@link TcpFlag}. */
  tcpFlags = 0;
  /** What it is, in the bits of `EventFlag`: ipv4, ipv6, tcp, udp, fragment, vlan, multicast. */
  flags = 0;

  private readonly bytes: Uint8Array;
  private readonly halves: Uint16Array;
  private readonly oddBytes = new Uint8Array(Net.headerRoom);
  private readonly oddHalves = new Uint16Array(this.oddBytes.buffer);

  /** @param memory the memory that frames are in. */
  constructor(memory: Memory) {
    if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
      throw new Error('a little-endian machine expected: nic-vi reads network headers as its halves');
    this.bytes = memory.bytes;
    this.halves = memory.halves;
  }

  /**
   * Finds the headers of a frame.
   * @param address its first byte.
   * @param readable bytes that lie there in one piece: the whole frame, or {@link HEADER_ROOM} of it.
   * @param total bytes of the whole frame.
   * @returns false when it is shorter than an Ethernet header: no field is valid then. A frame whose IP or
   * transport header is broken or cut off is an ordinary Ethernet frame, and `version` or `payload` says so.
   */
  parse(address: Address, readable: number, total: number): boolean {
    if (readable < Net.ethernetBytes) return false;
    if ((address & 1) !== 0) return this.parseOdd(address, readable, total);
    this.parseHalves(this.halves, address >>> 1, readable, total);
    return true;
  }

  /** Offset of the TCP or UDP checksum field, or 0 when there is none. */
  get checksumAt(): number {
    return this.payload === 0 ? 0 : this.l4 + (this.protocol === Net.tcp ? 16 : 6);
  }

  private parseHalves(halves: Uint16Array, at: number, readable: number, total: number): void {
    const d0 = halves[at]!;
    this.mac0 = d0 | (halves[at + 1]! << 16);
    this.mac1 = halves[at + 2]! | (halves[at + 3]! << 16);
    this.mac2 = halves[at + 4]! | (halves[at + 5]! << 16);
    let flags = (d0 & Net.groupBit) === 0 ? 0 : Ev.multicast;
    let type = halves[at + 6]!;
    let l3: number = Net.ethernetBytes;
    let tag: number = Net.untagged;
    if (type === Net.typeVlan && readable >= Net.ethernetBytes + Net.vlanBytes) {
      tag = network16(halves[at + 7]!) & 0xfff;
      flags |= Ev.vlan;
      type = halves[at + 8]!;
      l3 += Net.vlanBytes;
    }
    this.vlan = tag;
    this.l3 = l3;
    if (type === Net.typeIpv4 && readable >= l3 + 20) {
      const ip = at + (l3 >>> 1);
      const first = halves[ip]! & 0xff; // version, and words of the header
      const headerBytes = (first & 0xf) << 2;
      const end = l3 + network16(halves[ip + 1]!);
      const l4 = l3 + headerBytes;
      if (first >>> 4 === 4 && headerBytes >= 20 && end <= total && l4 <= end && l4 <= readable) {
        this.etherType = Net.ipv4;
        this.version = 4;
        this.ipEnd = end;
        this.source0 = halves[ip + 6]! | (halves[ip + 7]! << 16);
        this.destination0 = halves[ip + 8]! | (halves[ip + 9]! << 16);
        const protocol = halves[ip + 4]! >>> 8;
        flags |= Ev.ipv4;
        if ((halves[ip + 3]! & Net.fragmentBits) !== 0) this.noTransport(protocol, 0, flags | Ev.fragment);
        else this.parseTransport(halves, at, l4, protocol, readable, flags);
        return;
      }
    } else if (type === Net.typeIpv6 && this.parseIpv6(halves, at, l3, readable, total, flags)) return;
    this.etherType = network16(type);
    this.version = this.ipEnd = 0;
    this.noTransport(0, 0, flags);
  }

  private parseTransport(
    halves: Uint16Array,
    at: number,
    l4: number,
    protocol: number,
    readable: number,
    flags: number,
  ): void {
    const room = (this.ipEnd < readable ? this.ipEnd : readable) - l4;
    const head = at + (l4 >>> 1);
    if (protocol === Net.tcp && room >= 20) {
      const word = halves[head + 6]!; // words of the header in the first byte's high half; then the flags
      const headerBytes = (word & 0xf0) >>> 2;
      if (headerBytes >= 20 && headerBytes <= room) {
        this.protocol = Net.tcp;
        this.l4 = l4;
        this.ports = halves[head]! | (halves[head + 1]! << 16);
        this.payload = l4 + headerBytes;
        this.tcpFlags = word >>> 8;
        this.flags = flags | Ev.tcp;
        return;
      }
    } else if (protocol === Net.udp && room >= 8 && network16(halves[head + 2]!) === this.ipEnd - l4) {
      this.protocol = Net.udp;
      this.l4 = l4;
      this.ports = halves[head]! | (halves[head + 1]! << 16);
      this.payload = l4 + 8;
      this.tcpFlags = 0;
      this.flags = flags | Ev.udp;
      return;
    }
    this.noTransport(protocol, l4, flags);
  }

  private parseIpv6(
    halves: Uint16Array,
    at: number,
    l3: number,
    readable: number,
    total: number,
    flags: number,
  ): boolean {
    const ip = at + (l3 >>> 1);
    let l4 = l3 + 40;
    if (readable < l4 || (halves[ip]! & 0xf0) !== 0x60) return false;
    const end = l4 + network16(halves[ip + 2]!);
    if (end > total) return false;
    this.etherType = Net.ipv6;
    this.version = 6;
    this.ipEnd = end;
    this.source0 = halves[ip + 4]! | (halves[ip + 5]! << 16);
    this.source1 = halves[ip + 6]! | (halves[ip + 7]! << 16);
    this.source2 = halves[ip + 8]! | (halves[ip + 9]! << 16);
    this.source3 = halves[ip + 10]! | (halves[ip + 11]! << 16);
    this.destination0 = halves[ip + 12]! | (halves[ip + 13]! << 16);
    this.destination1 = halves[ip + 14]! | (halves[ip + 15]! << 16);
    this.destination2 = halves[ip + 16]! | (halves[ip + 17]! << 16);
    this.destination3 = halves[ip + 18]! | (halves[ip + 19]! << 16);
    flags |= Ev.ipv6;
    let next = halves[ip + 3]! & 0xff;
    for (let i = 0; i < Net.maxExtensions && (next === 0 || next === 43 || next === 60); i++) {
      // Hop-by-hop, routing, destination options: next header, length in 8 bytes less the first.
      if (l4 + 8 > readable || l4 + 8 > end) break;
      const head = halves[at + (l4 >>> 1)]!;
      next = head & 0xff;
      l4 += ((head >>> 8) + 1) * 8;
    }
    if (next === 44) this.noTransport(next, 0, flags | Ev.fragment);
    else if (l4 > end || l4 > readable) this.noTransport(next, 0, flags);
    else this.parseTransport(halves, at, l4, next, readable, flags);
    return true;
  }

  private noTransport(protocol: number, l4: number, flags: number): void {
    this.protocol = protocol;
    this.l4 = l4;
    this.payload = this.ports = this.tcpFlags = 0;
    this.flags = flags;
  }

  /** Halves are pairs of bytes from an even address: a frame at an odd one is looked at in a copy. */
  private parseOdd(address: Address, readable: number, total: number): boolean {
    const { bytes, oddBytes } = this;
    const room = readable < Net.headerRoom ? readable : Net.headerRoom;
    for (let i = 0; i < room; i++) oddBytes[i] = bytes[address + i]!;
    this.parseHalves(this.oddHalves, 0, room, total);
    return true;
  }
}
