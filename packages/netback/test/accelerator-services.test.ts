// What a plugin is handed for a vif, and what the toolstack says of the vif while it is on.
import { describe, expect, test } from 'vitest';
import { XenbusState, mailboxControl } from '@netaccel/xen';
import { PluginScope } from '../src/scope.js';
import { makeServices } from '../src/services.js';
import { AccelLab, FakePlugin, FakePort, attached } from './accelerator-lab.js';
import { VifLab } from './lab.js';

describe('the mailbox', () => {
  test('carries requests both ways, from probe to remove', async () => {
    const plugin = new FakePlugin();
    const replies: string[] = [];
    const text = (payload: Uint8Array) => String.fromCharCode(...payload);
    const bytes = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));
    plugin.probe = (services) => {
      services.mailbox.handle(1, (payload) => ({ ok: true, payload: bytes(`back heard ${text(payload)}`) }));
      return Promise.resolve();
    };
    plugin.remove = async () => {
      replies.push((await plugin.services!.mailbox.request(3, bytes('bye'))).ok ? 'bye heard' : 'bye lost');
    };
    const lab = await attached(plugin);
    const { mailbox } = lab.half;
    mailbox!.handle(2, (payload) => ({ ok: true, payload: bytes(`guest heard ${text(payload)}`) }));
    mailbox!.handle(3, () => ({ ok: true, payload: bytes('') }));
    replies.push(text((await lab.vif.run(mailbox!.request(1, bytes('hello')))).payload));
    replies.push(text((await lab.vif.run(plugin.services!.mailbox.request(2, bytes('ho')))).payload));
    const gone = lab.registry.unregister('fake-backend');
    await lab.half.state(XenbusState.Closed);
    await lab.vif.run(gone);
    expect(replies).toEqual(['back heard hello', 'guest heard ho', 'bye heard']);
    await lab.end();
  });

  test('a request that the guest’s half does not answer is given up after the limit', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { netback: { limits: { requestTimeoutMs: 3000 } } });
    lab.half.mailbox!.handle(2, () => new Promise(() => undefined));
    let said = '';
    const asked = plugin.services!.mailbox.request(2, new Uint8Array(0)).catch((error: unknown) => {
      said = String(error);
    });
    await lab.vif.machine.advance(2990);
    expect(said).toBe('');
    await lab.vif.machine.advance(20);
    await asked;
    expect(said).toMatch(/no reply to message 2 within 3000 ms/);
    await lab.end();
  });

  test('a guest that breaks its rules loses the plugin, with the reason, and keeps the slow path', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    // It claims more messages than the ring holds.
    const { guest } = lab.vif;
    guest.memory.words[(lab.half.page + mailboxControl.fields.guest_produced.offset) >>> 2]! += 1000;
    lab.half.channel!.notify();
    await lab.vif.settle();
    expect(await lab.state()).toBe(XenbusState.Closing);
    await lab.half.state(XenbusState.Closed);
    expect(plugin.calls).toEqual(['probe', 'remove']);
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('mailbox') as string });
    expect(await lab.talks()).toBe(true);
    await lab.end();
  });
});

describe('services', () => {
  test('everything handed out is taken back, and nothing is handed out afterwards', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    const services = plugin.services!;
    let ticks = 0;
    services.clock.after(100, () => ticks++);
    services.clock.after(200, () => ticks++)();
    const end = services.events.open(() => undefined);
    expect(services.events.vector(end)).toBeGreaterThan(0);
    const shared = services.share(1, 'read');
    expect(shared.release()).toBe(true);
    expect(shared.release()).toBe(true);
    const mapped = services.map(lab.vif.frontend.queue.txPages.refs, 'read');
    mapped.unmap();
    mapped.unmap();
    await lab.vif.machine.advance(300);
    expect(ticks).toBe(1);
    const gone = lab.registry.unregister('fake-backend');
    await lab.half.state(XenbusState.Closed);
    await lab.vif.run(gone);
    for (const call of [
      () => services.share(1, 'read'),
      () => services.map(new Uint32Array(1), 'read'),
      () => services.events.open(() => undefined),
      () => services.events.bind(1, () => undefined),
      () => services.clock.after(1, () => undefined),
      () => services.port.onReceive(() => undefined),
    ])
      expect(call).toThrow(expect.objectContaining({ code: 'PLUGIN_DETACHED' }));
    await expect(services.store.read('x')).rejects.toMatchObject({ code: 'PLUGIN_DETACHED' });
    await expect(services.fence()).rejects.toMatchObject({ code: 'PLUGIN_DETACHED' });
    services.failed('too late');
    await lab.end();
  });

  test('the store is the plugin’s own directory, without the driver’s keys', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    const { store } = plugin.services!;
    await lab.vif.run(store.write('colour', 'blue'));
    expect(await lab.vif.key('accel/colour')).toBe('blue');
    expect(await lab.vif.run(store.read('colour'))).toBe('blue');
    await lab.vif.run(lab.vif.guest.store.write(`${lab.vif.frontend.path}/accel/shape`, 'round'));
    expect(await lab.vif.run(store.readPeer('shape'))).toBe('round');
    expect(await lab.vif.run(store.readPeer('nothing'))).toBeNull();
    let seen = 0;
    const stop = await lab.vif.run(store.watchPeer('shape', () => seen++));
    await lab.vif.settle();
    const before = seen;
    await lab.vif.run(lab.vif.guest.store.write(`${lab.vif.frontend.path}/accel/shape`, 'square'));
    await lab.vif.settle();
    expect(seen).toBe(before + 1);
    await lab.vif.run(stop());
    for (const name of ['state', 'mailbox-ref-0', '../mac', 'a/b', ''])
      await expect(store.write(name, 'x')).rejects.toThrow(TypeError);
    await lab.end();
  });

  test('a watch that was asked for just before the end is taken back when it is there', async () => {
    const { back, machine, run } = await VifLab.make({ pages: 512 }).then((lab) => ({
      back: lab.back,
      machine: lab.machine,
      run: lab.run.bind(lab),
    }));
    const scope = new PluginScope(
      () => undefined,
      () => undefined,
    );
    const services = makeServices({
      domain: back,
      guest: 1,
      contract: 1,
      vif: { handle: 0, guest: 1, backend: 0, mac: new Uint8Array(6), mtu: 1500 },
      limits: { maxFilters: 1, maxBufferPages: 1, maxMulticasts: 1 },
      port: new FakePort('eth0'),
      mailbox: { request: () => Promise.reject(new Error()), handle: () => undefined },
      scope,
      ownPath: 'a',
      peerPath: 'b',
      title: 't',
      fence: () => Promise.resolve([]),
      rateBytesPerSecond: () => 0,
      shareCredit: () => () => undefined,
      failed: () => undefined,
    });
    const watching = services.store.watchPeer('x', () => undefined);
    scope.close();
    await run(watching);
    await machine.settle(0);
    expect(back.ledger().watches).toBe(0);
  });

  test('the fence and the rate are the vif’s', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { backendKeys: { rate: '1000,1000' } });
    expect(plugin.services!.rateBytesPerSecond).toBe(1_000_000);
    expect(await lab.vif.run(plugin.services!.fence())).toHaveLength(1);
    await lab.end();
  });
});

describe('what the toolstack says of a vif while a plugin is on it', () => {
  const write = async (lab: AccelLab, key: string, value: string | null) => {
    const path = `${lab.vif.backPath}/${key}`;
    const { store } = lab.vif.back;
    await lab.vif.run(value === null ? store.remove(path) : store.write(path, value));
    await lab.vif.machine.advance(3000);
  };

  test('feature 47: a vif with a rate limit is not given to a plugin that does not keep to it', async () => {
    const plugin = new FakePlugin('unlimited', '1.0.0', {});
    const lab = await AccelLab.make({ plugins: [plugin], backendKeys: { rate: '100000,50000' } });
    expect(lab.slot()).toMatchObject({
      state: 'none',
      reason: expect.stringMatching(/2000000 bytes per second.*unlimited.*transmitRate/) as string,
    });
    await write(lab, 'rate', null);
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe']);
    await write(lab, 'rate', '100000,50000');
    expect(plugin.calls).toEqual(['probe', 'remove']);
    expect(lab.slot()).toMatchObject({ reason: expect.stringContaining('transmitRate') as string });
    expect(await lab.talks()).toBe(true);
    await lab.end();
  });

  test('feature 47: a plugin that does gets its share of the credit, until it is off', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { backendKeys: { rate: '100000,50000' } });
    let credit = 0;
    plugin.services!.onCredit((bytes, most) => {
      credit = Math.min(credit + bytes, most);
      return 0;
    });
    await lab.vif.machine.advance(20);
    expect(credit).toBeGreaterThan(15_000);
    expect(credit).toBeLessThanOrEqual(40_000);
    await write(lab, 'accel', null);
    const last = credit;
    await lab.vif.machine.advance(100);
    expect(credit).toBe(last);
    expect(() => plugin.services!.onCredit(() => 0)).toThrow(/detached/);
    await lab.end();
  });

  test('feature 28: an onCredit handler that throws ends its plugin, and the slow path has the credit', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { backendKeys: { rate: '100000,50000' } });
    plugin.services!.onCredit(() => {
      throw new Error('no room');
    });
    await lab.vif.machine.advance(3000);
    expect(plugin.calls).toEqual(['probe', 'remove']);
    expect(lab.slot()).toMatchObject({
      reason: expect.stringContaining('onCredit handler threw: no room') as string,
    });
    expect(await lab.talks()).toBe(true);
    await lab.end();
  });

  test('feature 121, hole 2.16 #25: a MAC that changes takes the plugin off, and brings it back with the new one', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    await write(lab, 'mac', '00:16:3e:00:00:99');
    expect(plugin.calls).toEqual(['probe', 'remove']);
    expect(lab.vif.netback.describe()).toMatchObject({ mac: '00:16:3e:00:00:99' });
    await lab.half.state(XenbusState.Closed);
    await lab.half.connect();
    expect(plugin.calls).toEqual(['probe', 'remove', 'probe']);
    expect(plugin.services!.vif.mac[5]).toBe(0x99);
    // The same again, or nonsense, changes nothing.
    await write(lab, 'mac', '00:16:3e:00:00:99');
    await write(lab, 'mac', 'nonsense');
    expect(plugin.calls).toEqual(['probe', 'remove', 'probe']);
    expect(await lab.talks()).toBe(true);
    await lab.end();
  });

  test('a mtu that changes takes the plugin off, and brings it back with the new one; without end it has to wait', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin);
    const { vif } = lab;
    const say = async (mtu: string): Promise<void> => {
      await vif.run(vif.guest.store.write(`${vif.frontend.path}/mtu`, mtu));
      await vif.machine.advance(3000);
    };
    await say('9000');
    expect(plugin.calls).toEqual(['probe', 'remove']);
    expect(vif.netback.describe()).toMatchObject({ mtu: 9000 });
    await lab.half.state(XenbusState.Closed);
    await lab.half.connect();
    expect(plugin.services!.vif.mtu).toBe(9000);
    await say('nonsense');
    await say('1500');
    expect(vif.netback.describe()).toMatchObject({ mtu: 1500 });
    expect(await lab.talks()).toBe(true);
    // A guest that changes it over and over does not keep the driver domain attaching.
    for (let i = 0; i < 40; i++) {
      await lab.half.state(XenbusState.Closed);
      await lab.half.connect();
      await say(String(2000 + i));
    }
    expect(plugin.calls.filter((call) => call === 'probe').length).toBeLessThan(20);
    await lab.end();
  });

  test('feature 48: the key "ip" names the only addresses of the guest, and may change', async () => {
    const plugin = new FakePlugin();
    const lab = await attached(plugin, { backendKeys: { ip: '10.0.0.2 fd00::1' } });
    expect(plugin.services!.vif.addresses?.map(({ length }) => length)).toEqual([4, 16]);
    await write(lab, 'ip', '10.0.0.3');
    await lab.half.state(XenbusState.Closed);
    await lab.half.connect();
    expect(plugin.services!.vif.addresses?.map((each) => [...each])).toEqual([[10, 0, 0, 3]]);
    await write(lab, 'ip', null);
    await lab.half.state(XenbusState.Closed);
    await lab.half.connect();
    expect(plugin.services!.vif.addresses).toBeUndefined();
    await lab.end();
  });
});
