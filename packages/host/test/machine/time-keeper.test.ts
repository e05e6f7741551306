import type { DomainLoop } from '@netaccel/xen/sim/workers';
import { describe, expect, it } from 'vitest';
import type { LabHardware } from '../../src/machine/hardware.js';
import { keepTime } from '../../src/machine/time-keeper.js';

/** A wire with frames due at certain times, a loop that is asked by hand, a clock that is set by hand. */
function bench() {
  let nowUs = 1_000_000;
  const due: number[] = [];
  const timers: { inMs: number; fn: () => void }[] = [];
  let poll: () => boolean = () => false;
  let advanced = 0;
  const hardware = {
    onDoorbell: () => undefined,
    advance: (now: number) => {
      advanced++;
      while (due.length > 0 && due[0]! <= now) due.shift();
      return due[0] ?? Infinity;
    },
  };
  const loop = {
    addPoller: (poller: () => boolean) => {
      poll = poller;
    },
    after: (inMs: number, fn: () => void) => {
      timers.push({ inMs, fn });
      return () => undefined;
    },
  };
  keepTime(loop as unknown as DomainLoop, hardware as unknown as LabHardware, () => nowUs);
  return {
    timers,
    due,
    send: (...inUs: number[]) => {
      due.push(...inUs.map((us) => nowUs + us));
      hardware.onDoorbell();
    },
    poll: () => poll(),
    pass: (us: number) => (nowUs += us),
    advanced: () => advanced,
  };
}

describe('the keeper of time', () => {
  it('does nothing while nothing is under way', () => {
    const { poll, timers, advanced } = bench();
    expect([poll(), poll(), timers.length, advanced()]).toEqual([false, false, 0, 0]);
  });

  it('waits awake for what is due soon, lets it arrive, and rests again', () => {
    const { send, poll, pass, due, timers, advanced } = bench();
    send(20, 40);
    expect(poll()).toBe(true); // looked: the first is due in 20 us
    expect([poll(), advanced()]).toEqual([true, 1]); // the loop stays awake, the device is left alone
    pass(20);
    expect([poll(), due.length]).toEqual([true, 1]);
    pass(20);
    expect([poll(), due.length]).toEqual([false, 0]);
    expect([poll(), timers.length, advanced()]).toEqual([false, 0, 3]);
  });

  it('sets a timer for what is due later, and sleeps until a little before', () => {
    const { send, poll, pass, due, timers } = bench();
    send(50_000);
    expect([poll(), poll(), timers.length]).toEqual([false, false, 1]);
    expect(timers[0]!.inMs).toBeCloseTo(49);
    pass(49_000);
    timers[0]!.fn();
    expect([poll(), due.length]).toEqual([true, 1]);
    pass(1000);
    expect([poll(), due.length]).toEqual([false, 0]);
  });

  it('looks once for many doorbells', () => {
    const { send, poll, advanced } = bench();
    send(100);
    send(200);
    send(300);
    poll();
    expect(advanced()).toBe(1);
  });
});
