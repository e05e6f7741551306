/** How a device comes by its accelerator: every order of events, and probes that fail. */
import { describe, expect, test } from 'vitest';
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { end, live, reason, rig } from './accelerator-rig.js';
import { VifLab, pattern, tcpFrame } from './lab.js';
import { BackendHalf, PLUGIN, PluginDevice, ScriptedPlugin, notIp } from './scripted-plugin.js';

test('services may be taken out of what they came in', async () => {
  const all = await live();
  const { device } = all.plugin;
  const { share, deliver, completed, wake, schedulePoll, passed, log, store, clock, mailbox, contract } =
    device.services;
  const { request, handle } = mailbox;
  const { now, after } = clock;
  const { read } = store;
  expect(contract).toBe(all.plugin.definition.contract);
  expect(share(1, 'write').release()).toBe(true);
  handle(1, () => ({ ok: true, payload: new Uint8Array(0) }));
  await expect(all.lab.run(request(1, new Uint8Array(1), 1))).rejects.toThrow();
  expect(await all.lab.run(read('nothing'))).toBeNull();
  expect(passed([])).toBeTypeOf('boolean');
  after(0, () => log('info', `it is ${now()}`))();
  // The frame path: one of each, as a plugin does them.
  all.lab.send(pattern(100));
  const [sent] = device.sent.splice(0);
  const received = device.pool.allocate()!;
  received.describe(received.home, 60);
  device.onPoll = (budget) => {
    device.onPoll = null;
    completed(sent!);
    deliver(received);
    received.release();
    wake();
    return Math.min(2, budget);
  };
  schedulePoll();
  await all.lab.settle();
  expect(all.lab.front.state).toMatchObject({ accelerator: 'live' });
  expect(device.onPoll).toBeNull();
  expect(device.pool.free).toBe(device.pool.count);
  await end(all);
});

describe('attach', () => {
  test('the key is there, then the plugin is loaded', async () => {
    const all = await rig();
    await all.lab.run(all.half.offer());
    await all.lab.settle();
    expect(all.lab.front.state).toMatchObject({ accelerator: 'detached', reason: `${PLUGIN} is not loaded` });
    all.registry.register(all.plugin.definition);
    await all.lab.settle();
    expect(all.lab.front.state).toMatchObject({ accelerator: 'live', reason: null });
    await end(all);
  });

  test('a mtu that changes: the plugin is detached, and the slow path has the new one at once', async () => {
    const all = await live();
    const { lab } = all;
    await lab.run(lab.back.store.write(`${lab.frontPath}/mtu`, '9000'));
    await lab.settle();
    expect(lab.front.vif?.mtu).toBe(9000);
    expect(lab.front.statistics().counters.fastTakenBack).toBe(0);
    expect(lab.states.filter((line) => line.endsWith(' live'))).not.toEqual([]);
    expect(lab.states.at(-1)).toMatch(/^4\/4 /);
    expect(lab.send(pattern(9014))).toBe(true);
    await end(all);
  });

  test('the plugin is loaded, then the key comes', async () => {
    const all = await rig();
    all.registry.register(all.plugin.definition);
    await all.lab.settle();
    expect(all.lab.front.state.accelerator).toBe('detached');
    await all.lab.run(all.half.offer());
    await all.lab.settle();
    expect(all.lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('both are there before the device connects', async () => {
    const plugin = new ScriptedPlugin();
    const registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>();
    registry.register(plugin.definition);
    const lab = await VifLab.make({ netfront: { registry } });
    await lab.run(lab.backend.start());
    const half = new BackendHalf(lab);
    await lab.run(half.offer());
    await lab.run(lab.front.start());
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    await end({ lab, registry, plugin, half });
  });

  test('loaded on demand, by the key’s name', async () => {
    const asked: string[] = [];
    const all = await rig({}, (name) => {
      asked.push(name);
      all.registry.register(all.plugin.definition);
      return Promise.resolve();
    });
    await all.lab.run(all.half.offer());
    await all.lab.settle();
    expect(asked).toEqual([PLUGIN]);
    expect(all.lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('defect 1.8 #3: the key names another plugin while the first is being loaded', async () => {
    const asked: string[] = [];
    const arrive: (() => void)[] = [];
    const all = await rig({}, (name) => {
      asked.push(name);
      return new Promise((resolve) => arrive.push(resolve));
    });
    const { lab, half, registry, plugin } = all;
    const other = new ScriptedPlugin('other-frontend');
    await lab.run(half.offer());
    await lab.settle();
    await lab.run(half.offer('other-frontend'));
    await lab.settle();
    expect(asked).toEqual([PLUGIN, 'other-frontend']);
    // The first arrives last: nobody wants it any more.
    registry.register(other.definition);
    arrive[1]!();
    await lab.settle();
    registry.register(plugin.definition);
    arrive[0]!();
    await lab.settle();
    expect(other.devices.length).toBe(1);
    expect(plugin.devices.length).toBe(0);
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('names are compared whole', async () => {
    const all = await rig();
    all.registry.register(all.plugin.definition);
    await all.lab.run(all.half.offer(`${PLUGIN}-2`));
    await all.lab.settle();
    expect(all.lab.front.state.accelerator).toBe('detached');
    await all.lab.run(all.half.offer(PLUGIN.slice(0, -1)));
    await all.lab.settle();
    expect(all.lab.front.state.accelerator).toBe('detached');
    await end(all);
  });

  test('the keys that the other half reads', async () => {
    const all = await live();
    const { lab } = all;
    expect(await lab.key('accel/state')).toBe('4');
    expect(Number(await lab.key('accel/mailbox-ref-0'))).toBeGreaterThan(0);
    expect(Number(await lab.key('accel/mailbox-ref-1'))).toBeGreaterThan(0);
    expect(Number(await lab.key('accel/mailbox-event-channel'))).toBeGreaterThan(0);
    await lab.run(all.registry.unregister(PLUGIN));
    await lab.settle();
    expect(await lab.key('accel/state')).toBe('6');
    expect(await lab.key('accel/mailbox-ref-0')).toBeNull();
    expect(all.half.seen).toEqual([1, 4, 5, 6]);
    await end(all);
  });

  test('frames go fast, both ways, and the totals are counted once', async () => {
    const all = await live();
    const { lab, plugin } = all;
    expect(lab.send(tcpFrame(1, 1))).toBe(true);
    await lab.settle();
    expect(lab.backend.queue.take()).toEqual([]);
    expect(plugin.device.sent.length).toBe(1);
    plugin.device.complete();
    plugin.device.arrive(tcpFrame(1, 2, 200));
    await lab.settle();
    expect(lab.stack.frames.map((f) => f.bytes)).toEqual([tcpFrame(1, 2, 200)]);
    expect(plugin.device.pool.free).toBe(64);
    lab.backend.queue.put(tcpFrame(2, 1, 300));
    lab.backend.queue.publishRx();
    plugin.device.answer = () => notIp;
    lab.send(pattern(60));
    await lab.settle();
    expect(lab.front.statistics()).toMatchObject({
      txFrames: 2,
      txBytes: 124,
      rxFrames: 2,
      rxBytes: 500,
      accelerated: { txFrames: 1, txBytes: 64, rxFrames: 1, rxBytes: 200 },
      declines: { 'not-ip': 1 },
    });
    await lab.run(all.registry.unregister(PLUGIN));
    expect(lab.front.statistics()).toMatchObject({ txFrames: 2, rxBytes: 500, accelerated: { txFrames: 1 } });
    await end(all);
  });

  test('hole 2.16 #16: totals go on beyond 32 bits, and over a detach', async () => {
    const all = await live();
    const { lab, plugin, registry } = all;
    const far = 2 ** 40 + 12_345;
    plugin.device.totals.rxBytes = far;
    expect(lab.front.statistics()).toMatchObject({ rxBytes: far, accelerated: { rxBytes: far } });
    await lab.run(registry.unregister(PLUGIN));
    registry.register(plugin.definition);
    await lab.settle();
    plugin.device.totals.rxBytes = far;
    expect(lab.front.statistics().accelerated.rxBytes).toBe(2 * far);
    await end(all);
  });
});

describe('probe that fails', () => {
  test('defect 1.8 #10: rejected: slow, the reason on record, tried again with growing pauses', async () => {
    const all = await rig();
    const { lab, plugin, registry, half } = all;
    let tries = 0;
    plugin.onNewDevice = (services) =>
      ++tries < 4
        ? Promise.reject(new Error(`no hardware ${tries}`))
        : Promise.resolve(new PluginDevice(services));
    registry.register(plugin.definition);
    await lab.run(half.offer());
    await lab.settle();
    expect(reason(lab)).toMatch(/no hardware 1/);
    expect(tries).toBe(1);
    await lab.machine.advance(1010);
    expect(tries).toBe(2);
    await lab.machine.advance(1900);
    expect(tries).toBe(2);
    await lab.machine.advance(150);
    expect(tries).toBe(3);
    await lab.machine.advance(4010);
    expect(lab.front.state).toMatchObject({ accelerator: 'live', reason: null });
    await end(all);
  });

  test('a change of the key is a reason to try at once', async () => {
    const all = await rig();
    const { lab, plugin, registry, half } = all;
    let tries = 0;
    plugin.onNewDevice = (services) =>
      ++tries < 2 ? Promise.reject(new Error('no')) : Promise.resolve(new PluginDevice(services));
    registry.register(plugin.definition);
    await lab.run(half.offer());
    await lab.settle();
    await lab.run(half.withdraw());
    await lab.settle();
    await lab.run(half.offer());
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('never coming back: given up after the deadline, and removed when it does', async () => {
    const all = await rig({ netfront: { deadlines: { probeMs: 100 } } });
    const { lab, plugin, registry, half } = all;
    let arrive: (device: PluginDevice) => void = () => undefined;
    let handed: PluginDevice | null = null;
    plugin.onNewDevice = (services) => {
      handed ??= new PluginDevice(services);
      return new Promise((resolve) => (arrive = resolve));
    };
    registry.register(plugin.definition);
    await lab.run(half.offer());
    await lab.machine.advance(101);
    expect(reason(lab)).toMatch(/newDevice took more than 100 ms/);
    arrive(handed!);
    await lab.machine.advance(10);
    expect(handed!.calls).toEqual(['remove']);
    await lab.run(half.withdraw());
    await end(all);
  });

  test('asking a half that does not answer: given up after the deadline of a request', async () => {
    const all = await rig({ netfront: { deadlines: { requestMs: 3000 } } });
    const { lab, plugin, registry, half } = all;
    plugin.onNewDevice = async (services) => {
      await services.mailbox.request(1, new Uint8Array(0));
      return new PluginDevice(services);
    };
    registry.register(plugin.definition);
    await lab.run(half.offer());
    await lab.machine.advance(2990);
    expect(lab.front.state.accelerator).toBe('probing');
    await lab.machine.advance(20);
    expect(reason(lab)).toMatch(/no reply to message 1 within 3000 ms/);
    await lab.run(half.withdraw());
    await end(all);
  });

  test.each(['unloaded', 'unnamed', 'stopped'] as const)(
    '%s while it is probed: nobody waits for it',
    async (how) => {
      const all = await rig();
      const { lab, plugin, registry, half } = all;
      let arrive: (device: PluginDevice) => void = () => undefined;
      let handed: PluginDevice | null = null;
      plugin.onNewDevice = (services) => {
        handed = new PluginDevice(services);
        return new Promise((resolve) => (arrive = resolve));
      };
      registry.register(plugin.definition);
      await lab.run(half.offer());
      await lab.settle();
      expect(lab.front.state.accelerator).toBe('probing');
      const before = lab.machine.clock.now();
      if (how === 'unloaded') await lab.run(registry.unregister(PLUGIN));
      else if (how === 'unnamed') await lab.run(half.withdraw());
      else await lab.run(lab.front.stop());
      await lab.settle();
      expect(lab.machine.clock.now() - before).toBeLessThan(50);
      expect(lab.front.state.accelerator).toBe('detached');
      arrive(handed!);
      await lab.machine.advance(10);
      expect(handed!.calls).toEqual(['remove']);
      await end(all);
    },
  );

  test('throwing at once, and leaving things behind', async () => {
    const all = await rig();
    const { lab, plugin, registry, half } = all;
    plugin.onNewDevice = (services) => {
      services.share(2, 'write');
      services.events.open(() => undefined);
      services.clock.after(100_000, () => undefined);
      throw new Error('half done');
    };
    registry.register(plugin.definition);
    await lab.run(half.offer());
    await lab.settle();
    expect(reason(lab)).toMatch(/half done/);
    expect(lab.machine.lines.map((l) => l.message).join()).toMatch(
      /left behind.*2 shared pages.*event channel.*timer/s,
    );
    await lab.run(half.withdraw());
    await end(all);
  });

  test('the backend half is not ready: it waits', async () => {
    const all = await rig();
    const { lab, plugin, registry, half } = all;
    registry.register(plugin.definition);
    await lab.run(lab.backend.write('accel/state', '6'));
    await lab.run(lab.backend.write('accel-frontend', PLUGIN));
    await lab.settle();
    expect(reason(lab)).toMatch(/waits for its backend half, which is Closed/);
    await lab.run(half.offer());
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });
});
