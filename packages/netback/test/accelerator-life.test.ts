// A vif's life with a plugin on it: reconnects, breaches, deaths, and an end at every step.
import { describe, expect, test } from 'vitest';
import { XenbusState } from '@netaccel/xen';
import type { Faults } from '@netaccel/xen/sim';
import { AccelLab, FakePlugin, attached } from './accelerator-lab.js';
import { NOTHING_HELD, pattern } from './lab.js';

test('a vif that connects again attaches again, after the plugin was off', async () => {
  const plugin = new FakePlugin();
  const lab = await attached(plugin);
  const { frontend } = lab.vif;
  for (let round = 0; round < 3; round++) {
    await lab.half.state(XenbusState.Closed);
    await lab.vif.run(frontend.state(XenbusState.Closing));
    await lab.vif.settle();
    expect(await lab.vif.backState()).toBe(XenbusState.Closing);
    expect(plugin.calls.at(-1)).toBe('remove');
    await lab.vif.run(frontend.state(XenbusState.Closed));
    await lab.vif.settle();
    expect(frontend.release()).toBe(true);
    await lab.vif.run(frontend.state(XenbusState.Initialising));
    await lab.vif.settle();
    expect(await lab.vif.backState()).toBe(XenbusState.InitWait);
    expect(await lab.state()).toBe(XenbusState.Initialising);
    await lab.vif.run(frontend.connect({ pages: 4 }));
    await lab.half.connect();
    expect(await lab.state()).toBe(XenbusState.Connected);
  }
  await lab.end();
});

test('XSA-39: a breach ends the reading of all rings at once, while the plugin still has its time to go', async () => {
  const plugin = new FakePlugin();
  const lab = await AccelLab.make({ plugins: [plugin], start: false });
  const { vif } = lab;
  await vif.run(vif.netback.start());
  await vif.run(vif.frontend.connect({ pages: 16, queues: 2 }));
  await lab.half.connect();
  const [bad, good] = vif.frontend.queues;
  const index = bad!.tx.produced;
  bad!.poke('tx', 'req_prod', (index + 1000) >>> 0);
  bad!.txChannel.notify();
  await vif.settle();
  expect(vif.netback.statistics().breaches).toBe(1);
  expect(lab.slot()).toMatchObject({ state: 'attached' });
  bad!.poke('tx', 'req_prod', index);
  for (const queue of [bad!, good!]) {
    queue.packet(pattern(60));
    queue.publish();
    queue.txChannel.notify();
  }
  await vif.settle();
  expect(vif.network.frames).toEqual([]);
  await lab.half.state(XenbusState.Closed);
  expect(vif.back.ledger()).toMatchObject({ mappings: 0, ports: 0, tasks: 0 });
  await lab.end();
});

test('a guest that dies takes its plugin’s half along at once', async () => {
  const plugin = new FakePlugin();
  const lab = await attached(plugin);
  const before = lab.vif.machine.clock.now();
  lab.vif.machine.destroyDomain(1);
  await lab.vif.run(lab.vif.back.store.remove('/local/domain/1'));
  await lab.vif.settle();
  expect(plugin.calls).toEqual(['probe', 'remove']);
  await lab.vif.run(lab.vif.netback.stop());
  expect(lab.vif.machine.clock.now() - before).toBeLessThan(100);
  expect(lab.vif.back.ledger()).toEqual(NOTHING_HELD);
});

test('a removed vif directory is not brought back by the plugin’s keys', async () => {
  const plugin = new FakePlugin();
  const lab = await attached(plugin);
  await lab.vif.run(lab.vif.back.store.remove(lab.vif.backPath));
  await lab.vif.run(lab.vif.netback.stop(true));
  await lab.vif.settle();
  expect(await lab.vif.run(lab.vif.back.store.exists(lab.vif.backPath))).toBe(false);
  expect(plugin.calls).toEqual(['probe', 'remove']);
  await lab.end();
});

describe('at every step of a life with a plugin', () => {
  /** Attach, unload, load again, attach, the guest leaves by itself. `act` happens before step `at`. */
  async function lifeWith(at: number, act: (lab: AccelLab) => void) {
    const plugin = new FakePlugin();
    plugin.probe = async (services) => {
      services.share(1, 'write');
      services.events.open(() => undefined);
      services.port.onReceive(() => undefined);
      services.clock.after(1e7, () => undefined);
      await services.store.watchPeer('x', () => undefined);
      await services.store.write('y', 'z');
    };
    let begun = Infinity;
    let steps = 0;
    const box: { lab?: AccelLab } = {};
    const faults: Faults = {
      step: (step) => {
        if (step < begun) return;
        steps = step - begun;
        if (steps === at) act(box.lab!);
      },
    };
    const limits = { smallBuffers: 8, largeBuffers: 1, backlogBytes: 65536 + 4096, backlogFrames: 8 };
    const lab = (box.lab = await AccelLab.make({
      pages: 512,
      domains: 3,
      ports: 64,
      mappings: 64,
      grantPages: 1,
      plugins: [plugin],
      start: false,
      faults,
      limits,
    }));
    const { guest, frontend, netback, machine } = lab.vif;
    begun = machine.lab.scheduler.steps;
    const accel = `${frontend.path}/accel`;
    const halfConnects = () =>
      guest.store.transaction(async (transaction) => {
        lab.half.release();
        for (const [key, value] of Object.entries(lab.half.open()))
          await guest.store.write(`${accel}/${key}`, value, transaction);
      });
    /** Until the backend's half says so; not for ever, since it may be stopped meanwhile. */
    const backendSays = async (state: number) => {
      for (let i = 0; i < 40; i++)
        if ((await guest.store.readOptional(`${lab.vif.backPath}/accel/state`)) === String(state)) return;
    };
    const life = async () => {
      await Promise.all([netback.start(), frontend.connect({ pages: 4 })]);
      await backendSays(XenbusState.Initialising);
      await halfConnects();
      await backendSays(XenbusState.Connected);
      const gone = lab.registry.unregister('fake-backend');
      await guest.store.write(`${accel}/state`, '6');
      await gone;
      lab.registry.register(plugin.definition);
      await backendSays(XenbusState.Initialising);
      await halfConnects();
      await backendSays(XenbusState.Connected);
      await guest.store.write(`${accel}/state`, '5');
      await guest.store.write(`${accel}/state`, '6');
    };
    const over = life().catch(() => undefined);
    await machine.settle(0);
    await Promise.race([over, machine.settle()]);
    return { lab, plugin, steps };
  }

  test('a vif that is stopped removes its plugin once for each probe, and holds nothing', async () => {
    const { steps, plugin: undisturbed } = await lifeWith(-1, () => undefined);
    expect(undisturbed.calls).toEqual(['probe', 'remove', 'probe', 'remove']);
    const made = new Set<number>();
    for (let at = 0; at <= steps; at += 2) {
      const { lab, plugin } = await lifeWith(at, ({ vif }) => void vif.netback.stop());
      const { back, violations } = await lab.vif.end();
      expect({ at, back, violations }).toEqual({ at, back: NOTHING_HELD, violations: [] });
      expect(lab.handlers('eth0')).toBe(0);
      // Each half that probe made is removed; a probe that the stop interrupted made none.
      const removes = plugin.calls.filter((call) => call === 'remove').length;
      expect({ at, removes }).toEqual({ at, removes: plugin.made });
      made.add(plugin.made);
    }
    expect([...made].sort()).toEqual([0, 1, 2]);
  }, 120_000);

  test('a guest that dies takes nothing of the backend along', async () => {
    const { steps } = await lifeWith(-1, () => undefined);
    for (let at = 0; at <= steps; at += 2) {
      const { lab } = await lifeWith(at, ({ vif }) => {
        if (vif.machine.domain(1) !== undefined) vif.machine.destroyDomain(1);
      });
      await lab.vif.run(lab.vif.back.store.remove('/local/domain/1'));
      await lab.vif.settle();
      await lab.vif.run(lab.vif.netback.stop());
      expect({ at, ...lab.vif.back.ledger() }).toEqual({ at, ...NOTHING_HELD });
      expect(lab.handlers('eth0')).toBe(0);
    }
  }, 120_000);
});
