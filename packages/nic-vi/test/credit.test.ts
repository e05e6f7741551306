// A VI with a rate limit: what it sends is paid for, in order, and never more than it has credit for.
import { describe, expect, it } from 'vitest';
import { EventType, NicError, TransmitError, TransmitFlag } from '../src/index.js';
import { macOf, makeFrame, pattern } from './frames.js';
import { Lab } from './lab.js';

const MOST = 65_553;

function pair() {
  const lab = new Lab();
  const a = lab.vi(0);
  const b = lab.vi(1);
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  return { lab, a, b };
}

describe('feature 47: transmit credit', () => {
  it('of none was never asked for: nothing is held back', () => {
    const { a, b } = pair();
    for (let i = 0; i < 40; i++) a.send(makeFrame());
    expect(b.poll()).toHaveLength(40);
    expect(a.counters()).toMatchObject({ txCreditWaits: 0 });
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: null, waitingForCredit: false });
    expect(a.control.capabilities.transmitRate).toBe(1);
  });

  it('lets whole frames through, in order; the rest waits in the ring and goes when there is more', () => {
    const { a, b } = pair();
    expect(a.control.addCredit(a.id, 0, MOST)).toBe(0);
    const sent = Array.from({ length: 6 }, (_, i) => makeFrame({ payload: pattern(100 + i) }));
    const bytes = sent.map(({ length }) => length);
    const ids = sent.map((frame) => a.send(frame));
    expect(b.poll()).toEqual([]);
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: 0, waitingForCredit: true });
    // Enough for two, and all but a byte of the third.
    expect(a.control.addCredit(a.id, bytes[0]! + bytes[1]! + bytes[2]! - 1, MOST)).toBe(0);
    expect(b.poll().map(({ bytes: seen }) => seen)).toEqual(sent.slice(0, 2));
    a.poll();
    expect(a.completed).toEqual(ids.slice(0, 2));
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: bytes[2]! - 1 });
    a.control.addCredit(a.id, 1, MOST);
    expect(b.poll().map(({ bytes: seen }) => seen)).toEqual([sent[2]]);
    a.control.addCredit(a.id, Infinity, Infinity);
    expect(b.poll().map(({ bytes: seen }) => seen)).toEqual(sent.slice(3));
    a.poll();
    expect(a.completed).toEqual(ids);
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: null, waitingForCredit: false });
  });

  it('is saved up to a bound; what does not fit comes back', () => {
    const { a } = pair();
    expect(a.control.addCredit(a.id, 100, 250)).toBe(0);
    expect(a.control.addCredit(a.id, 100, 250)).toBe(0);
    expect(a.control.addCredit(a.id, 100, 250)).toBe(50);
    expect(a.control.addCredit(a.id, 100, 250)).toBe(100);
    expect(a.control.addCredit(a.id, 0, 200)).toBe(0); // a lower bound takes away, and gives nothing back
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: 200 });
    for (const [bytes, most] of [
      [-1, 1],
      [NaN, 1],
      [1, -1],
    ])
      expect(() => a.control.addCredit(a.id, bytes!, most!)).toThrow(NicError);
    expect(() => a.control.addCredit(99, 1, 1)).toThrow(/NIC reset/);
  });

  it('pays for a chain and for a large frame once, by its bytes before it is cut', () => {
    const { a, b } = pair();
    a.control.addCredit(a.id, 0, MOST);
    const large = makeFrame({ payload: pattern(5000) });
    const bus = a.place(large);
    const cut = [1000, 2000, large.length - 3000];
    a.vi.transmitvInit([bus, bus + 1000, bus + 3000], cut, 3, 1, TransmitFlag.segment, 1400);
    a.vi.transmitPush();
    a.control.addCredit(a.id, large.length - 1, MOST);
    expect(b.poll()).toEqual([]);
    a.control.addCredit(a.id, 1, MOST);
    expect(b.poll()).toHaveLength(4);
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: 0 });
  });

  it('is not spent on a frame for which the wire has no room, whole or half cut', () => {
    const lab = new Lab({ wire: { slots: 4 } });
    const a = lab.vi(0);
    const b = lab.vi(1);
    b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
    lab.wire.set({ delayUs: 100 });
    const large = makeFrame({ payload: pattern(5000) });
    const small = makeFrame();
    a.control.addCredit(a.id, large.length + 2 * small.length, MOST);
    a.send(small);
    a.send(large, TransmitFlag.segment, 1400);
    a.send(small);
    let seen = 0;
    for (let i = 0; i < 20; i++) {
      lab.advance(100);
      seen += b.poll().length;
    }
    expect(seen).toBe(6);
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: 0, waitingForWire: false });
    expect(a.counters()).toMatchObject({ txCreditWaits: 0, txFrames: 6 });
  });

  it('waits behind no frame that is refused, and is there again after the queue is', () => {
    const { a, b } = pair();
    a.control.addCredit(a.id, 0, MOST);
    a.vi.transmitInit(0xffff_f000, 60, 7);
    a.vi.transmitPush();
    a.poll();
    expect(a.others).toMatchObject([{ type: EventType.transmitError, reason: TransmitError.rights }]);
    a.vi.transmitReinitialise(new Int32Array(64));
    a.send(makeFrame());
    expect(b.poll()).toEqual([]);
    a.control.addCredit(a.id, 100, MOST);
    expect(b.poll()).toHaveLength(1);
  });

  it.each([1, 2, 3, 4])('holds under any mixture of frames and grants (seed %i)', (seed) => {
    const { a, b } = pair();
    let state = seed;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % below;
    };
    a.control.addCredit(a.id, 0, 4000);
    let granted = 0;
    let sent = 0;
    const expected: number[] = [];
    const seen: number[] = [];
    for (let i = 0; i < 2000; i++) {
      if (random(3) > 0 && a.vi.transmitSpace > 0) {
        const frame = makeFrame({ payload: pattern(1 + random(1400)), sequence: i });
        expected.push(frame.length);
        a.send(frame);
      } else {
        const bytes = random(2000);
        granted += bytes - a.control.addCredit(a.id, bytes, 4000);
      }
      for (const { bytes } of b.poll()) {
        sent += bytes.length;
        seen.push(bytes.length);
      }
      a.poll();
      expect(sent).toBeLessThanOrEqual(granted);
      expect(granted - sent).toBeLessThanOrEqual(4000);
    }
    expect(seen).toEqual(expected.slice(0, seen.length));
    expect(seen.length).toBeGreaterThan(500);
    expect(a.control.describeVi(a.id)).toMatchObject({ credit: granted - sent });
  });

  it('ends with the VI: the next one in its place has no limit', () => {
    const { lab, a, b } = pair();
    a.control.addCredit(a.id, 0, MOST);
    a.send(makeFrame());
    a.control.freeVi(a.id);
    const next = lab.vi(0);
    expect(next.id).toBe(a.id);
    next.send(makeFrame());
    expect(b.poll()).toHaveLength(1);
  });
});
