/**
 * A host of a one-thread lab: the real drivers' machine stepped by a seeded scheduler with a virtual clock.
 *
 * Given a seed, a run is repeatable to the byte. Several hosts share one lab (memory, clock, scheduler) when the
 * later ones are made from the first one's `lab`; each has its own domain numbers and its own store.
 */
import type { Address, Clock, LogLevel } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId, Task } from '../machine.js';
import { PRIVILEGED_DOMID, StoreClient, StoreServer, connectDirect } from '../store/index.js';
import type { DirectTransport, Schedule, StoreServerOptions } from '../store/index.js';
import type { Audit } from './audit.js';
import type { DomainContext } from './context.js';
import { SimDomain, noteEventChannels } from './domain.js';
import type { CountedLoop, DomainOptions } from './domain.js';
import type { Faults } from './faults.js';
import type { LogLine } from './log.js';
import type { SharedMemory } from './memory.js';
import type { LabShape } from './plan.js';
import type { RegisterHandler } from './registers.js';
import type { Job, JobOwner } from './scheduler.js';
import { SimLab } from './sim-lab.js';

/** How a machine is made. All has a default. */
export interface SimMachineOptions extends Partial<LabShape> {
  /** Decides the order of everything; 1 when left out. */
  readonly seed?: number;
  /** Virtual milliseconds that each step takes; 0.001 when left out, so that time passes under load too. */
  readonly stepMs?: number;
  /** Another host's lab, to be in: seed, sizes, faults and audit are that lab's. */
  readonly lab?: SimLab;
  /** What this host is called. */
  readonly name?: string;
  /** What goes wrong. */
  readonly faults?: Faults;
  /** Checks each access, at a price: see {@link Audit}. */
  readonly audit?: boolean;
  /** Whether the audit keeps a list of all accesses; true when left out. A long run says false. */
  readonly accesses?: boolean;
  /** Steps after which `settle` and its like say that something raises itself for ever; 5 million when left out. */
  readonly maxSteps?: number;
  /** The memory of a lab that is over, to be used again: thousands of short labs are made faster so. */
  readonly memory?: SharedMemory;
  /** How promises get their turn: see {@link SimLabOptions.turn}. */
  readonly turn?: () => Promise<void>;
  /** Takes what domains log; kept in `machine.lines` when left out. */
  readonly log?: (line: LogLine) => void;
  /** Options of the store's server. */
  readonly store?: Omit<StoreServerOptions, 'clock' | 'domainExists'>;
}

const KEPT_LINES = 200;

interface Resident {
  readonly domain: SimDomain;
  readonly context: DomainContext;
  readonly owner: JobOwner;
  /** Where its lines go: the machine that it is on. */
  home: SimMachine;
  /** Its way to the store of that machine. */
  transport: DirectTransport;
}

/**
 * One host.
 *
 * @example
 * ```ts
 * const machine = new SimMachine({ seed: 7 });
 * const backend = machine.createDomain(0);
 * const guest = machine.createDomain(1, 'guest');
 * await guest.store.write('data/greeting', 'hello');
 * ```
 */
export class SimMachine {
  /** What hosts share. */
  readonly lab: SimLab;
  /** This host's store. */
  readonly storeServer: StoreServer;
  /** The last lines that were logged, when the options name no `log`. */
  readonly lines: LogLine[] = [];
  /** What it is called. */
  readonly name: string;
  private readonly host: number;
  private readonly residents = new Map<DomainId, Resident>();
  private readonly log: (line: LogLine) => void;

  constructor(options: SimMachineOptions = {}) {
    this.lab = options.lab ?? new SimLab(options);
    this.host = this.lab.addHost();
    this.name = options.name ?? `host${this.host}`;
    this.log = options.log ?? ((line) => this.keepLine(line));
    this.storeServer = new StoreServer({
      ...options.store,
      clock: this.lab.clock,
      domainExists: (domid) => this.residents.has(domid),
    });
  }

  /** The lab's memory, as NIC models and wires use it. */
  get memory(): SharedMemory {
    return this.lab.memory;
  }

  /** What was seen, on a machine made with `audit`. */
  get audit(): Audit {
    if (this.lab.audit === null) throw new Error('no audit: make the machine with { audit: true }');
    return this.lab.audit;
  }

  /** Virtual time. */
  get clock(): Clock {
    return this.lab.clock;
  }

  /** A number that two runs share only if they ran the same things in the same order. */
  get traceHash(): number {
    return this.lab.scheduler.traceHash;
  }

  /**
   * Makes a domain and connects it to the store.
   * @param id its number; the lowest free one when left out.
   * @param name what people call it.
   * @param options what its kernel is like.
   * @throws MachineError when the number is taken, or no slot is left.
   */
  createDomain(id?: DomainId, name?: string, options: DomainOptions = {}): SimDomain {
    const chosen = id ?? this.lowestFree();
    const { lab } = this;
    const slot = lab.core.createDomain(this.host, chosen);
    const context: DomainContext = { lab: lab.core, slot, host: this.host, id: chosen, faults: lab.faults };
    const owner: JobOwner = { state: 'running', held: [] };
    const loop = new SimLoop(lab, owner);
    const transport = this.connectStore(owner, chosen);
    const domain: SimDomain = new SimDomain(
      {
        context,
        memory: lab.audit?.memory(context) ?? lab.memory,
        loop,
        store: new StoreClient(transport),
        deviceAt: (page) => lab.deviceAt(page),
        ...options,
        log: (level, message) => resident.home.line(context.id, level, message),
      },
      name ?? `dom${chosen}`,
    );
    const resident: Resident = { domain, context, owner, home: this, transport };
    if (lab.audit !== null) domain.foreign.observer = lab.audit.observer(context);
    lab.addUpcall(
      slot,
      owner,
      () => domain.events.deliver(),
      () => domain.grants.retry(),
    );
    this.residents.set(chosen, resident);
    noteEventChannels(domain, options);
    return domain;
  }

  /** The domain of that number, if there is one. */
  domain(id: DomainId): SimDomain | undefined {
    return this.residents.get(id)?.domain;
  }

  /**
   * A domain dies, whatever it is doing: nothing of it runs again, its ports close, its grants, mappings and
   * pages go (a page that another still maps goes when that mapping does), and the store forgets it.
   * @param requests what becomes of its requests to the store: they are rejected, so that a test can wait for them;
   * or forgotten, as in a real death: then no promise of the domain goes on, provided that those that are settled
   * had their {@link SimLab.turn} before.
   */
  destroyDomain(id: DomainId, requests: 'reject' | 'forget' = 'reject'): void {
    const resident = this.resident(id);
    this.residents.delete(id);
    resident.owner.state = 'dead';
    resident.owner.held.length = 0;
    if (requests === 'reject') resident.domain.store.close();
    resident.transport.abandon();
    this.lab.removeUpcall(resident.context.slot);
    this.lab.core.destroyDomain(resident.context.slot);
    if (id !== PRIVILEGED_DOMID) this.storeServer.releaseDomain(id);
  }

  /**
   * Moves a suspended domain, with its memory and its programs, to another host of the lab. Whoever holds the
   * domain goes on holding it; its number and its store are others from here on, and this host forgets it.
   * @param id its number here.
   * @param to the other host.
   * @param newId its number there; the lowest free one when left out.
   * @returns its number there.
   * @throws MachineError `IN_USE` when it is not suspended, `CLOSED` when the number is taken; it stays then.
   */
  moveDomain(id: DomainId, to: SimMachine, newId = to.lowestFree()): DomainId {
    const resident = this.resident(id);
    resident.domain.grants.retry();
    this.lab.core.moveDomain(resident.context.slot, to.host, newId);
    this.residents.delete(id);
    to.residents.set(newId, resident);
    resident.home = to;
    resident.transport = to.connectStore(resident.owner, newId);
    resident.domain.rehome(to.host, newId, new StoreClient(resident.transport));
    this.storeServer.releaseDomain(id);
    return newId;
  }

  /** Who a domain's steps belong to: the key that a scheduler's `profile` is told. */
  ownerOf(id: DomainId): JobOwner {
    return this.resident(id).owner;
  }

  /** Nothing of a domain runs until it is resumed; what comes for it waits. */
  pauseDomain(id: DomainId): void {
    this.resident(id).owner.state = 'paused';
  }

  /** Lets a paused domain go on. */
  resumeDomain(id: DomainId): void {
    this.lab.scheduler.resume(this.resident(id).owner);
  }

  /**
   * Notifies the channel that `vector` names: what a device model calls. A vector whose channel is closed does
   * nothing.
   */
  raise(vector: number): void {
    this.lab.core.ports.raise(vector);
  }

  /**
   * Says who handles writes to a page of registers, for whoever maps it after this.
   * @returns ends it for later mappings.
   */
  onRegisterWrite(page: Address, handler: RegisterHandler): () => void {
    return this.lab.onRegisterWrite(page, handler);
  }

  /** {@inheritDoc SimLab.pump} */
  pump(maxSteps: number): number {
    return this.lab.pump(maxSteps);
  }

  /** {@inheritDoc SimLab.settle} */
  settle(withinMs?: number): Promise<void> {
    return this.lab.settle(withinMs);
  }

  /** {@inheritDoc SimLab.advance} */
  advance(ms: number): Promise<void> {
    return this.lab.advance(ms);
  }

  /** {@inheritDoc SimLab.runUntil} */
  runUntil(done: () => boolean, withinMs?: number): Promise<void> {
    return this.lab.runUntil(done, withinMs);
  }

  /** {@inheritDoc SimLab.during} */
  during<T>(work: Promise<T>): Promise<T> {
    return this.lab.during(work);
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      name: this.name,
      ...this.lab.describe(),
      domains: [...this.residents.values()].map(({ domain, owner }) => ({
        ...domain.describe(),
        state: owner.state,
      })),
      store: this.storeServer.describe(),
    };
  }

  private connectStore(owner: JobOwner, id: DomainId): DirectTransport {
    return connectDirect(this.storeServer, id, this.storeQueue(owner, id));
  }

  /** Runs a connection's messages one by one, in order, each a step of its own. */
  private storeQueue(owner: JobOwner, id: DomainId): Schedule {
    const { scheduler, faults } = this.lab;
    const waiting: { task: () => void; settles: boolean }[] = [];
    let delayed = false;
    const job: Job = scheduler.job(
      owner,
      () => {
        const next = waiting.shift();
        if (next?.settles === true) scheduler.controlPending = true;
        next?.task();
        return waiting.length > 0 && !delayed;
      },
      false,
      'store',
    );
    return (task, settles) => {
      waiting.push({ task, settles });
      const delayMs = faults.storeMessage?.(id);
      if (delayMs !== undefined && !delayed) {
        delayed = true;
        scheduler.after(owner, delayMs, () => {
          delayed = false;
          scheduler.raise(job);
        });
      } else if (!delayed) scheduler.raise(job);
    };
  }

  private line(domain: DomainId, level: LogLevel, message: string): void {
    this.log({ atMs: this.clock.now(), host: this.name, domain, level, message });
  }

  private keepLine(line: LogLine): void {
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.shift();
  }

  private lowestFree(): DomainId {
    let id = 0;
    while (this.residents.has(id)) id++;
    return id;
  }

  private resident(id: DomainId): Resident {
    const resident = this.residents.get(id);
    if (resident === undefined)
      throw new MachineError(
        'CLOSED',
        `${this.name} has no domain ${id}; it has ${[...this.residents.keys()].join()}`,
      );
    return resident;
  }
}

/** Work that a task does in one go. */
export const TASK_BUDGET = 64;

class SimLoop implements CountedLoop {
  timers = 0;
  tasks = 0;

  constructor(
    private readonly lab: SimLab,
    private readonly owner: JobOwner,
  ) {}

  now(): number {
    return this.lab.scheduler.now();
  }

  after(ms: number, fn: () => void): () => void {
    this.timers++;
    const cancel = this.lab.scheduler.after(this.owner, ms, () => {
      this.timers--;
      fn();
    });
    return () => {
      if (cancel()) this.timers--;
    };
  }

  task(run: (budget: number) => boolean): Task {
    const { scheduler } = this.lab;
    let live = true;
    this.tasks++;
    const job = scheduler.job(this.owner, () => live && run(TASK_BUDGET) && live, false, 'task');
    return {
      raise: () => {
        if (live) scheduler.raise(job);
      },
      cancel: () => {
        if (live) this.tasks--;
        live = false;
      },
    };
  }
}
