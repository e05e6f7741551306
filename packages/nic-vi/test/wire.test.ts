import { describe, expect, it } from 'vitest';
import { EventFlag, EventType, TransmitFlag } from '../src/index.js';
import { cutNaively, macOf, makeFrame, pattern } from './frames.js';
import { Lab } from './lab.js';

function pair(options = {}) {
  const lab = new Lab(options);
  const a = lab.vi(0);
  const b = lab.vi(1);
  a.control.addFilter(a.id, { kind: 'mac', mac: macOf(1) });
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  return { lab, a, b };
}
const numbered = (n: number) => makeFrame({ sequence: n, payload: pattern(46) });
const numbers = (frames: { bytes: Uint8Array }[]) =>
  frames.map(({ bytes }) => new DataView(bytes.buffer).getUint32(38));

describe('a wire with a rate and a delay', () => {
  it('delivers each frame when its last bit has arrived, and says when to call', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ bitsPerSecond: 100e6, delayUs: 50 });
    for (let i = 0; i < 3; i++) a.send(numbered(i));
    a.poll();
    expect(a.completed.length).toBe(3);
    // 100 bytes and 24 of the line's own take 9.92 microseconds.
    expect(lab.advance(0)).toBeCloseTo(59.92);
    expect(b.poll()).toEqual([]);
    expect(lab.advance(59.93)).toBeCloseTo(69.84);
    expect(numbers(b.poll())).toEqual([0]);
    expect(lab.advance(100)).toBe(Infinity);
    expect(numbers(b.poll())).toEqual([1, 2]);
  });

  it('works in both directions at once', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ delayUs: 10 });
    a.send(numbered(1));
    b.send(makeFrame({ to: macOf(1), from: macOf(2) }));
    lab.advance(10);
    expect([a.poll().length, b.poll().length]).toEqual([1, 1]);
  });

  it('makes the sender wait when it is full, and keeps order as it drains', () => {
    const { lab, a, b } = pair({ wire: { slots: 16 } });
    lab.wire.set({ delayUs: 10 });
    const sent: number[] = [];
    const got: number[] = [];
    for (let i = 0; i < 40; i++) {
      sent.push(i);
      a.send(numbered(i));
    }
    a.poll();
    expect(a.completed.length).toBe(15);
    for (let i = 0; i < 4; i++) {
      lab.advance(10);
      got.push(...numbers(b.poll()));
    }
    expect(got).toEqual(sent);
    a.poll();
    expect(a.completed.length).toBe(40);
    expect(lab.wire.statistics(0)).toMatchObject({ frames: 40, bytes: 4000 });
  });

  it('goes on in the middle of a frame that is being cut', () => {
    const { lab, a, b } = pair({ wire: { slots: 8 } });
    lab.wire.set({ delayUs: 10 });
    const spec = { payload: pattern(20_000) };
    a.send(makeFrame({ ...spec, checksum: 'zero' }), TransmitFlag.segment, 1000);
    a.send(numbered(7));
    const got: Uint8Array[] = [];
    for (let i = 0; i < 5; i++) {
      lab.advance(10);
      got.push(...b.poll().map(({ bytes }) => bytes));
    }
    expect(got).toEqual([...cutNaively(spec, 1000), numbered(7)]);
    a.poll();
    expect(a.completed.length).toBe(2);
  });

  it('keeps order when the rate is taken away with frames under way', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ delayUs: 100 });
    a.send(numbered(0));
    lab.wire.set({ delayUs: 0 });
    a.send(numbered(1));
    expect(b.poll()).toEqual([]);
    lab.advance(100);
    a.send(numbered(2));
    expect(numbers(b.poll())).toEqual([0, 1, 2]);
  });

  it('verifies what arrives later by its own bytes', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ delayUs: 1 });
    a.send(makeFrame({ payload: pattern(64), checksum: 'zero' }), TransmitFlag.checksum);
    a.send(makeFrame({ payload: pattern(64), checksum: 'wrong' }));
    lab.advance(1);
    const got = b.poll();
    expect(got.map(({ flags }) => (flags & EventFlag.checksumGood) !== 0)).toEqual([true, false]);
    expect(got[0]!.bytes).toEqual(makeFrame({ payload: pattern(64) }));
  });
});

describe('faults', () => {
  it('happen to the frames that the script names, and are counted', () => {
    const { lab, a, b } = pair();
    lab.wire.set({
      faults: {
        script: [
          { frame: 2, fault: 'drop' },
          { frame: 4, fault: 'duplicate' },
          { frame: 5, fault: 'corrupt' },
        ],
      },
    });
    for (let i = 1; i <= 6; i++) a.send(numbered(i));
    const got = b.poll();
    expect(numbers(got).filter((n) => n <= 6).length).toBeGreaterThanOrEqual(5);
    expect(got.length).toBe(6);
    expect(got.filter(({ flags }) => (flags & EventFlag.checksumBad) !== 0).length).toBeLessThanOrEqual(1);
    expect(lab.wire.statistics(0)).toMatchObject({ dropped: 1, duplicated: 1, corrupted: 1, frames: 6 });
    expect(lab.wire.statistics(1)).toMatchObject({ frames: 0 });
  });

  it('come with the probability asked for, the same for the same seed', () => {
    const run = (seed: number) => {
      const { lab, a, b } = pair();
      lab.wire.set({ faults: { drop: 0.1, corrupt: 0.05, duplicate: 0.05, seed } });
      const seen: number[] = [];
      for (let i = 0; i < 2000; i++) {
        a.send(numbered(i));
        seen.push(...numbers(b.poll()));
        a.poll();
      }
      const counted = lab.wire.statistics(0);
      expect(seen.length).toBe(2000 - counted['dropped']! + counted['duplicated']!);
      return { seen, counted };
    };
    const first = run(7);
    expect(run(7)).toEqual(first);
    expect(run(8)).not.toEqual(first);
    expect(first.counted['dropped']).toBeGreaterThan(140);
    expect(first.counted['dropped']).toBeLessThan(260);
    expect(first.counted['corrupted']).toBeGreaterThan(50);
    expect(first.counted['duplicated']).toBeGreaterThan(50);
  });

  it('end when they are taken away', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ faults: { drop: 1 } });
    a.send(numbered(1));
    lab.wire.set({ faults: {} });
    a.send(numbered(2));
    expect(numbers(b.poll())).toEqual([2]);
  });
});

describe('capture', () => {
  it('shows what went over the wire, both ways, as bytes that a wire has', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ capture: true });
    lab.now = 5;
    a.send(makeFrame({ payload: pattern(20), checksum: 'zero' }), TransmitFlag.checksum);
    b.send(makeFrame({ to: macOf(1), from: macOf(2) }));
    expect(b.poll().length).toBe(1);
    const seen: [number, number, Uint8Array][] = [];
    const visit = (direction: number, time: number, at: number, length: number) =>
      seen.push([direction, time, lab.memory.bytes.slice(at, at + length)]);
    expect(lab.wire.drainCapture(visit)).toBe(2);
    expect(seen).toEqual([
      [0, 5, makeFrame({ payload: pattern(20) })],
      [1, 5, makeFrame({ to: macOf(1), from: macOf(2) })],
    ]);
    for (let i = 0; i < 20; i++) a.send(numbered(i));
    expect(lab.wire.drainCapture(visit)).toBe(16);
    expect(lab.wire.statistics(0)).toMatchObject({ captured: 17, captureLost: 4 });
  });
});

describe('link', () => {
  it('feature 80: tells every VI when it changes; frames sent without it are counted and completed', () => {
    const { lab, a, b } = pair();
    expect(a.vi.linkUp).toBe(true);
    b.vi.prime();
    lab.wire.setLink(false);
    expect(lab.interrupts).toEqual([b.request.vector]);
    a.send(numbered(1));
    a.poll();
    b.poll();
    expect([a.vi.linkUp, b.vi.linkUp]).toEqual([false, false]);
    expect(a.completed.length).toBe(1);
    expect(a.counters()).toMatchObject({ txNoLink: 1, txFrames: 0 });
    expect(a.control.portStatistics()).toMatchObject({ txNoLink: 1 });
    lab.wire.setLink(false);
    lab.wire.setLink(true);
    b.poll();
    expect(b.others).toEqual([
      { type: EventType.link, detail: 0, reason: 0 },
      { type: EventType.link, detail: 0, reason: 1 },
    ]);
    a.send(numbered(2));
    expect(numbers(b.poll())).toEqual([2]);
  });

  it('drops what the wire or the other port does not carry', () => {
    const { lab, a, b } = pair({ nic: { mtu: 9000 } });
    a.send(makeFrame({ payload: pattern(2000) }));
    expect(b.poll()).toEqual([]);
    expect(lab.wire.statistics(0)).toMatchObject({ tooLong: 1 });
  });
});
