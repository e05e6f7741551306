// Every limit of a vif holds, at a number that is not its default: up to it all goes on, past it there is an answer.
import { XenbusState } from '@netaccel/xen';
import { ControlType, Status, TxFlag } from '@netaccel/xen/netif';
import { expect, test } from 'vitest';
import { defaultLimits } from '../src/index.js';
import type { Limits } from '../src/index.js';
import { AccelLab, FakePlugin } from './accelerator-lab.js';
import { Control, end } from './control-ring.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import type { FrontendOptions } from './scripted-frontend.js';
import { Sender } from './sender.js';

const connected = (limits: Partial<Limits>, frontend: FrontendOptions = {}) =>
  VifLab.connected({ netback: { limits } }, frontend);
const sending = (limits: Partial<Limits>, frontend: FrontendOptions = {}) =>
  Sender.make(frontend, { netback: { limits } });

/** The vif's network keeps every frame; how many it got of packets of this length. */
async function keptOf(lab: VifLab, packets: number, length: number): Promise<number> {
  const before = lab.network.held.length;
  for (let n = 0; n < packets; n++) lab.frontend.queue.packet(pattern(length, n));
  await lab.exchange();
  return lab.network.held.length - before;
}

const cases: Record<keyof Limits, () => Promise<void>> = {
  maxQueues: async () => {
    const lab = await connected({ maxQueues: 2 }, { queues: 2 });
    expect(await lab.key('multi-queue-max-queues')).toBe('2');
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
    await expect(connected({ maxQueues: 2 }, { queues: 3, pages: 16 })).rejects.toThrow('queues');
  },

  budget: async () => {
    const lab = await connected({ budget: 4 }, { queues: 2 });
    const inStep = new Map<number, number>();
    lab.network.onDeliver = () => {
      const step = lab.machine.lab.scheduler.steps;
      inStep.set(step, (inStep.get(step) ?? 0) + 1);
    };
    for (const queue of lab.frontend.queues) for (let n = 0; n < 40; n++) queue.packet(pattern(60, n));
    for (const queue of lab.frontend.queues) queue.publish();
    await lab.settle();
    expect(lab.network.frames).toHaveLength(80);
    // One run of a queue's task is a step.
    expect(Math.max(...inStep.values())).toBe(4);
    expect(await lab.end()).toEqual(CLEAN_END);
  },

  smallBuffers: async () => {
    const lab = await connected({ smallBuffers: 3, largeBuffers: 1 });
    lab.network.holding = true;
    // A small packet may lie in a large buffer where there is no small one.
    expect(await keptOf(lab, 10, 100)).toBe(4);
    expect(lab.netback.statistics().txBufferWaits).toBeGreaterThan(0);
    lab.network.holding = false;
    lab.network.releaseHeld();
    await lab.settle();
    expect(lab.network.frames).toHaveLength(10);
    expect(await lab.end()).toEqual(CLEAN_END);
  },

  largeBuffers: async () => {
    const lab = await connected({ smallBuffers: 3, largeBuffers: 2 });
    lab.network.holding = true;
    expect(await keptOf(lab, 5, 9000)).toBe(2);
    expect(lab.netback.statistics().txBufferWaits).toBeGreaterThan(0);
    lab.network.holding = false;
    lab.network.releaseHeld();
    await lab.settle();
    expect(lab.network.frames).toHaveLength(5);
    expect(await lab.end()).toEqual(CLEAN_END);
  },

  backlogBytes: async () => {
    const sender = await sending({ backlogBytes: 65536 + 4096 });
    for (let n = 0; n < 4; n++) sender.deliver(pattern(20_000, n));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 1]]);
    expect(sender.lab.netback.describe()).toMatchObject({ queuedFrames: 3 });
    await sender.end();
  },

  backlogFrames: async () => {
    const sender = await sending({ backlogFrames: 3 });
    for (let n = 0; n < 5; n++) sender.deliver(pattern(60, n));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 2]]);
    expect(sender.lab.netback.describe()).toMatchObject({ queuedFrames: 3 });
    await sender.end();
  },

  drainTimeoutMs: async () => {
    const sender = await sending({ drainTimeoutMs: 500 });
    await sender.send(pattern(60));
    await sender.lab.machine.advance(450);
    expect(sender.dropped()).toEqual([]);
    await sender.lab.machine.advance(100);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    await sender.end();
  },

  drainTimeoutWithoutNotifyMs: async () => {
    const sender = await sending(
      { drainTimeoutWithoutNotifyMs: 200 },
      { keys: { 'feature-rx-notify': null } },
    );
    await sender.send(pattern(60));
    await sender.lab.machine.advance(150);
    expect(sender.dropped()).toEqual([]);
    await sender.lab.machine.advance(100);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    await sender.end();
  },

  stallTimeoutMs: async () => {
    const sender = await sending({ stallTimeoutMs: 3_000 });
    const { lab } = sender;
    sender.deliver(pattern(60));
    lab.netback.flush();
    await lab.machine.advance(2_500);
    expect(await lab.key('carrier')).not.toBe('0');
    await lab.machine.advance(2_000);
    expect(await lab.key('carrier')).toBe('0');
    expect(lab.netback.statistics().rxStalls).toBe(1);
    await sender.end();
  },

  malformedInARow: async () => {
    const lab = await connected({ malformedInARow: 5 });
    const { queue } = lab.frontend;
    const malformed = async (count: number): Promise<number> => {
      for (let n = 0; n < count; n++) queue.request({ size: 1 });
      await lab.exchange();
      return lab.netback.statistics().breaches;
    };
    expect(await malformed(4)).toBe(0);
    for (let n = 0; n < 40; n++) queue.packet(pattern(60));
    await lab.exchange();
    expect(await malformed(4)).toBe(0);
    expect(await malformed(1)).toBe(1);
    expect(lab.states.at(-1)).toBe('Closing');
    expect(await lab.end()).toEqual(CLEAN_END);
  },

  multicastGroups: async () => {
    const lab = await connected({ multicastGroups: 3 }, { keys: { 'request-multicast-control': '1' } });
    const join = async (last: number): Promise<number | undefined> => {
      const { queue } = lab.frontend;
      queue.request({ flags: TxFlag.extraInfo, size: 60 });
      queue.multicastExtra(true, [1, 0, 0, 0, 0, last]);
      return (await lab.exchange())[0]?.status;
    };
    for (const last of [1, 2, 3]) expect(await join(last)).toBe(Status.okay);
    expect(await join(4)).toBe(Status.error);
    expect(lab.netback.statistics().txErrors['multicast-full']).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  },

  staticGrants: async () => {
    const made = await Control.make(1, 'write', { netback: { limits: { staticGrants: 8 } } });
    const { status, data } = await made.control.ask(ControlType.getGrefMappingSize, 0);
    expect({ status, data }).toEqual({ status: 0, data: 8 });
    const { refs } = made.lab.frontend.queue.txPages;
    const ask = async (count: number): Promise<number> => {
      const list = new Uint32Array(count * 2);
      for (let n = 0; n < count; n++) list.set([refs[n]!, 1], n * 2);
      made.control.write(new Uint8Array(list.buffer));
      return (await made.control.ask(ControlType.addGrefMapping, 0, made.control.ref, count)).status;
    };
    expect(await ask(9)).not.toBe(0);
    expect(made.lab.netback.describe()).toMatchObject({ staticGrants: 0 });
    expect(await ask(8)).toBe(0);
    expect(made.lab.netback.describe()).toMatchObject({ staticGrants: 8 });
    await end(made);
  },

  probeTimeoutMs: async () => {
    const plugin = new FakePlugin();
    plugin.probe = () => new Promise(() => undefined);
    const lab = await AccelLab.make({ plugins: [plugin], limits: { probeTimeoutMs: 300 } });
    await lab.half.connect();
    await lab.vif.machine.advance(250);
    expect(await lab.state()).not.toBe(XenbusState.Closing);
    await lab.vif.machine.advance(100);
    expect(await lab.state()).toBe(XenbusState.Closing);
    await lab.half.state(XenbusState.Closed);
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('longer than 300 ms') as string });
    await lab.end();
  },

  requestTimeoutMs: async () => {
    const plugin = new FakePlugin();
    const lab = await AccelLab.make({ plugins: [plugin], limits: { requestTimeoutMs: 300 } });
    await lab.half.connect();
    lab.half.mailbox!.handle(2, () => new Promise(() => undefined));
    let said = '';
    const asked = plugin.services!.mailbox.request(2, new Uint8Array(0)).catch((error: unknown) => {
      said = String(error);
    });
    await lab.vif.machine.advance(290);
    expect(said).toBe('');
    await lab.vif.machine.advance(20);
    await asked;
    expect(said).toMatch(/within 300 ms/);
    await lab.end();
  },

  teardownTimeoutMs: async () => {
    const lab = await connected({ teardownTimeoutMs: 400 });
    const before = lab.machine.clock.now();
    await lab.run(lab.netback.stop());
    const took = lab.machine.clock.now() - before;
    expect(took).toBeGreaterThan(390);
    expect(took).toBeLessThan(450);
    expect(await lab.end()).toEqual(CLEAN_END);
  },
};

test.each(Object.keys(cases) as (keyof Limits)[])('limit %s', (name) => cases[name]());

test('every limit has its case', () => {
  expect(Object.keys(cases)).toEqual(Object.keys(defaultLimits));
});
