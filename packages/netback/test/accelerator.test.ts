import { describe, expect, test } from 'vitest';
import { AcceleratorRegistry, CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type {
  BackendAcceleratorDefinition,
  BackendServices,
  Capabilities,
  NicPortHold,
  SharedPages,
} from '@netaccel/core-hooks';
import { XenbusState, mailboxControl, openMailbox, parseState } from '@netaccel/xen';
import type { Domain, EventChannel, MailboxEnd } from '@netaccel/xen';
import type { Faults, SimDomain } from '@netaccel/xen/sim';
import type { Limits } from '../src/index.js';
import { PluginScope } from '../src/scope.js';
import { makeServices } from '../src/services.js';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';
import type { VifOptions } from './lab.js';

/** A NIC port that counts who looks at it. */
class FakePort implements NicPortHold {
  readonly device = { kind: 'fake' };
  handlers = new Set<object>();
  constructor(readonly name: string) {}
  private readonly on = (handler: object) => {
    this.handlers.add(handler);
    return () => void this.handlers.delete(handler);
  };
  onReceive = this.on;
  onTransmit = this.on;
  onReset = this.on;
  onLink = (handler: (up: boolean) => void) => {
    handler(true);
    return this.on(handler);
  };
  received = () => Promise.resolve();
}

/** A plugin that records what is asked of it and can misbehave. */
class FakePlugin {
  readonly calls: string[] = [];
  /** Probes that came to their end. */
  made = 0;
  services: BackendServices | null = null;
  probe: (services: BackendServices) => Promise<void> = () => Promise.resolve();
  remove: () => Promise<void> = () => Promise.resolve();
  readonly definition: BackendAcceleratorDefinition;
  constructor(name = 'fake-backend', version = '1.0.0', capabilities: Capabilities = { transmitRate: true }) {
    this.definition = defineBackendAccelerator({
      name,
      version,
      contract: CONTRACT_VERSION,
      capabilities,
      frontend: `${name}-guest`,
      supports: (device) => (device as { kind: string }).kind === 'fake',
      probe: async (services) => {
        this.calls.push('probe');
        this.services = services;
        await this.probe(services);
        this.made++;
        return {
          remove: () => {
            this.calls.push('remove');
            return this.remove();
          },
          describe: () => ({ name }),
        };
      },
    });
  }
}

/** The guest's half of a plugin: its keys and its mailbox. */
class GuestHalf {
  mailbox: MailboxEnd | null = null;
  /** Address of its control page, and its channel. */
  page = 0;
  channel: EventChannel | null = null;
  /** Grants without the mailbox. */
  private grants = 0;
  constructor(
    private readonly lab: AccelLab,
    private readonly guest: SimDomain,
    private readonly path: string,
  ) {}

  async state(state: number): Promise<void> {
    await this.lab.vif.run(this.guest.store.write(`${this.path}/state`, String(state)));
    await this.lab.vif.settle();
  }

  /** Makes a mailbox; answers the keys that tell the backend of it. */
  open(): Record<string, string> {
    this.grants = this.guest.ledger().grants;
    const { mailbox, refs, port } = openMailbox(this.watched(), 0);
    this.mailbox = mailbox;
    return {
      'mailbox-ref-0': String(refs[0]),
      'mailbox-ref-1': String(refs[1]),
      'mailbox-event-channel': String(port),
      state: '4',
    };
  }

  async connect(keys: Record<string, string> = {}): Promise<void> {
    this.release();
    const values = { ...this.open(), ...keys };
    await this.lab.vif.run(
      this.guest.store.transaction(async (transaction) => {
        for (const [key, value] of Object.entries(values))
          await this.guest.store.write(`${this.path}/${key}`, value, transaction);
      }),
    );
    await this.lab.vif.settle();
  }

  /** The guest's domain, which tells us where the mailbox gets its page and its channel. */
  private watched(): Domain {
    const { guest } = this;
    const at = (name: 'grants' | 'events', method: string, seen: (made: never) => void) =>
      new Proxy(guest[name], {
        get: (target, key) => {
          const value = (target as unknown as Record<string | symbol, (...args: unknown[]) => unknown>)[key]!;
          if (key !== method) return value;
          return (...args: unknown[]) => {
            const made = value.apply(target, args);
            seen(made as never);
            return made;
          };
        },
      });
    const grants = at('grants', 'share', (pages: SharedPages) => (this.page = pages.address));
    const events = at('events', 'allocateUnbound', (channel: EventChannel) => (this.channel = channel));
    return new Proxy(guest, {
      get: (target, key) =>
        key === 'grants' ? grants : key === 'events' ? events : (Reflect.get(target, key) as unknown),
    });
  }

  /** Closes the mailbox; true when the backend has let go of its pages. */
  release(): boolean {
    if (this.mailbox === null) return true;
    this.mailbox.close();
    if (this.guest.ledger().grants > this.grants) return false;
    this.mailbox = null;
    return true;
  }
}

class AccelLab {
  readonly registry = new AcceleratorRegistry<BackendAcceleratorDefinition>();
  readonly ports = new Map<string, FakePort>([
    ['eth0', new FakePort('eth0')],
    ['eth1', new FakePort('eth1')],
  ]);
  vif!: VifLab;
  half!: GuestHalf;

  static async make(
    options: VifOptions & {
      accel?: string | null;
      plugins?: FakePlugin[];
      start?: boolean;
      limits?: Partial<Limits>;
    } = {},
  ): Promise<AccelLab> {
    const lab = new AccelLab();
    for (const { definition } of options.plugins ?? []) lab.registry.register(definition);
    const { accel = 'eth0' } = options;
    lab.vif = await VifLab.make({
      pages: 2048,
      ...options,
      backendKeys: { ...(accel !== null && { accel }), ...options.backendKeys },
      netback: {
        accelerators: { registry: lab.registry, port: (name) => lab.ports.get(name) },
        ...(options.limits !== undefined && { limits: options.limits }),
        ...options.netback,
      },
    });
    lab.half = new GuestHalf(lab, lab.vif.guest, `${lab.vif.frontend.path}/accel`);
    if (options.start !== false) {
      await lab.vif.run(lab.vif.netback.start());
      await lab.vif.run(lab.vif.frontend.connect({ pages: 4 }));
      await lab.vif.settle();
    }
    return lab;
  }

  async state() {
    return parseState(await this.vif.key('accel/state'));
  }

  slot(): Record<string, unknown> {
    return this.vif.netback.describe()['accelerator'] as Record<string, unknown>;
  }

  /** The slow path still works. */
  async talks(): Promise<boolean> {
    const { queue } = this.vif.frontend;
    queue.packet(pattern(60));
    queue.publish();
    await this.vif.settle();
    return queue.responses().length === 1;
  }

  async end(): Promise<void> {
    const ended = await this.vif.end();
    expect(this.half.release()).toBe(true);
    for (const port of this.ports.values()) expect(port.handlers.size).toBe(0);
    expect({ ...ended, guest: this.vif.guest.ledger() }).toEqual(CLEAN_END);
  }
}

/** The usual: offered, the guest comes, attached. */
async function attached(plugin: FakePlugin, options: VifOptions = {}): Promise<AccelLab> {
  const lab = await AccelLab.make({ ...options, plugins: [plugin] });
  await lab.half.connect();
  expect(await lab.state()).toBe(XenbusState.Connected);
  return lab;
}

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
      expect(lab.ports.get('eth0')!.handlers.size).toBe(0);
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
    expect(lab.ports.get('eth0')!.handlers.size).toBe(0);
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
      expect(lab.ports.get('eth0')!.handlers.size).toBe(0);
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
      expect(lab.ports.get('eth0')!.handlers.size).toBe(0);
    }
  }, 120_000);
});
