/** What the hosts of a one-thread lab share: memory, scheduler, clock, faults, and the running of it all. */
import type { Address, Clock } from '@netaccel/core-hooks';
import { Audit } from './audit.js';
import type { Faults } from './faults.js';
import { Lab } from './lab.js';
import type { SharedMemory } from './memory.js';
import { defaultShape } from './plan.js';
import type { LabShape } from './plan.js';
import type { RegisterHandler } from './registers.js';
import { Scheduler } from './scheduler.js';
import type { Job, JobOwner } from './scheduler.js';
import { turn } from './turn.js';

/** Virtual time that one `settle` may pass, when nothing is said. */
const SETTLE_MS = 10_000;
/** Steps after which something must be spinning. */
const SETTLE_STEPS = 5_000_000;
/** Steps between two turns of the promises, when no step asked for one. */
const TURN_STEPS = 256;

/** How a lab is made. */
export interface SimLabOptions extends Partial<LabShape> {
  /** Decides the order of everything; 1 when left out. */
  readonly seed?: number;
  /** Virtual milliseconds that each step takes; 0.001 when left out. */
  readonly stepMs?: number;
  /** What goes wrong. */
  readonly faults?: Faults;
  /** Checks each access. */
  readonly audit?: boolean;
  /** Whether the audit keeps a list of all accesses; true when left out. A long run says false. */
  readonly accesses?: boolean;
  /** Steps after which `settle` and its like say that something raises itself for ever; 5 million when left out. */
  readonly maxSteps?: number;
  /** The memory of a lab that is over, to be used again: thousands of short labs are made faster so. */
  readonly memory?: SharedMemory;
  /**
   * Resolves when every promise that is settled has had its turn; after a pass of the event loop when left out. Who
   * needs nothing of the event loop while the lab runs is faster with less.
   */
  readonly turn?: () => Promise<void>;
}

interface Upcall {
  readonly job: Job;
  readonly idle: () => void;
}

/** A one-thread lab. */
export class SimLab {
  /** Picks what runs next. */
  readonly scheduler: Scheduler;
  /** Pages, grants and ports of all domains. */
  readonly core: Lab;
  /** What was seen, when the lab was made with `audit`. */
  readonly audit: Audit | null;
  /** What goes wrong. A test may set and remove its methods at any time, but for `step`. */
  readonly faults: Faults;
  /** Virtual time, for what belongs to no domain. */
  readonly clock: Clock;
  /** Finds who handles writes to a page of registers, for pages that `onRegisterWrite` does not know. */
  deviceResolver: (page: Address) => RegisterHandler | undefined = () => undefined;
  private readonly devices = new Map<Address, RegisterHandler>();
  private readonly upcalls = new Map<number, Upcall>();
  private readonly outside: JobOwner = { state: 'running', held: [] };
  private readonly maxSteps: number;
  private readonly passTurn: () => Promise<void>;
  private hosts = 0;
  private external = new Set<Promise<unknown>>();

  constructor(options: SimLabOptions = {}) {
    const {
      seed = 1,
      stepMs = 0.001,
      faults = {},
      audit = false,
      accesses = true,
      memory,
      ...sizes
    } = options;
    const { pages, domains, grantPages, ports, mappings } = { ...defaultShape, ...sizes };
    this.core = Lab.create({ pages, domains, grantPages, ports, mappings }, false, memory);
    this.maxSteps = options.maxSteps ?? SETTLE_STEPS;
    this.passTurn = options.turn ?? turn;
    this.scheduler = new Scheduler(seed, Math.round(stepMs * 1e6));
    this.faults = faults;
    this.audit = audit ? new Audit(this.core, accesses) : null;
    this.core.onSignal = (slot) => {
      const upcall = this.upcalls.get(slot);
      if (upcall !== undefined) this.scheduler.raise(upcall.job);
    };
    this.core.ports.intercept = (slot, port) => this.faultyEvent(slot, port);
    this.scheduler.onStep = faults.step === undefined ? null : (step) => faults.step?.(step);
    this.clock = {
      now: () => this.scheduler.now(),
      after: (ms, fn) => this.scheduler.after(this.outside, ms, fn),
    };
  }

  /** The memory. */
  get memory(): SharedMemory {
    return this.core.memory;
  }

  /** Number of a new host. */
  addHost(): number {
    return this.hosts++;
  }

  /** Says how a domain takes its events, and what it tries again when all is quiet. */
  addUpcall(slot: number, owner: JobOwner, deliver: () => void, idle: () => void): void {
    const job = this.scheduler.job(owner, () => (deliver(), false), false, 'event');
    this.upcalls.set(slot, { job, idle });
  }

  /** The domain is gone. */
  removeUpcall(slot: number): void {
    this.upcalls.delete(slot);
  }

  /** Who handles writes to a page of registers. */
  deviceAt(page: Address): RegisterHandler | undefined {
    return this.devices.get(page) ?? this.deviceResolver(page);
  }

  /** Says who handles writes to a page of registers; ends with the function returned. */
  onRegisterWrite(page: Address, handler: RegisterHandler): () => void {
    this.devices.set(page, handler);
    return () => {
      if (this.devices.get(page) === handler) this.devices.delete(page);
    };
  }

  /**
   * Runs at most `maxSteps` things without leaving this call: the frame path at full speed. Stops early when
   * nothing is runnable now, or when promises must have their turn first (`controlPending`): await
   * `lab.turn()` then. Does not move the clock on to the next timer.
   * @returns steps run.
   */
  pump(maxSteps: number): number {
    return this.scheduler.pump(maxSteps);
  }

  /** A step ran that may have settled promises; `turn` lets them go on. */
  get controlPending(): boolean {
    return this.scheduler.controlPending;
  }

  /** Lets every microtask run. */
  turn(): Promise<void> {
    this.scheduler.controlPending = false;
    return this.passTurn();
  }

  /**
   * Runs until nothing is left to do: nothing runnable, no promise to go on, no timer due within the next
   * `withinMs` of virtual time (10 s when left out; 0: the clock moves only as steps take time).
   * @throws Error when it does not come to rest.
   */
  async settle(withinMs = SETTLE_MS): Promise<void> {
    await this.run(() => false, withinMs, Infinity);
  }

  /** Runs for `ms` of virtual time; afterwards that much has passed. */
  async advance(ms: number): Promise<void> {
    const end = this.scheduler.now() + ms;
    await this.run(() => false, ms, end);
    this.scheduler.sleepUntil(end);
  }

  /**
   * Runs until `done` says so; it is asked after each turn of the promises and each few hundred steps.
   * @throws Error when everything came to rest, or `withinMs` of virtual time passed, before that.
   */
  async runUntil(done: () => boolean, withinMs = SETTLE_MS): Promise<void> {
    if (!(await this.run(done, withinMs, this.scheduler.now() + withinMs)))
      throw new Error(
        `nothing is left to do within ${withinMs} ms, and what was waited for did not happen; ` +
          `now ${this.scheduler.now()} ms, step ${this.scheduler.steps}, seed ${this.scheduler.seed}`,
      );
  }

  /** Work that really leaves this thread (an `import()`, a file): `settle` waits for it. Not repeatable in time. */
  during<T>(work: Promise<T>): Promise<T> {
    this.external.add(work);
    const over = (): void => void this.external.delete(work);
    work.then(over, over);
    return work;
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    const { scheduler, core } = this;
    return {
      seed: scheduler.seed,
      nowMs: scheduler.now(),
      steps: scheduler.steps,
      runnable: scheduler.runnable,
      timers: scheduler.pendingTimers,
      pages: core.plan.shape.pages,
      freePages: core.freePages,
    };
  }

  /** Runs until done, until at rest with no timer due within `withinMs`, or until the clock passes `end`. */
  private async run(done: () => boolean, withinMs: number, end: number): Promise<boolean> {
    const { scheduler } = this;
    const limit = scheduler.now() + withinMs;
    const lastStep = scheduler.steps + this.maxSteps;
    await this.turn();
    for (;;) {
      if (done()) return true;
      if (scheduler.now() > end) return false;
      const ran = scheduler.pump(TURN_STEPS);
      await this.turn();
      if (ran > 0 || scheduler.runnable > 0) {
        if (scheduler.steps > lastStep)
          throw new Error(
            `no rest after ${this.maxSteps} steps: something raises itself for ever; ` +
              `${scheduler.runnable} runnable, now ${scheduler.now()} ms, seed ${scheduler.seed}`,
          );
        continue;
      }
      for (const { idle } of this.upcalls.values()) idle();
      if (scheduler.jump(limit)) continue;
      if (this.external.size === 0) return done();
      await Promise.race(this.external).catch(() => undefined);
    }
  }

  private faultyEvent(slot: number, port: number): boolean {
    const fault = this.faults.event?.(this.core.identity(slot).domid, port);
    if (fault === undefined) return false;
    if (fault === 'lose') return true;
    if (fault === 'double') {
      this.core.ports.send(slot, port);
      this.clock.after(0, () => this.core.ports.send(slot, port));
    } else this.clock.after(fault, () => this.core.ports.send(slot, port));
    return true;
  }
}
