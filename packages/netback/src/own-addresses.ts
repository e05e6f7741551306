/**
 * What the key `ip` of a vif means for the slow path: its guest sends as itself only. The NIC and the plugin hold the
 * fast path to the same addresses. Xen's own toolstack has its hotplug script set rules in the kernel's bridge for it;
 * a network in user space has none, so netback judges each frame before the network has it.
 *
 * From the guest's own MAC: IP packets from one of its addresses, address resolution for one of them, and what a host
 * says before it has an address: DHCP (RFC 2131, 4.1), ARP probes (RFC 5227), duplicate address detection (RFC 4862)
 * and group reports (RFC 3810). With an IPv6 address comes the link-local one of its MAC (RFC 4291, appendix A). Other
 * protocols pass. One instance a vif; nothing is allocated per frame.
 */
import type { Address, VifIdentity } from '@netaccel/core-hooks';

/** EtherTypes (IEEE 802). */
const EtherType = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  rarp: 0x8035,
  ipv6: 0x86dd,
  serviceVlan: 0x88a8,
} as const;
const Next = { udp: 17, icmpv6: 58, hopByHop: 0 } as const;
/** Types of ICMPv6: group reports, and of neighbour discovery those that a host sends (RFC 2710, 3810, 4861). */
const Icmp = {
  listenerReport: 131,
  listenerDone: 132,
  solicitation: 133,
  neighbour: 135,
  advertisement: 136,
  listenerReport2: 143,
} as const;

const SOURCE_AT = 6;
const TYPE_AT = 12;
const TAG_BYTES = 4;
const MOST_TAGS = 2;
const MAC_BYTES = 6;
/** ARP over Ethernet for IPv4 (RFC 826): where the sender's addresses are, and the end. */
const ARP = { mac: 8, address: 14, end: 28 } as const;
const IPV4 = { protocol: 9, source: 12, destination: 16, end: 20 } as const;
const IPV6 = { next: 6, source: 8, end: 40 } as const;
const DHCP = { client: 68, server: 67 } as const;
/** Of an ICMPv6 neighbour message: where its target is, and where that ends. */
const TARGET = { at: 8, end: 24 } as const;

const V4_BYTES = 4;
const V6_BYTES = 16;

/** The addresses that a guest may send from. */
export class OwnAddresses {
  /** Whether there is anything to judge: else every frame may leave. */
  limited = false;
  private mac = new Uint8Array(MAC_BYTES);
  private v4: readonly Uint8Array[] = [];
  private v6: readonly Uint8Array[] = [];

  /** Takes over who the vif is now. */
  set({ mac, addresses }: VifIdentity): void {
    this.limited = addresses !== undefined;
    this.mac = Uint8Array.from(mac);
    this.v4 = (addresses ?? [])
      .filter(({ length }) => length === V4_BYTES)
      .map((each) => Uint8Array.from(each));
    this.v6 = (addresses ?? [])
      .filter(({ length }) => length === V6_BYTES)
      .map((each) => Uint8Array.from(each));
    if (this.v6.length > 0) this.v6 = [...this.v6, linkLocal(this.mac)];
  }

  /**
   * Whether a frame is from the guest itself.
   * @param bytes the memory.
   * @param at where the frame begins.
   * @param length its bytes, all of them there; at least an Ethernet header.
   */
  allow(bytes: Uint8Array, at: Address, length: number): boolean {
    const { mac } = this;
    if (!same(bytes, at + SOURCE_AT, mac)) return false;
    let header = TYPE_AT;
    let type = wordAt(bytes, at + header);
    for (let tags = 0; type === EtherType.vlan || type === EtherType.serviceVlan; tags++) {
      header += TAG_BYTES;
      if (tags === MOST_TAGS || header + 2 > length) return false; // nobody can tell what is in it
      type = wordAt(bytes, at + header);
    }
    const body = header + 2;
    switch (type) {
      case EtherType.ipv4:
        return this.allowIpv4(bytes, at + body, length - body);
      case EtherType.ipv6:
        return this.allowIpv6(bytes, at + body, length - body);
      case EtherType.arp:
        return (
          length - body >= ARP.end &&
          same(bytes, at + body + ARP.mac, mac) &&
          (isZero(bytes, at + body + ARP.address, V4_BYTES) || has(this.v4, bytes, at + body + ARP.address))
        );
      case EtherType.rarp:
        return length - body >= ARP.end && same(bytes, at + body + ARP.mac, mac);
      default:
        return true;
    }
  }

  /** The addresses as netback read them, for people; null when it may send from any. */
  describe(): readonly string[] | null {
    if (!this.limited) return null;
    const v6 = this.v6.slice(0, -1);
    return [
      ...this.v4.map((each) => each.join('.')),
      ...v6.map((each) => Array.from({ length: 8 }, (_, i) => wordAt(each, 2 * i).toString(16)).join(':')),
    ];
  }

  private allowIpv4(bytes: Uint8Array, at: Address, length: number): boolean {
    if (length < IPV4.end) return false;
    if (has(this.v4, bytes, at + IPV4.source)) return true;
    // Somebody who has no address yet asks for one.
    if (!isZero(bytes, at + IPV4.source, V4_BYTES) || bytes[at + IPV4.protocol] !== Next.udp) return false;
    for (let i = 0; i < V4_BYTES; i++) if (bytes[at + IPV4.destination + i] !== 0xff) return false;
    const udp = (bytes[at]! & 0xf) * 4;
    return (
      udp >= IPV4.end &&
      length >= udp + 4 &&
      wordAt(bytes, at + udp) === DHCP.client &&
      wordAt(bytes, at + udp + 2) === DHCP.server
    );
  }

  private allowIpv6(bytes: Uint8Array, at: Address, length: number): boolean {
    if (length < IPV6.end) return false;
    const unspecified = isZero(bytes, at + IPV6.source, V6_BYTES);
    if (!unspecified && !has(this.v6, bytes, at + IPV6.source)) return false;
    let next = bytes[at + IPV6.next]!;
    let body = IPV6.end;
    if (next === Next.hopByHop) {
      if (length < body + 8) return false;
      next = bytes[at + body]!;
      body += (bytes[at + body + 1]! + 1) * 8;
    }
    if (next !== Next.icmpv6) return !unspecified;
    if (length <= body) return false;
    const type = bytes[at + body]!;
    if (type === Icmp.advertisement || (unspecified && type === Icmp.neighbour))
      return length >= body + TARGET.end && has(this.v6, bytes, at + body + TARGET.at);
    if (!unspecified) return true;
    return (
      type === Icmp.solicitation ||
      type === Icmp.listenerReport ||
      type === Icmp.listenerDone ||
      type === Icmp.listenerReport2
    );
  }
}

function linkLocal(mac: Uint8Array): Uint8Array {
  const [a, b, c, d, e, f] = mac as unknown as readonly [number, number, number, number, number, number];
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function same(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

function has(addresses: readonly Uint8Array[], bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < addresses.length; i++) if (same(bytes, at, addresses[i]!)) return true;
  return false;
}
