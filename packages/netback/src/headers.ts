/**
 * Where the headers of a frame are: found for frames whose checksum is blank or that are to be cut, which is
 * when they must be understood. Everything read was written by somebody else, so each offset is checked
 * against the bytes that are there before it is followed. One instance is used again for each frame.
 */
import type { Address } from '@netaccel/core-hooks';

/** Internet protocol numbers that have a checksum to fill. */
export const Protocol = { tcp: 6, udp: 17 } as const;

/** EtherTypes (IEEE 802). */
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, serviceVlan: 0x88a8 } as const;
/** IPv6 extension headers that lie between the IPv6 header and the transport's (RFC 8200). */
const Extension = { hopByHop: 0, routing: 43, destination: 60 } as const;

const TYPE_AT = 12;
const TAG_BYTES = 4;
const MOST_TAGS = 2;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
/** More fragments, or a fragment offset. */
const FRAGMENT = 0x3fff;

/** Longest headers that are understood, Ethernet to transport: what a scratch header has room for. */
export const MOST_HEADER_BYTES = 256;

/** Offsets from the frame's first byte, after a `parse` that answered true. */
export class Headers {
  /** 4 or 6. */
  version: 4 | 6 = 4;
  /** First byte of the IP header. */
  network = 0;
  /** First byte of the transport header. */
  transport = 0;
  /** One of {@link Protocol}. */
  protocol = 0;
  /** First byte after the transport header. */
  payload = 0;
  /** First byte after the IP packet: what follows is padding. */
  end = 0;
  /** Where the transport checksum is. */
  checksum = 0;

  /**
   * Finds the headers of TCP or UDP over IP.
   * @param bytes the memory.
   * @param at where the frame's first fragment begins.
   * @param length bytes of that fragment: all headers must lie in it.
   * @param total bytes of the whole frame.
   * @returns false when it is something else, is a fragment, or contradicts itself.
   */
  parse(bytes: Uint8Array, at: Address, length: number, total: number): boolean {
    let type = TYPE_AT;
    for (let tags = 0; ; tags++) {
      if (type + 2 > length) return false;
      const etherType = (bytes[at + type]! << 8) | bytes[at + type + 1]!;
      this.network = type + 2;
      if (etherType === EtherType.ipv4) {
        if (!this.parseIpv4(bytes, at, length, total)) return false;
        break;
      }
      if (etherType === EtherType.ipv6) {
        if (!this.parseIpv6(bytes, at, length, total)) return false;
        break;
      }
      if ((etherType !== EtherType.vlan && etherType !== EtherType.serviceVlan) || tags === MOST_TAGS)
        return false;
      type += TAG_BYTES;
    }
    return this.parseTransport(bytes, at, length);
  }

  private parseIpv4(bytes: Uint8Array, at: Address, length: number, total: number): boolean {
    if (this.network + IPV4_BYTES > length) return false;
    const ip = at + this.network;
    const headerBytes = (bytes[ip]! & 15) * 4;
    const packetBytes = (bytes[ip + 2]! << 8) | bytes[ip + 3]!;
    this.version = 4;
    this.protocol = bytes[ip + 9]!;
    this.transport = this.network + headerBytes;
    this.end = this.network + packetBytes;
    return (
      bytes[ip]! >>> 4 === 4 &&
      headerBytes >= IPV4_BYTES &&
      packetBytes >= headerBytes &&
      this.end <= total &&
      (((bytes[ip + 6]! << 8) | bytes[ip + 7]!) & FRAGMENT) === 0
    );
  }

  private parseIpv6(bytes: Uint8Array, at: Address, length: number, total: number): boolean {
    if (this.network + IPV6_BYTES > length) return false;
    const ip = at + this.network;
    this.version = 6;
    this.transport = this.network + IPV6_BYTES;
    this.end = this.transport + ((bytes[ip + 4]! << 8) | bytes[ip + 5]!);
    if (bytes[ip]! >>> 4 !== 6 || this.end > total) return false;
    let next = bytes[ip + 6]!;
    while (next === Extension.hopByHop || next === Extension.routing || next === Extension.destination) {
      if (this.transport + 8 > length || this.transport > MOST_HEADER_BYTES) return false;
      next = bytes[at + this.transport]!;
      this.transport += (bytes[at + this.transport + 1]! + 1) * 8;
    }
    this.protocol = next;
    return true;
  }

  private parseTransport(bytes: Uint8Array, at: Address, length: number): boolean {
    const { transport } = this;
    if (this.protocol === Protocol.tcp) {
      if (transport + TCP_BYTES > length) return false;
      const headerBytes = (bytes[at + transport + 12]! >>> 4) * 4;
      if (headerBytes < TCP_BYTES) return false;
      this.payload = transport + headerBytes;
      this.checksum = transport + TCP_CHECKSUM;
    } else if (this.protocol === Protocol.udp) {
      this.payload = transport + UDP_BYTES;
      this.checksum = transport + UDP_CHECKSUM;
    } else return false;
    return this.payload <= this.end && this.payload <= length && this.payload <= MOST_HEADER_BYTES;
  }
}
