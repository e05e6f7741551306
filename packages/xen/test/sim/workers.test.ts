// Domains in worker threads: no wake is lost, a revoke never overtakes a copy, and all ends when told to.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { EventChannelForm } from '@netaccel/xen/sim';
import { SharedMachine } from '@netaccel/xen/sim/workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

let machine: SharedMachine;
let running: Worker[];
/** The event channels of domains that start. */
let form: EventChannelForm;

beforeEach(() => {
  machine = SharedMachine.create({ pages: 2048, domains: 4, ports: 64, grantPages: 1, mappings: 64 });
  running = [];
  form = '2-level';
});

afterEach(async () => {
  await Promise.all(running.map((worker) => worker.terminate()));
  machine.close();
});

interface Peer {
  readonly worker: Worker;
  readonly result: Promise<unknown>;
  readonly exit: Promise<unknown>;
}

function start(id: number, story: string, count = 0, spinMicros = 30): Peer {
  const seat = machine.createDomain(id, undefined, { eventChannels: form });
  const worker = new Worker(new URL('./workers/peer.mjs', import.meta.url), {
    workerData: { seat, story, count, spinMicros },
    transferList: [seat.storePort],
  });
  running.push(worker);
  const result = new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  result.catch(() => undefined);
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  return { worker, result, exit };
}

async function stopAll(...peers: Peer[]): Promise<void> {
  machine.stop();
  await Promise.all(peers.map(({ exit }) => exit));
}

describe.each<EventChannelForm>(['2-level', 'fifo'])('two domains with %s event channels', (which) => {
  beforeEach(() => {
    form = which;
  });

  test(
    'hole 2.16 #19, XSA-340, 358, 359: exchange a million ring words, and no wake is lost',
    { timeout: 30_000 },
    async () => {
      const count = 1_000_000;
      const front = start(0, 'front', count);
      const back = start(1, 'back', count);
      expect(await front.result).toMatchObject({ answered: count });
      await stopAll(front, back);
    },
  );

  test.each([0, 30])(
    'exchange single notifications, spinning %i microseconds',
    { timeout: 30_000 },
    async (spin) => {
      const count = 20_000;
      const ping = start(0, 'ping', count, spin);
      const pong = start(1, 'pong', count, spin);
      expect(await ping.result).toMatchObject({ seen: count });
      await stopAll(ping, pong);
    },
  );

  test(
    'exchange notifications on many channels at once, none of which is lost',
    { timeout: 30_000 },
    async () => {
      const juggle = start(0, 'juggle', 1000);
      const answer = start(1, 'answer');
      expect(await juggle.result).toEqual({ left: 0, form: which });
      await stopAll(juggle, answer);
    },
  );

  test('open, bind and close ports: both end with none', { timeout: 30_000 }, async () => {
    const open = start(0, 'open', 20_000);
    const bind = start(1, 'bind');
    const [opened, bound] = (await Promise.all([open.result, bind.result])) as [
      { ports: number },
      { ports: number; bound: number },
    ];
    expect([opened.ports, bound.ports]).toEqual([0, 0]);
    expect(bound.bound).toBeGreaterThan(0);
    expect([machine.holdings(0).ports, machine.holdings(1).ports]).toEqual([0, 0]);
    await stopAll(open, bind);
  });

  test('one that has ended leaves its slot to one of the other form', { timeout: 30_000 }, async () => {
    const forms: readonly EventChannelForm[] = [which, which === 'fifo' ? '2-level' : 'fifo', which];
    const tool = machine.openStore();
    for (form of forms) {
      const juggle = start(0, 'juggle', 20);
      const answer = start(1, 'answer');
      expect(await juggle.result).toEqual({ left: 0, form });
      await Promise.all([juggle.worker.terminate(), answer.worker.terminate()]);
      for (const id of [0, 1]) machine.destroyDomain(id);
      expect(machine.describe()).toMatchObject({ domains: [] });
      for (const name of ['ready', 'ref', 'port']) await tool.remove(`/tool/${name}`);
    }
  });
});

describe('two domains', () => {
  test(
    'revoke and copy at the same time: a copy is of what was granted, or refused',
    { timeout: 30_000 },
    async () => {
      const count = 20_000;
      const revoke = start(0, 'revoke', count);
      const copy = start(1, 'copy');
      const [revoked, copied] = (await Promise.all([revoke.result, copy.result])) as [
        { round: number; grants: number },
        { good: number; refused: number; bad: number },
      ];
      expect(revoked).toMatchObject({ round: count, grants: 1 }); // the board itself
      expect(copied.bad).toBe(0);
      expect(copied.good).toBeGreaterThan(0);
      await stopAll(revoke, copy);
    },
  );

  test(
    'XSA-218, 228, 236, 406: map, unmap twice and revoke at the same time: a page is its mapper’s until it lets go, once',
    { timeout: 30_000 },
    async () => {
      const count = 20_000;
      const grant = start(0, 'grant', count);
      const map = start(1, 'map');
      const [granted, mapped] = (await Promise.all([grant.result, map.result])) as [
        { round: number; kept: number; grants: number },
        { mapped: number; refused: number; bad: number; mappings: number },
      ];
      // What is left is the board.
      expect(granted).toMatchObject({ round: count, grants: 1 });
      expect(mapped).toMatchObject({ bad: 0, mappings: 1 });
      expect(mapped.mapped).toBeGreaterThan(0);
      await stopAll(grant, map);
    },
  );
});

describe('two domains at once', () => {
  test('take and give back pages, and never the same one', { timeout: 30_000 }, async () => {
    const free = (machine.describe() as { freePages: number }).freePages;
    const peers = [start(0, 'pages', 50_000), start(1, 'pages', 50_000)];
    expect(await Promise.all(peers.map(({ result }) => result))).toEqual([
      expect.objectContaining({ pages: 0 }),
      expect.objectContaining({ pages: 0 }),
    ]);
    expect(machine.describe()).toMatchObject({ freePages: free });
    await stopAll(...peers);
  });
});

describe('a domain in a worker', () => {
  test('returns from its loop when it is told to stop, from its sleep', async () => {
    const idle = start(2, 'idle');
    expect(await idle.result).toBe('up');
    machine.stopDomain(2);
    expect(await idle.exit).toBe(0);
    machine.destroyDomain(2);
    expect(machine.describe()).toMatchObject({ domains: [] });
  });

  test('hears the main thread at once when it is nudged', async () => {
    const listen = start(0, 'listen');
    expect(await listen.result).toBe('up');
    const answer = once(listen.worker, 'message');
    listen.worker.postMessage({ hello: 1 });
    machine.nudge(0);
    expect(await answer).toEqual([{ hello: 1 }]);
    await listen.exit;
  });

  test('ends with its error when a task throws', async () => {
    await expect(start(0, 'fail').result).rejects.toThrow('a task of this domain threw');
  });

  test.each<EventChannelForm>(['2-level', 'fifo'])(
    'with %s event channels that is ended by force in the middle of its work leaves nothing behind',
    { timeout: 30_000 },
    async (which) => {
      form = which;
      const free = (machine.describe() as { freePages: number }).freePages;
      const tool = machine.openStore();
      for (let round = 0; round < 5; round++) {
        const front = start(0, 'front', 0xffff_ffff);
        const back = start(1, 'back', 0xffff_ffff);
        const asked = Date.now();
        while (machine.holdings(1).mappings === 0 && Date.now() - asked < 10_000)
          await new Promise((resolve) => setImmediate(resolve));
        await Promise.all([front.worker.terminate(), back.worker.terminate()]);
        const pages = which === 'fifo' ? 3 : 1; // the ring, and two of the kernel
        expect(machine.holdings(0)).toMatchObject({ pages, grants: 1, ports: 1 });
        machine.destroyDomain(0);
        expect(machine.holdings(1).mappings).toBe(1);
        machine.destroyDomain(1);
        expect(machine.describe()).toMatchObject({ freePages: free, domains: [] });
        for (const name of ['ready', 'ref', 'port']) await tool.remove(`/tool/${name}`);
      }
    },
  );

  test('has a store, and so has a toolstack in the main thread', async () => {
    const front = start(0, 'front', 1);
    const tool = machine.openStore();
    await new Promise<void>((resolve) => {
      void tool.watch('/tool/ready', () => {
        void tool.exists('/tool/ready').then((there) => {
          if (there) resolve();
        });
      });
    });
    expect(await tool.read('/tool/port')).toBe('1');
    await stopAll(front);
  });

  test('two hosts share a lab, with numbers of their own', () => {
    const other = SharedMachine.create({ lab: machine, name: 'other' });
    expect(other.memory).toBe(machine.memory);
    expect(machine.createDomain().id).toBe(0);
    expect(machine.createDomain().id).toBe(1);
    expect(other.createDomain().id).toBe(0);
    expect(other.describe()).toMatchObject({ name: 'other', domains: [{ id: 0, pages: 0 }] });
    expect(() => other.destroyDomain(5)).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    other.close();
  });
});
