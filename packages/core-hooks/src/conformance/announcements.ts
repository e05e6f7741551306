/** How a station says that it is here now: the frames that hosts and hypervisors send when a guest has moved in. */
import { addressOf, sumOf } from './frames.js';

/** Ethernet's shortest frame, without its checksum. */
const SHORTEST = 60;
const EVERYBODY = new Uint8Array(6).fill(0xff);
/** IPv6's group of all nodes, and its MAC address (RFC 2464 section 7). */
const ALL_NODES = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const ICMPV6 = 58;

/** An announcement: what it is called, and its frame for a MAC address and the last byte of its IP address. */
export interface Announcement {
  readonly what: string;
  readonly frame: (mac: Uint8Array, last: number) => Uint8Array;
}

/** All of them. */
export const announcements: readonly Announcement[] = [
  // RFC 5227 section 3: a request for its own address, the target's hardware address left empty.
  { what: 'a gratuitous ARP request', frame: (mac, last) => arp(0x0806, 1, mac, last, new Uint8Array(6)) },
  { what: 'a gratuitous ARP reply', frame: (mac, last) => arp(0x0806, 2, mac, last, mac) },
  { what: 'an unsolicited IPv6 neighbour advertisement', frame: neighbourAdvertisement },
  // As hypervisors send it for a guest whose IP address they do not know (RFC 903: operation 3).
  { what: 'a RARP request', frame: (mac) => arp(0x8035, 3, mac, null, mac) },
];

function arp(
  type: number,
  operation: number,
  mac: Uint8Array,
  last: number | null,
  target: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(SHORTEST);
  const view = new DataView(bytes.buffer);
  const address = last === null ? [0, 0, 0, 0] : addressOf(4, last);
  bytes.set(EVERYBODY, 0);
  bytes.set(mac, 6);
  view.setUint16(12, type);
  view.setUint16(14, 1);
  view.setUint16(16, 0x0800);
  view.setUint16(18, 0x0604);
  view.setUint16(20, operation);
  bytes.set(mac, 22);
  bytes.set(address, 28);
  bytes.set(target, 32);
  bytes.set(address, 38);
  return bytes;
}

/** RFC 4861 section 4.4, with the override flag and the target's link-layer address. */
function neighbourAdvertisement(mac: Uint8Array, last: number): Uint8Array {
  const bytes = new Uint8Array(54 + 32);
  const view = new DataView(bytes.buffer);
  const address = addressOf(6, last);
  bytes.set(ALL_NODES_MAC, 0);
  bytes.set(mac, 6);
  view.setUint16(12, 0x86dd);
  view.setUint32(14, 0x6000_0000);
  view.setUint16(18, 32);
  view.setUint16(20, (ICMPV6 << 8) | 255);
  bytes.set(address, 22);
  bytes.set(ALL_NODES, 38);
  view.setUint16(54, 136 << 8);
  view.setUint32(58, 0x2000_0000);
  bytes.set(address, 62);
  view.setUint16(78, 0x0201);
  bytes.set(mac, 80);
  view.setUint16(56, ~sumOf(bytes.subarray(54), sumOf(bytes.subarray(22, 54), ICMPV6 + 32)) & 0xffff);
  return bytes;
}
