// Ethernet frames put together by hand, with right checksums: ARP, IPv4, IPv6, ICMP, UDP, TCP, VLAN tags.
// Used by make-capture.mjs. A host here is { mac, ip4, ip6 } as byte arrays; a frame is a Uint8Array without FCS.

const ETHER = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd };
const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 };
/** Shortest Ethernet frame without its frame check sequence. */
const LEAST_FRAME_BYTES = 60;

export const TCP = { fin: 1, syn: 2, psh: 8, ack: 16 };

/** @param {number} value */
const u16 = (value) => [(value >>> 8) & 0xff, value & 0xff];
/** @param {number} value */
const u32 = (value) => [...u16(value >>> 16), ...u16(value)];

/**
 * The Internet checksum of several byte strings, each padded to 16 bits (RFC 1071).
 * @param {ArrayLike<number>[]} parts
 */
function checksum(...parts) {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i] << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * A mulberry32 generator: the same seed, the same frames.
 * @param {number} seed
 */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * @typedef {{ mac: number[], ip4: number[], ip6: number[] }} Host
 * @typedef {{ version: 4 | 6, vlan?: number }} Link how packets travel between two hosts
 */

/**
 * @param {number[]} to
 * @param {number[]} from
 * @param {number} type
 * @param {Uint8Array} payload
 * @param {number} [vlan]
 */
function ethernet(to, from, type, payload, vlan) {
  const header = [
    ...to,
    ...from,
    ...(vlan === undefined ? [] : [...u16(ETHER.vlan), ...u16(vlan)]),
    ...u16(type),
  ];
  const frame = new Uint8Array(Math.max(LEAST_FRAME_BYTES, header.length + payload.length));
  frame.set(header);
  frame.set(payload, header.length);
  return frame;
}

const BROADCAST = [255, 255, 255, 255, 255, 255];

/**
 * @param {Host} from
 * @param {Host} to
 * @param {boolean} isReply
 * @param {number} [vlan]
 */
export function arp(from, to, isReply, vlan) {
  const target = isReply ? to.mac : [0, 0, 0, 0, 0, 0];
  const body = [...u16(1), ...u16(ETHER.ipv4), 6, 4, ...u16(isReply ? 2 : 1)];
  body.push(...from.mac, ...from.ip4, ...target, ...to.ip4);
  return ethernet(isReply ? to.mac : BROADCAST, from.mac, ETHER.arp, Uint8Array.from(body), vlan);
}

/**
 * One packet of either IP version.
 * @param {Host} from
 * @param {Host} to
 * @param {Link} link
 * @param {number} protocol
 * @param {Uint8Array} body
 * @param {{ id?: number, fragment?: number, more?: boolean, hops?: number, mac?: number[], ip6?: number[] }} [how]
 */
function ip(from, to, link, protocol, body, how = {}) {
  const { id = 0, fragment = 0, more = false, hops = 64, mac = to.mac, ip6 = to.ip6 } = how;
  /** @type {number[]} */
  let header;
  if (link.version === 4) {
    const flags = more ? 0x2000 : fragment > 0 ? 0 : 0x4000;
    header = [
      0x45,
      0,
      ...u16(20 + body.length),
      ...u16(id),
      ...u16(flags | (fragment >>> 3)),
      hops,
      protocol,
      0,
      0,
    ];
    header.push(...from.ip4, ...to.ip4);
    header.splice(10, 2, ...u16(checksum(header)));
  } else {
    header = [0x60, 0, 0, 0, ...u16(body.length), protocol, hops, ...from.ip6, ...ip6];
  }
  const packet = new Uint8Array(header.length + body.length);
  packet.set(header);
  packet.set(body, header.length);
  return ethernet(mac, from.mac, link.version === 4 ? ETHER.ipv4 : ETHER.ipv6, packet, link.vlan);
}

/**
 * Fills in a checksum that covers the pseudo header (RFC 793, RFC 8200 section 8.1).
 * @param {Host} from
 * @param {Host} to
 * @param {Link} link
 * @param {number} protocol
 * @param {Uint8Array} body with zeros where the checksum goes
 * @param {number} at where it goes
 * @param {number[]} [ip6] destination, when it is not `to`
 */
function seal(from, to, link, protocol, body, at, ip6 = to.ip6) {
  const pseudo =
    link.version === 4
      ? [...from.ip4, ...to.ip4, 0, protocol, ...u16(body.length)]
      : [...from.ip6, ...ip6, ...u32(body.length), 0, 0, 0, protocol];
  const sum = checksum(pseudo, body);
  body.set(u16(protocol === PROTOCOL.udp && sum === 0 ? 0xffff : sum), at);
  return body;
}

/**
 * @param {ArrayLike<number>} head
 * @param {ArrayLike<number>} data
 */
function join(head, data) {
  const body = new Uint8Array(head.length + data.length);
  body.set(head);
  body.set(data, head.length);
  return body;
}

/**
 * @param {Host} from
 * @param {Host} to
 * @param {Link} link
 * @param {{ reply: boolean, id: number, sequence: number, data: Uint8Array }} what
 */
export function echo(from, to, link, { reply, id, sequence, data }) {
  if (link.version === 4) {
    const body = join([reply ? 0 : 8, 0, 0, 0, ...u16(id), ...u16(sequence)], data);
    body.set(u16(checksum(body)), 2);
    return ip(from, to, link, PROTOCOL.icmp, body, { id: sequence });
  }
  const body = join([reply ? 129 : 128, 0, 0, 0, ...u16(id), ...u16(sequence)], data);
  return ip(from, to, link, PROTOCOL.icmpv6, seal(from, to, link, PROTOCOL.icmpv6, body, 2));
}

/**
 * IPv6's question for a MAC address, to the solicited-node group (RFC 4861).
 * @param {Host} from
 * @param {Host} to
 * @param {number} [vlan]
 */
export function neighbourSolicitation(from, to, vlan) {
  const low = to.ip6.slice(13);
  const group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...low];
  const link =
    vlan === undefined ? { version: /** @type {const} */ (6) } : { version: /** @type {const} */ (6), vlan };
  const body = Uint8Array.from([135, 0, 0, 0, 0, 0, 0, 0, ...to.ip6, 1, 1, ...from.mac]);
  seal(from, to, link, PROTOCOL.icmpv6, body, 2, group);
  return ip(from, to, link, PROTOCOL.icmpv6, body, {
    hops: 255,
    mac: [0x33, 0x33, 0xff, ...low],
    ip6: group,
  });
}

/**
 * The answer to it.
 * @param {Host} from
 * @param {Host} to
 * @param {number} [vlan]
 */
export function neighbourAdvertisement(from, to, vlan) {
  const link =
    vlan === undefined ? { version: /** @type {const} */ (6) } : { version: /** @type {const} */ (6), vlan };
  const body = Uint8Array.from([136, 0, 0, 0, 0x60, 0, 0, 0, ...from.ip6, 2, 1, ...from.mac]);
  return ip(from, to, link, PROTOCOL.icmpv6, seal(from, to, link, PROTOCOL.icmpv6, body, 2), { hops: 255 });
}

/**
 * @param {Host} from
 * @param {Host} to
 * @param {Link} link
 * @param {{ source: number, target: number, id?: number, data: Uint8Array }} what
 */
export function udp(from, to, link, { source, target, id = 0, data }) {
  const body = join([...u16(source), ...u16(target), ...u16(8 + data.length), 0, 0], data);
  return ip(from, to, link, PROTOCOL.udp, seal(from, to, link, PROTOCOL.udp, body, 6), { id });
}

/**
 * A UDP datagram in two IPv4 fragments.
 * @param {Host} from
 * @param {Host} to
 * @param {{ source: number, target: number, id: number, data: Uint8Array, cut: number }} what `cut`: bytes of the
 * first fragment's payload, a multiple of 8
 */
export function udpFragments(from, to, { source, target, id, data, cut }) {
  /** @type {Link} */
  const link = { version: 4 };
  const body = join([...u16(source), ...u16(target), ...u16(8 + data.length), 0, 0], data);
  seal(from, to, link, PROTOCOL.udp, body, 6);
  return [
    ip(from, to, link, PROTOCOL.udp, body.slice(0, cut), { id, more: true }),
    ip(from, to, link, PROTOCOL.udp, body.slice(cut), { id, fragment: cut }),
  ];
}

/**
 * @param {Host} from
 * @param {Host} to
 * @param {Link} link
 * @param {{ source: number, target: number, sequence: number, acknowledge: number, flags: number, mss?: number,
 *   id?: number, data?: Uint8Array }} what
 */
export function tcp(
  from,
  to,
  link,
  { source, target, sequence, acknowledge, flags, mss, id, data = new Uint8Array() },
) {
  const options = mss === undefined ? [] : [2, 4, ...u16(mss)];
  const length = 20 + options.length;
  const head = [
    ...u16(source),
    ...u16(target),
    ...u32(sequence),
    ...u32(acknowledge),
    (length / 4) << 4,
    flags,
  ];
  head.push(...u16(64_240), 0, 0, 0, 0, ...options);
  return ip(from, to, link, PROTOCOL.tcp, seal(from, to, link, PROTOCOL.tcp, join(head, data), 16), {
    id: id ?? 0,
  });
}
