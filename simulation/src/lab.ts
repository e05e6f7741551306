/**
 * The lab of one simulated run: two hosts joined by a wire, a guest on each, traffic both ways; and everything that a
 * scenario can do to it. Small in all sizes, so that queues fill, rings wrap and buffers run out within a few hundred
 * steps, and so that thousands of runs are cheap.
 */
import type { BackendAcceleratorDefinition, Frame } from '@netaccel/core-hooks';
import backend from '@netaccel/dummy-accel-backend';
import { OneThreadLab, setAccel } from '@netaccel/host';
import type { DriverDomain, MigrationReport, RunningGuest, RunningHost } from '@netaccel/host';
import type { NetfrontFeatures } from '@netaccel/netfront';
import { FIFO_PRIORITIES, Random, SeededFaults } from '@netaccel/xen/sim';
import type { SharedMemory } from '@netaccel/xen/sim';
import { firstGroups } from './groups.js';
import { Losses } from './losses.js';
import { TrappedPlugin } from './plugin.js';
import { SIDES } from './scenario.js';
import type { Scenario, Side } from './scenario.js';
import { Traffic } from './traffic.js';
import type { Fail } from './traffic.js';

/** Room for one guest more beside two that have two queues and copies of their pages, and go fast. */
const PAGES = 3584;
/** Names of the hosts; a guest is called after its host. */
const HOSTS = ['alpha', 'beta'] as const;
const DRIVER_ID = 0;
/** Last byte of each guest's MAC and IP address. */
const ADDRESSES = [0xa, 0xb] as const;
/** Payload that the guests begin and end with. */
export const MTU = 1500;
/** How long a guest that goes on may take to be connected; virtual. */
const RESUME_MS = 8000;
/** Steps without rest after which something raises itself for ever. */
const LIVELOCK_STEPS = 300_000;

/** Sizes of everything. */
const SHAPE = { domains: 6, grantPages: 2, ports: 64, mappings: 1024 };
const NETFRONT = { transmitBuffers: { small: 48, large: 1 }, receivePages: 96 };
const NIC_PORT = {
  transmitCapacity: 32,
  receiveCapacity: 64,
  eventCapacity: 256,
  buffers: 96,
  bufferBytes: 2048,
};
const VIF = {
  smallBuffers: 32,
  largeBuffers: 2,
  backlogBytes: 128 * 1024,
  backlogFrames: 64,
  staticGrants: 16,
  multicastGroups: 2,
};
/** Ports that are in use most of the time: domains take the lowest first. */
const LIVELY_PORTS = 12;
const HASH_KEY_BYTES = 40;
const NIC = { ports: 1, mtu: MTU, vis: 8, bufferPages: 1024, filters: 32 };

/** Nothing in these labs waits for the event loop, so promises have their turn without a pass of it: that costs more. */
const promiseTurn = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

/** What a scenario's guests ask of their backends. */
function featuresOf({ seed, queues, wishes }: Scenario): Partial<NetfrontFeatures> {
  const { staticGrants, hash, headroom, groups, trusted } = wishes;
  const random = new Random(seed);
  const key = Uint8Array.from({ length: HASH_KEY_BYTES }, () => random.below(256));
  return {
    queues,
    staticGrants,
    headroom,
    trusted,
    groups: firstGroups(groups),
    hash: hash ? { key } : null,
  };
}

/** Whether a guest's backend spreads its frames over its queues as it asked: until then flows move between them. */
function isHashed({ guest }: RunningGuest, driver: DriverDomain): boolean {
  const { connection } = guest.netfront.describe() as { connection: { hash?: string | null } | null };
  // A backend that took over from one that died has yet to be asked.
  return (
    connection?.hash === 'hashed by the backend' &&
    driver.driver.vifs().every((vif) => vif.describe()['hashedAsAsked'] === true)
  );
}

/** A lab. */
export class SimulatedLab {
  readonly traffic: readonly [Traffic, Traffic];
  readonly losses: Losses;
  /** Domains that do not run now, by what is wrong with them. */
  readonly dead = new Set<string>();
  readonly paused = new Set<string>();
  /** Whether the cable is out. */
  unplugged = false;
  private readonly priorities: Random;
  /** The driver domains whose bridges are watched. */
  private readonly watched: (DriverDomain | null)[] = [null, null];

  private constructor(
    readonly scenario: Scenario,
    readonly lab: OneThreadLab,
    readonly faults: SeededFaults,
    readonly plugin: TrappedPlugin,
    fail: Fail,
  ) {
    this.losses = new Losses(lab, HOSTS);
    this.priorities = new Random(scenario.seed ^ 0x9a1f_0c4e);
    const { memory } = lab.lab;
    const traffic = SIDES.map(
      (from) =>
        new Traffic(
          memory,
          ADDRESSES[from],
          ADDRESSES[1 - from]!,
          scenario.flows,
          scenario.groupFlows,
          scenario.seed * 2 + from,
          { corrupted: () => this.onWire('corrupted'), duplicated: () => this.onWire('duplicated') },
          fail,
        ),
    );
    this.traffic = [traffic[0]!, traffic[1]!];
    for (const side of SIDES) this.guest(side).stack.to = traffic[1 - side]!.sink();
    plugin.onTaken = (frame) => this.seen(frame);
    this.look();
  }

  /** Called at each turn: sees to it that nobody comes and goes unseen. */
  look(): void {
    this.losses.glance();
    this.reprioritise();
    const { wishes, queues } = this.scenario;
    if (wishes.hash && queues > 1)
      for (const side of SIDES)
        this.traffic[1 - side]!.rehash(!isHashed(this.guest(side), this.host(side).driver));
    for (const side of SIDES) {
      const { driver } = this.host(side);
      if (this.watched[side] === driver) continue;
      this.watched[side] = driver;
      driver.bridge.observe((frame) => this.seen(frame));
    }
  }

  /** A port of a domain with FIFO event channels, if that is what is drawn, is in another queue from its next event on. */
  private reprioritise(): void {
    const { ports, plan } = this.lab.lab.core;
    const slot = this.priorities.below(plan.shape.domains);
    const port = 1 + this.priorities.below(LIVELY_PORTS);
    if (ports.form(slot) === 'fifo' && ports.target(slot, port) !== null)
      ports.fifo.setPriority(slot, port, this.priorities.below(FIFO_PRIORITIES));
  }

  private seen(frame: Frame): void {
    for (const traffic of this.traffic) traffic.seen(frame);
  }

  /** Makes it; the vifs are connected, and nothing has gone wrong yet. */
  static async start(scenario: Scenario, fail: Fail, memory?: SharedMemory): Promise<SimulatedLab> {
    const faults = new SeededFaults(scenario.seed, {});
    const plugin = new TrappedPlugin(scenario.mood, scenario.seed);
    const lab = await OneThreadLab.start({
      seed: scenario.seed,
      pages: PAGES,
      hosts: HOSTS.map((name, side) => ({
        name,
        nic: { ports: ['eth0'], config: NIC },
        bridged: ['eth0'],
        eventChannels: scenario.eventChannels[side]!.driver,
        guests: [
          {
            name,
            mac: `02:00:00:00:00:0${ADDRESSES[side]!.toString(16)}`,
            mtu: MTU,
            accel: 'eth0',
            queues: scenario.queues,
            eventChannels: scenario.eventChannels[side]!.guest,
            limits: { filters: scenario.filters, bufferPages: 256, multicasts: 4 },
            netfront: { ...NETFRONT, firstIndex: scenario.firstIndex, features: featuresOf(scenario) },
          },
        ],
      })),
      wires: [
        {
          ends: [
            [0, 0],
            [1, 0],
          ],
          settings: { delayUs: scenario.delayUs, bitsPerSecond: scenario.bitsPerSecond },
          mtu: MTU,
          config: { mtu: MTU, slots: 64 },
        },
      ],
      merging: scenario.merging,
      pluginsFrom: '.',
      nicPorts: NIC_PORT,
      vifLimits: VIF,
      frontend: () => Promise.resolve(plugin.definition),
      machine: {
        ...SHAPE,
        faults,
        audit: true,
        accesses: false,
        maxSteps: LIVELOCK_STEPS,
        turn: promiseTurn,
        ...(memory === undefined ? {} : { memory }),
      },
    });
    return new SimulatedLab(scenario, lab, faults, plugin, fail);
  }

  host(side: Side): RunningHost {
    return this.lab.host(HOSTS[side]);
  }

  /** The guest that began on that side, wherever it is. */
  guest(side: Side): RunningGuest {
    return this.host(this.placeOf(side)).guests.get(HOSTS[side])!;
  }

  /** The side of the host where that guest is. */
  placeOf(side: Side): Side {
    return SIDES.find((place) => this.host(place).guests.has(HOSTS[side]))!;
  }

  /** The guest's traffic begins, until `untilMs` on the clock. */
  begin(side: Side, untilMs: number): void {
    const { domain, guest } = this.guest(side);
    this.traffic[side].begin(domain, guest.netfront, untilMs);
  }

  /** What the wire did, both directions. */
  onWire(what: 'corrupted' | 'duplicated'): number {
    const [wire] = this.lab.hardware.wires;
    return wire!.statistics(0)[what]! + wire!.statistics(1)[what]!;
  }

  setRates(healthy: boolean): void {
    this.faults.rates = healthy ? {} : this.scenario.rates;
    this.lab.hardware.wires[0]!.set({ faults: healthy ? {} : this.scenario.wire });
  }

  async load(side: Side, definition: BackendAcceleratorDefinition = backend): Promise<void> {
    const { registry } = this.host(side).driver;
    if (!registry.all().some(({ name }) => name === definition.name)) registry.register(definition);
    await Promise.resolve();
  }

  async unload(side: Side): Promise<void> {
    const { driver } = this.host(side);
    for (const { name } of driver.registry.all()) await driver.unload(name);
  }

  async allow(side: Side, port: string | null): Promise<void> {
    const { store } = this.host(this.placeOf(side)).machine.domain(DRIVER_ID)!;
    await setAccel(store, DRIVER_ID, this.guest(side).domain.id, 0, port);
  }

  /** What the toolstack does to allow the guest another payload. */
  async setMtu(side: Side, mtu: number): Promise<void> {
    const { store } = this.host(this.placeOf(side)).machine.domain(DRIVER_ID)!;
    await store.write(`/local/domain/${this.guest(side).domain.id}/device/vif/0/mtu`, String(mtu));
  }

  async suspend(side: Side): Promise<void> {
    const { netfront } = this.guest(side).guest;
    await netfront.suspend();
    await netfront.resume({ timeoutMs: RESUME_MS });
  }

  /** The guest moves to the other host, while somebody steps the lab. */
  migrate(side: Side): Promise<MigrationReport> {
    return this.lab.moves.migrate(HOSTS[side], HOSTS[1 - this.placeOf(side)]!);
  }

  /** What an operator does with a guest that is not connected: saves it and lets it go on. */
  async reconnect(side: Side): Promise<void> {
    await this.lab.moves.suspend(HOSTS[side]);
    await this.lab.moves.resume(HOSTS[side]);
  }

  pause(side: Side, id: 'guest' | 'driver', paused: boolean): void {
    const { machine } = this.host(id === 'guest' ? this.placeOf(side) : side);
    const domid = id === 'guest' ? this.guest(side).domain.id : DRIVER_ID;
    const key = `${side} ${id}`;
    if (paused === this.paused.has(key) || this.dead.has(key)) return;
    if (paused) machine.pauseDomain(domid);
    else machine.resumeDomain(domid);
    if (paused) this.paused.add(key);
    else this.paused.delete(key);
  }

  isDead(side: Side, id: 'guest' | 'driver'): boolean {
    return this.dead.has(`${side} ${id}`);
  }

  /**
   * A domain dies, and with it the frames that it had: a guest's driver those that it was sending; a driver domain, its
   * NIC and its bridge may have any that was outside. What a guest was sending its own driver counts.
   */
  kill(side: Side, id: 'guest' | 'driver'): void {
    this.pause(side, id, false);
    this.dead.add(`${side} ${id}`);
    this.losses.look();
    if (id === 'guest') {
      this.traffic[side].stop();
      this.lab.crashes.killGuest(HOSTS[side]);
    } else {
      this.losses.beforeReset(HOSTS[side]);
      this.lab.crashes.killDriver(HOSTS[side]);
    }
    for (const each of SIDES) this.traffic[each].giveUp(id === 'guest' && each === side ? 'all' : 'outside');
  }

  /** It boots again. */
  async restart(side: Side, id: 'guest' | 'driver'): Promise<void> {
    if (id === 'driver') await this.lab.crashes.bootDriver(HOSTS[side]);
    else await this.lab.crashes.bootGuest(HOSTS[side]);
    this.dead.delete(`${side} ${id}`);
    this.losses.look();
  }

  resetNic(side: Side): void {
    this.losses.beforeReset(HOSTS[side]);
    this.lab.hardware.nicOf(HOSTS[side])!.reset();
  }

  plug(up: boolean): void {
    this.unplugged = !up;
    this.lab.hardware.wires[0]!.setLink(up);
  }
}
