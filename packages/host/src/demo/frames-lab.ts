/**
 * Two hosts, a guest on each, in one thread: the lab that the demo's frames mode and the frame benchmarks measure.
 *
 * It sends counted, checked frames from one host to the other by a path: native (driver domain to driver domain),
 * slow (guest to guest, no plugin) or fast (with it). All paths use the same NICs, wire, source and check.
 */
import { OneThreadLab, SwitchableSink } from '../machine/one-thread-lab.js';
import type { RunningGuest, RunningHost } from '../machine/one-thread-lab.js';
import { setAccel } from '../machine/toolstack.js';
import { announce } from '../traffic/announce.js';
import { macBytes } from './addresses.js';
import { FramesRun } from './frames-run.js';
import type { Endpoint } from './frames-run.js';
import { NotAttachedError } from './not-attached.js';
import type { GuestStanding } from './not-attached.js';
import type { Accelerated, Path, Stage } from './result.js';

const PAGES = 24 * 1024;
/** How long a plugin has to attach, in virtual time. */
const ATTACH_MS = 20_000;
/** Virtual time in which an announcement reaches everybody, also while frames flow. */
const ANNOUNCE_MS = 2;
/** Room in the NIC for receive buffers and for all transmit memory, which is large with jumbo frames. */
const LIMITS = { filters: 8, bufferPages: 4096, multicasts: 8 };
const ALPHA = {
  host: 'alpha',
  guest: 'a',
  guestMac: '02:00:00:00:00:0a',
  ownMac: '02:00:00:00:00:a0',
  ip: 11,
};
const BETA = { host: 'beta', guest: 'b', guestMac: '02:00:00:00:00:0b', ownMac: '02:00:00:00:00:b0', ip: 12 };
type Side = typeof ALPHA;

/** Options of the lab. */
export interface FramesLabOptions {
  /** Decides the order of everything. */
  readonly seed: number;
  /** Payload bytes of a frame on the wire. */
  readonly mtu: number;
  /** Npm name or path of the backend plugin. */
  readonly plugin: string;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
}

/** The lab. */
export class FramesLab {
  private loaded = false;

  private constructor(
    /** The lab underneath. */
    readonly lab: OneThreadLab,
    private readonly options: FramesLabOptions,
    private readonly own: ReadonlyMap<string, Endpoint>,
  ) {}

  /** Starts it; every address has been announced. */
  static async start(options: FramesLabOptions): Promise<FramesLab> {
    const host = (side: Side) => ({
      name: side.host,
      nic: { ports: ['eth0', 'eth1'], config: { ports: 2, mtu: options.mtu } },
      bridged: ['eth0'],
      guests: [
        { name: side.guest, mac: side.guestMac, mtu: options.mtu, accel: 'eth0', queues: 1, limits: LIMITS },
      ],
    });
    const lab = await OneThreadLab.start({
      seed: options.seed,
      pages: PAGES,
      hosts: [host(ALPHA), host(BETA)],
      wires: [
        {
          ends: [
            [0, 0],
            [1, 0],
          ],
          settings: {},
          mtu: options.mtu,
        },
      ],
      merging: false,
      pluginsFrom: options.pluginsFrom,
    });
    const own = new Map<string, Endpoint>();
    for (const side of [ALPHA, BETA]) {
      const sink = new SwitchableSink();
      const out = lab.host(side.host).driver.openInterface(sink);
      own.set(side.host, { loop: lab.host(side.host).machine.domain(0)!.loop, out, sink });
    }
    const made = new FramesLab(lab, options, own);
    await made.announce();
    return made;
  }

  /** Loads the backend plugin on both hosts; resolves when both guests are accelerated. */
  async load(): Promise<void> {
    if (this.loaded) return;
    this.loaded = true;
    for (const side of [ALPHA, BETA]) {
      const host = this.lab.host(side.host);
      await this.lab.lab.during(host.driver.load(this.options.plugin));
    }
    const live = (): boolean => this.acceleratedGuests() === 2;
    try {
      await this.lab.lab.runUntil(live, ATTACH_MS);
    } catch (error) {
      // Nothing moves any more, or not within that time: what the guests say is of more use.
      if (live()) throw error;
      throw new NotAttachedError(this.options.plugin, ATTACH_MS, this.standings());
    }
    await this.announce();
  }

  /** Where both guests stand with their plugin. */
  private standings(): GuestStanding[] {
    return [ALPHA, BETA].map((side) => {
      const { guest } = this.guest(side);
      const slot = (half: object | undefined): { reason?: string | null } | null =>
        (half as { accelerator?: { reason?: string | null } | null } | undefined)?.accelerator ?? null;
      return {
        guest: side.guest,
        state: guest.netfront.state.accelerator,
        loadFailure: [...guest.loadFailures.values()][0] ?? null,
        reasons: [
          slot(guest.netfront.describe())?.reason,
          slot(this.host(side).driver.driver.vif(1, 0)?.describe())?.reason,
        ],
      };
    });
  }

  /** Unloads it; resolves when both guests are on the slow path. */
  async unload(): Promise<void> {
    if (!this.loaded) return;
    this.loaded = false;
    for (const side of [ALPHA, BETA]) {
      const { driver } = this.lab.host(side.host);
      for (const { name } of driver.registry.all()) await this.lab.during(driver.unload(name));
    }
    await this.lab.lab.runUntil(() => this.acceleratedGuests() === 0, 20_000);
  }

  /** Lets one guest's vif be accelerated, or not, at run time: the toolstack's key. */
  async allow(side: 'alpha' | 'beta', port: string | null): Promise<void> {
    await this.lab.during(setAccel(this.lab.host(side).machine.domain(0)!.store, 0, 1, 0, port));
  }

  /** Guests whose plugin is live now. */
  acceleratedGuests(): number {
    return [ALPHA, BETA].filter((side) => this.guest(side).guest.netfront.state.accelerator === 'live')
      .length;
  }

  /** Filters in the NICs that lead to a guest. */
  filters(): number {
    // The driver domain's own two, for what nobody else asked for, are not counted.
    return this.lab.hardware.nics.reduce((n, nic) => n + Math.max(0, nic.filterCount(0) - 2), 0);
  }

  /** Makes a run by `path`: its source and check are joined, nothing is sent yet. */
  run(path: Path, sizes: readonly number[], fullEvery = 16): FramesRun {
    const from = path === 'native' ? this.own.get(ALPHA.host)! : this.endpoint(ALPHA);
    const to = path === 'native' ? this.own.get(BETA.host)! : this.endpoint(BETA);
    return new FramesRun(
      this,
      from,
      to,
      sizes,
      {
        sourceMac: macBytes(path === 'native' ? ALPHA.ownMac : ALPHA.guestMac),
        destinationMac: macBytes(path === 'native' ? BETA.ownMac : BETA.guestMac),
        sourceIp: Uint8Array.of(10, 77, 0, ALPHA.ip),
        destinationIp: Uint8Array.of(10, 77, 0, BETA.ip),
      },
      fullEvery,
    );
  }

  /** Name and version of both halves, while they are loaded. */
  pluginNames(): { frontend: string; backend: string } {
    const name = (plugins: { name: string; version: string | undefined }[]): string =>
      plugins.map((p) => `${p.name} ${p.version ?? ''}`).join(', ');
    return {
      frontend: name(this.guest(ALPHA).guest.registry.describe()),
      backend: name(this.host(ALPHA).driver.registry.describe()),
    };
  }

  /** Where guest a sends and guest b receives, with their addresses: for traffic of another kind. */
  ends(): { from: Endpoint; to: Endpoint; source: Uint8Array; destination: Uint8Array } {
    return {
      from: this.endpoint(ALPHA),
      to: this.endpoint(BETA),
      source: macBytes(ALPHA.guestMac),
      destination: macBytes(BETA.guestMac),
    };
  }

  /** What the plugins did so far, both guests together. */
  accelerated(): Accelerated {
    const total: Accelerated = { txSent: 0, txDeclined: 0, rxFast: 0, rxSlow: 0, declines: {} };
    for (const side of [ALPHA, BETA]) {
      const { accelerated, counters, declines } = this.guest(side).guest.netfront.statistics();
      total.txSent += accelerated.txFrames;
      total.rxFast += accelerated.rxFrames;
      total.rxSlow += counters.rxSlowFrames;
      for (const [reason, n] of Object.entries(declines)) {
        if (n === 0) continue;
        total.txDeclined += n;
        total.declines[reason] = (total.declines[reason] ?? 0) + n;
      }
    }
    return total;
  }

  /** CPU time by domain while `work` runs, in nanoseconds. */
  async profile(work: () => Promise<void>): Promise<Stage[]> {
    const { scheduler } = this.lab.lab;
    const spent = new Map<object, number>();
    scheduler.profile = (owner, ms) => spent.set(owner, (spent.get(owner) ?? 0) + ms * 1e6);
    await work();
    scheduler.profile = null;
    const stages: Stage[] = [];
    for (const side of [ALPHA, BETA]) {
      const { machine } = this.lab.host(side.host);
      stages.push(
        { name: `guest ${side.guest}`, nsPerFrame: spent.get(machine.ownerOf(1)) ?? 0 },
        { name: `driver domain ${side.host}`, nsPerFrame: spent.get(machine.ownerOf(0)) ?? 0 },
      );
    }
    return [stages[0]!, stages[1]!, stages[3]!, stages[2]!];
  }

  /** Takes everything down. */
  stop(): Promise<void> {
    return this.lab.stop();
  }

  private host(side: Side): RunningHost {
    return this.lab.host(side.host);
  }

  private guest(side: Side): RunningGuest {
    return this.host(side).guests.get(side.guest)!;
  }

  private endpoint(side: Side): Endpoint {
    const { guest, domain, stack } = this.guest(side);
    return { loop: domain.loop, out: guest.netfront, sink: stack };
  }

  /** Each interface says who it is, as a stack does when it comes up: bridges and plugins learn from it. */
  private async announce(): Promise<void> {
    for (const side of [ALPHA, BETA])
      for (const [endpoint, mac, ip] of [
        [this.endpoint(side), side.guestMac, side.ip],
        [this.own.get(side.host)!, side.ownMac, side.ip + 100],
      ] as const)
        announce(this.lab.lab.memory, endpoint.out, macBytes(mac), Uint8Array.of(10, 77, 0, ip));
    await this.lab.lab.advance(ANNOUNCE_MS);
  }
}
