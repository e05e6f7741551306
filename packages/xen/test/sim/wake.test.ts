// Sleeping and waking, and a domain's own loop, on one thread: a waker that is a script stands for the others.
import { beforeEach, describe, expect, test } from 'vitest';
import { DomainLoop } from '../../src/sim/domain-loop.js';
import { Lab, defaultShape, domainRecord } from '../../src/sim/index.js';
import { Bed, wakeDomain } from '../../src/sim/wake.js';
import type { Waker } from '../../src/sim/wake.js';

let lab: Lab;
let slot: number;
let sleeps: number[];
let woken: number[];
/** What happens elsewhere while the thread sleeps, one for each sleep; then the machine stops. */
let meanwhile: (() => void)[];
let waker: Waker;

const record = (field: keyof typeof domainRecord.fields): number =>
  (lab.plan.record(slot) + domainRecord.fields[field].offset) >>> 2;

beforeEach(() => {
  lab = Lab.create({ ...defaultShape, pages: 2048, domains: 4, ports: 64 }, true);
  slot = lab.createDomain(0, 1);
  sleeps = [];
  woken = [];
  meanwhile = [];
  waker = {
    handle: 42,
    wake: (handle) => woken.push(handle),
    sleep: (timeoutMs) => {
      sleeps.push(timeoutMs);
      const event = meanwhile.shift();
      if (event === undefined) lab.memory.words[record('stop')] = 1;
      else event();
    },
  };
  lab.onSignal = (other) => wakeDomain(lab, other, (handle) => waker.wake(handle));
});

describe('a bed', () => {
  test('says whether somebody woke the sleeper, and is woken once', () => {
    const bed = new Bed(lab, slot, waker);
    expect(lab.memory.words[record('waker')]).toBe(42);
    meanwhile = [
      () => undefined,
      () => {
        lab.ports.send(slot, 3);
        lab.ports.send(slot, 4);
      },
    ];
    expect(bed.sleep(10, () => true)).toBe(false);
    expect(bed.sleep(20, () => true)).toBe(true);
    expect([sleeps, woken]).toEqual([[10, 20], [42]]);
  });

  test('is not slept in when work came just before', () => {
    const bed = new Bed(lab, slot, waker);
    const idle = (): boolean => {
      lab.ports.send(slot, 3); // after the last look, before the sleep
      return !lab.ports.waiting(slot);
    };
    expect(bed.sleep(10, idle)).toBe(true);
    expect([sleeps, woken]).toEqual([[], [42]]);
  });

  test('a domain that is awake is not woken', () => {
    new Bed(lab, slot, waker);
    lab.ports.send(slot, 3);
    expect(woken).toEqual([]);
  });

  test('a thread that has no waker leaves it to the sleep’s own end', () => {
    const bed = new Bed(lab, slot, waker);
    meanwhile = [() => wakeDomain(lab, slot, undefined)];
    expect(bed.sleep(5, () => true)).toBe(true);
    expect(woken).toEqual([]);
  });

  test('without a waker it is Atomics.wait, which ends by itself', () => {
    const bed = new Bed(lab, slot, undefined);
    expect(bed.sleep(1, () => true)).toBe(false);
  });
});

describe('a loop', () => {
  const loopOf = (): DomainLoop => new DomainLoop(lab, slot, { waker, spinMicros: 0 });

  test('runs tasks in turn, delivers events, reads mail, and sleeps when all is done', async () => {
    const loop = loopOf();
    const story: string[] = [];
    loop.connect({
      deliver: () => lab.ports.twoLevel.take(slot, (port) => story.push(`event ${port}`)),
      mail: () => story.push('mail'),
      idle: () => undefined,
    });
    let left = 2;
    const greedy = loop.task((budget) => {
      story.push(`greedy ${budget}`);
      return --left > 0;
    });
    const other = loop.task(() => (story.push('other'), false));
    meanwhile = [
      () => {
        lab.ports.send(slot, 9);
        greedy.raise();
        greedy.raise();
        other.raise();
      },
      () => {
        Atomics.add(lab.memory.words, record('mail'), 1);
        wakeDomain(lab, slot, (handle) => waker.wake(handle));
      },
    ];
    await loop.run();
    expect(story).toEqual(['event 9', 'greedy 64', 'other', 'greedy 64', 'mail']);
    greedy.cancel();
    greedy.cancel();
    greedy.raise();
    other.cancel();
    expect([loop.tasks, loop.timers]).toEqual([0, 0]);
  });

  test('sleeps until the next timer, at most 100 ms, and no timer comes early', async () => {
    const loop = loopOf();
    const start = loop.now();
    let late = -1;
    const cancel = loop.after(1e6, () => undefined);
    loop.after(2, () => (late = loop.now() - start));
    // This waker returns at once: the loop asks for less each time.
    while (meanwhile.length < 100_000) meanwhile.push(() => undefined);
    const end = loop.after(4, () => loop.stop());
    await loop.run();
    expect(late).toBeGreaterThanOrEqual(2);
    expect(sleeps.every((ms) => ms > 0 && ms <= 4)).toBe(true);
    end();
    cancel();
    expect(loop.timers).toBe(0);
    sleeps = [];
    meanwhile = [];
    await loopOf().run();
    expect(sleeps).toEqual([100]);
  });

  test('gives promises their turn under load', async () => {
    const loop = loopOf();
    let promised = false;
    let rounds = 0;
    const busy = loop.task(() => {
      if (rounds++ === 100) void Promise.resolve().then(() => (promised = true));
      if (promised) loop.stop();
      return true;
    });
    busy.raise();
    await loop.run();
    expect(promised).toBe(true);
    expect(sleeps).toEqual([]);
  });

  test('asks pollers in each round, and once more after a sleep that nobody ended', async () => {
    const loop = loopOf();
    let asked = 0;
    let work = 3;
    const end = loop.addPoller(() => {
      asked++;
      return work-- > 0;
    });
    meanwhile = [() => (work = 2)];
    await loop.run();
    expect(work).toBeLessThan(0);
    end();
    const before = asked;
    lab.memory.words[record('stop')] = 0;
    await loopOf().run();
    expect(asked).toBe(before);
  });

  test('does not sleep for long while something outside is waited for', async () => {
    const loop = loopOf();
    let release: () => void = () => undefined;
    void loop.during(new Promise<void>((resolve) => (release = resolve)));
    meanwhile = [() => undefined, () => release(), () => undefined];
    await loop.run();
    expect(sleeps.slice(0, 2)).toEqual([1, 1]);
    expect(sleeps.at(-1)).toBe(100);
  });

  test('ends with the error of a task that throws', async () => {
    const loop = loopOf();
    loop
      .task(() => {
        throw new Error('no');
      })
      .raise();
    await expect(loop.run()).rejects.toThrow('no');
  });
});
