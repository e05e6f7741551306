// What is above the VI's verbs, where plugins are: when a frame was received, or sent.
import { describe, expect, it } from 'vitest';
import { ClockState, FrameVi, setUpVi } from '../src/index.js';
import { FakeGuest, FarEnd, frameOf, macOf } from '../src/testing/index.js';

async function made(timestamps: boolean) {
  const guest = new FakeGuest({ request: { timestamps } });
  const far = new FarEnd(guest);
  const ready = await guest.during(setUpVi(guest.services, 8, [], () => undefined));
  guest.control.addFilter(guest.vi, { kind: 'mac', mac: macOf(0xa) });
  const seen: [string, number, number, number][] = [];
  const note = (what: string): void => {
    const { seconds, nanoseconds, state } = frames.time;
    seen.push([what, seconds, nanoseconds, state]);
  };
  const frames = new FrameVi(ready.vi, ready.buses, ready.buffers, {
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
