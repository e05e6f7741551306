/**
 * A lab that runs: namespaces, workers, plugins and the control socket, started in this order and stopped in the
 * other. What `netaccel up` holds; everything that a client may ask is answered from here.
 */
import type { LogLevel } from '@netaccel/core-hooks';
import { refuseSecond, serveControl } from '../control/socket.js';
import type { LabDescription } from '../lab/index.js';
import { kicksBy } from '../machine/kicks.js';
import type { LabLedgerEntry } from '../machine/ledger.js';
import { MigrationError } from '../machine/migration.js';
import type { MigrationReport } from '../machine/migration.js';
import { microseconds } from '../machine/time.js';
import { WorkerLab } from '../machine/worker-lab.js';
import type { WorkerHost } from '../machine/worker-lab.js';
import { loadLibc } from '../tap/index.js';
import { VERSION } from '../version.js';
import { CaptureDesk } from './capture-desk.js';
import { describe } from './described.js';
import type { DriverDescription, GuestDescription } from './described.js';
import { methodsOf, streamsOf } from './methods.js';
import { LabNetworks, needsTaps } from './networks.js';
import { moveGuest, placeGuests } from './placement.js';
import type { PlacedHost, PlacedLab } from './placement.js';
import { planLab } from './plan.js';
import { guestReport, hostReport } from './report.js';
import type { LabReport } from './report.js';
import { StoreSockets } from './store-sockets.js';

/** How a lab is started. */
export interface StartOptions {
  /** Whether pcap ports send their files. */
  readonly replay: boolean;
  /** Whether the plugins that the file names are loaded. */
  readonly plugins: boolean;
  /** Where the hosts' stores are served for xenstore's own tools, or null. */
  readonly storeSocket: string | null;
  /** Aborts the start: what was started is stopped, and `start` rejects with its reason. */
  readonly signal: AbortSignal;
  /** Told what goes on. */
  readonly progress: (what: string) => void;
  /** Takes the domains' log lines. */
  readonly log: (level: LogLevel, message: string) => void;
}

/** A line of a domain. */
export interface LogEntry {
  readonly atMs: number;
  readonly level: LogLevel;
  readonly message: string;
}

const KEPT_LINES = 500;
/** How long plugins have to be on every vif that wants one, at the start. */
const ATTACH_MS = 5000;
const LOOK_MS = 50;
/** How long namespaces have to close; the kernel does it when the process ends. */
const CLOSE_MS = 5000;

/** A guest is on another host, or on the same one again under another number. */
export interface GuestMove {
  readonly guest: string;
  readonly from: string;
  readonly to: string;
}

/** The lab. */
export class RunningLab {
  /** Captures under way. */
  readonly captures: CaptureDesk;
  private readonly moves = new Set<(move: GuestMove) => void>();
  private stopServing: () => void = () => undefined;
  private stores: StoreSockets | null = null;
  private stopping: Promise<readonly LabLedgerEntry[]> | null = null;

  /** What it was made from, with every guest where it is now. */
  description: PlacedLab;

  private constructor(
    description: LabDescription,
    /** Its machines. */
    readonly lab: WorkerLab,
    /** Its namespaces, or null when nothing has a TAP. */
    readonly networks: LabNetworks | null,
    /** Last lines of its domains. */
    readonly lines: readonly LogEntry[],
  ) {
    this.description = placeGuests(description);
    this.captures = new CaptureDesk(description, lab);
  }

  /**
   * Starts it; resolves when it serves. On failure nothing is left. The process is in its user namespace.
   * @throws TapError, LabPlanError, ControlError, and what a plugin's load throws.
   */
  static async start(description: LabDescription, options: StartOptions): Promise<RunningLab> {
    const { signal, progress } = options;
    const step = (what: string): void => {
      signal.throwIfAborted();
      progress(what);
    };
    const lines: LogEntry[] = [];
    const log = (level: LogLevel, message: string): void => {
      if (level !== 'debug') lines.push({ atMs: Date.now(), level, message });
      if (lines.length > KEPT_LINES) lines.shift();
      options.log(level, message);
    };
    await refuseSecond(description.name);
    const withTaps = needsTaps(description);
    let networks: LabNetworks | null = null;
    let running: RunningLab | null = null;
    try {
      if (withTaps) {
        step('making namespaces and TAPs');
        networks = await LabNetworks.open(description);
      }
      const tapOf = (host: string, guest: string | null) => networks?.tapOf(host, guest) ?? null;
      const plan = planLab(description, { tapOf, replay: options.replay });
      const wake = withTaps ? { wake: kicksBy(await loadLibc()) } : {};
      running = new RunningLab(
        description,
        await WorkerLab.start({ ...plan, ...wake, log }, step),
        networks,
        lines,
      );
      running.stopServing = await serveControl(description.name, methodsOf(running), streamsOf(running));
      if (options.storeSocket !== null)
        running.stores = await StoreSockets.open(options.storeSocket, [...running.lab.hosts.values()]);
      if (options.plugins) await running.loadPlugins(step);
      signal.throwIfAborted();
      return running;
    } catch (error) {
      await (running === null ? networks?.close() : running.stop());
      throw error;
    }
  }

  /** State of everything. */
  async report(): Promise<LabReport> {
    const { description, lab } = this;
    const atUs = microseconds();
    const hosts = await Promise.all(description.hosts.map((host) => this.reportHost(host)));
    return {
      schema: 'netaccel.lab/1',
      name: description.name,
      file: description.file,
      pid: process.pid,
      version: VERSION,
      atUs,
      hosts,
      wires: description.wires.map(({ ends }, i) => ({
        ends: [`${ends[0].host}.${ends[0].port}`, `${ends[1].host}.${ends[1].port}`],
        state: lab.hardware.wires[i]!.describe(),
      })),
    };
  }

  /**
   * Moves a guest to another host, with its connections open.
   * @throws MigrationError; the guest is where it was, and runs.
   */
  async migrate(guest: string, from: string, to: string): Promise<MigrationReport> {
    const target = this.lab.hosts.get(to);
    if (target === undefined) {
      const hosts = [...this.lab.hosts.keys()].join(', ');
      throw new MigrationError(
        'NO_HOST',
        `expected a host of the lab ${this.description.name}, saw ${to}; there are: ${hosts}`,
      );
    }
    try {
      return await this.lab.migrate(this.host(from), guest, target);
    } finally {
      // Also after a failure: a guest that went back may have another number.
      for (const [name, { guests }] of this.lab.hosts) {
        const id = guests.get(guest)?.id;
        if (id === undefined || (name !== from && name !== to)) continue;
        this.description = moveGuest(this.description, guest, from, name, id);
        if (name !== from) this.networks?.moved(guest, from, name);
        for (const tell of this.moves) tell({ guest, from, to: name });
        break;
      }
    }
  }

  /** Tells `handler` of each guest that has moved, or has another number, when {@link description} says so; ends with the function returned. */
  onMove(handler: (move: GuestMove) => void): () => void {
    this.moves.add(handler);
    return () => this.moves.delete(handler);
  }

  /** A host of the lab, which is one of its own description. */
  host(name: string): WorkerHost {
    return this.lab.hosts.get(name)!;
  }

  /** Numbers of the VIs that a NIC port has now. */
  visOf(host: string, port: string): readonly number[] {
    const at = this.description.hosts.find(({ name }) => name === host)?.nic.ports.indexOf(port) ?? -1;
    return at < 0 ? [] : (this.lab.hardware.nicOf(host)?.visOf(at) ?? []);
  }

  /**
   * Takes everything down in order, in limited time. Idempotent.
   * @returns what each domain held then.
   */
  stop(): Promise<readonly LabLedgerEntry[]> {
    return (this.stopping ??= this.end());
  }

  private async end(): Promise<readonly LabLedgerEntry[]> {
    this.captures.close();
    this.stores?.close();
    this.stopServing();
    const ledger = await this.lab.stop();
    if (this.networks !== null) await within(CLOSE_MS, this.networks.close());
    return ledger;
  }

  private async loadPlugins(step: (what: string) => void): Promise<void> {
    for (const { name, accelerators } of this.description.hosts)
      for (const plugin of accelerators) {
        step(`loading ${plugin.name} on ${name}`);
        await this.host(name).driver.ask('load', plugin.name, plugin.options);
      }
    await this.attached(step);
  }

  /** Resolves when every vif whose host has a plugin for it is accelerated, or said why not, or it took too long. */
  private async attached(step: (what: string) => void): Promise<void> {
    const end = performance.now() + ATTACH_MS;
    for (;;) {
      const { hosts } = await this.report();
      const waiting = hosts
        .filter(({ plugins }) => plugins.length > 0)
        .flatMap(({ guests }) => guests)
        .filter(
          ({ accelerated, acceleration }) =>
            !accelerated && acceleration.port !== null && !hasFailed(acceleration),
        );
      if (waiting.length === 0 || performance.now() > end) return;
      step(`waiting for the fast path of ${waiting.map(({ name }) => name).join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  private async reportHost(host: PlacedHost): Promise<LabReport['hosts'][number]> {
    const { driver, guests } = this.host(host.name);
    const asked = host.guests.map(({ name }) => describe<GuestDescription>(guests.get(name)?.worker));
    const said = await describe<DriverDescription>(driver);
    const reports = await Promise.all(
      host.guests.map(async (guest, i) => guestReport(host, guest, await asked[i]!, said)),
    );
    return hostReport(this.description, host, said, reports, this.stores?.pathOf(host.name) ?? null);
  }
}

type Acceleration = LabReport['hosts'][number]['guests'][number]['acceleration'];

function hasFailed({ loadFailure, backend, frontend }: Acceleration): boolean {
  return (
    loadFailure !== null || /next try|could not/.test(`${backend.reason ?? ''} ${frontend.reason ?? ''}`)
  );
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}
