/** Frames for tests: TCP and UDP over IPv4 and IPv6, ARP, fragments. No checksum is right; nobody here looks. */

/** A station's address, by a number. */
export const macOf = (n: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 0, n);
/** Everybody's address. */
export const broadcast = new Uint8Array(6).fill(0xff);

/** What a frame is like. */
export interface FrameSpec {
  /** Destination; station 0x0a when left out. */
  to?: ArrayLike<number>;
  /** Source; station 0x0b when left out. */
  from?: ArrayLike<number>;
  /** VLAN tag; none when left out. */
  vlan?: number;
  /** Of IP. */
  version?: 4 | 6;
  /** Of IP; UDP when left out. */
  protocol?: number;
  /** Last byte of the destination address. */
  host?: number;
  /** Destination port. */
  port?: number;
  /** Source port. */
  sourcePort?: number;
  /** IPv4's word of flags and fragment offset. */
  fragment?: number;
  /** Bytes behind the headers. */
  payload?: ArrayLike<number>;
}

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];

/** Bytes of a frame; UDP unless told otherwise. */
export function frameOf(spec: FrameSpec = {}): Uint8Array {
  const { version = 4, protocol = 17, host = 2, port = 80, sourcePort = 1000, fragment = 0 } = spec;
  const payload = Array.from(spec.payload ?? [1, 2, 3, 4]);
  const ports = [...be16(sourcePort), ...be16(port)];
  const l4 =
    protocol === 6
      ? [...ports, ...[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0], ...payload]
      : [...ports, ...be16(8 + payload.length), 0, 0, ...payload];
  const address = (n: number): number[] =>
    version === 4 ? [10, 0, 0, n] : [0xfd, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, n];
  const ip =
    version === 4
      ? [
          0x45,
          0,
          ...be16(20 + l4.length),
          0,
          1,
          ...be16(fragment),
          64,
          protocol,
          0,
          0,
          ...address(1),
          ...address(host),
        ]
      : [0x60, 0, 0, 0, ...be16(l4.length), protocol, 64, ...address(1), ...address(host)];
  return Uint8Array.from([
    ...Array.from(spec.to ?? macOf(0xa)),
    ...Array.from(spec.from ?? macOf(0xb)),
    ...(spec.vlan === undefined ? [] : [0x81, 0, ...be16(spec.vlan)]),
    ...(version === 4 ? [8, 0] : [0x86, 0xdd]),
    ...ip,
    ...l4,
  ]);
}

/** A gratuitous ARP: reply-type, broadcast. */
export function announcement(mac: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set(broadcast);
  bytes.set(Array.from(mac), 6);
  bytes.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12);
  bytes.set(Array.from(mac), 22);
  return bytes;
}
