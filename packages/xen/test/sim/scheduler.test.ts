// The one thread: fairness, virtual time, pausing, and that a seed decides everything.
import { describe, expect, test } from 'vitest';
import { GrantCopyBatch, GrantStatus } from '../../src/index.js';
import type { Faults } from '../../src/sim/index.js';
import { Random, SimMachine } from '../../src/sim/index.js';

const small = { pages: 2048, domains: 4, ports: 64 };

describe('tasks', () => {
  test('run once however often raised, and again after the others when they have more to do', () => {
    const machine = new SimMachine({ ...small, seed: 3 });
    const { loop } = machine.createDomain(0);
    machine.pump(100);
    const order: string[] = [];
    let left = 3;
    const greedy = loop.task((budget) => {
      order.push(`greedy ${budget}`);
      return --left > 0;
    });
    const once = loop.task(() => {
      order.push('once');
      return false;
    });
    greedy.raise();
    greedy.raise();
    once.raise();
    once.raise();
    machine.pump(100);
    expect(order).toHaveLength(4);
    expect(order.slice(0, 2).sort()).toEqual(['greedy 64', 'once']);
    once.raise();
    once.cancel();
    once.cancel();
    machine.pump(100);
    expect(order).toHaveLength(4);
    greedy.cancel();
    expect(machine.domain(0)!.ledger().tasks).toBe(0);
  });

  test('none starves under one that never ends, and time passes', async () => {
    const machine = new SimMachine(small);
    const { loop } = machine.createDomain(0);
    const spin = loop.task(() => true);
    spin.raise();
    let fired = 0;
    let ran = 0;
    loop.after(1, () => fired++);
    const other = loop.task(() => (ran++, false));
    for (let i = 0; i < 5; i++) {
      other.raise();
      await machine.advance(1);
    }
    expect([fired, ran]).toEqual([1, 5]);
    spin.cancel();
    await machine.settle();
  });

  test('a settle that cannot end says so', async () => {
    const machine = new SimMachine({ ...small, seed: 42 });
    machine
      .createDomain(0)
      .loop.task(() => true)
      .raise();
    await expect(machine.settle()).rejects.toThrow(/no rest after 5000000 steps.*seed 42/);
  });
});

describe('virtual time', () => {
  test('jumps to the next timer; timers run in order of due time, then of making', async () => {
    const machine = new SimMachine({ ...small, stepMs: 0 });
    const { loop } = machine.createDomain(0);
    await machine.settle();
    const fired: [string, number][] = [];
    const note = (name: string) => () => void fired.push([name, loop.now()]);
    loop.after(20, note('c'));
    loop.after(2.5, note('a'));
    loop.after(20, note('d'));
    const cancel = loop.after(3, note('never'));
    loop.after(2.5, note('b'));
    cancel();
    cancel();
    await machine.settle();
    expect(fired).toEqual([
      ['a', 2.5],
      ['b', 2.5],
      ['c', 20],
      ['d', 20],
    ]);
    expect(machine.domain(0)!.ledger().timers).toBe(0);
  });

  test('settle goes so far and no further; advance goes exactly so far', async () => {
    const machine = new SimMachine({ ...small, stepMs: 0 });
    const { loop } = machine.createDomain(0);
    await machine.settle();
    let fired = 0;
    loop.after(50, () => fired++);
    await machine.settle(0);
    await machine.settle(49);
    expect([fired, loop.now()]).toEqual([0, 0]);
    await machine.advance(49.5);
    expect([fired, loop.now()]).toEqual([0, 49.5]);
    await machine.advance(10);
    expect([fired, loop.now()]).toEqual([1, 59.5]);
    loop.after(10_001, () => fired++);
    await machine.settle();
    expect(fired).toBe(1);
    expect(loop.now()).toBe(59.5);
  });

  test('a timer that came due while its domain was paused, and was cancelled then, does not run afterwards', async () => {
    const machine = new SimMachine({ ...small, stepMs: 0 });
    const { loop } = machine.createDomain(1);
    let fired = 0;
    const cancel = loop.after(5, () => fired++);
    loop.after(5, () => (fired += 10));
    machine.pauseDomain(1);
    await machine.advance(10);
    cancel();
    machine.resumeDomain(1);
    await machine.settle();
    expect(fired).toBe(10);
    expect(machine.domain(1)!.ledger().timers).toBe(0);
    expect(machine.lab.scheduler.pendingTimers).toBe(0);
  });

  test('many timers, seeded', async () => {
    const seed = 99;
    const random = new Random(seed);
    const machine = new SimMachine({ ...small, seed });
    const { loop } = machine.createDomain(0);
    const fired: number[] = [];
    const expected: number[] = [];
    for (let i = 0; i < 500; i++) {
      const due = random.below(1000);
      const cancel = loop.after(due, () => fired.push(due));
      if (random.below(3) === 0) cancel();
      else expected.push(due);
    }
    await machine.settle();
    expect(fired, `seed ${seed}`).toEqual(expected.sort((a, b) => a - b));
  });

  test('promises go on between steps, and settle waits for the whole chain', async () => {
    const machine = new SimMachine(small);
    const { loop } = machine.createDomain(0);
    const sleep = (ms: number): Promise<void> => new Promise((resolve) => void loop.after(ms, resolve));
    const story: string[] = [];
    void (async () => {
      for (let i = 0; i < 3; i++) {
        for (let k = 0; k < 20; k++) await Promise.resolve();
        await sleep(10);
        story.push(`${Math.round(loop.now())}`);
      }
    })();
    await machine.settle();
    expect(story).toEqual(['10', '20', '30']);
  });

  test('runUntil stops at the condition, and says when it cannot be met', async () => {
    const machine = new SimMachine(small);
    const { loop } = machine.createDomain(0);
    let count = 0;
    const tick = (): void => {
      count++;
      loop.after(10, tick);
    };
    tick();
    await machine.runUntil(() => count === 4);
    expect(Math.round(loop.now())).toBe(30);
    await expect(machine.runUntil(() => false, 100)).rejects.toThrow(/within 100 ms.*seed 1/);
    const quiet = new SimMachine(small);
    await expect(quiet.runUntil(() => false)).rejects.toThrow(/did not happen/);
  });

  test('work outside of this thread is waited for', async () => {
    const machine = new SimMachine(small);
    let loaded = false;
    void machine.during(import('node:util')).then(() => (loaded = true));
    await machine.settle();
    expect(loaded).toBe(true);
    await expect(machine.during(Promise.reject(new Error('not there')))).rejects.toThrow('not there');
    await machine.settle();
  });
});

describe('a paused domain', () => {
  test('does nothing until it is resumed, then what came meanwhile', async () => {
    const machine = new SimMachine(small);
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    await machine.settle();
    const heard: string[] = [];
    const from = guest.events.allocateUnbound(0, () => heard.push('event'));
    const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
    const task = guest.loop.task(() => (heard.push('task'), false));
    machine.pauseDomain(1);
    task.raise();
    task.raise();
    to.notify();
    guest.loop.after(5, () => heard.push('timer'));
    guest.loop.after(50, () => heard.push('late timer'));
    const read = guest.store.read('data/x').catch(() => heard.push('store'));
    await machine.settle(10);
    expect(heard).toEqual([]);
    machine.resumeDomain(1);
    await machine.settle();
    expect(heard.sort()).toEqual(['event', 'late timer', 'store', 'task', 'timer']);
    await read;
    expect(guest.ledger()).toMatchObject({ timers: 0 });
  });

  test('can be paused, resumed and killed at a step', async () => {
    const at: number[] = [];
    const faults: Faults = {
      step: (step) => {
        at.push(step);
        if (step === 20) machine.pauseDomain(1);
        if (step === 30) machine.resumeDomain(1);
        if (step === 50) machine.destroyDomain(1);
      },
    };
    const machine = new SimMachine({ ...small, faults });
    const ran: Record<number, number[]> = { 0: [], 1: [] };
    for (const id of [0, 1]) {
      const { loop } = machine.createDomain(id);
      loop.task(() => (ran[id]!.push(at.length - 1), true)).raise();
    }
    machine.pump(15);
    while (at.length < 100) {
      machine.lab.scheduler.controlPending = false;
      machine.pump(100 - at.length);
    }
    const [both, paused, killed] = [
      ran[1]!.filter((s) => s < 20),
      ran[1]!.filter((s) => s > 21 && s < 30),
      ran[1]!.filter((s) => s > 51),
    ];
    expect(both.length).toBeGreaterThan(3);
    expect([paused, killed]).toEqual([[], []]);
    expect(ran[1]!.some((s) => s > 31 && s < 50)).toBe(true);
    expect(ran[0]!.length).toBeGreaterThan(50);
    expect(machine.domain(1)).toBeUndefined();
    await Promise.resolve();
  });
});

describe('a seed', () => {
  /** Domains that write, notify, copy, wait and share at random: the trace, and all bytes at the end. */
  async function story(seed: number): Promise<{ hash: number; digest: number; text: string }> {
    const machine = new SimMachine({ ...small, seed });
    const random = new Random(seed);
    const domains = [0, 1, 2].map((id) => machine.createDomain(id));
    const [back] = domains as [(typeof domains)[0]];
    const text: string[] = [];
    for (const domain of domains) {
      const shared = domain.grants.share(0, 1, 'write');
      const own = back.pages.allocate(1);
      const batch = new GrantCopyBatch(1);
      let rounds = 30;
      const task = domain.loop.task(() => {
        text.push(`${domain.id}@${domain.loop.now().toFixed(3)}`);
        batch.clear();
        batch.toGrant(shared.refs[0]!, rounds, own, 8);
        back.memory.bytes.fill(random.below(256), own, own + 8);
        back.foreign.copy(domain.id, batch);
        if (domain.id !== 0 && batch.status[0] !== GrantStatus.okay) text.push('failed');
        return --rounds % 5 !== 0;
      });
      const ping = (): void => {
        if (rounds <= 0) return;
        task.raise();
        domain.loop.after(random.below(5), ping);
      };
      ping();
      void (async () => {
        const watch = await back.store.watch(`/tool/${domain.id}`, (path) => text.push(path));
        for (let i = 0; i < 5; i++) await back.store.write(`/tool/${domain.id}`, String(i));
        text.push(await back.store.read(`/tool/${domain.id}`));
        await watch.remove();
      })();
    }
    await machine.settle();
    const { words } = machine.memory;
    let digest = 0;
    for (const word of words) digest = (Math.imul(digest, 31) + word) | 0;
    return { hash: machine.traceHash, digest, text: text.join(' ') };
  }

  test('gives the same run to the byte, and another seed another', async () => {
    const seeds = [1, 2, 3, 1234];
    const runs = await Promise.all(seeds.map((seed) => story(seed)));
    for (const [i, seed] of seeds.entries()) expect(await story(seed), `seed ${seed}`).toEqual(runs[i]);
    expect(new Set(runs.map(({ hash }) => hash)).size).toBe(seeds.length);
    expect(new Set(runs.map(({ text }) => text)).size).toBe(seeds.length);
  });

  test('draws orders that differ', () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const machine = new SimMachine({ ...small, seed });
      const { loop } = machine.createDomain(0);
      const order: string[] = [];
      for (const name of 'abc') loop.task(() => (order.push(name), false)).raise();
      machine.pump(10);
      machine.lab.scheduler.controlPending = false;
      machine.pump(10);
      orders.add(order.join(''));
    }
    expect(orders.size).toBe(6);
  });
});
