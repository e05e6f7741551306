import { describe, expect, test } from 'vitest';
import { CONTRACT_VERSION } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { AccelLab, FakePlugin, FakePort, attached } from './accelerator-lab.js';
import { VifLab } from './lab.js';

describe('both load orders', () => {
  test('plugin first: the offer is there with InitWait; probe waits for the guest’s half', async () => {
    const plugin = new FakePlugin();
    const lab = await AccelLab.make({ plugins: [plugin], start: false });
    await lab.vif.run(lab.vif.netback.start());
    expect(await lab.vif.key('accel-frontend')).toBe('fake-backend-guest');
    expect(await lab.state()).toBe(XenbusState.Initialising);
    expect(await lab.vif.backState()).toBe(XenbusState.InitWait);
    expect(plugin.calls).toEqual([]);
    await lab.vif.run(lab.vif.frontend.connect({ pages: 4 }));
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe']);
    expect(await lab.state()).toBe(XenbusState.Connected);
    expect(lab.slot()).toMatchObject({
      state: 'attached',
      plugin: 'fake-backend',
      reason: null,
      detail: { name: 'fake-backend' },
    });
    expect(await lab.talks()).toBe(true);
    await lab.end();
    expect(plugin.calls).toEqual(['probe', 'remove']);
  });

  test('vif first: the same end, and the reason until then', async () => {
    const lab = await AccelLab.make();
    expect(lab.slot()).toMatchObject({
      state: 'none',
      reason: 'no plugin is registered that drives NIC port eth0',
    });
    const plugin = new FakePlugin();
    lab.registry.register(plugin.definition);
    await lab.vif.settle();
    expect(await lab.vif.key('accel-frontend')).toBe('fake-backend-guest');
    await lab.half.connect();
    expect(await lab.state()).toBe(XenbusState.Connected);
    await lab.end();
  });

  test('key last', async () => {
    const plugin = new FakePlugin();
    const lab = await AccelLab.make({ accel: null, plugins: [plugin] });
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('no key "accel"') as string });
    await lab.vif.run(lab.vif.back.store.write(`${lab.vif.backPath}/accel`, 'eth0'));
    await lab.vif.settle();
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe']);
    await lab.end();
  });

  test('port last', async () => {
    const plugin = new FakePlugin();
    const lab = await AccelLab.make({ accel: 'eth7', plugins: [plugin] });
    expect(lab.slot()).toMatchObject({ reason: 'this domain has no NIC port eth7' });
    lab.ports.set('eth7', new FakePort('eth7'));
    lab.vif.netback.portsChanged();
    await lab.vif.settle();
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe']);
    lab.ports.delete('eth7');
    lab.vif.netback.portsChanged();
    await lab.vif.machine.advance(3000);
    expect(plugin.calls).toEqual(['probe', 'remove']);
    await lab.end();
  });
});

test('defect 1.8 #6: the newest plugin that drives the port wins, and one that comes later changes nothing', async () => {
  const plugins = [new FakePlugin('one'), new FakePlugin('two')];
  const other = new FakePlugin('other');
  const definition = { ...other.definition, supports: () => false };
  const lab = await AccelLab.make({ plugins });
  lab.registry.register(definition);
  await lab.vif.settle();
  expect(await lab.vif.key('accel-frontend')).toBe('two-guest');
  await lab.half.connect();
  lab.registry.register(new FakePlugin('three').definition);
  await lab.vif.settle();
  expect(lab.slot()).toMatchObject({ plugin: 'two', state: 'attached' });
  expect(plugins.map(({ calls }) => calls)).toEqual([[], ['probe']]);
  await lab.end();
});

test('hole 2.16 #13: quotas are read all or nothing and are fixed at probe', async () => {
  for (const [keys, limits] of [
    [{}, { maxFilters: 8, maxBufferPages: 384, maxMulticasts: 8 }],
    [
      { 'limits/max-filters': '3', 'limits/max-buf-pages': '10' },
      { maxFilters: 8, maxBufferPages: 384, maxMulticasts: 8 },
    ],
    [
      { 'limits/max-filters': '3', 'limits/max-buf-pages': '10', 'limits/max-mcasts': 'x' },
      { maxFilters: 8, maxBufferPages: 384, maxMulticasts: 8 },
    ],
    [
      { 'limits/max-filters': '3', 'limits/max-buf-pages': '10', 'limits/max-mcasts': '4' },
      { maxFilters: 3, maxBufferPages: 10, maxMulticasts: 4 },
    ],
  ] as [Record<string, string>, object][]) {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { backendKeys: keys });
    expect(plugin.services!.limits).toEqual(limits);
    expect(plugin.services).toMatchObject({
      contract: CONTRACT_VERSION,
      vif: { guest: 1, handle: 0, backend: 0, mtu: 1500 },
    });
    expect([...plugin.services!.vif.mac]).toEqual([0, 0x16, 0x3e, 0, 0, 1]);
    await lab.end();
  }
});

describe('detach', () => {
  /** What makes the backend detach, with a guest that answers. */
  const causes: Record<string, (lab: AccelLab, plugin: FakePlugin) => Promise<unknown>> = {
    'the plugin is unloaded': (lab) => lab.registry.unregister('fake-backend'),
    'the key is removed': (lab) => lab.vif.back.store.remove(`${lab.vif.backPath}/accel`),
    'the key names another port': (lab) => lab.vif.back.store.write(`${lab.vif.backPath}/accel`, 'eth5'),
    'the plugin says failed': (_, plugin) => {
      plugin.services!.failed('the NIC was reset');
      return Promise.resolve();
    },
    'a handler throws': (lab, plugin) => {
      plugin.services!.clock.after(0, () => {
        throw new Error('bug');
      });
      return Promise.resolve(lab);
    },
  };
  for (const [name, cause] of Object.entries(causes))
    test(`${name}: the guest’s half closes first, then the plugin goes; the slow path stays`, async () => {
      const plugin = new FakePlugin();
      const lab = await attached(plugin);
      const work = cause(lab, plugin);
      await lab.vif.settle();
      expect(await lab.state()).toBe(XenbusState.Closing);
      expect(await lab.vif.key('accel-frontend')).toBeNull();
      expect(plugin.calls).toEqual(['probe']);
      expect(await lab.talks()).toBe(true);
      await lab.half.state(XenbusState.Closed);
      await lab.vif.run(work);
      await lab.vif.settle();
      expect(plugin.calls).toEqual(['probe', 'remove']);
      expect(lab.half.release()).toBe(true);
      expect(await lab.state()).toBe(XenbusState.Closed);
      expect(await lab.talks()).toBe(true);
      await lab.end();
    });

  test('the guest’s half closes by itself: the plugin goes, the offer stays, and it may come back', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    for (let round = 1; round <= 3; round++) {
      await lab.half.state(XenbusState.Closing);
      expect(plugin.calls).toHaveLength(2 * round - 1);
      await lab.half.state(XenbusState.Closed);
      expect(plugin.calls).toHaveLength(2 * round);
      expect(lab.half.release()).toBe(true);
      expect(await lab.state()).toBe(XenbusState.Initialising);
      expect(await lab.vif.key('accel-frontend')).toBe('fake-backend-guest');
      await lab.half.connect();
      expect(await lab.state()).toBe(XenbusState.Connected);
    }
    await lab.end();
  });

  test('a guest’s half that comes and goes without end is made to wait', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    for (let round = 0; round < 30; round++) {
      await lab.half.state(XenbusState.Closed);
      await lab.half.connect();
    }
    expect(plugin.made).toBe(9);
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('came and went 9 times') as string });
    await lab.half.state(XenbusState.Initialising);
    await lab.vif.machine.advance(1100);
    await lab.half.connect();
    expect(plugin.made).toBe(10);
    await lab.end();
  });

  test('hole 2.16 #6: a guest that does not answer delays it by the limit and no more; it is not attached to the old half again', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    const before = lab.vif.machine.clock.now();
    await lab.vif.run(lab.registry.unregister('fake-backend'));
    const took = lab.vif.machine.clock.now() - before;
    expect(took).toBeGreaterThan(1_990);
    expect(took).toBeLessThan(2_100);
    expect(plugin.calls).toEqual(['probe', 'remove']);
    lab.registry.register(plugin.definition);
    await lab.vif.settle();
    expect(await lab.state()).toBe(XenbusState.Initialising);
    expect(plugin.calls).toEqual(['probe', 'remove']);
    await lab.half.state(XenbusState.Initialising);
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe', 'remove', 'probe']);
    await lab.end();
  });

  test('a plugin whose remove never ends, or throws, is left alone after the limit, and what it held is taken', async () => {
    for (const remove of [
      () => new Promise<void>(() => undefined),
      () => Promise.reject(new Error('no')),
      () => {
        throw new Error('not even a promise');
      },
    ]) {
      const plugin = new FakePlugin();
      plugin.remove = remove;
      plugin.probe = async (services) => {
        services.share(2, 'write');
        services.events.open(() => undefined);
        services.clock.after(1e6, () => undefined);
        services.port.onReceive(() => undefined);
        services.port.onLink(() => undefined);
        await services.store.watchPeer('hello', () => undefined);
      };
      const lab = await attached(plugin);
      expect(lab.slot()).toMatchObject({ holds: 7 });
      const gone = lab.registry.unregister('fake-backend');
      await lab.half.state(XenbusState.Closed);
      await lab.vif.run(gone);
      expect(lab.handlers('eth0')).toBe(0);
      expect(lab.slot()).toMatchObject({ holds: 0, state: 'none' });
      expect(await lab.talks()).toBe(true);
      await lab.end();
    }
  });

  test('hole 2.16 #7: one vif’s hung plugin does not hold up another vif', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    plugin.remove = () => new Promise(() => undefined);
    const gone = lab.registry.unregister('fake-backend');
    const second = await VifLab.make({
      machine: lab.vif.machine,
      guestId: 2,
      backendKeys: { accel: 'eth1' },
      netback: { accelerators: { registry: lab.registry, port: (name) => lab.ports.get(name) } },
    });
    const other = new FakePlugin('other');
    lab.registry.register(other.definition);
    const before = lab.vif.machine.clock.now();
    await second.run(second.netback.start());
    expect(await second.key('accel-frontend')).toBe('other-guest');
    expect(lab.vif.machine.clock.now() - before).toBeLessThan(100);
    await lab.vif.run(gone);
    await second.run(second.netback.stop());
    await lab.end();
  });
});

describe('a probe that fails', () => {
  test('leaves the vif slow with the reason, is undone, and is tried again after growing pauses', async () => {
    const plugin = new FakePlugin();
    let tries = 0;
    plugin.probe = (services) => {
      services.share(1, 'read');
      services.port.onTransmit(() => undefined);
      return Promise.reject(new Error(`no VI left ${++tries}`));
    };
    const lab = await AccelLab.make({ plugins: [plugin] });
    await lab.half.connect();
    expect(await lab.state()).toBe(XenbusState.Closing);
    await lab.half.state(XenbusState.Closed);
    expect(await lab.state()).toBe(XenbusState.Closed);
    expect(lab.slot()).toMatchObject({
      state: 'none',
      reason: expect.stringContaining('no VI left 1') as string,
    });
    expect(lab.handlers('eth0')).toBe(0);
    expect(await lab.talks()).toBe(true);
    const pauses: number[] = [];
    for (let round = 2; round <= 5; round++) {
      const before = lab.vif.machine.clock.now();
      await lab.vif.machine.runUntil(() => lab.slot()['state'] === 'offered', 100_000);
      pauses.push(Math.round((lab.vif.machine.clock.now() - before) / 1000));
      await lab.half.state(XenbusState.Initialising);
      await lab.half.connect();
      expect(tries).toBe(round);
      await lab.half.state(XenbusState.Closed);
    }
    expect(pauses).toEqual([1, 2, 4, 8]);
    // A change of the key is tried at once.
    plugin.probe = () => Promise.resolve();
    await lab.vif.run(lab.vif.back.store.write(`${lab.vif.backPath}/accel`, 'eth1'));
    await lab.vif.settle();
    await lab.half.connect();
    expect(lab.slot()).toMatchObject({ state: 'attached', port: 'eth1' });
    await lab.end();
  });

  test('defect 1.8 #7: gives the next plugin that fits its turn', async () => {
    const good = new FakePlugin('good');
    const bad = new FakePlugin('bad');
    bad.probe = () => Promise.reject(new Error('no'));
    const lab = await AccelLab.make({ plugins: [good, bad] });
    await lab.half.connect();
    await lab.half.state(XenbusState.Closed);
    expect(await lab.vif.key('accel-frontend')).toBe('good-guest');
    await lab.half.connect();
    expect(lab.slot()).toMatchObject({ state: 'attached', plugin: 'good' });
    await lab.end();
  });

  test('that never ends is given up after the limit, and a plugin that comes of it later is removed', async () => {
    const plugin = new FakePlugin();
    let finish: () => void = () => undefined;
    plugin.probe = () => new Promise((resolve) => (finish = resolve));
    const lab = await AccelLab.make({ plugins: [plugin] });
    await lab.half.connect();
    await lab.vif.machine.advance(5_100);
    expect(await lab.state()).toBe(XenbusState.Closing);
    await lab.half.state(XenbusState.Closed);
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('longer than 5000 ms') as string });
    finish();
    await lab.vif.settle();
    expect(plugin.calls).toEqual(['probe', 'remove']);
    await lab.end();
  });

  test('is given up at once when the vif stops', async () => {
    const plugin = new FakePlugin();
    plugin.probe = () => new Promise(() => undefined);
    const lab = await AccelLab.make({ plugins: [plugin] });
    await lab.half.connect();
    const before = lab.vif.machine.clock.now();
    const stopped = lab.vif.netback.stop();
    await lab.vif.settle();
    await lab.half.state(XenbusState.Closed);
    await lab.vif.run(lab.vif.frontend.state(XenbusState.Closed));
    await lab.vif.run(stopped);
    expect(lab.vif.machine.clock.now() - before).toBeLessThan(100);
    await lab.end();
  });

  test('for keys of the guest that make no sense is the guest’s fault, with the reason', async () => {
    for (const keys of [
      { 'mailbox-ref-0': 'x' },
      { 'mailbox-ref-1': '99999' },
      { 'mailbox-event-channel': '999' },
      { 'mailbox-event-channel': '' },
    ]) {
      const plugin = new FakePlugin();
      const lab = await AccelLab.make({ plugins: [plugin] });
      await lab.half.connect({ ...keys });
      expect(plugin.calls).toEqual([]);
      expect(await lab.state()).toBe(XenbusState.Closing);
      await lab.half.state(XenbusState.Closed);
      expect(lab.slot()).toMatchObject({
        state: 'none',
        reason: expect.stringContaining('could not attach') as string,
      });
      expect(await lab.talks()).toBe(true);
      await lab.end();
    }
  });
});
