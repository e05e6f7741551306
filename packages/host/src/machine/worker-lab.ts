/**
 * A lab with a thread for each domain, in real time: what `netaccel up` and the demo's TCP mode run.
 *
 * The main thread makes the memory, the hardware and the stores, is each host's toolstack, and starts a worker a
 * domain; frames never come through here. `stop` takes everything down in order and has a deadline.
 */
import type { LogLevel, Memory } from '@netaccel/core-hooks';
import { SharedMachine } from '@netaccel/xen/sim/workers';
import type { DomainSeat } from '@netaccel/xen/sim/workers';
import type { EventChannelForm, LabShape } from '@netaccel/xen/sim';
import type { Store } from '@netaccel/xen/store';
import type { Replay } from '../ports/file-port.js';
import type { TapDescription } from '../tap/index.js';
import { createHardware } from './hardware.js';
import type { LabHardware, NicRequest, WireRequest } from './hardware.js';
import type { MigrationReport } from './migration.js';
import type { DomainLedger, LabLedgerEntry } from './ledger.js';
import { kernelOf } from './kernel.js';
import { microseconds } from './time.js';
import { createVif, introduceDomain } from './toolstack.js';
import type { VifSpec } from './toolstack.js';
import { ANSWER_MS, DomainWorker } from './worker-handle.js';
import { WorkerMoves } from './worker-moves.js';
import type { WorkerRole } from './worker-protocol.js';

/** Number of every host's driver domain. */
const DRIVER_DOMAIN = 0;

/** A domain with its TAP. */
export interface WorkerGuestPlan {
  /** Its name in the lab. */
  readonly name: string;
  /** Its vif. */
  readonly vif: Omit<VifSpec, 'guest' | 'backend' | 'handle'>;
  /** Queues that it asks for. */
  readonly queues: number;
  /** The event channels that its kernel asks for; 2-level when left out. */
  readonly eventChannels?: EventChannelForm;
  /** Its TAP, or null. */
  readonly tap: TapDescription | null;
  /** Npm name or path of the frontend plugin that stands in for the one that a backend names. */
  readonly frontend?: string;
  /** The capture file behind the interface. */
  readonly replay?: Replay;
}

/** A host. */
export interface WorkerHostPlan {
  /** Its name in the lab. */
  readonly name: string;
  /** Its NIC. */
  readonly nic: Omit<NicRequest, 'host'>;
  /** Names of the NIC ports that are on its bridge. */
  readonly bridged: readonly string[];
  /** How long its bridge remembers an address. */
  readonly ageingMs: number;
  /** The event channels that its driver domain's kernel asks for; 2-level when left out. */
  readonly eventChannels?: EventChannelForm;
  /** The TAP of the driver domain's own interface, or null. */
  readonly tap: TapDescription | null;
  /** Its guests. */
  readonly guests: readonly WorkerGuestPlan[];
}

/** A lab. */
export interface WorkerLabPlan {
  /** Pages of the lab's memory. */
  readonly pages: number;
  /** Its other sizes, where the usual ones do not do. */
  readonly shape?: Partial<Omit<LabShape, 'pages'>>;
  /** The hosts. */
  readonly hosts: readonly WorkerHostPlan[];
  /** The wires between their NICs. */
  readonly wires: readonly WireRequest[];
  /** Whether NIC ports join TCP segments. */
  readonly merging: boolean;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Wakes a domain by the handle of its waker; needed when domains have TAPs. */
  readonly wake?: (handle: number) => void;
  /** Takes the domains' log lines. */
  readonly log: (level: LogLevel, message: string) => void;
}

/** A host of the lab. */
export interface WorkerHost {
  /** Its name in the lab. */
  readonly name: string;
  /** Its machine. */
  readonly machine: SharedMachine;
  /** Its store, as the toolstack sees it. */
  readonly store: Store;
  /** The worker of its driver domain. */
  readonly driver: DomainWorker;
  /** What it was made from; guests of its plan may be elsewhere by now. */
  readonly plan: WorkerHostPlan;
  /** The guests that are on it now, by name. */
  readonly guests: Map<string, WorkerGuest>;
}

/** A guest of the lab. */
export interface WorkerGuest {
  /** What it was made from. */
  readonly plan: WorkerGuestPlan;
  /** Its number on the host that it is on now. */
  id: number;
  /** Its worker. */
  readonly worker: DomainWorker;
}

/** The lab. */
export class WorkerLab {
  /** Hosts by name. */
  readonly hosts = new Map<string, WorkerHost>();
  /** NICs and wires. */
  readonly hardware: LabHardware;
  private readonly machines: SharedMachine[] = [];
  private readonly moves = new WorkerMoves(this);
  private stopping: Promise<readonly LabLedgerEntry[]> | null = null;

  private constructor(private readonly plan: WorkerLabPlan) {
    for (const { name } of plan.hosts)
      this.machines.push(
        SharedMachine.create({
          name,
          pages: plan.pages,
          ...plan.shape,
          ...(plan.wake === undefined ? {} : { wake: plan.wake }),
          ...(this.machines[0] === undefined ? {} : { lab: this.machines[0] }),
        }),
      );
    const first = this.machines[0]!;
    this.hardware = createHardware(
      first.memory,
      (pages) => first.reserve(pages),
      plan.hosts.map(({ name, nic }) => ({ ...nic, host: name })),
      plan.wires,
      {
        interrupt: (vector) => {
          first.raise(vector);
        },
        clock: microseconds,
        concurrent: true,
      },
    );
  }

  /** Makes the lab; resolves when every vif is connected. On failure nothing is left running. */
  static async start(
    plan: WorkerLabPlan,
    progress: (what: string) => void = () => undefined,
  ): Promise<WorkerLab> {
    const lab = new WorkerLab(plan);
    try {
      for (const [i, host] of plan.hosts.entries()) {
        progress(`starting host ${host.name}`);
        await lab.startHost(host, lab.machines[i]!);
      }
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  /** The memory that all of it is in. */
  get memory(): Memory {
    return this.machines[0]!.memory;
  }

  /** The host that a guest is on. */
  hostOf(guest: string): WorkerHost | undefined {
    return [...this.hosts.values()].find((host) => host.guests.has(guest));
  }

  /**
   * Moves a guest to another host, with whatever its network stack has open: it goes on with that host's plugin, or
   * none.
   * @throws MigrationError; the guest is where it was, and runs.
   */
  migrate(from: WorkerHost, guest: string, to: WorkerHost): Promise<MigrationReport> {
    return this.moves.migrate(from, guest, to);
  }

  /**
   * Closes everything, guests first; bounded in time. Idempotent.
   * @returns what each domain held then.
   */
  stop(): Promise<readonly LabLedgerEntry[]> {
    return (this.stopping ??= this.end());
  }

  private async startHost(host: WorkerHostPlan, machine: SharedMachine): Promise<void> {
    const store = machine.openStore();
    const driver = this.startWorker(
      machine,
      machine.createDomain(DRIVER_DOMAIN, `driver domain ${host.name}`, kernelOf(host)),
      host.tap,
      {
        kind: 'driver',
        host: host.name,
        bridged: host.bridged,
        ageingMs: host.ageingMs,
        merging: this.plan.merging,
      },
    );
    const guests = new Map<string, WorkerGuest>();
    this.hosts.set(host.name, { name: host.name, plan: host, machine, store, driver, guests });
    await introduceDomain(store, DRIVER_DOMAIN, `driver domain ${host.name}`);
    await driver.ask('start');
    for (const [i, guest] of host.guests.entries()) {
      const id = i + 1;
      const seat = machine.createDomain(id, `guest ${guest.name}`, kernelOf(guest));
      await introduceDomain(store, id, guest.name);
      await createVif(store, { ...guest.vif, guest: id, backend: DRIVER_DOMAIN, handle: 0 });
      const worker = this.startWorker(machine, seat, guest.tap, {
        kind: 'guest',
        queues: guest.queues,
        frontend: guest.frontend ?? null,
        replay: guest.replay ?? null,
        mtu: guest.vif.mtu,
      });
      guests.set(guest.name, { plan: guest, id, worker });
      await worker.ask('start');
    }
  }

  private startWorker(
    machine: SharedMachine,
    seat: DomainSeat,
    tap: TapDescription | null,
    role: WorkerRole,
  ): DomainWorker {
    const { hosts, pluginsFrom, log } = this.plan;
    const kicks = hosts.some((host) => host.tap !== null || host.guests.some((guest) => guest.tap !== null));
    return new DomainWorker(
      seat.name,
      { seat, hardware: this.hardware.plan, role, tap, kicks, pluginsFrom },
      log,
      () => {
        machine.nudge(seat.id);
      },
    );
  }

  private async end(): Promise<readonly LabLedgerEntry[]> {
    const hosts = [...this.hosts.values()];
    const guests = hosts.flatMap(({ name, guests }) =>
      [...guests.values()].map(({ plan, worker }) => ({ host: name, guest: plan.name, worker })),
    );
    const drivers = hosts.map(({ name, driver }) => ({ host: name, guest: null, worker: driver }));
    await Promise.allSettled(guests.map(({ worker }) => worker.ask('stop')));
    await Promise.allSettled(drivers.map(({ worker }) => worker.ask('stop')));
    const all = [...drivers, ...guests];
    const ledger = await Promise.all(all.map(entryOf));
    this.machines[0]?.stop();
    await Promise.all(all.map(({ worker }) => endWithin(worker, ANSWER_MS)));
    for (const machine of [...this.machines].reverse()) machine.close();
    return ledger;
  }
}

/** What a domain holds now that all programs have stopped. */
async function entryOf(domain: {
  readonly host: string;
  readonly guest: string | null;
  readonly worker: DomainWorker;
}): Promise<LabLedgerEntry> {
  const { host, guest, worker } = domain;
  const held = (await worker.ask('ledger').catch(() => null)) as DomainLedger | null;
  return { host, guest, held };
}

async function endWithin(worker: DomainWorker, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<true>((resolve) => {
    timer = setTimeout(() => {
      resolve(true);
    }, ms);
  });
  if (await Promise.race([worker.ended.then(() => false), late])) await worker.terminate();
  clearTimeout(timer);
}
