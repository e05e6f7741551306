// When frames were received and sent, for VIs that ask for it, and what the clock is worth.
import { describe, expect, it } from 'vitest';
import { ClockState, EventBatch, EventType } from '../src/index.js';
import { macOf, makeFrame } from './frames.js';
import { Lab, type TestVi } from './lab.js';

/** Every event, oldest first: its type, and what a `time` event says. */
function events(of: TestVi): (number | [number, number, number])[] {
  const batch = new EventBatch(64);
  const found: (number | [number, number, number])[] = [];
  for (let n = of.vi.poll(batch); n > 0; n = of.vi.poll(batch))
    for (let i = 0; i < n; i++)
      found.push(
        batch.type[i] === EventType.time
          ? [batch.detail[i]! >>> 0, batch.id[i]!, batch.reason(i)]
          : batch.type[i]!,
      );
  return found;
}

function made(eventCapacity = 256) {
  const lab = new Lab();
  const a = lab.vi(0, { request: { timestamps: true } });
  const b = lab.vi(1, { eventCapacity, request: { timestamps: true } });
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  const send = (frames: number) => {
    for (let i = 0; i < frames; i++) a.vi.transmitInit(a.place(makeFrame({ sequence: i })), 54, i);
    a.vi.transmitPush();
  };
  return { lab, a, b, send };
}

describe('feature 69: timestamps', () => {
  it('come before what they are about, once for all that happened at that time', () => {
    const { lab, a, b, send } = made();
    lab.now = 12_345_678.5;
    send(3);
    expect(events(b)).toEqual([
      [12, 345_678_500, 0],
      EventType.receive,
      EventType.receive,
      EventType.receive,
    ]);
    expect(events(a)).toEqual([[12, 345_678_500, 0], EventType.transmit]);
    send(1);
    expect(events(b)).toEqual([EventType.receive]);
    lab.now += 0.25;
    send(1);
    expect(events(b)).toEqual([[12, 345_678_750, 0], EventType.receive]);
    expect(b.control.capabilities.timestamps).toBe(1);
  });

  it('say that the clock was set, and whether it is in sync', () => {
    const { lab, b, send } = made();
    const reasons: number[] = [];
    for (const state of [ClockState.set | ClockState.inSync, ClockState.set, 0, 0xff]) {
      lab.nics[1].setClockState(state);
      lab.now += 1;
      send(1);
      for (const event of events(b)) if (typeof event !== 'number') reasons.push(event[2]);
    }
    expect(reasons).toEqual([3, 1, 0, 3]);
  });

  it('are of the time of arrival on a wire with a delay', () => {
    const { lab, b, send } = made();
    lab.wire.set({ delayUs: 700 });
    lab.now = 4_294_967_295e6 + 999_999; // the last second that 32 bits can say
    send(1);
    lab.advance(0.5);
    expect(events(b)).toEqual([]);
    lab.advance(700);
    expect(events(b)).toEqual([[0, 699_500, 0], EventType.receive]);
  });

  it('take no room from frames when the queue is nearly full, and are not sent without being asked for', () => {
    const { lab, b, send } = made(16);
    for (let round = 0; round < 30; round++) {
      lab.now += 1;
      send(1);
    }
    const seen = events(b);
    const received = seen.filter((type) => type === EventType.receive).length;
    expect(received).toBeGreaterThanOrEqual(6);
    expect(seen.at(-1)).toBe(EventType.overflow);
    expect(b.counters()).toMatchObject({ rxFrames: received, rxNoEventSpace: 30 - received, overflows: 1 });
    lab.now += 1;
    send(1);
    expect(events(b)).toMatchObject([[0, 31_000, 0], EventType.receive]);
    const plain = new Lab();
    const [c, d] = [plain.vi(0), plain.vi(1)];
    d.control.addFilter(d.id, { kind: 'mac', mac: macOf(2) });
    c.send(makeFrame());
    expect(events(d)).toEqual([EventType.receive]);
  });
});
