// Frames of TCP and UDP over IPv4 and IPv6, made field by field; and an independent cutter.
import { naiveSum } from './memory.js';

export interface FrameSpec {
  to?: number[];
  from?: number[];
  vlan?: number;
  /** 4 or 6. */
  version?: 4 | 6;
  protocol?: 'tcp' | 'udp';
  source?: number[];
  destination?: number[];
  sourcePort?: number;
  destinationPort?: number;
  sequence?: number;
  acknowledgement?: number;
  /** TCP flags; ACK when left out. */
  flags?: number;
  window?: number;
  options?: number[];
  payload?: Uint8Array;
  identification?: number;
  tos?: number;
  ttl?: number;
  dontFragment?: boolean;
  /** How the transport checksum is written; right when left out. */
  checksum?: 'right' | 'wrong' | 'zero' | 'pseudo';
}

export const macOf = (n: number): number[] => [2, 0, 0, 0, 0, n];
export const ipOf = (n: number): number[] => [10, 0, 0, n];
export const ip6Of = (n: number): number[] => [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];

const be16 = (v: number): number[] => [(v >>> 8) & 255, v & 255];
const be32 = (v: number): number[] => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];

/** Bytes of a frame. */
export function makeFrame(spec: FrameSpec = {}): Uint8Array {
  const version = spec.version ?? 4;
  const address = version === 4 ? ipOf : ip6Of;
  const source = spec.source ?? address(1);
  const destination = spec.destination ?? address(2);
  const payload = spec.payload ?? new Uint8Array(0);
  const tcp = (spec.protocol ?? 'tcp') === 'tcp';
  const options = spec.options ?? [];
  const ports = [...be16(spec.sourcePort ?? 1000), ...be16(spec.destinationPort ?? 80)];
  const l4 = tcp
    ? [
        ...ports,
        ...be32(spec.sequence ?? 1),
        ...be32(spec.acknowledgement ?? 0),
        ((20 + options.length) / 4) << 4,
        spec.flags ?? 0x10,
        ...be16(spec.window ?? 0xffff),
        ...[0, 0],
        ...[0, 0],
        ...options,
      ]
    : [...ports, ...be16(8 + payload.length), 0, 0];
  const l4Bytes = l4.length + payload.length;
  const checksumAt = tcp ? 16 : 6;
  const pseudo = naiveSum(Uint8Array.from([...source, ...destination, 0, tcp ? 6 : 17, ...be16(l4Bytes)]));
  const whole = Uint8Array.from([...l4, ...payload]);
  let sum = ~naiveSum(whole, pseudo) & 0xffff;
  if (!tcp && sum === 0) sum = 0xffff;
  if (spec.checksum === 'wrong') sum ^= 0x0101;
  if (spec.checksum === 'zero') sum = 0;
  if (spec.checksum === 'pseudo') sum = pseudo;
  whole.set(be16(sum), checksumAt);
  const ip =
    version === 4
      ? ipv4Header(spec, source, destination, l4Bytes, tcp)
      : ipv6Header(spec, source, destination, l4Bytes, tcp);
  return Uint8Array.from([
    ...(spec.to ?? macOf(2)),
    ...(spec.from ?? macOf(1)),
    ...(spec.vlan === undefined ? [] : [0x81, 0, ...be16(spec.vlan)]),
    ...(version === 4 ? [8, 0] : [0x86, 0xdd]),
    ...ip,
    ...whole,
  ]);
}

function ipv4Header(
  spec: FrameSpec,
  source: number[],
  destination: number[],
  l4Bytes: number,
  tcp: boolean,
): number[] {
  const header = [
    0x45,
    spec.tos ?? 0,
    ...be16(20 + l4Bytes),
    ...be16(spec.identification ?? 1),
    spec.dontFragment === false ? 0 : 0x40,
    0,
    spec.ttl ?? 64,
    tcp ? 6 : 17,
    0,
    0,
    ...source,
    ...destination,
  ];
  const sum = ~naiveSum(Uint8Array.from(header)) & 0xffff;
  header[10] = sum >>> 8;
  header[11] = sum & 255;
  return header;
}

function ipv6Header(
  spec: FrameSpec,
  source: number[],
  destination: number[],
  l4Bytes: number,
  tcp: boolean,
): number[] {
  const tos = spec.tos ?? 0;
  return [
    0x60 | (tos >>> 4),
    (tos & 15) << 4,
    0,
    0,
    ...be16(l4Bytes),
    tcp ? 6 : 17,
    spec.ttl ?? 64,
    ...source,
    ...destination,
  ];
}

/** What a NIC should make of a large TCP frame: built from its fields, segment by segment. */
export function cutNaively(spec: FrameSpec, segmentBytes: number): Uint8Array[] {
  const payload = spec.payload ?? new Uint8Array(0);
  const segments: Uint8Array[] = [];
  const flags = spec.flags ?? 0x10;
  for (let at = 0, i = 0; at < payload.length || i === 0; at += segmentBytes, i++) {
    const last = at + segmentBytes >= payload.length;
    segments.push(
      makeFrame({
        ...spec,
        payload: payload.slice(at, at + segmentBytes),
        sequence: ((spec.sequence ?? 1) + at) >>> 0,
        identification: ((spec.identification ?? 1) + i) & 0xffff,
        flags: (last ? flags : flags & ~0x09) & (i === 0 ? 0xff : ~0x80),
        checksum: 'right',
      }),
    );
  }
  return segments;
}

/** Frames as text: compared far faster than byte by byte, and readable when they differ. */
export const hex = (frames: readonly Uint8Array[]): string[] =>
  frames.map((bytes) => Buffer.from(bytes).toString('hex'));

/** Bytes that tell where they came from. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => ((i + seed) * 2654435761) >>> 24);
}
