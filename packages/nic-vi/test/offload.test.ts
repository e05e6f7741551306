import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { EventFlag, EventType, TransmitError, TransmitFlag } from '../src/index.js';
import { WireChecksums } from '../src/model/index.js';
import { cutNaively, hex, ipOf, macOf, makeFrame, pattern, type FrameSpec } from './frames.js';
import { Lab, type ViOptions } from './lab.js';

function pair(viA: ViOptions = {}, mtu = 1500) {
  const lab = new Lab({ nic: { mtu }, wire: { mtu } });
  const a = lab.vi(0, viA);
  const b = lab.vi(1);
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  return { lab, a, b };
}
const verdict = (flags: number) => ({
  good: (flags & EventFlag.checksumGood) !== 0,
  bad: (flags & EventFlag.checksumBad) !== 0,
  blank: (flags & EventFlag.checksumBlank) !== 0,
});

describe('feature 39: transmit checksum', () => {
  const shapes: [string, FrameSpec][] = [
    ['TCP', { payload: pattern(31) }],
    ['UDP', { payload: pattern(32), protocol: 'udp' }],
    ['TCP over IPv6', { payload: pattern(1), version: 6 }],
    ['UDP over IPv6 with a tag', { payload: pattern(77), version: 6, protocol: 'udp', vlan: 9 }],
    ['TCP with options and a tag', { options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], vlan: 4095 }],
  ];
  for (const before of ['zero', 'pseudo', 'wrong'] as const)
    it.each(shapes)(`of %s is filled in whatever was there (${before})`, (_name, shape) => {
      const { a, b } = pair();
      a.send(makeFrame({ ...shape, checksum: before }), TransmitFlag.checksum);
      const [got] = b.poll();
      expect(got!.bytes).toEqual(makeFrame(shape));
      expect(verdict(got!.flags)).toEqual({ good: true, bad: false, blank: false });
    });

  it('of UDP is 0xffff where it would be zero', () => {
    for (let i = 0; i < 0x10000; i += 1) {
      const payload = Uint8Array.of(i >>> 8, i & 255);
      const frame = makeFrame({ protocol: 'udp', payload });
      if (frame[40] !== 0xff || frame[41] !== 0xff) continue;
      const { a, b } = pair();
      a.send(makeFrame({ protocol: 'udp', payload, checksum: 'zero' }), TransmitFlag.checksum);
      expect(b.poll()[0]!.bytes).toEqual(frame);
      return;
    }
    throw new Error('no payload has a sum of zero');
  });

  it('is filled in across fragments of odd lengths', () => {
    const { a, b } = pair();
    const spec = { payload: pattern(301) };
    const frame = makeFrame({ ...spec, checksum: 'zero' });
    const cuts = [0, 37, 51, 100, 103, frame.length];
    const parts = cuts.slice(1).map((end, i) => ({
      bus: a.place(frame.slice(cuts[i], end), 4096 * i + 7),
      length: end - cuts[i]!,
    }));
    a.vi.transmitvInit(
      parts.map((p) => p.bus),
      parts.map((p) => p.length),
      parts.length,
      1,
      TransmitFlag.checksum,
    );
    a.vi.transmitPush();
    expect(b.poll()[0]!.bytes).toEqual(makeFrame(spec));
  });

  it('is left alone where there is none', () => {
    const { a, b } = pair();
    const arp = Uint8Array.from([...macOf(2), ...macOf(1), 8, 6, ...pattern(28)]);
    const fragment = makeFrame({ payload: pattern(20), checksum: 'zero' });
    fragment[21] = 3;
    for (const frame of [arp, fragment]) a.send(frame, TransmitFlag.checksum);
    const got = b.poll();
    expect(got.map(({ bytes }) => bytes)).toEqual([arp, fragment]);
    for (const { flags } of got) expect(verdict(flags)).toEqual({ good: false, bad: false, blank: false });
  });

  it('is the pseudo header sum and a mark on a wire that says blank', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ checksums: WireChecksums.blank });
    for (const version of [4, 6] as const) {
      a.send(makeFrame({ version, payload: pattern(50), checksum: 'zero' }), TransmitFlag.checksum);
      const [got] = b.poll();
      expect(got!.bytes).toEqual(makeFrame({ version, payload: pattern(50), checksum: 'pseudo' }));
      expect(verdict(got!.flags)).toEqual({ good: false, bad: false, blank: true });
    }
    // Where somebody looks at the wire, it is computed all the same.
    lab.wire.set({ capture: true });
    a.send(makeFrame({ payload: pattern(50), checksum: 'zero' }), TransmitFlag.checksum);
    expect(b.poll()[0]!.bytes).toEqual(makeFrame({ payload: pattern(50) }));
  });
});

describe('feature 64: receive checksum', () => {
  it.each([
    [{}, 'good'],
    [{ checksum: 'wrong' }, 'bad'],
    [{ version: 6 }, 'good'],
    [{ version: 6, checksum: 'wrong' }, 'bad'],
    [{ protocol: 'udp', checksum: 'zero' }, 'none'],
    [{ protocol: 'udp', version: 6, checksum: 'zero' }, 'bad'],
    [{ protocol: 'udp', checksum: 'wrong', vlan: 3 }, 'bad'],
  ] as [FrameSpec, string][])('of %j is %s', (spec, expected) => {
    const { a, b } = pair();
    a.send(makeFrame({ ...spec, payload: pattern(9) }));
    const [got] = b.poll();
    expect(verdict(got!.flags)).toEqual({ good: expected === 'good', bad: expected === 'bad', blank: false });
    expect(b.counters()['rxChecksumBad']).toBe(expected === 'bad' ? 1 : 0);
  });

  it('is bad when the IPv4 header is', () => {
    const { a, b } = pair();
    const frame = makeFrame({ payload: pattern(4) });
    frame[22] = 63;
    a.send(frame);
    expect(verdict(b.poll()[0]!.flags).bad).toBe(true);
  });
});

describe('feature 40, feature 41: segmentation', () => {
  it.each([4, 6] as const)(
    'of IPv%d is what an independent cutter makes, over scattered pages',
    (version) => {
      const { a, b } = pair();
      const spec: FrameSpec = {
        version,
        payload: pattern(30_001, version),
        options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        flags: 0x99 | 0x40,
        sequence: 0xffff_ff00,
        identification: 0xfffa,
        vlan: 12,
      };
      const large = makeFrame({ ...spec, checksum: 'pseudo' });
      // In three fragments, the first of which ends within the headers.
      const cuts = [0, 30, 9000, large.length];
      const parts = [0, 1, 2].map((i) => ({
        bus: a.place(large.slice(cuts[i], cuts[i + 1]), [20 * 4096, 0, 24 * 4096 + 100][i]),
        length: cuts[i + 1]! - cuts[i]!,
      }));
      a.vi.transmitvInit(
        parts.map((p) => p.bus),
        parts.map((p) => p.length),
        3,
        5,
        TransmitFlag.segment,
        1400,
      );
      a.vi.transmitPush();
      const got = b.poll();
      expect(got.map(({ bytes }) => bytes)).toEqual(cutNaively(spec, 1400));
      for (const { flags } of got) expect(verdict(flags).good).toBe(true);
    },
  );

  test.prop(
    [
      fc.integer({ min: 1, max: 9000 }),
      fc.integer({ min: 48, max: 1444 }),
      fc.constantFrom(4 as const, 6 as const),
      fc.integer({ min: 0, max: 255 }),
      fc.nat(0xffff_ffff),
    ],
    { numRuns: 100 },
  )(
    'agrees with the independent cutter',
    (length, mss, version, flags, sequence) => {
      const { a, b } = pair();
      const spec: FrameSpec = {
        version,
        payload: pattern(length, mss),
        flags,
        sequence,
        identification: length,
      };
      a.send(makeFrame({ ...spec, checksum: 'zero' }), TransmitFlag.segment, mss);
      const got: Uint8Array[] = [];
      for (let more = b.poll(); more.length > 0; more = b.poll()) got.push(...more.map(({ bytes }) => bytes));
      // The ring has 64 buffers; what came is the front of what was sent.
      expect(hex(got)).toEqual(hex(cutNaively(spec, mss).slice(0, got.length)));
      expect(got.length).toBe(Math.min(64, Math.ceil(length / mss)));
    },
    30_000,
  );

  it('refuses what it cannot cut, with an error', () => {
    const tries: [Uint8Array, number][] = [
      [makeFrame({ protocol: 'udp', payload: pattern(3000) }), 1000],
      [makeFrame({ payload: pattern(3000) }), 47],
      [makeFrame({ payload: pattern(3000) }), 1480],
      [Uint8Array.from([...macOf(2), ...macOf(1), 8, 6, ...pattern(3000)]), 1000],
    ];
    const fragment = makeFrame({ payload: pattern(3000) });
    fragment[21] = 1;
    tries.push([fragment, 1000]);
    for (const [frame, mss] of tries) {
      const { a, b } = pair();
      a.send(frame, TransmitFlag.segment, mss);
      a.poll();
      expect(b.poll()).toEqual([]);
      expect(a.others).toMatchObject([{ type: EventType.transmitError, reason: TransmitError.segmentation }]);
    }
  });
});

describe('anti-spoof', () => {
  it('hole 2.16 #17: drops frames with another source MAC or address, counts them, and completes them', () => {
    const { a, b } = pair({
      request: { antiSpoof: { mac: macOf(1), addresses: [ipOf(1), [...ipOf(1).slice(0, 3), 7]] } },
    });
    const tries: [FrameSpec, boolean][] = [
      [{}, true],
      [{ source: ipOf(7) }, true],
      [{ source: ipOf(8) }, false],
      [{ from: macOf(9) }, false],
      [{ version: 6 }, false],
      [{ payload: pattern(3000) }, true],
      [{ payload: pattern(3000), from: macOf(9) }, false],
    ];
    const ids: number[] = [];
    for (const [spec, allowed] of tries) {
      ids.push(a.send(makeFrame(spec), spec.payload === undefined ? 0 : TransmitFlag.segment, 1400));
      expect([spec, b.poll().length > 0]).toEqual([spec, allowed]);
    }
    a.poll();
    expect(a.completed).toEqual(ids);
    expect(a.counters()).toMatchObject({ txSpoofed: 4, txErrors: 0 });
  });

  it('lets other protocols of its own MAC pass', () => {
    const { a, b } = pair({ request: { antiSpoof: { mac: macOf(1), addresses: [ipOf(1)] } } });
    a.send(Uint8Array.from([...macOf(2), ...macOf(1), 8, 6, ...pattern(28)]));
    expect(b.poll().length).toBe(1);
  });
});
