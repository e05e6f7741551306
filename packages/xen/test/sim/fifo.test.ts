// FIFO event channels: order and priority, the pages that a guest gives for them, and how many there are.
import { beforeEach, describe, expect, test } from 'vitest';
import { FIFO_WORDS_PER_PAGE, Random } from '../../src/sim/index.js';
import { FifoRig, portsOf } from './fifo-rig.js';
import type { Ends } from './fifo-rig.js';

let rig: FifoRig;

beforeEach(async () => {
  rig = await FifoRig.make();
});

describe('order', () => {
  test('of one priority it is first come, first served, whatever the ports are', async () => {
    const ends = await rig.channels(40);
    const random = new Random(5);
    for (let round = 0; round < 20; round++) {
      rig.seen.length = 0;
      const order = ends
        .map((end) => ({ end, key: random.next() }))
        .sort((a, b) => a.key - b.key)
        .map(({ end }) => end);
      for (const { to } of order) {
        to.notify();
        to.notify();
      }
      await rig.machine.settle();
      expect(rig.seen).toEqual(portsOf(order));
    }
  });

  test('a higher priority goes first, 0 before 7 before 15, and what comes meanwhile goes before what is queued', async () => {
    const ends = await rig.channels(6, (port) => {
      if (port === portsOf(ends)[2]) ends[5]!.to.notify();
    });
    for (const [i, priority] of [15, 15, 7, 7, 3, 0].entries())
      expect(ends[i]!.from.setPriority(priority)).toBe(true);
    for (const i of [0, 1, 2, 3]) ends[i]!.to.notify();
    await rig.machine.settle();
    const [low, lower, usual, usual2, , first] = portsOf(ends);
    expect(rig.seen).toEqual([usual, first, usual2, low, lower]);
  });

  test('a priority holds from the next event on; a port that moves to another queue takes nothing along', async () => {
    const [a, b, c] = (await rig.channels(3)) as [Ends, Ends, Ends];
    a.to.notify();
    a.from.setPriority(0); // it waits in the queue of 7
    b.to.notify();
    await rig.machine.settle();
    expect(rig.seen).toEqual(portsOf([a, b]));
    rig.seen.length = 0;
    // b was the last of 7's queue: its word now belongs to another one.
    b.from.setPriority(2);
    b.to.notify();
    c.to.notify();
    a.to.notify();
    await rig.machine.settle();
    expect(rig.seen).toEqual(portsOf([a, b, c]));
  });

  test('a port that closes has the usual priority when it opens again, and no event, also when it is in a queue', async () => {
    const [a, b, c] = (await rig.channels(3)) as [Ends, Ends, Ends];
    b.from.setPriority(0);
    for (const { to } of [a, b, c]) to.notify();
    b.from.close();
    const reopened = rig.guest.events.allocateUnbound(0, () => {
      rig.seen.push(-1);
      reopened.unmask();
    });
    expect(reopened.port).toBe(b.from.port);
    await rig.machine.settle();
    expect(rig.seen).toEqual(portsOf([a, c]));
    const again = rig.back.events.bindInterdomain(1, reopened.port, () => again.unmask());
    await rig.machine.settle();
    rig.seen.length = 0;
    a.to.notify();
    again.notify();
    await rig.machine.settle();
    expect(rig.seen).toEqual([a.from.port, -1]);
  });

  test('other work has its turn between events that never end', async () => {
    let turns = 0;
    const ends = await rig.channels(1, () => {
      if (turns === 0) ends[0]!.to.notify();
    });
    const task = rig.guest.loop.task(() => {
      turns++;
      return false;
    });
    ends[0]!.to.notify();
    task.raise();
    await rig.machine.settle();
    expect(turns).toBe(1);
    expect(rig.seen.length).toBeGreaterThan(0);
    task.cancel();
  });
});

describe('ports', () => {
  test('131071 of them: a page of event words is given for each 1024, when the first of them is opened', async () => {
    rig = await FifoRig.make({ pages: 4096, ports: 1 << 17 });
    const free = rig.machine.lab.core.freePages;
    const opened = Array.from({ length: (1 << 17) - 1 }, () =>
      rig.guest.events.allocateUnbound(0, () => rig.seen.push(1)),
    );
    expect(free - rig.machine.lab.core.freePages).toBe(127);
    const last = opened.at(-1)!;
    expect(last.port).toBe(0x1_ffff);
    const to = rig.back.events.bindInterdomain(1, last.port, () => to.unmask());
    await rig.machine.settle();
    rig.machine.raise(rig.back.events.vector(to));
    await rig.machine.settle();
    expect(rig.seen).toEqual([1]);
    expect(rig.machine.lab.core.ports.target(rig.slot, last.port)).toEqual({ slot: 0, port: to.port });
    expect(rig.guest.ledger()).toMatchObject({ pages: 0, ports: (1 << 17) - 1 });
  });

  test('without memory for a page of event words the port is not opened, and nothing is held', () => {
    const opened = Array.from({ length: FIFO_WORDS_PER_PAGE - 1 }, () =>
      rig.guest.events.allocateUnbound(0, () => undefined),
    );
    rig.faults.exhausted = (_domain, what) => what === 'pages';
    expect(() => rig.guest.events.allocateUnbound(0, () => undefined)).toThrow(
      expect.objectContaining({ code: 'NO_MEMORY' }),
    );
    expect(rig.guest.ledger().ports).toBe(opened.length);
    rig.faults.exhausted = () => false;
    expect(rig.guest.events.allocateUnbound(0, () => undefined).port).toBe(FIFO_WORDS_PER_PAGE);
  });

  test.each([1, 2])(
    'a kernel without memory for page %i of FIFO goes on with 2-level, says so, and keeps none',
    (which) => {
      let asked = 0;
      rig.faults.exhausted = (_domain, what) => what === 'pages' && ++asked >= which;
      const free = rig.machine.lab.core.freePages;
      const poor = rig.machine.createDomain(2, 'poor', { eventChannels: 'fifo' });
      expect(poor.describe()).toMatchObject({ eventChannels: '2-level' });
      expect(rig.machine.lines.at(-1)).toMatchObject({
        domain: 2,
        level: 'warn',
        message: 'no memory for fifo event channels: 2-level ones are used',
      });
      expect(rig.machine.lab.core.freePages).toBe(free);
    },
  );
});
