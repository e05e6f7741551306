/**
 * A lab of hosts in one thread: seeded, with a virtual clock. The demo's frames mode, the benchmarks and the tests
 * run on it.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { FrameSink, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import type { Limits } from '@netaccel/netback';
import { SimMachine } from '@netaccel/xen/sim';
import type { EventChannelForm, SimDomain, SimLab, SimMachineOptions } from '@netaccel/xen/sim';
import type { NicPortSizes } from '../ports/nic-port.js';
import { DriverDomain } from './driver-domain.js';
import { Guest } from './guest.js';
import type { DriverSizes } from './guest.js';
import { createHardware } from './hardware.js';
import type { LabHardware, NicRequest, WireRequest } from './hardware.js';
import { kernelOf } from './kernel.js';
import type { MigrationReport } from './migration.js';
import { OneThreadCrashes } from './one-thread-crashes.js';
import { OneThreadMoves } from './one-thread-moves.js';
import { createVif, introduceDomain, restartVif } from './toolstack.js';
import type { VifSpec } from './toolstack.js';

/** Steps between two turns of the promises: a control message takes some turns, and frames do not wait for it. */
const PUMP_STEPS = 512;
/** Number of every host's driver domain. */
const DRIVER_DOMAIN = 0;

/** A guest of a host. */
export interface GuestPlan {
  /** Its name in the lab. */
  readonly name: string;
  /** Its MAC address: `02:00:00:00:00:0a`. */
  readonly mac: string;
  /** Payload bytes of a frame. */
  readonly mtu: number;
  /** NIC port that its vif may be accelerated on, or null. */
  readonly accel: string | null;
  /** Queues that it asks for. */
  readonly queues: number;
  /** The event channels that its kernel asks for; 2-level when left out. */
  readonly eventChannels?: EventChannelForm;
  /** The only IP addresses that it may send from; left out, any. */
  readonly addresses?: readonly string[];
  /** Quotas of the accelerator. */
  readonly limits: VifSpec['limits'];
  /** Sizes and features of its driver, where they are not the usual ones. */
  readonly netfront?: DriverSizes;
}

/** A host. */
export interface HostPlan {
  /** Its name in the lab. */
  readonly name: string;
  /** Its NIC. */
  readonly nic: Omit<NicRequest, 'host'>;
  /** Names of the NIC ports that are on its bridge. */
  readonly bridged: readonly string[];
  /** The event channels that its driver domain's kernel asks for; 2-level when left out. */
  readonly eventChannels?: EventChannelForm;
  /** Its guests; their domain numbers follow their order, from 1. */
  readonly guests: readonly GuestPlan[];
}

/** A lab. */
export interface OneThreadPlan {
  /** Decides the order of everything. */
  readonly seed: number;
  /** Pages of the lab's memory. */
  readonly pages: number;
  /** The hosts. */
  readonly hosts: readonly HostPlan[];
  /** The wires between their NICs. */
  readonly wires: readonly WireRequest[];
  /** Whether NIC ports join TCP segments. */
  readonly merging: boolean;
  /** Folder that plugin names are resolved from. */
  readonly pluginsFrom: string;
  /** Gives a guest the frontend plugin of that name; it is imported when this is left out. */
  readonly frontend?: (name: string) => Promise<FrontendAcceleratorDefinition>;
  /** Sizes of the NIC ports' driver, where they are not the usual ones. */
  readonly nicPorts?: Partial<NicPortSizes>;
  /** Bounds of a vif, where they are not the usual ones. */
  readonly vifLimits?: Partial<Limits>;
  /** The machine underneath: faults, an audit, smaller tables. */
  readonly machine?: Omit<SimMachineOptions, 'seed' | 'pages' | 'name' | 'lab'>;
}

/** A running host. */
export interface RunningHost {
  /** Its name in the lab. */
  readonly name: string;
  /** Its machine: domains and store. */
  readonly machine: SimMachine;
  /** The programs of its driver domain; others after a restart. */
  readonly driver: DriverDomain;
  /** Its guests by name: those that are on it now. */
  readonly guests: ReadonlyMap<string, RunningGuest>;
}

/** A running guest. `stack` may be exchanged at any time. */
export interface RunningGuest {
  /** What it was made from. */
  readonly plan: GuestPlan;
  /** Its programs. */
  readonly guest: Guest;
  /** Its domain; its number is the one that it has on the host where it is now. */
  readonly domain: SimDomain;
  /** What receives its frames. */
  readonly stack: SwitchableSink;
}

/** A sink whose receiver can be exchanged, so that runs with other receivers use the same driver. */
export class SwitchableSink implements FrameSink {
  /** Where frames go. */
  to: FrameSink = { deliver: () => undefined, flush: () => undefined };
  /** Called when a stopped transmit queue goes again. */
  onReady: () => void = () => undefined;

  deliver(frame: Parameters<FrameSink['deliver']>[0]): void {
    this.to.deliver(frame);
  }

  flush(): void {
    this.to.flush();
  }
}

/** A host, as the lab has it. */
export interface Host extends RunningHost {
  readonly plan: HostPlan;
  driver: DriverDomain;
  readonly guests: Map<string, RunningGuest>;
}

/** The lab. */
export class OneThreadLab {
  /** Memory, scheduler and clock. */
  readonly lab: SimLab;
  /** Hosts by name. */
  readonly hosts = new Map<string, Host>();
  /** NICs and wires. */
  readonly hardware: LabHardware;
  /** Domains that die, and boot again. */
  readonly crashes = new OneThreadCrashes(this);
  /** Guests that move, for who steps the lab meanwhile; else {@link migrate}, {@link suspend}, {@link resume}. */
  readonly moves = new OneThreadMoves(this);

  private constructor(
    private readonly plan: OneThreadPlan,
    machines: readonly SimMachine[],
  ) {
    this.lab = machines[0]!.lab;
    this.hardware = createHardware(
      this.lab.memory,
      (pages) => this.lab.core.takeDevicePages(pages) * PAGE_BYTES,
      plan.hosts.map(({ name, nic }) => ({ ...nic, host: name })),
      plan.wires,
      {
        interrupt: (vector) => machines[0]!.raise(vector),
        clock: () => this.lab.clock.now() * 1000,
        concurrent: false,
      },
    );
    this.lab.deviceResolver = (page) => this.hardware.handlerOf(page);
    if (this.hardware.timed) this.keepTime();
  }

  /** Makes the lab and connects every vif, without a plugin. */
  static async start(plan: OneThreadPlan): Promise<OneThreadLab> {
    const machines: SimMachine[] = [];
    for (const host of plan.hosts) {
      const machine: SimMachine = new SimMachine({
        seed: plan.seed,
        pages: plan.pages,
        name: host.name,
        ...plan.machine,
        ...(machines[0] === undefined ? {} : { lab: machines[0].lab }),
      });
      machine.createDomain(DRIVER_DOMAIN, `driver domain ${host.name}`, kernelOf(host));
      machines.push(machine);
    }
    const lab = new OneThreadLab(plan, machines);
    for (const [i, host] of plan.hosts.entries()) await lab.startHost(host, machines[i]!);
    await lab.lab.settle(50);
    return lab;
  }

  /** The host of that name; a lab is asked for hosts of its own plan only. */
  host(name: string): Host {
    return this.hosts.get(name)!;
  }

  /** Bytes of the lab's memory that somebody owns. */
  get bytesInUse(): number {
    return (this.plan.pages - this.lab.core.freePages) * PAGE_BYTES;
  }

  /** Runs the frame path at full speed until `done`, letting promises have their turn when they need one. */
  async pump(done: () => boolean): Promise<void> {
    const { lab } = this;
    while (!done()) {
      if (lab.pump(PUMP_STEPS) === 0) {
        await lab.advance(0.05);
      } else await lab.turn();
    }
  }

  /** Closes everything, guests first. */
  async stop(): Promise<void> {
    const all = [...this.hosts.values()];
    const running = Promise.all(
      all.flatMap((host) => [...host.guests.values()].map(({ guest }) => guest.stop())),
    ).then(() => Promise.all(all.map((host) => host.driver.stop())));
    let over = false;
    void running.finally(() => (over = true));
    await this.lab.runUntil(() => over, 60_000);
    await running;
  }

  /**
   * Moves a guest to another host, with whatever its stack has open: it goes on with that host's plugin, or none.
   * @throws MigrationError; the guest is where it was, and runs.
   */
  migrate(guest: string, to: string): Promise<MigrationReport> {
    return this.during(this.moves.migrate(guest, to));
  }

  /** Saves a guest where it is: it has no rings and no plugin until {@link resume}, and frames for it wait. */
  suspend(guest: string): Promise<void> {
    return this.during(this.moves.suspend(guest));
  }

  /** A saved guest goes on, or its suspend is called off, which is the same; resolves when frames flow. */
  resume(guest: string): Promise<void> {
    return this.during(this.moves.resume(guest));
  }

  /**
   * Ends the programs of a host's driver domain in order, and starts them anew with the plugins that they had.
   * Guests reconnect by themselves; resolves when all are.
   */
  async restartDriver(name: string): Promise<void> {
    const host = this.host(name);
    const plugins = [...host.driver.loaded];
    const guests = [...host.guests.values()];
    await this.during(host.driver.stop());
    const { store } = host.machine.domain(DRIVER_DOMAIN)!;
    for (const { domain } of guests) await this.during(restartVif(store, DRIVER_DOMAIN, domain.id, 0));
    host.driver = this.makeDriver(host.plan, host.machine);
    await this.during(host.driver.start());
    for (const { name: plugin, options } of plugins) await this.lab.during(host.driver.load(plugin, options));
    await this.lab.runUntil(() => guests.every(({ guest }) => guest.netfront.carrier), 60_000);
  }

  /** @internal Makes a guest's domain known to its host's store, and its vif. */
  async plugIn(host: Host, plan: GuestPlan, id: number): Promise<void> {
    const { store } = host.machine.domain(DRIVER_DOMAIN)!;
    await introduceDomain(store, id, plan.name);
    await createVif(store, {
      guest: id,
      backend: DRIVER_DOMAIN,
      handle: 0,
      mac: plan.mac,
      mtu: plan.mtu,
      accel: plan.accel,
      rate: null,
      addresses: plan.addresses ?? null,
      limits: plan.limits,
    });
  }

  /** Lets frames arrive that a wire's rate or delay keeps back: a timer for the next of them, while there are some. */
  private keepTime(): void {
    const { hardware } = this;
    const { clock } = this.lab;
    let due = Infinity;
    let cancel = (): void => undefined;
    const look = (): void => {
      due = hardware.advance(clock.now() * 1000);
      if (due !== Infinity) cancel = clock.after(Math.max(0, due / 1000 - clock.now()), look);
    };
    hardware.onDoorbell = () => {
      cancel();
      cancel = clock.after(0, look);
    };
  }

  private async startHost(plan: HostPlan, machine: SimMachine): Promise<void> {
    const { store } = machine.domain(DRIVER_DOMAIN)!;
    const guests = new Map<string, RunningGuest>();
    const host: Host = { name: plan.name, plan, machine, driver: this.makeDriver(plan, machine), guests };
    this.hosts.set(plan.name, host);
    await this.during(introduceDomain(store, DRIVER_DOMAIN, `driver domain ${plan.name}`));
    await this.during(host.driver.start());
    for (const [i, guest] of plan.guests.entries())
      guests.set(guest.name, await this.during(this.startGuest(host, guest, i + 1, new SwitchableSink())));
  }

  /** @internal The programs of a driver domain, whose domain is there. */
  makeDriver(host: HostPlan, machine: SimMachine): DriverDomain {
    const nic = this.hardware.nicOf(host.name)!;
    return new DriverDomain({
      domain: machine.domain(DRIVER_DOMAIN)!,
      hardware: {
        ports: this.hardware.portsOf(host.name),
        registers: (page) => this.hardware.registers(nic, page),
      },
      bridged: host.bridged,
      ageingMs: 300_000,
      merging: this.plan.merging,
      pluginsFrom: this.plan.pluginsFrom,
      nicPorts: this.plan.nicPorts ?? {},
      vifLimits: this.plan.vifLimits ?? {},
    });
  }

  /** @internal A guest boots; resolves when its vif is connected. Somebody steps the lab meanwhile. */
  async startGuest(host: Host, plan: GuestPlan, id: number, stack: SwitchableSink): Promise<RunningGuest> {
    const domain = host.machine.createDomain(id, `guest ${plan.name}`, kernelOf(plan));
    await this.plugIn(host, plan, id);
    const guest = new Guest({
      domain,
      handle: 0,
      stack,
      onReady: () => {
        stack.onReady();
      },
      queues: plan.queues,
      pluginsFrom: this.plan.pluginsFrom,
      during: (work) => this.lab.during(work),
      ...(this.plan.frontend === undefined ? {} : { load: this.plan.frontend }),
      ...(plan.netfront === undefined ? {} : { netfront: plan.netfront }),
    });
    await guest.start();
    return { plan, guest, domain, stack };
  }

  /** Steps the lab until a promise of its own is kept. */
  async during<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const watched = work.finally(() => (over = true));
    watched.catch(() => undefined); // it is awaited below
    await this.lab.runUntil(() => over, 60_000);
    return watched;
  }
}
