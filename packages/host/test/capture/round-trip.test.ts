// What is written is what is read, and no bytes whatever make the reader throw or run on.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CaptureDirection, CaptureWriter, readCapture } from '../../src/capture/index.js';
import { concat } from './hex.js';

const packet = fc.record({
  bytes: fc.uint8Array({ maxLength: 300 }),
  device: fc.nat({ max: 2 }),
  direction: fc.constantFrom(...Object.values(CaptureDirection)),
  timeNs: fc.maxSafeNat(),
  comment: fc.option(fc.string({ maxLength: 40, unit: 'binary' }), { nil: undefined }),
  packetId: fc.option(fc.maxSafeNat(), { nil: undefined }),
});

function write(
  format: 'pcap' | 'pcapng',
  names: readonly string[],
  originMs: number,
  packets: readonly (typeof packet extends fc.Arbitrary<infer T> ? T : never)[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = CaptureWriter.over((bytes) => parts.push(bytes.slice()), {
    format,
    originMs,
    bufferBytes: 0,
  });
  for (const name of names) writer.addInterface({ name });
  for (const p of packets) writer.packet(p.bytes, p.device, p.direction, p.timeNs, p.comment, p.packetId);
  writer.close();
  return concat(...parts);
}

const moment = (originMs: number, timeNs: number) => {
  const ns = BigInt(originMs) * 1_000_000n + BigInt(timeNs);
  return { seconds: Number(ns / 1_000_000_000n), nanoseconds: Number(ns % 1_000_000_000n) };
};
/** Zero bytes at the end of a text are taken for padding. */
const trimmed = (text: string) => text.replace(/\0+$/, '');
const originMs = fc.nat({ max: 4_000_000_000_000 });

describe('a round trip', () => {
  test('of pcapng', () => {
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 40 }), originMs, (packets, origin) => {
        const capture = readCapture(write('pcapng', ['a', 'b', 'ü'], origin, packets));
        expect(capture.faults).toEqual([]);
        expect(capture.interfaces.map((i) => i.name)).toEqual(['a', 'b', 'ü']);
        expect(
          capture.packets.map(({ bytes, direction, time, comments, packetId, interface: { index } }) => ({
            bytes,
            direction,
            time,
            comments,
            packetId,
            index,
          })),
        ).toEqual(
          packets.map((p) => ({
            bytes: p.bytes,
            direction: p.direction,
            time: moment(origin, p.timeNs),
            comments: p.comment === undefined ? [] : [trimmed(p.comment)],
            packetId: p.packetId === undefined ? null : BigInt(p.packetId),
            index: p.device,
          })),
        );
      }),
    );
  });

  test('of pcap', () => {
    const early = packet.map((p) => ({ ...p, timeNs: p.timeNs % 2e14 }));
    fc.assert(
      fc.property(fc.array(early, { maxLength: 40 }), originMs, (packets, origin) => {
        const capture = readCapture(write('pcap', ['a', 'b', 'c'], origin, packets));
        expect(capture.faults).toEqual([]);
        expect(capture.packets.map(({ bytes, time }) => ({ bytes, time }))).toEqual(
          packets.map((p) => ({ bytes: p.bytes, time: moment(origin, p.timeNs) })),
        );
      }),
    );
  });
});

describe('hostile bytes', () => {
  const sound = (format: 'pcap' | 'pcapng') =>
    write(
      format,
      ['a', 'b', 'c'],
      0,
      Array.from({ length: 6 }, (_, i) => ({
        bytes: new Uint8Array(i * 9),
        device: i % 3,
        direction: CaptureDirection.inbound,
        timeNs: i,
        comment: 'slow',
        packetId: i,
      })),
    );

  test.each(['pcap', 'pcapng'] as const)('%s with some bytes changed', (format) => {
    const bytes = sound(format);
    const change = fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
        const damaged = bytes.slice();
        for (const [at, value] of changes) damaged[at] = value;
        const { packets, faults } = readCapture(damaged);
        for (const p of packets) expect(p.bytes.length).toBeLessThanOrEqual(damaged.length);
        for (const fault of faults) expect(fault.offset).toBeLessThanOrEqual(damaged.length);
      }),
      { numRuns: 2000 },
    );
  });

  test('any bytes behind a magic', () => {
    const magics = [0xa1b2c3d4, 0xa1b23c4d, 0x0a0d0d0a].flatMap((magic) => {
      const view = new DataView(new ArrayBuffer(8));
      view.setUint32(0, magic);
      view.setUint32(4, magic, true);
      return [new Uint8Array(view.buffer, 0, 4), new Uint8Array(view.buffer, 4, 4)];
    });
    fc.assert(
      fc.property(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 200 }), (magic, rest) => {
        const bytes = concat(magic, rest);
        const { packets } = readCapture(bytes);
        expect(packets.reduce((sum, p) => sum + p.bytes.length, 0)).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000 },
    );
  });
});
