/** The lab of the demo's TCP mode: four namespaces with TAPs, two hosts, a guest on each, one wire. */
import { performance } from 'node:perf_hooks';
import type { WorkerHost, WorkerLab } from '../machine/worker-lab.js';
import type { NetworkNamespace } from '../tap/index.js';
import { NotAttachedError } from './not-attached.js';
import type { Accelerated, Path } from './result.js';
import { AGEING_MS, MTU, TapBase } from './tap-base.js';
import type { TcpLabOptions } from './tap-base.js';

const HOSTS = [
  {
    name: 'alpha',
    guest: 'a',
    ownMac: '02:00:00:00:00:a0',
    guestMac: '02:00:00:00:00:0a',
    own: '10.77.0.1',
    ip: '10.77.0.11',
  },
  {
    name: 'beta',
    guest: 'b',
    ownMac: '02:00:00:00:00:b0',
    guestMac: '02:00:00:00:00:0b',
    own: '10.77.0.2',
    ip: '10.77.0.12',
  },
] as const;
/** How long a plugin has to be live, or gone. */
const SETTLE_MS = 15_000;
const LOOK_MS = 20;

/** What the lab has counted so far. */
export interface Readings {
  readonly accelerated: Accelerated;
  /** Frames that the NICs put on the wire. */
  readonly wireFrames: number;
  /** Filters that lead to guests. */
  readonly filters: number;
  /** CPU time of each domain's thread. */
  readonly cpu: readonly { readonly name: string; readonly nanos: number }[];
}

/** What a guest's worker says of itself, as far as the demo reads it. */
interface GuestState {
  readonly plugins: readonly { name: string; version?: string }[];
  readonly loadFailures: Readonly<Record<string, string>>;
  readonly netfront: {
    readonly accelerator: { readonly state: string; readonly reason: string | null } | null;
    readonly statistics: {
      readonly accelerated: { txFrames: number; rxFrames: number };
      readonly declines: Readonly<Record<string, number>>;
      readonly counters: { rxSlowFrames: number };
    };
  };
}

/** The lab. */
export class TcpLab {
  private loaded: string[] = [];
  /** The plugin that it was asked to load. */
  private plugin = '';

  private constructor(
    private readonly lab: WorkerLab,
    private readonly base: TapBase,
  ) {}

  /** Makes namespaces, TAPs and the lab. On failure nothing is left. */
  static async start(options: TcpLabOptions): Promise<TcpLab> {
    const base = await TapBase.open(options);
    const lab = await base.start(
      HOSTS.map((host) => ({
        name: host.name,
        nic: { ports: ['eth0', 'eth1'], config: { ports: 2, mtu: MTU } },
        bridged: ['eth0'],
        ageingMs: AGEING_MS,
        tap: base.tap(host.name, host.ownMac, host.own),
        guests: [base.guest(host.guest, host.guestMac, host.ip, 'eth0')],
      })),
      [
        {
          ends: [
            [0, 0],
            [1, 0],
          ],
          settings: {},
          mtu: MTU,
        },
      ],
    );
    return new TcpLab(lab, base);
  }

  /** Between whom a path's traffic goes. */
  ends(path: Path): { from: NetworkNamespace; to: NetworkNamespace; address: string } {
    const name = (i: 0 | 1): string => (path === 'native' ? HOSTS[i].name : HOSTS[i].guest);
    return {
      from: this.base.namespace(name(0)),
      to: this.base.namespace(name(1)),
      address: path === 'native' ? HOSTS[1].own : HOSTS[1].ip,
    };
  }

  /** Loads the backend plugin on both hosts; resolves when both guests are accelerated. */
  async load(plugin: string): Promise<void> {
    if (this.loaded.length > 0) return;
    this.plugin = plugin;
    for (const host of this.hosts()) this.loaded.push(String(await host.driver.ask('load', plugin)));
    await this.until('live');
  }

  /** Unloads it; resolves when both guests are on the slow path. */
  async unload(): Promise<void> {
    if (this.loaded.length === 0) return;
    const names = this.loaded.splice(0);
    await Promise.all(this.hosts().map((host, i) => host.driver.ask('unload', names[i])));
    await this.until('detached');
  }

  /** Name and version of both halves. */
  async pluginNames(): Promise<{ frontend: string; backend: string }> {
    const host = this.hosts()[0]!;
    const driver = (await host.driver.ask('describe')) as { plugins: { name: string; version?: string }[] };
    const guest = await this.guestState(host);
    const text = (plugins: readonly { name: string; version?: string }[]): string =>
      plugins.map((p) => `${p.name} ${p.version ?? ''}`).join(', ');
    return { frontend: text(guest.plugins), backend: text(driver.plugins) };
  }

  /** Reads every counter. */
  async readings(): Promise<Readings> {
    const accelerated: Accelerated = { txSent: 0, txDeclined: 0, rxFast: 0, rxSlow: 0, declines: {} };
    for (const host of this.hosts()) {
      const { statistics } = (await this.guestState(host)).netfront;
      accelerated.txSent += statistics.accelerated.txFrames;
      accelerated.rxFast += statistics.accelerated.rxFrames;
      accelerated.rxSlow += statistics.counters.rxSlowFrames;
      for (const [reason, n] of Object.entries(statistics.declines)) {
        if (n === 0) continue;
        accelerated.txDeclined += n;
        accelerated.declines[reason] = (accelerated.declines[reason] ?? 0) + n;
      }
    }
    const { nics } = this.lab.hardware;
    return {
      accelerated,
      wireFrames: nics.reduce((n, nic) => n + (nic.describe().ports[0]!.counters['txFrames'] ?? 0), 0),
      filters: nics.reduce((n, nic) => n + Math.max(0, nic.filterCount(0) - 2), 0),
      cpu: this.hosts().flatMap((host, i) => {
        const guest = {
          name: `guest ${HOSTS[i]!.guest}`,
          nanos: host.guests.get(HOSTS[i]!.guest)!.worker.cpuNanos(),
        };
        const driver = { name: `driver domain ${host.name}`, nanos: host.driver.cpuNanos() };
        return i === 0 ? [guest, driver] : [driver, guest];
      }),
    };
  }

  /** Takes everything down: workers first, for they have the descriptors. */
  async stop(): Promise<void> {
    await this.lab.stop();
    await this.base.close();
  }

  private hosts(): WorkerHost[] {
    return [...this.lab.hosts.values()];
  }

  private async guestState(host: WorkerHost): Promise<GuestState> {
    const guest = HOSTS.find(({ name }) => name === host.name)!.guest;
    return (await host.guests.get(guest)!.worker.ask('describe')) as GuestState;
  }

  private async until(wanted: 'live' | 'detached'): Promise<void> {
    const end = performance.now() + SETTLE_MS;
    for (;;) {
      const states = await Promise.all(this.hosts().map((host) => this.guestState(host)));
      const accelerators = states.map(({ netfront }) => netfront.accelerator);
      if (accelerators.every((a) => (a?.state ?? 'detached') === wanted)) return;
      if (performance.now() > end) {
        if (wanted === 'live')
          throw new NotAttachedError(
            this.plugin,
            SETTLE_MS,
            states.map(({ netfront, loadFailures }, i) => ({
              guest: HOSTS[i]!.guest,
              state: netfront.accelerator?.state ?? 'detached',
              loadFailure: Object.values(loadFailures)[0] ?? null,
              reasons: [netfront.accelerator?.reason],
            })),
          );
        throw new Error(
          `expected both guests' accelerators ${wanted} within ${SETTLE_MS} ms, saw ` +
            accelerators.map((a) => a?.state ?? 'detached').join(' and '),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}

const ONE_HOST = [
  { name: 'a', mac: '02:00:00:00:00:0a', ip: '10.77.0.11' },
  { name: 'b', mac: '02:00:00:00:00:0b', ip: '10.77.0.12' },
] as const;

/** One host with two guests, for what the slow path alone can do. */
export class TcpOneHostLab {
  private constructor(
    private readonly lab: WorkerLab,
    private readonly base: TapBase,
  ) {}

  /** Makes it. On failure nothing is left. */
  static async start(options: TcpLabOptions): Promise<TcpOneHostLab> {
    const base = await TapBase.open(options);
    const host = {
      name: 'alpha',
      nic: { ports: ['eth0'], config: { ports: 1, mtu: MTU } },
      bridged: ['eth0'],
      ageingMs: AGEING_MS,
      tap: null,
      guests: ONE_HOST.map(({ name, mac, ip }) => base.guest(name, mac, ip, null)),
    };
    return new TcpOneHostLab(await base.start([host], []), base);
  }

  /** Between whom traffic goes. */
  ends(): { from: NetworkNamespace; to: NetworkNamespace; address: string } {
    const [a, b] = ONE_HOST;
    return { from: this.base.namespace(a.name), to: this.base.namespace(b.name), address: b.ip };
  }

  /** Takes everything down. */
  async stop(): Promise<void> {
    await this.lab.stop();
    await this.base.close();
  }
}
