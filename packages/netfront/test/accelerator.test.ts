/** The accelerator's life on a device: every order of events, every deadline, nothing left behind. */
import { describe, expect, test } from 'vitest';
import { AcceleratorRegistry, Verdict } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { CLEAN_END, VifLab, pattern, tcpFrame } from './lab.js';
import type { VifOptions } from './lab.js';
import { BackendHalf, PLUGIN, PluginDevice, ScriptedPlugin, notIp } from './scripted-plugin.js';

interface Rig {
  readonly lab: VifLab;
  readonly registry: AcceleratorRegistry<FrontendAcceleratorDefinition>;
  readonly plugin: ScriptedPlugin;
  readonly half: BackendHalf;
}

export async function rig(options: VifOptions = {}, loader?: (name: string) => Promise<void>): Promise<Rig> {
  const registry = new AcceleratorRegistry<FrontendAcceleratorDefinition>(loader);
  const lab = await VifLab.connected({ ...options, netfront: { registry, ...options.netfront } });
  return { lab, registry, plugin: new ScriptedPlugin(), half: new BackendHalf(lab) };
}

/** A rig with the plugin live. */
export async function live(options: VifOptions = {}): Promise<Rig> {
  const made = await rig(options);
  made.registry.register(made.plugin.definition);
  await made.lab.run(made.half.offer());
  await made.lab.settle();
  expect(made.lab.front.state.accelerator).toBe('live');
  return made;
}

async function end({ lab, half }: Rig): Promise<void> {
  lab.backend.answering = true;
  const waiting = lab.backend.queues[0]?.take() ?? [];
  if (waiting.length > 0) lab.backend.queue.answer(waiting);
  await lab.settle();
  await lab.run(lab.front.stop());
  await lab.run(half.stop());
  expect(await lab.end()).toEqual(CLEAN_END);
}

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

const reason = (lab: VifLab): string | null => lab.front.state.reason;

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

describe('detach', () => {
  test('the plugin is unloaded in use, and comes back', async () => {
    const all = await live();
    const { lab, plugin, registry } = all;
    lab.send(tcpFrame(1, 1));
    const unloaded = registry.unregister(PLUGIN);
    await lab.run(unloaded);
    expect(plugin.device.calls).toEqual(['quiesce', 'remove']);
    expect(lab.front.state.accelerator).toBe('detached');
    expect(lab.front.statistics().counters).toMatchObject({
      fastSent: 1,
      fastCompleted: 1,
      fastTakenBack: 0,
    });
    lab.send(tcpFrame(1, 2));
    await lab.settle();
    expect(lab.backend.queue.take().length).toBe(1);
    registry.register(plugin.definition);
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    expect(plugin.devices.length).toBe(2);
    await end(all);
  });

  test('the key goes, and another plugin’s comes', async () => {
    const all = await live();
    const { lab, registry, half, plugin } = all;
    await lab.run(half.withdraw());
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('detached');
    expect(reason(lab)).toMatch(/does not name a plugin/);
    const other = new ScriptedPlugin('other-frontend');
    registry.register(other.definition);
    await lab.run(half.offer('other-frontend'));
    await lab.settle();
    expect(other.devices.length).toBe(1);
    expect(lab.front.state.accelerator).toBe('live');
    // And back, in one step.
    await lab.run(half.offer(PLUGIN));
    await lab.settle();
    expect(other.device.calls).toEqual(['quiesce', 'remove']);
    expect(plugin.devices.length).toBe(2);
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('another version takes its place', async () => {
    const all = await live();
    const { lab, registry, plugin } = all;
    await lab.run(registry.unregister(PLUGIN));
    const newer = new ScriptedPlugin(PLUGIN, '2.0.0');
    registry.register(newer.definition);
    await lab.settle();
    expect(plugin.device.calls).toEqual(['quiesce', 'remove']);
    expect(newer.devices.length).toBe(1);
    await end(all);
  });

  test('the backend half closes, and is ready again', async () => {
    const all = await live();
    const { lab, half, plugin } = all;
    await lab.run(half.set(XenbusState.Closing));
    await lab.settle();
    expect(plugin.devices.length).toBe(2);
    expect(plugin.devices[0]!.calls).toEqual(['quiesce', 'remove']);
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('the backend half begins anew without a word', async () => {
    const all = await live();
    const { lab, half, plugin } = all;
    await lab.run(half.set(XenbusState.Initialising));
    await lab.settle();
    expect(plugin.devices.length).toBe(2);
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('defect 1.8 #11: suspend, resume: the new host’s keys decide', async () => {
    const all = await live();
    const { lab, half, plugin } = all;
    await lab.run(lab.front.suspend());
    expect(plugin.device.calls).toEqual(['quiesce', 'remove']);
    expect({ ...lab.guest.ledger() }).toEqual(CLEAN_END.guest);
    await lab.run(half.withdraw());
    await lab.run(lab.front.resume());
    await lab.settle();
    expect(lab.front.state).toMatchObject({ accelerator: 'detached', carrier: true });
    await lab.run(half.offer());
    await lab.settle();
    expect(lab.front.state.accelerator).toBe('live');
    await end(all);
  });

  test('the backend is fenced: the plugin still leaves in order', async () => {
    const all = await live();
    const { lab, plugin } = all;
    lab.send(tcpFrame(1, 1));
    lab.backend.queue.respond(9, 0);
    lab.backend.queue.publishTx();
    plugin.device.arrive(tcpFrame(1, 2));
    await lab.settle();
    expect(lab.front.state).toMatchObject({ carrier: false, accelerator: 'detached' });
    expect(plugin.device.calls).toEqual(['quiesce', 'remove']);
    expect(lab.front.statistics().counters).toMatchObject({
      fastCompleted: 1,
      fastTakenBack: 0,
      fastReceived: 1,
    });
    await lab.run(all.half.stop());
    await lab.machine.advance(2000);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('the device closes while the plugin is live', async () => {
    const all = await live();
    all.lab.send(tcpFrame(1, 1));
    await end(all);
    expect(all.plugin.device.calls).toEqual(['quiesce', 'remove']);
  });

  test('a service that is used after the plugin is gone', async () => {
    const all = await live();
    const { services } = all.plugin.device;
    await all.lab.run(all.registry.unregister(PLUGIN));
    expect(() => services.share(1, 'read')).toThrow(expect.objectContaining({ code: 'SERVICE_REVOKED' }));
    expect(() => services.events.open(() => undefined)).toThrow(
      expect.objectContaining({ code: 'SERVICE_REVOKED' }),
    );
    services.wake();
    services.schedulePoll();
    services.failed('too late');
    await all.lab.settle();
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

describe('deadlines', () => {
  test('quiesce that never ends, frames that are never completed', async () => {
    const all = await live({ netfront: { deadlines: { quiesceMs: 300, removeMs: 200 } } });
    const { lab, plugin, registry } = all;
    plugin.device.onQuiesce = () => new Promise(() => undefined);
    plugin.device.quiesce = () => plugin.device.onQuiesce();
    lab.send(tcpFrame(1, 1));
    lab.send(tcpFrame(2, 1));
    const free = lab.connection.freeBuffers.small;
    const unloaded = registry.unregister(PLUGIN);
    await lab.machine.advance(100);
    expect(lab.front.state.accelerator).toBe('quiescing');
    // Nothing may overtake what the plugin has.
    const frame = lab.frame(tcpFrame(1, 2));
    expect(lab.front.startXmit(frame, false)).toBe(false);
    const ready = lab.stack.ready;
    await lab.machine.advance(201);
    expect(lab.stack.ready).toBe(ready + 1);
    expect(lab.front.startXmit(frame, false)).toBe(true);
    await lab.run(unloaded);
    await lab.settle();
    expect(lab.front.statistics().counters.fastTakenBack).toBe(2);
    const packets = lab.backend.queue.take();
    expect(packets.length).toBe(1);
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.connection.freeBuffers.small).toBe(free + 2);
    expect(reason(lab)).toMatch(/never completed: 2/);
    await end(all);
  });

  test('defect 1.8 #5: remove that never ends is left behind; other devices do not wait', async () => {
    const all = await live({ netfront: { deadlines: { removeMs: 200 } } });
    const { lab, plugin, registry } = all;
    plugin.device.onRemove = () => new Promise(() => undefined);
    const before = lab.machine.clock.now();
    await lab.run(registry.unregister(PLUGIN));
    expect(lab.machine.clock.now() - before).toBeLessThan(250);
    expect(lab.front.state.accelerator).toBe('detached');
    await lab.settle();
    await end(all);
  });

  test('hole 2.16 #8: a plugin that stays busy for ever has to go, and the frame goes slow', async () => {
    const all = await live({ netfront: { deadlines: { stallMs: 400 } } });
    const { lab, plugin } = all;
    plugin.device.room = 0;
    expect(lab.send(tcpFrame(1, 1))).toBe(true);
    const second = lab.frame(tcpFrame(1, 2));
    expect(lab.front.startXmit(second, false)).toBe(false);
    await lab.machine.advance(399);
    expect(lab.front.state.accelerator).toBe('live');
    await lab.machine.advance(10);
    expect(lab.front.state.accelerator).toBe('detached');
    expect(reason(lab)).toMatch(/kept the queue stopped for 400 ms/);
    expect(lab.front.startXmit(second, false)).toBe(true);
    await lab.settle();
    expect(lab.backend.queue.take().map((p) => p.bytes)).toEqual([tcpFrame(1, 1), tcpFrame(1, 2)]);
    await end(all);
  });
});
