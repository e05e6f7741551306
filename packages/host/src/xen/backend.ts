/**
 * The daemon's core: netback for every vif that the toolstack makes, on one network, with a record of each change.
 *
 * The same on every machine: the command (commands/xen-backend.ts) gives it a domain of a real host, tests give it
 * one of a machine in memory. It owns the driver and the network's end; the domain stays its maker's.
 */
import { NetbackDriver } from '@netaccel/netback';
import type { Limits, Netback, NetbackStatistics, VifName } from '@netaccel/netback';
import type { Domain } from '@netaccel/xen';
import { configure } from '../plugin-options.js';
import type { GivenOptions } from '../plugin-options.js';
import { loadPlugin } from '../plugins.js';
import { XenBackendError } from './error.js';
import type { BackendNetwork } from './network.js';
import { BACKEND_PATIENCE } from './patience.js';
import { StateLines } from './state-lines.js';

/** One change, as it is logged: a line of JSON each. */
export type BackendRecord =
  | { readonly event: 'started'; readonly domain: number; readonly network: string; readonly vifs: number }
  | {
      readonly event: 'vif';
      readonly vif: string;
      readonly state: string;
      readonly reason: string | null;
      readonly queues?: number;
      /** States before this one that were not logged: they came too fast. */
      readonly leftOut?: number;
    }
  | { readonly event: 'stopping'; readonly vifs: number }
  | { readonly event: 'stopped'; readonly ledger: object };

/** What a backend is made with. */
export interface XenBackendOptions {
  readonly domain: Domain;
  readonly network: BackendNetwork;
  /** Who writes `hotplug-status`: see `NetbackOptions.hotplug`. */
  readonly hotplug?: 'script' | 'self';
  readonly limits?: Partial<Limits>;
  /** Takes each change. */
  readonly record: (record: BackendRecord) => void;
}

/**
 * Frames that wait for a guest to post buffers: as much as a whole window of 1500-byte segments, as in labs.
 */
const VIF_LIMITS: Partial<Limits> = { backlogBytes: 2 * 1024 * 1024, backlogFrames: 1024 };

/** A vif with what it counts. */
export interface VifReport {
  readonly vif: string;
  readonly description: Readonly<Record<string, unknown>>;
  readonly statistics: NetbackStatistics;
}

type VifRecord = Extract<BackendRecord, { event: 'vif' }>;

/** The daemon's core. */
export class XenBackend {
  private readonly driver: NetbackDriver;
  /** What is said of each vif, since a guest decides how often its vif changes. */
  private readonly lines = new Map<string, StateLines<VifRecord>>();

  constructor(private readonly options: XenBackendOptions) {
    const { domain, network, hotplug, limits, record } = options;
    this.driver = new NetbackDriver({
      domain,
      limits: { ...VIF_LIMITS, ...BACKEND_PATIENCE, ...limits },
      hotplug: hotplug ?? 'self',
      ...(network.accelerators !== undefined && { accelerators: network.accelerators }),
      network: (vif) => network.open(vif),
      onState: (vif, state, reason) => {
        const queues = Number(this.driver.vif(vif.guest, vif.handle)?.describe()['queues'] ?? 0);
        this.linesOf(nameOf(vif)).add({
          event: 'vif',
          vif: nameOf(vif),
          state,
          reason,
          ...(queues > 0 && { queues }),
        });
      },
      onRefused: (vif, reason) => {
        record({ event: 'vif', vif: nameOf(vif), state: 'Refused', reason });
      },
      onGone: (vif) => {
        this.lines.get(nameOf(vif))?.flush();
        this.lines.delete(nameOf(vif));
        record({ event: 'vif', vif: nameOf(vif), state: 'Gone', reason: null });
      },
    });
  }

  /**
   * Begins to serve; resolves when the vifs that are there are looked after.
   * @throws Error when the network as a whole cannot be used.
   */
  async start(): Promise<void> {
    const { domain, network, record } = this.options;
    await this.driver.start();
    record({ event: 'started', domain: domain.id, network: network.name, vifs: this.vifs.length });
  }

  /** Asks every guest to close, waits a limited time for each, and gives everything back. */
  async stop(): Promise<void> {
    const { domain, network, record } = this.options;
    record({ event: 'stopping', vifs: this.vifs.length });
    await this.driver.stop();
    for (const lines of this.lines.values()) lines.flush();
    network.close();
    record({ event: 'stopped', ledger: domain.ledger() });
  }

  /**
   * Loads a backend plugin, for vifs whose key `accel` names a port of the network's card.
   * @param options those of its options that are set.
   * @throws PluginLoadError, PluginOptionsError, RegistryError; XenBackendError when the network has no card.
   */
  async load(name: string, from: string, options: GivenOptions = {}): Promise<void> {
    const { accelerators, name: network } = this.options.network;
    if (accelerators === undefined)
      throw new XenBackendError(
        'NETWORK',
        `the plugin ${name} needs a NIC, and the ${network} has none: use --port nic:NAME`,
      );
    accelerators.registry.register(configure(await loadPlugin(name, 'backend', from), options));
  }

  /** The vifs that are served. */
  get vifs(): readonly Netback[] {
    return this.driver.vifs();
  }

  /** Each vif's state and counters. */
  report(): VifReport[] {
    return this.vifs.map((vif) => {
      const description = vif.describe();
      return {
        vif: `${String(description['guest'])}/${String(description['handle'])}`,
        description,
        statistics: vif.statistics(),
      };
    });
  }

  private linesOf(vif: string): StateLines<VifRecord> {
    const { domain, record } = this.options;
    let lines = this.lines.get(vif);
    if (lines === undefined) {
      lines = new StateLines(domain.loop, (line, leftOut) => {
        record(leftOut === 0 ? line : { ...line, leftOut });
      });
      this.lines.set(vif, lines);
    }
    return lines;
  }
}

/** `1/0`: guest, then handle. */
function nameOf({ guest, handle }: VifName): string {
  return `${guest}/${handle}`;
}
