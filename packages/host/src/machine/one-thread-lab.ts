/**
 * A lab of hosts in one thread: seeded, with a virtual clock. The demo's frames mode, the benchmarks and the tests
 * run on it.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { FrameSink } from '@netaccel/core-hooks';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain, SimLab } from '@netaccel/xen/sim';
import { DriverDomain } from './driver-domain.js';
import { Guest } from './guest.js';
import { createHardware } from './hardware.js';
import type { LabHardware, NicRequest, WireRequest } from './hardware.js';
import { createVif, introduceDomain } from './toolstack.js';
import type { VifSpec } from './toolstack.js';

/** Steps between two turns of the promises: a control message takes some turns, and frames do not wait for it. */
const PUMP_STEPS = 128;
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
  /** Quotas of the accelerator. */
  readonly limits: VifSpec['limits'];
}

/** A host. */
export interface HostPlan {
  /** Its name in the lab. */
  readonly name: string;
  /** Its NIC. */
  readonly nic: Omit<NicRequest, 'host'>;
  /** Names of the NIC ports that are on its bridge. */
  readonly bridged: readonly string[];
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
}

/** A running host. */
export interface RunningHost {
  /** Its name in the lab. */
  readonly name: string;
  /** Its machine: domains and store. */
  readonly machine: SimMachine;
  /** The programs of its driver domain. */
  readonly driver: DriverDomain;
  /** Its guests by name. */
  readonly guests: ReadonlyMap<string, RunningGuest>;
}

/** A running guest. `stack` may be exchanged at any time. */
export interface RunningGuest {
  /** Its programs. */
  readonly guest: Guest;
  /** Its domain. */
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

/** The lab. */
export class OneThreadLab {
  /** Memory, scheduler and clock. */
  readonly lab: SimLab;
  /** Hosts by name. */
  readonly hosts = new Map<string, RunningHost>();
  /** NICs and wires. */
  readonly hardware: LabHardware;

  private constructor(
    private readonly plan: OneThreadPlan,
    machines: readonly SimMachine[],
  ) {
    this.lab = machines[0]!.lab;
    const first = machines[0]!.domain(DRIVER_DOMAIN)!;
    this.hardware = createHardware(
      this.lab.memory,
      (pages) => first.pages.allocate(pages),
      plan.hosts.map(({ name, nic }) => ({ ...nic, host: name })),
      plan.wires,
      {
        interrupt: (vector) => machines[0]!.raise(vector),
        clock: () => this.lab.clock.now() * 1000,
        concurrent: false,
      },
    );
    this.lab.deviceResolver = (page) => this.hardware.handlerOf(page);
  }

  /** Makes the lab and connects every vif, without a plugin. */
  static async start(plan: OneThreadPlan): Promise<OneThreadLab> {
    const machines: SimMachine[] = [];
    for (const host of plan.hosts) {
      const machine: SimMachine = new SimMachine({
        seed: plan.seed,
        pages: plan.pages,
        name: host.name,
        ...(machines[0] === undefined ? {} : { lab: machines[0].lab }),
      });
      machine.createDomain(DRIVER_DOMAIN, `driver domain ${host.name}`);
      machines.push(machine);
    }
    const lab = new OneThreadLab(plan, machines);
    for (const [i, host] of plan.hosts.entries()) await lab.startHost(host, machines[i]!);
    await lab.lab.settle(50);
    return lab;
  }

  /** The host of that name; a lab is asked for hosts of its own plan only. */
  host(name: string): RunningHost {
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
        if (this.hardware.timed) this.hardware.advance(lab.clock.now() * 1000);
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

  private async startHost(host: HostPlan, machine: SimMachine): Promise<void> {
    const domain = machine.domain(DRIVER_DOMAIN)!;
    const nic = this.hardware.nicOf(host.name)!;
    const driver = new DriverDomain({
      domain,
      hardware: {
        ports: this.hardware.portsOf(host.name),
        registers: (page) => this.hardware.registers(nic, page),
      },
      bridged: host.bridged,
      ageingMs: 300_000,
      merging: this.plan.merging,
      pluginsFrom: this.plan.pluginsFrom,
    });
    const guests = new Map<string, RunningGuest>();
    this.hosts.set(host.name, { name: host.name, machine, driver, guests });
    await this.during(introduceDomain(domain.store, DRIVER_DOMAIN, `driver domain ${host.name}`));
    await this.during(driver.start());
    for (const [i, plan] of host.guests.entries())
      guests.set(plan.name, await this.startGuest(machine, plan, i + 1));
  }

  private async startGuest(machine: SimMachine, plan: GuestPlan, id: number): Promise<RunningGuest> {
    const toolstack = machine.domain(DRIVER_DOMAIN)!.store;
    const domain = machine.createDomain(id, `guest ${plan.name}`);
    const stack = new SwitchableSink();
    await this.during(introduceDomain(toolstack, id, plan.name));
    await this.during(
      createVif(toolstack, {
        guest: id,
        backend: DRIVER_DOMAIN,
        handle: 0,
        mac: plan.mac,
        mtu: plan.mtu,
        accel: plan.accel,
        rate: null,
        limits: plan.limits,
      }),
    );
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
    });
    await this.during(guest.start());
    return { guest, domain, stack };
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
