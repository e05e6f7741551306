/** Accelerators that break a rule of the contract: the device is slow from then on, and loses nothing. */
import { describe, expect, test } from 'vitest';
import { Verdict } from '@netaccel/core-hooks';
import type { AcceleratorStatistics } from '@netaccel/core-hooks';
import { end, live, reason } from './accelerator-rig.js';
import type { Rig } from './accelerator-rig.js';
import { tcpFrame } from './lab.js';
import { PLUGIN, notIp } from './scripted-plugin.js';

describe('containment', () => {
  const throwing = (): never => {
    throw new Error('oops');
  };
  const faults: [string, (rig: Rig) => void, RegExp][] = [
    ['startTransmit throws', ({ plugin }) => (plugin.device.answer = throwing), /startTransmit threw: oops/],
    [
      'startTransmit answers nonsense',
      ({ plugin }) => (plugin.device.answer = () => 60),
      /60, which is no verdict/,
    ],
    [
      'startTransmit answers nothing',
      ({ plugin }) => (plugin.device.answer = () => undefined as never),
      /no verdict/,
    ],
    ['startTransmit answers a fraction', ({ plugin }) => (plugin.device.answer = () => 2.5), /no verdict/],
    ['poll throws', ({ plugin }) => (plugin.device.onPoll = throwing), /poll threw: oops/],
    [
      'poll does more than its budget',
      ({ plugin }) => (plugin.device.onPoll = (b) => b + 1),
      /for a budget of/,
    ],
    [
      'poll answers nothing',
      ({ plugin }) => (plugin.device.onPoll = () => undefined as never),
      /poll answered/,
    ],
    ['poll claims work for ever', ({ plugin }) => (plugin.device.onPoll = (b) => b), /claimed a full budget/],
    [
      'startInterrupts throws',
      ({ plugin }) => (plugin.device.onStartInterrupts = throwing),
      /startInterrupts threw/,
    ],
    ['startInterrupts lies', ({ plugin }) => (plugin.device.onStartInterrupts = () => true), /found none/],
    [
      'checkReady throws',
      ({ plugin }) => {
        plugin.device.answer = () => Verdict.busy;
        plugin.device.onCheckReady = throwing;
      },
      /checkReady threw/,
    ],
    [
      'a frame that it does not have is completed',
      ({ lab, plugin }) => {
        const frame = lab.front.allocate(60)!;
        plugin.device.onPoll = () => {
          plugin.device.services.completed(frame);
          frame.release();
          return 1;
        };
      },
      /does not have/,
    ],
    [
      'a frame is completed within startTransmit',
      ({ plugin }) =>
        (plugin.device.answer = (frame) => {
          plugin.device.services.completed(frame);
          return notIp;
        }),
      /does not have/,
    ],
    [
      'a frame is delivered outside of poll',
      ({ plugin }) => {
        const frame = plugin.device.pool.allocate()!;
        frame.describe(frame.home, 60);
        plugin.device.services.deliver(frame);
        frame.release();
      },
      /outside of poll/,
    ],
    [
      'more frames are delivered than the budget allows',
      ({ plugin }) =>
        (plugin.device.onPoll = () => {
          const frame = plugin.device.pool.allocate()!;
          frame.describe(frame.home, 60);
          for (let i = 0; i < 2000; i++) plugin.device.services.deliver(frame);
          frame.release();
          return 64;
        }),
      /beyond its budget/,
    ],
    [
      'an event handler throws',
      ({ plugin }) => void plugin.device.services.clock.after(0, throwing),
      /a timer threw/,
    ],
  ];
  test.each(faults)('%s: detached, the frame in hand goes slow', async (_, misbehave, expected) => {
    const all = await live();
    const { lab, plugin } = all;
    misbehave(all);
    expect(lab.send(tcpFrame(1, 7))).toBe(true);
    plugin.device.services.schedulePoll();
    await lab.settle();
    plugin.device.onPoll ??= null;
    await lab.machine.advance(10);
    expect(lab.front.state.accelerator).toBe('detached');
    expect(reason(lab)).toMatch(expected);
    expect(plugin.device.calls).toEqual(['remove']);
    expect(plugin.devices.length).toBe(1);
    // Not lost, not doubled: fast and taken back, or slow.
    const { fastSent, txSlowFrames } = lab.front.statistics().counters;
    expect(fastSent + txSlowFrames).toBe(1);
    expect(lab.backend.queue.take().length).toBe(txSlowFrames);
    lab.send(tcpFrame(1, 8));
    await lab.settle();
    expect(lab.backend.queue.take().length).toBe(1);
    // Not tried again by itself, but when it is loaded anew.
    await lab.machine.advance(120_000);
    expect(plugin.devices.length).toBe(1);
    await lab.run(all.registry.unregister(PLUGIN));
    all.registry.register(plugin.definition);
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('failed: detached in order, and tried again after a pause', async () => {
    const all = await live();
    const { lab, plugin } = all;
    lab.send(tcpFrame(1, 1));
    plugin.device.services.failed('the NIC was reset');
    expect(plugin.device.calls).toEqual([]);
    await lab.settle();
    expect(plugin.devices[0]!.calls).toEqual(['quiesce', 'remove']);
    expect(reason(lab)).toMatch(/the NIC was reset/);
    await lab.machine.advance(1001);
    expect(plugin.devices.length).toBe(2);
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test.each([false, true])(
    'frames that it lets go of when it is removed are counted; at fault: %s',
    async (broken) => {
      const all = await live();
      const { lab, plugin } = all;
      const { device } = plugin;
      const during: number[] = [];
      device.totals.rxErrors = 2;
      device.onRemove = () => {
        device.totals.rxErrors += 3;
        during.push(lab.front.statistics().accelerated.rxErrors);
        return Promise.resolve();
      };
      if (broken) {
        device.answer = () => {
          throw new Error('oops');
        };
        lab.send(tcpFrame(1, 1));
      } else await lab.run(all.registry.unregister(PLUGIN));
      await lab.settle();
      expect(device.removed).toBe(true);
      expect(during).toEqual([broken ? 0 : 2]);
      expect(lab.front.statistics().accelerated.rxErrors).toBe(5);
      await end(all);
    },
  );

  test.each<[string, (into: AcceleratorStatistics) => void]>([
    [
      'throws',
      () => {
        throw new Error('gone');
      },
    ],
    ['answers nonsense', (into) => void (into.rxErrors = NaN)],
    ['goes back', (into) => void (into.rxErrors += 1)],
  ])('its last word %s: what it said before stays', async (_, word) => {
    const all = await live();
    const { lab, plugin } = all;
    const { device } = plugin;
    device.totals.rxErrors = 2;
    device.onRemove = () => {
      device.statistics = word;
      return Promise.resolve();
    };
    await lab.run(all.registry.unregister(PLUGIN));
    await lab.settle();
    expect(device.removed).toBe(true);
    expect(lab.front.statistics().accelerated.rxErrors).toBe(2);
    await end(all);
  });

  test('the totals do not go back while it is taken down', async () => {
    const all = await live();
    const { lab, plugin } = all;
    const { device } = plugin;
    const totals = (): AcceleratorStatistics => ({ ...lab.front.statistics().accelerated });
    lab.send(tcpFrame(1, 1));
    device.arrive(tcpFrame(1, 2, 100));
    device.complete();
    await lab.settle();
    device.totals.rxErrors = 2;
    const before = totals();
    expect(before).toMatchObject({ txFrames: 1, rxFrames: 1, rxErrors: 2 });
    const during: AcceleratorStatistics[] = [];
    device.onRemove = () => {
      during.push(totals());
      return Promise.resolve();
    };
    device.answer = throwing;
    lab.send(tcpFrame(1, 3));
    during.push(totals());
    await lab.settle();
    expect(device.removed).toBe(true);
    expect(during).toEqual([before, before]);
    expect(totals()).toEqual(before);
    await end(all);
  });

  test('what it moved before the fault stays in the totals', async () => {
    const all = await live();
    const { lab, plugin } = all;
    lab.send(tcpFrame(1, 1));
    plugin.device.arrive(tcpFrame(1, 2, 100));
    plugin.device.complete();
    await lab.settle();
    plugin.device.answer = () => {
      throw new Error('oops');
    };
    lab.send(tcpFrame(1, 3));
    await lab.settle();
    expect(lab.front.statistics()).toMatchObject({
      txFrames: 2,
      accelerated: { txFrames: 1, txBytes: 64, rxFrames: 1, rxBytes: 100 },
    });
    await end(all);
  });
});
