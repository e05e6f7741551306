// captures/mixed.pcapng, which the demo replays: it is what the script makes, and holds what it promises.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import * as capture from '../../src/capture/index.js';
import { CaptureWriter, readCapture } from '../../src/capture/index.js';
import { concat } from './hex.js';

interface Script {
  readonly SEED: number;
  readonly FRAMES: number;
  readonly ORIGIN_MS: number;
  writeMixed(host: typeof capture, writer: CaptureWriter, seed: number): void;
}
const script = (await import(new URL('../../scripts/make-capture.mjs', import.meta.url).href)) as Script;
const committed = fileURLToPath(new URL('../../captures/mixed.pcapng', import.meta.url));

test('is current: run `node scripts/make-capture.mjs` after a build when this fails', () => {
  const parts: Uint8Array[] = [];
  const writer = CaptureWriter.over((bytes) => parts.push(bytes.slice()), {
    format: 'pcapng',
    originMs: script.ORIGIN_MS,
    comment: `made by scripts/make-capture.mjs with seed ${script.SEED}`,
  });
  script.writeMixed(capture, writer, script.SEED);
  expect(Buffer.compare(readFileSync(committed), concat(...parts))).toBe(0);
});

describe('holds', () => {
  const { packets, interfaces, faults } = readCapture(committed);
  const u16 = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!;
  const kinds = packets.map(({ bytes }) => {
    const isTagged = u16(bytes, 12) === 0x8100;
    const at = isTagged ? 18 : 14;
    const type = u16(bytes, at - 2);
    const name = { 0x0800: 'ipv4', 0x0806: 'arp', 0x86dd: 'ipv6' }[type] ?? 'other';
    const protocol = name === 'ipv4' ? bytes[at + 9]! : name === 'ipv6' ? bytes[at + 6]! : 0;
    return `${isTagged ? 'vlan ' : ''}${name}${protocol === 0 ? '' : ` ${protocol}`}`;
  });

  test('200 frames of 60 to 9014 bytes on two interfaces, whole and in order of time', () => {
    expect(faults).toEqual([]);
    expect(packets).toHaveLength(script.FRAMES);
    expect(interfaces.map((i) => i.name)).toEqual(['alpha.a', 'alpha.eth0']);
    const lengths = packets.map((p) => p.bytes.length);
    expect(Math.min(...lengths)).toBe(60);
    expect(Math.max(...lengths)).toBe(9014);
    expect(packets.every((p) => p.originalBytes === p.bytes.length)).toBe(true);
    const times = packets.map((p) => p.time!.seconds * 1e9 + p.time!.nanoseconds);
    expect(times).toEqual([...times].sort((x, y) => x - y));
  });

  test('ARP, ICMP, UDP and TCP over IPv4 and IPv6, with and without a VLAN tag', () => {
    expect([...new Set(kinds)].sort()).toEqual([
      'arp',
      'ipv4 1',
      'ipv4 17',
      'ipv4 6',
      'ipv6 17',
      'ipv6 58',
      'ipv6 6',
      'vlan arp',
      'vlan ipv4 17',
      'vlan ipv4 6',
      'vlan ipv6 58',
    ]);
  });

  test('both directions and all three paths', () => {
    expect(new Set(packets.map((p) => p.direction))).toEqual(new Set([1, 2]));
    expect(new Set(packets.map((p) => p.comments[0]))).toEqual(new Set(['slow', 'fast', 'native']));
  });
});
