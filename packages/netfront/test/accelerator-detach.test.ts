/** How an accelerator leaves its device: whoever wants it gone, in bounded time, and nothing is left behind. */
import { describe, expect, test } from 'vitest';
import { XenbusState } from '@netaccel/xen';
import { end, live, reason } from './accelerator-rig.js';
import { CLEAN_END, tcpFrame } from './lab.js';
import { PLUGIN, ScriptedPlugin } from './scripted-plugin.js';

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

  test('quiesce that fails at once: nothing overtakes what the plugin has until it is removed', async () => {
    const all = await live({ netfront: { deadlines: { removeMs: 200 } } });
    const { lab, plugin, registry } = all;
    const { device } = plugin;
    device.quiesce = () => Promise.reject(new Error('oops'));
    device.onRemove = () => new Promise((resolve) => void lab.machine.clock.after(100, resolve));
    lab.send(tcpFrame(1, 1));
    const unloaded = registry.unregister(PLUGIN);
    await lab.machine.advance(50);
    expect(lab.front.state.accelerator).toBe('removing');
    expect(lab.send(tcpFrame(1, 2))).toBe(false);
    await lab.run(unloaded);
    await lab.settle();
    expect(lab.front.statistics().counters.fastTakenBack).toBe(1);
    expect(lab.send(tcpFrame(1, 2))).toBe(true);
    const packets = lab.backend.queue.take();
    expect(packets.length).toBe(1);
    lab.backend.queue.answer(packets);
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
