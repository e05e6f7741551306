/**
 * Frames of the kit: UDP and TCP over IPv4 and IPv6 with right checksums, each with a flow and a serial number in its
 * payload, and what can be read of a frame that left or was delivered.
 */

/** Ethernet header bytes. */
export const ETHERNET = 14;
/** Bytes of the payload that are the flow's and the frame's numbers. */
export const TAG_BYTES = 8;

/** Protocol numbers. */
export const TCP = 6;
/** Protocol numbers. */
export const UDP = 17;

/** TCP flags. */
export const Tcp = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

/** What a frame is made from; what is left out is ordinary. */
export interface FrameSpec {
  readonly to?: ArrayLike<number>;
  readonly from?: ArrayLike<number>;
  readonly vlan?: number;
  /** IP version; 4 when left out. */
  readonly version?: 4 | 6;
  /** {@link UDP} when left out. */
  readonly protocol?: number;
  /** Last bytes of the addresses, and the ports. */
  readonly source?: number;
  readonly target?: number;
  readonly sourcePort?: number;
  readonly targetPort?: number;
  /** IPv4's word of flags and fragment offset. */
  readonly fragment?: number;
  /** IPv4's identification. */
  readonly id?: number;
  readonly sequence?: number;
  readonly flags?: number;
  /** Payload bytes; {@link TAG_BYTES} at least are filled in. */
  readonly payloadBytes?: number;
  /** The tag: two numbers of 32 bits. */
  readonly flow?: number;
  readonly serial?: number;
  /** Only the pseudo header is summed, as netif's `csum_blank` says. */
  readonly blank?: boolean;
  /** The checksum is wrong. */
  readonly bad?: boolean;
}

/** The Internet checksum's sum over bytes, folded. */
export function sumOf(bytes: ArrayLike<number>, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** Bytes of a frame. */
export function frameOf(spec: FrameSpec): Uint8Array {
  const { version = 4, protocol = UDP, source = 2, target = 1, fragment = 0, flow = 0, serial = 0 } = spec;
  const payloadBytes = Math.max(spec.payloadBytes ?? TAG_BYTES, 0);
  const tag = spec.vlan === undefined ? 0 : 4;
  const l3 = ETHERNET + tag;
  const l4 = l3 + (version === 4 ? 20 : 40);
  const header = protocol === TCP ? 20 : 8;
  const bytes = new Uint8Array(l4 + header + payloadBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(Array.from(spec.to ?? []), 0);
  bytes.set(Array.from(spec.from ?? []), 6);
  if (spec.vlan !== undefined) view.setUint32(12, 0x8100_0000 + spec.vlan);
  view.setUint16(12 + tag, version === 4 ? 0x0800 : 0x86dd);
  const l4Bytes = header + payloadBytes;
  const addresses = [addressOf(version, source), addressOf(version, target)];
  if (version === 4) {
    view.setUint16(l3, 0x4500);
    view.setUint16(l3 + 2, 20 + l4Bytes);
    view.setUint16(l3 + 4, spec.id ?? serial & 0xffff);
    view.setUint16(l3 + 6, fragment);
    view.setUint16(l3 + 8, 0x4000 + protocol);
    bytes.set(addresses[0]!, l3 + 12);
    bytes.set(addresses[1]!, l3 + 16);
    view.setUint16(l3 + 10, ~sumOf(bytes.subarray(l3, l4)) & 0xffff);
  } else {
    view.setUint32(l3, 0x6000_0000);
    view.setUint16(l3 + 4, l4Bytes);
    view.setUint16(l3 + 6, (protocol << 8) + 64);
    bytes.set(addresses[0]!, l3 + 8);
    bytes.set(addresses[1]!, l3 + 24);
  }
  view.setUint16(l4, spec.sourcePort ?? 7000);
  view.setUint16(l4 + 2, spec.targetPort ?? 7001);
  if (protocol === TCP) {
    view.setUint32(l4 + 4, spec.sequence ?? 1);
    view.setUint32(l4 + 8, 1);
    view.setUint16(l4 + 12, 0x5000 + (spec.flags ?? Tcp.ack));
    view.setUint16(l4 + 14, 0xffff);
  } else view.setUint16(l4 + 4, l4Bytes);
  const payload = l4 + header;
  for (let i = payload; i < bytes.length; i++) bytes[i] = (i * 31 + serial * 7 + flow) & 0xff;
  if (payloadBytes >= TAG_BYTES) {
    view.setUint32(payload, flow);
    view.setUint32(payload + 4, serial);
  }
  const field = l4 + (protocol === TCP ? 16 : 6);
  if (protocol === TCP || protocol === UDP) {
    const pseudo = pseudoSum(bytes, l3, version, protocol, l4Bytes);
    const whole = ~sumOf(bytes.subarray(l4), pseudo) & 0xffff;
    view.setUint16(field, spec.blank === true ? pseudo : protocol === UDP && whole === 0 ? 0xffff : whole);
    if (spec.bad === true) view.setUint16(field, whole ^ 0x1234 || 1);
  }
  return bytes;
}

/** What is read of a frame; offsets from its first byte. */
export interface ParsedFrame {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly l3: number;
  readonly l4: number;
  readonly payload: number;
  /** End of the IP packet. */
  readonly end: number;
  /** Both checksums are right, IPv4's header and the transport's. */
  readonly headerGood: boolean;
  readonly transportGood: boolean;
  readonly id: number;
  readonly sequence: number;
  readonly flags: number;
}

/** Reads a TCP or UDP frame; null when it is none. */
export function parse(bytes: Uint8Array): ParsedFrame | null {
  if (bytes.length < ETHERNET + 28) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const l3 = view.getUint16(12) === 0x8100 ? ETHERNET + 4 : ETHERNET;
  const type = view.getUint16(l3 - 2);
  const version = type === 0x0800 ? 4 : type === 0x86dd ? 6 : null;
  if (version === null || (version === 6 && bytes.length < l3 + 48)) return null;
  const l4 = l3 + (version === 4 ? (bytes[l3]! & 15) * 4 : 40);
  const end = version === 4 ? l3 + view.getUint16(l3 + 2) : l4 + view.getUint16(l3 + 4);
  const protocol = version === 4 ? bytes[l3 + 9]! : bytes[l3 + 6]!;
  const header = protocol === TCP ? 20 : protocol === UDP ? 8 : 0;
  if (header === 0 || end > bytes.length || end < l4 + header) return null;
  const payload = protocol === TCP ? l4 + (bytes[l4 + 12]! >>> 4) * 4 : l4 + 8;
  if (payload > end) return null;
  return {
    version,
    protocol,
    l3,
    l4,
    payload,
    end,
    headerGood: version === 6 || sumOf(bytes.subarray(l3, l4)) === 0xffff,
    transportGood:
      sumOf(bytes.subarray(l4, end), pseudoSum(bytes, l3, version, protocol, end - l4)) === 0xffff,
    id: version === 4 ? view.getUint16(l3 + 4) : 0,
    sequence: protocol === TCP ? view.getUint32(l4 + 4) : 0,
    flags: protocol === TCP ? bytes[l4 + 13]! : 0,
  };
}

/** The tag of a frame; null when it has none. */
export function tagOf(bytes: Uint8Array): { flow: number; serial: number } | null {
  const at = parse(bytes);
  if (at === null || at.end - at.payload < TAG_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { flow: view.getUint32(at.payload), serial: view.getUint32(at.payload + 4) };
}

/** Whether two frames have the same bytes. */
export function same(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Where two frames differ, in words. */
export function difference(seen: Uint8Array, wanted: Uint8Array): string {
  if (seen.length !== wanted.length) return `${seen.length} bytes instead of ${wanted.length}`;
  const at = seen.findIndex((byte, i) => byte !== wanted[i]);
  return at < 0
    ? 'no difference'
    : `byte ${at} is 0x${seen[at]!.toString(16)} instead of 0x${wanted[at]!.toString(16)}`;
}

/** The address that ends in `last`, of the kit's network of that version. */
export function addressOf(version: 4 | 6, last: number): number[] {
  return version === 4 ? [10, 0, 0, last] : [0xfd, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, last];
}

function pseudoSum(bytes: Uint8Array, l3: number, version: 4 | 6, protocol: number, l4Bytes: number): number {
  const addresses = version === 4 ? bytes.subarray(l3 + 12, l3 + 20) : bytes.subarray(l3 + 8, l3 + 40);
  return sumOf(addresses, protocol + l4Bytes);
}
