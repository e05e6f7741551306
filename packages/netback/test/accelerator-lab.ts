// A vif with a plugin on it: a NIC port and a plugin that are scripted, and the guest's half of the plugin.
import { expect } from 'vitest';
import { AcceleratorRegistry, CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type {
  BackendAcceleratorDefinition,
  BackendServices,
  Capabilities,
  NicPortHold,
  SharedPages,
} from '@netaccel/core-hooks';
import { XenbusState, openMailbox, parseState } from '@netaccel/xen';
import type { Domain, EventChannel, MailboxEnd } from '@netaccel/xen';
import type { SimDomain } from '@netaccel/xen/sim';
import type { Limits } from '../src/index.js';
import { CLEAN_END, VifLab } from './lab.js';
import type { VifOptions } from './lab.js';

/** A NIC port that counts who looks at it. */
export class FakePort implements NicPortHold {
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
export class FakePlugin {
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
export class GuestHalf {
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

export class AccelLab {
  readonly registry = new AcceleratorRegistry<BackendAcceleratorDefinition>();
  readonly ports = new Map<string, NicPortHold>([
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
      /** A plugin and a port of the test's own, as 'eth0'. */
      accelerated?: { definition: BackendAcceleratorDefinition; port: NicPortHold };
    } = {},
  ): Promise<AccelLab> {
    const lab = new AccelLab();
    for (const { definition } of options.plugins ?? []) lab.registry.register(definition);
    const { accel = 'eth0', accelerated } = options;
    if (accelerated !== undefined) {
      lab.registry.register(accelerated.definition);
      lab.ports.set('eth0', accelerated.port);
    }
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

  /** Handlers on a port. */
  handlers(port: string): number {
    const hold = this.ports.get(port);
    return hold instanceof FakePort ? hold.handlers.size : 0;
  }

  slot(): Record<string, unknown> {
    return this.vif.netback.describe()['accelerator'] as Record<string, unknown>;
  }

  /** The slow path still works. */
  talks(): Promise<boolean> {
    return this.vif.talks();
  }

  async end(): Promise<void> {
    const ended = await this.vif.end();
    expect(this.half.release()).toBe(true);
    for (const port of this.ports.keys()) expect(this.handlers(port)).toBe(0);
    expect({ ...ended, guest: this.vif.guest.ledger() }).toEqual(CLEAN_END);
  }
}

/** The usual: offered, the guest comes, attached. */
export async function attached(plugin: FakePlugin, options: VifOptions = {}): Promise<AccelLab> {
  const lab = await AccelLab.make({ ...options, plugins: [plugin] });
  await lab.half.connect();
  expect(await lab.state()).toBe(XenbusState.Connected);
  return lab;
}
