import { Checksum, FramePool, Segmentation, holdChain, releaseChain, type Frame } from '@netaccel/core-hooks';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { MERGE_MAX_FRAGMENTS, ReceiveMerger, TransmitFlag } from '../src/index.js';
import { cutNaively, hex, macOf, makeFrame, pattern, type FrameSpec } from './frames.js';
import { Lab } from './lab.js';
import { PlainMemory, naiveSum } from './memory.js';

const memory = new PlainMemory(new ArrayBuffer(1 << 20));

interface Out {
  bytes: Uint8Array;
  fragments: number;
  checksum: Checksum;
  segmentation: Segmentation;
  segmentBytes: number;
}

/** A merger between frames as bytes; an odd headroom puts them at odd addresses. */
function bench(headroom = 2) {
  const pool = new FramePool(128, 4096 + headroom, 1700, 2048);
  const out: Out[] = [];
  let flushes = 0;
  const merger = new ReceiveMerger(memory, {
    deliver(frame) {
      const bytes: number[] = [];
      let fragments = 0;
      for (let f: Frame | null = frame; f !== null; f = f.next, fragments++)
        bytes.push(...memory.bytes.subarray(f.address, f.address + f.length));
      expect(frame.totalBytes).toBe(bytes.length);
      const { checksum, segmentation, segmentBytes } = frame;
      out.push({ bytes: Uint8Array.from(bytes), fragments, checksum, segmentation, segmentBytes });
    },
    flush: () => flushes++,
  });
  const push = (bytes: Uint8Array, change: (frame: Frame) => void = () => undefined) => {
    const frame = pool.allocate()!;
    frame.describe(frame.home, bytes.length);
    memory.bytes.set(bytes, frame.address);
    frame.checksum = Checksum.good;
    change(frame);
    merger.push(frame);
    frame.release();
  };
  const flush = () => {
    merger.flush();
    expect(pool.free).toBe(128);
    return out.splice(0);
  };
  return { pool, merger, push, flush, out, flushes: () => flushes };
}

const base: FrameSpec = {
  payload: pattern(4000),
  flags: 0x10,
  options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
};

describe.each([
  ['IPv4', 4 as const, 2],
  ['IPv6', 6 as const, 2],
  ['IPv4 at odd addresses', 4 as const, 3],
  ['IPv6 at odd addresses', 6 as const, 3],
])('merging %s', (_name, version, headroom) => {
  const spec = { ...base, version };

  it('feature 67: joins segments in sequence into what they were cut from', () => {
    const { push, flush, flushes } = bench(headroom);
    const large = { ...spec, flags: 0x18 };
    for (const segment of cutNaively(large, 1000)) push(segment);
    const [merged, ...rest] = flush();
    expect(rest).toEqual([]);
    expect(merged).toEqual({
      bytes: makeFrame({ ...large, checksum: 'pseudo' }),
      fragments: 4,
      checksum: Checksum.blank,
      segmentation: version === 4 ? Segmentation.tcpv4 : Segmentation.tcpv6,
      segmentBytes: 1000,
    });
    expect(flushes()).toBe(1);
  });

  it('joins segments whose checksums are still to be computed into the same', () => {
    const { push, flush } = bench(headroom);
    for (const segment of cutNaively(spec, 1000)) push(segment, (f) => (f.checksum = Checksum.blank));
    const [merged, ...rest] = flush();
    expect(rest).toEqual([]);
    expect(merged!.bytes).toEqual(makeFrame({ ...spec, checksum: 'pseudo' }));
    expect(merged!.checksum).toBe(Checksum.blank);
    expect(merged!.segmentBytes).toBe(1000);
  });

  it('feature 67: does not join segments that are too short for a card to cut them again', () => {
    for (const [length, merged] of [
      [47, 3],
      [48, 1],
    ] as const) {
      const { push, flush } = bench(headroom);
      const whole = { ...spec, flags: 0x10, payload: pattern(3 * length) };
      for (const segment of cutNaively(whole, length)) push(segment);
      expect(flush()).toHaveLength(merged);
    }
  });

  it('leaves a single segment as it is', () => {
    const { push, flush } = bench(headroom);
    const frame = makeFrame({ ...spec, payload: pattern(100) });
    push(frame);
    expect(flush()).toEqual([
      {
        bytes: frame,
        fragments: 1,
        checksum: Checksum.good,
        segmentation: Segmentation.none,
        segmentBytes: 0,
      },
    ]);
  });

  it('feature 67: ends a large frame at PSH, at FIN and at a short segment, at once', () => {
    for (const flags of [0x18, 0x11]) {
      const { push, out, flush } = bench(headroom);
      const segments = cutNaively({ ...spec, flags }, 1000);
      for (const segment of segments) push(segment);
      expect(out.length).toBe(1);
      push(makeFrame({ ...spec, sequence: 4001, identification: 5, payload: pattern(10) }));
      expect(flush().length).toBe(2);
    }
    const { push, out, flush } = bench(headroom);
    for (const segment of cutNaively({ ...spec, payload: pattern(2500) }, 1000)) push(segment);
    expect(out.map(({ fragments }) => fragments)).toEqual([3]);
    flush();
  });

  const breaks: [string, FrameSpec][] = [
    ['a gap in sequence', { sequence: 1002 }],
    ['a repetition', { sequence: 1 }],
    ['another acknowledgement', { acknowledgement: 9 }],
    ['another window', { window: 9 }],
    ['another timestamp', { options: [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 2] }],
    ['other options', { options: [1, 1, 1, 1] }],
    ['a congestion mark', { tos: 3 }],
    ['another hop limit', { ttl: 63 }],
    ['SYN', { flags: 0x12 }],
    ['RST', { flags: 0x14 }],
    ['URG', { flags: 0x30 }],
    ['ECE', { flags: 0x50 }],
    ['CWR', { flags: 0x90 }],
    ['no payload', { payload: new Uint8Array(0) }],
    ['a longer segment', { payload: pattern(1001) }],
    ['another source MAC', { from: macOf(9) }],
  ];
  it.each(breaks)('feature 67: does not join over %s, and keeps order', (_what, change) => {
    const { push, flush } = bench(headroom);
    const first = makeFrame({ ...spec, payload: pattern(1000) });
    const second = makeFrame({
      ...spec,
      payload: pattern(1000),
      sequence: 1001,
      identification: 2,
      ...change,
    });
    push(first);
    push(second);
    expect(flush().map(({ bytes }) => bytes)).toEqual([first, second]);
  });

  it('does not join what is not verified, what is held by others, or what is a chain', () => {
    const { push, flush } = bench(headroom);
    const segments = cutNaively(spec, 1000);
    let held: Frame | null = null;
    push(segments[0]!, (f) => (f.checksum = Checksum.unknown));
    push(segments[1]!, (f) => (f.checksum = Checksum.bad));
    push(segments[2]!, (f) => {
      f.hold();
      held = f;
    });
    push(segments[3]!);
    (held as Frame | null)!.release();
    expect(flush().map(({ bytes }) => bytes)).toEqual(segments);
  });

  it('keeps flows apart and joins each', () => {
    const { push, flush } = bench(headroom);
    const flows = [1, 2, 3].map((n) => cutNaively({ ...spec, sourcePort: n }, 1000));
    for (let i = 0; i < 4; i++) for (const flow of flows) push(flow[i]!);
    expect(flush().map(({ fragments }) => fragments)).toEqual([4, 4, 4]);
  });

  it('gives way to the newest of more flows than it keeps', () => {
    const { push, flush } = bench(headroom);
    for (let n = 0; n < 20; n++) push(makeFrame({ ...spec, sourcePort: n, payload: pattern(10) }));
    const ports = flush().map(({ bytes }) => bytes[version === 4 ? 35 : 55]!);
    expect(ports).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('stops at the most fragments', () => {
    const { push, flush } = bench(headroom);
    const segments = cutNaively({ ...spec, payload: pattern(100 * (MERGE_MAX_FRAGMENTS + 5)) }, 100);
    for (const segment of segments) push(segment);
    expect(flush().map(({ fragments }) => fragments)).toEqual([MERGE_MAX_FRAGMENTS, 5]);
  });

  it('stops at the longest IP packet', () => {
    const { push, flush } = bench(headroom);
    for (const segment of cutNaively({ ...spec, payload: pattern(1630 * 43) }, 1630)) push(segment);
    const [first, second] = flush();
    expect(first!.fragments).toBe(40);
    expect(first!.fragments + second!.fragments).toBe(43);
  });
});

describe('IPv4 identification', () => {
  it('must count up, so that cutting gives the same frames again', () => {
    const { push, flush } = bench();
    const first = makeFrame({ ...base, payload: pattern(1000), identification: 0xffff });
    const next = { ...base, payload: pattern(1000), sequence: 1001 };
    push(first);
    push(makeFrame({ ...next, identification: 0 }));
    expect(flush().map(({ fragments }) => fragments)).toEqual([2]);
    push(first);
    push(makeFrame({ ...next, identification: 0xffff }));
    expect(flush().map(({ fragments }) => fragments)).toEqual([1, 1]);
  });
});

describe('frames that are not TCP', () => {
  it('pass at once, while TCP is kept', () => {
    const { push, out, flush } = bench();
    push(makeFrame({ ...base, payload: pattern(100) }));
    push(makeFrame({ protocol: 'udp', payload: pattern(60) }));
    push(Uint8Array.from([...macOf(2), ...macOf(1), 8, 6, ...pattern(50)]));
    push(Uint8Array.from([...macOf(2), ...macOf(1)]));
    expect(out.length).toBe(3);
    expect(flush().length).toBe(4);
  });

  it('Ethernet padding is not payload', () => {
    const { push, flush } = bench();
    const spec = { payload: pattern(50), flags: 0x10 };
    push(Uint8Array.from([...makeFrame(spec), 9, 9, 9, 9]));
    const last = { ...spec, payload: pattern(2), sequence: 51, identification: 2 };
    push(Uint8Array.from([...makeFrame(last), 9, 9, 9, 9]));
    const [merged] = flush();
    expect(merged!.bytes.subarray(54)).toEqual(Uint8Array.from([...pattern(50), ...pattern(2)]));
  });
});

describe('the sink', () => {
  it('may hold the chain beyond the call', () => {
    const pool = new FramePool(8, 4096, 2048);
    const kept: Frame[] = [];
    const merger = new ReceiveMerger(memory, {
      deliver(frame) {
        holdChain(frame);
        kept.push(frame);
      },
      flush: () => undefined,
    });
    for (const segment of cutNaively(base, 1000)) {
      const frame = pool.allocate()!;
      frame.describe(frame.home, segment.length);
      frame.checksum = Checksum.good;
      memory.bytes.set(segment, frame.home);
      merger.push(frame);
      frame.release();
    }
    merger.flush();
    expect(pool.free).toBe(4);
    expect(merger.statistics).toEqual({ framesIn: 4, framesOut: 1, merged: 1 });
    for (const frame of kept) releaseChain(frame);
    expect(pool.free).toBe(8);
  });
});

describe('merging, then cutting', () => {
  const lab = new Lab();
  const a = lab.vi(0);
  const b = lab.vi(1);
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });

  test.prop(
    [
      fc.array(
        fc.record({
          port: fc.integer({ min: 1, max: 3 }),
          length: fc.integer({ min: 1, max: 4000 }),
          flags: fc.constantFrom(0x10, 0x18, 0x11, 0x50, 0x98),
          mss: fc.constantFrom(500, 1000, 1432),
        }),
        { maxLength: 8 },
      ),
      fc.constantFrom(4 as const, 6 as const),
      fc.integer({ min: 1, max: 6 }),
    ],
    { numRuns: 100 },
  )(
    'gives each flow its frames back, byte for byte',
    (bursts, version, flushEvery) => {
      const { push, flush } = bench();
      const sent: Uint8Array[] = [];
      const next = new Map<number, { sequence: number; identification: number }>();
      for (const { port, length, flags, mss } of bursts) {
        const at = next.get(port) ?? { sequence: 0xffff_f000 + port, identification: 0xfff0 };
        const spec: FrameSpec = {
          ...base,
          version,
          sourcePort: port,
          flags,
          payload: pattern(length, port),
          ...at,
        };
        const cut = cutNaively(spec, mss);
        sent.push(...cut);
        next.set(port, {
          sequence: (at.sequence + length) >>> 0,
          identification: (at.identification + cut.length) & 0xffff,
        });
      }
      const merged: Out[] = [];
      sent.forEach((bytes, i) => {
        push(bytes);
        if (i % (flushEvery * 4) === 0) merged.push(...flush());
      });
      merged.push(...flush());
      const got: Uint8Array[] = [];
      for (const { bytes, checksum, segmentation, segmentBytes } of merged) {
        const flags =
          (checksum === Checksum.blank ? TransmitFlag.checksum : 0) |
          (segmentation === Segmentation.none ? 0 : TransmitFlag.segment);
        a.send(bytes, flags, segmentBytes);
        got.push(...b.poll().map((frame) => frame.bytes));
        a.poll();
      }
      const portAt = version === 4 ? 35 : 55;
      const ofPort = (frames: Uint8Array[], port: number) => frames.filter((bytes) => bytes[portAt] === port);
      for (const port of [1, 2, 3]) expect(hex(ofPort(got, port))).toEqual(hex(ofPort(sent, port)));
      for (const { bytes } of merged)
        expect(naiveSum(bytes.subarray(14, 34)) === 0xffff || version === 6).toBe(true);
    },
    30_000,
  );
});
