import { expect, test } from 'vitest';
import { FramePool } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import type { Faults } from '@netaccel/xen/sim';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';
import type { VifOptions } from './lab.js';

const small: VifOptions = {
  pages: 512,
  domains: 3,
  ports: 64,
  mappings: 64,
  grantPages: 1,
  netback: { limits: { smallBuffers: 8, largeBuffers: 1, backlogBytes: 65536, backlogFrames: 8 } },
};

/** A vif's life: start, connect, traffic both ways with a backlog, disconnect, connect again. */
async function live(lab: VifLab): Promise<void> {
  const { queue } = await connect(lab);
  queue.post(2);
  for (let i = 0; i < 12; i++) queue.packet(pattern(100 + i));
  queue.publish();
  const address = lab.back.pages.allocate(1);
  const pool = new FramePool(4, address, 1024);
  for (let i = 0; i < 4; i++) {
    const frame = pool.allocate()!;
    frame.describe(frame.home, 1000);
    lab.netback.deliver(frame);
    frame.release();
  }
  lab.netback.flush();
  lab.back.pages.free(address);
  await lab.guest.store.read(`${lab.frontend.path}/state`);
  queue.post(4);
  await lab.frontend.state(XenbusState.Closing);
  await lab.frontend.state(XenbusState.Closed);
  await lab.frontend.state(XenbusState.Initialising);
}

async function connect(lab: VifLab) {
  await Promise.all([lab.netback.start(), lab.frontend.connect({ pages: 4, queues: 2, split: true })]);
  return lab.frontend;
}

/** Runs a life and lets `act` happen before step `at` of it; answers how many steps the life took. */
async function lifeWith(at: number, act: (lab: VifLab) => void): Promise<{ lab: VifLab; steps: number }> {
  let begun = Infinity;
  let steps = 0;
  const box: { lab?: VifLab } = {};
  const faults: Faults = {
    step: (step) => {
      if (step < begun) return;
      steps = step - begun;
      if (steps === at) act(box.lab!);
    },
  };
  const lab = (box.lab = await VifLab.make({ ...small, faults }));
  begun = lab.machine.lab.scheduler.steps;
  // Whatever ends under it, the life just ends early.
  const life = live(lab).catch(() => undefined);
  await lab.machine.settle(0);
  await Promise.race([life, lab.machine.settle()]);
  return { lab, steps };
}

const LAST = 400;

test('a vif that is stopped before any step of its life gives everything back, and tells the guest', async () => {
  const { steps } = await lifeWith(-1, () => undefined);
  expect(steps).toBeLessThan(LAST);
  for (let at = 0; at <= steps; at += 1) {
    const { lab } = await lifeWith(at, ({ netback }) => void netback.stop());
    const { back, violations } = await lab.end();
    expect({ at, back, violations }).toEqual({ at, back: NOTHING_HELD, violations: [] });
    expect(await lab.backState()).toBe(XenbusState.Closed);
  }
}, 120_000);

test('a guest that dies before any step of its life leaves nothing in the backend', async () => {
  const { steps } = await lifeWith(-1, () => undefined);
  for (let at = 0; at <= steps; at += 1) {
    const { lab } = await lifeWith(at, ({ machine }) => {
      if (machine.domain(1) !== undefined) machine.destroyDomain(1);
    });
    // The toolstack cleans up after it.
    await lab.run(lab.back.store.remove('/local/domain/1'));
    await lab.settle();
    expect({ at, ...lab.back.ledger() }).toMatchObject({ at, mappings: 0, ports: 0, tasks: 0 });
    await lab.run(lab.netback.stop());
    expect({ at, ...lab.back.ledger() }).toEqual({ at, ...NOTHING_HELD });
    expect(lab.machine.audit.violations).toEqual([]);
  }
}, 120_000);

test('a backend that dies before any step of its life leaves the guest with what it can release', async () => {
  const { steps } = await lifeWith(-1, () => undefined);
  for (let at = 0; at <= steps; at += 3) {
    const { lab } = await lifeWith(at, ({ machine }) => {
      if (machine.domain(0) !== undefined) machine.destroyDomain(0);
    });
    expect(lab.frontend.release()).toBe(true);
    expect({ at, ...lab.guest.ledger() }).toEqual({ at, ...NOTHING_HELD });
  }
}, 120_000);

test('memory, ports or grants that run out before any step cost the connection and nothing else', async () => {
  for (const what of ['pages', 'ports'] as const)
    for (let nth = 0; nth < 14; nth++) {
      let asked = 0;
      const faults: Faults = {
        exhausted: (domain, kind) => domain === 0 && kind === what && asked++ === nth,
      };
      const lab = await VifLab.make({ ...small, faults });
      const started = lab.netback.start().catch(() => undefined);
      await lab.run(started);
      await lab.run(lab.frontend.connect({ pages: 4, queues: 3, split: true, keys: { 'feature-sg': null } }));
      await lab.settle();
      const { back, violations } = await lab.end();
      expect({ what, nth, back, violations }).toEqual({ what, nth, back: NOTHING_HELD, violations: [] });
    }
});

test('a guest that never answers Closing delays a stop by the limit and no more', async () => {
  const lab = await VifLab.connected(small, { pages: 4 });
  const before = lab.machine.clock.now();
  await lab.run(lab.netback.stop());
  const took = lab.machine.clock.now() - before;
  expect(took).toBeGreaterThan(1_900);
  expect(took).toBeLessThan(2_200);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest that answers Closing is waited for and served until then', async () => {
  const lab = await VifLab.connected(small, { pages: 4 });
  const before = lab.machine.clock.now();
  const stopped = lab.netback.stop();
  await lab.settle();
  lab.frontend.queue.packet(pattern(60));
  lab.frontend.queue.publish();
  await lab.settle();
  expect(lab.frontend.queue.responses()).toHaveLength(1);
  await lab.run(lab.frontend.state(XenbusState.Closing));
  await lab.run(lab.frontend.state(XenbusState.Closed));
  await lab.run(stopped);
  expect(lab.machine.clock.now() - before).toBeLessThan(100);
  expect(lab.states.slice(-2)).toEqual(['Closing', 'Closed']);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('XSA-350, 374: events after a stop find nothing', async () => {
  const lab = await VifLab.connected(small, { pages: 4 });
  const { queue } = lab.frontend;
  await lab.run(lab.netback.stop(true));
  queue.packet(pattern(60));
  queue.publish();
  queue.txChannel.notify();
  queue.post(1);
  await lab.settle();
  expect(lab.network.frames).toEqual([]);
  lab.netback.deliver(null as never);
  lab.netback.flush();
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('XSA-332, 391: a flood of events without work costs a run each, ever later', async () => {
  const lab = await VifLab.connected(small, { pages: 4 });
  const { queue } = lab.frontend;
  const before = lab.netback.statistics().spuriousEvents;
  const end = lab.machine.clock.now() + 1000;
  while (lab.machine.clock.now() < end) {
    queue.txChannel.notify();
    await lab.machine.advance(1);
  }
  const spurious = lab.netback.statistics().spuriousEvents - before;
  expect(spurious).toBeGreaterThan(10);
  expect(spurious).toBeLessThan(200);
  queue.packet(pattern(60));
  queue.publish();
  await lab.machine.advance(300);
  expect(queue.responses()).toHaveLength(1);
  expect(await lab.end()).toEqual(CLEAN_END);
});
