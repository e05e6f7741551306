// What is above the VI's verbs, where plugins are: when a frame was received, or sent, and what a VI that goes leaves.
import { describe, expect, it } from 'vitest';
import { ClockState, FrameVi, setUpVi } from '../src/index.js';
import { FakeGuest, FarEnd, frameOf, macOf } from '../src/testing/index.js';

async function made(timestamps: boolean, bytes?: number) {
  const guest = new FakeGuest({ request: { timestamps } });
  const far = new FarEnd(guest);
  const ready = await guest.during(setUpVi(guest.services, 8, [], () => undefined));
  guest.control.addFilter(guest.vi, { kind: 'mac', mac: macOf(0xa) });
  const seen: [string, number, number, number][] = [];
  const note = (what: string): void => {
    const { seconds, nanoseconds, state } = frames.time;
    seen.push([what, seconds, nanoseconds, state]);
  };
  const buffers = bytes === undefined ? ready.buffers : { ...ready.buffers, bytes };
  const frames = new FrameVi(ready.vi, ready.buses, buffers, {
    received: () => note('received'),
    completed: () => note('completed'),
    failed: () => note('failed'),
    event: (type) => note(`event ${type}`),
  });
  frames.replenish();
  return { guest, far, frames, seen };
}

describe('feature 69: the time of a frame', () => {
  it('is there while the handler is told of it, with what the clock is worth', async () => {
    const { guest, far, frames, seen } = await made(true);
    guest.clock.advance(1234);
    far.send(frameOf());
    guest.clock.advance(1);
    far.send(frameOf());
    far.send(frameOf());
    guest.nic.setClockState(ClockState.set | ClockState.inSync);
    guest.clock.advance(5000);
    frames.transmit(guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) })));
    frames.push();
    frames.poll(64);
    expect(seen).toEqual([
      ['received', 1, 234_000_000, 0],
      ['received', 1, 235_000_000, 0],
      ['received', 1, 235_000_000, 0],
      ['completed', 6, 235_000_000, 3],
    ]);
  });

  it('is 0 for a VI that did not ask for it', async () => {
    const { guest, far, frames, seen } = await made(false);
    guest.clock.advance(1234);
    far.send(frameOf());
    frames.poll(64);
    expect(seen).toEqual([['received', 0, 0, 0]]);
  });
});

describe('given up', () => {
  it.each([false, true])(
    'frames that lie in the queue are counted once, also when the NIC was reset: %s',
    async (reset) => {
      const { guest, far, frames, seen } = await made(false);
      far.send(frameOf());
      frames.poll(64);
      for (let i = 0; i < 3; i++) far.send(frameOf());
      if (reset) guest.nic.reset();
      frames.abandon();
      expect(frames.statistics).toMatchObject({ rxFrames: 1, rxErrors: 3 });
      expect(frames.held).toBe(0);
      if (!reset) guest.control.freeVi(guest.vi);
      expect(guest.control.portStatistics()).toMatchObject({ rxAbandoned: 0 });
      expect(seen.map(([what]) => what)).toEqual(['received']);
    },
  );

  it('a frame of which only the head was taken is counted, once', async () => {
    const { guest, far, frames, seen } = await made(false, 256);
    far.send(frameOf({ payload: new Uint8Array(600) }));
    // As many events as a poll takes at once may end within a frame.
    frames.poll(1);
    frames.abandon();
    guest.control.freeVi(guest.vi);
    expect(frames.statistics).toMatchObject({ rxFrames: 0, rxErrors: 1 });
    expect(seen).toEqual([]);
    expect(guest.control.portStatistics()).toMatchObject({ rxAbandoned: 0 });
  });

  it('what comes between that and the end of the VI the NIC counts', async () => {
    const { guest, far, frames } = await made(false);
    far.send(frameOf());
    frames.abandon();
    far.send(frameOf());
    far.send(frameOf());
    guest.control.freeVi(guest.vi);
    expect(frames.statistics).toMatchObject({ rxFrames: 0, rxErrors: 1 });
    expect(guest.control.portStatistics()).toMatchObject({ rxAbandoned: 2 });
  });
});
