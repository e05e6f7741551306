// A backend whose predecessor crashed while its guest was connected: the guest is taken over with the rings that it has.
import { describe, expect, test } from 'vitest';
import { XenbusState } from '@netaccel/xen';
import type { Faults } from '@netaccel/xen/sim';
import { CLEAN_END, VifLab } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';

describe('a backend that takes over a connected guest, and has no memory for its buffers', () => {
  /** The store as a backend left it that served, and died; the next one has no memory the first `times`. */
  async function takenOver(times: number): Promise<VifLab> {
    let asked = 0;
    const faults: Faults = {
      exhausted: (domain, what) => domain === 0 && what === 'pages' && asked++ < times,
    };
    const lab = await VifLab.make({ faults });
    await lab.run(lab.frontend.connect());
    await lab.run(lab.back.store.write(`${lab.backPath}/state`, String(XenbusState.Connected)));
    await lab.run(lab.netback.start());
    await lab.settle();
    return lab;
  }

  test('at its start gets them when it connects: the guest took itself for connected, and nobody answered it', async () => {
    const lab = await takenOver(1);
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('then either says so by Closing, and serves the next connection', async () => {
    const lab = await takenOver(2);
    expect(await lab.backState()).toBe(XenbusState.Closing);
    expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain('pages');
    await lab.run(lab.frontend.state(XenbusState.Closed));
    await lab.settle();
    lab.frontend.release();
    await lab.run(lab.frontend.state(XenbusState.Initialising));
    await lab.settle();
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

test('rings that a crashed backend left half used are taken up where its responses end', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.start());
  lab.frontend.open();
  const { queue } = lab.frontend;
  // As if ten requests had been answered before.
  queue.poke('tx', 'req_prod', (NEAR_WRAP + 10) >>> 0);
  queue.poke('tx', 'rsp_prod', (NEAR_WRAP + 10) >>> 0);
  queue.tx.produced = (NEAR_WRAP + 10) >>> 0;
  queue.tx.consumed = queue.tx.produced;
  await lab.run(lab.frontend.publishKeys());
  await lab.settle();
  expect(await lab.talks()).toBe(true);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest hears of responses that a backend published and crashed before it said so, on each channel', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.start());
  lab.frontend.open({ split: true });
  const { queue } = lab.frontend;
  for (const ring of ['tx', 'rx'] as const) {
    for (const index of ['req_prod', 'rsp_prod'] as const) queue.poke(ring, index, (NEAR_WRAP + 10) >>> 0);
    queue[ring].produced = (NEAR_WRAP + 10) >>> 0;
  }
  await lab.run(lab.frontend.publishKeys());
  await lab.settle();
  expect([queue.txEvents, queue.rxEvents]).toEqual([1, 1]);
  expect(await lab.end()).toEqual(CLEAN_END);
});
