/**
 * The one thread of a one-thread lab: picks, by seed, among what is runnable, and keeps the virtual clock.
 *
 * Runnable things (tasks, event deliveries, store messages, timers) run in rounds: each runs once, in an order
 * that the seed draws; what becomes runnable meanwhile waits for the next round. So nothing starves, a task that
 * has more to do runs again after the others had their turn, and the seed alone decides the order.
 */
import { Random } from './random.js';
import { Timers, fire } from './timers.js';

const NANOS_PER_MS = 1e6;

/** Who a job belongs to: a paused owner's jobs wait, a dead one's never run. */
export interface JobOwner {
  /** What becomes of its jobs. */
  state: 'running' | 'paused' | 'dead';
  /** Jobs that came up while it was paused. */
  readonly held: Job[];
}

/** What a job is: the delivery of events, a task's run, a store message, a timer. */
export type JobKind = 'event' | 'task' | 'store' | 'timer';

/** Something that can be made runnable. It is in the queue at most once. */
export class Job {
  /** It waits to run. */
  queued = false;

  /**
   * @param owner whose it is.
   * @param run does it; true: make it runnable again.
   * @param control it may settle promises, so microtasks must have their turn after it.
   * @param id for the trace hash.
   * @param kind for traces.
   */
  constructor(
    readonly owner: JobOwner,
    readonly run: () => boolean,
    readonly control: boolean,
    readonly id: number,
    readonly kind: JobKind,
  ) {}
}

/** The scheduler of one lab. */
export class Scheduler {
  /** Steps run. */
  steps = 0;
  /** A job that may have settled promises has run since this was last set to false. */
  controlPending = false;
  /** Asked before each step with its number; it may pause, resume or destroy owners. */
  onStep: ((step: number) => void) | null = null;
  /** Told each job just before it runs, when the clock has passed the step. */
  onRun: ((job: Job) => void) | null = null;
  /** Told after each step whose it was and how many milliseconds of real time it took; null when nobody asks. */
  profile: ((owner: JobOwner, ms: number) => void) | null = null;
  private readonly random: Random;
  private round: Job[] = [];
  private left = 0;
  private next: Job[] = [];
  private waiting = 0;
  private readonly timers = new Timers<JobOwner>();
  private jobs = 0;
  private clock = 0;
  private hash = 0x811c9dc5;
  private readonly machine: JobOwner = { state: 'running', held: [] };
  private readonly timerJob = this.job(this.machine, () => this.fireOne(), true, 'timer');

  /**
   * @param seed decides the order of everything.
   * @param stepNanos virtual nanoseconds that each step takes.
   */
  constructor(
    readonly seed: number,
    private readonly stepNanos: number,
  ) {
    this.random = new Random(seed);
  }

  /** Virtual milliseconds since the lab began. */
  now(): number {
    return this.clock / NANOS_PER_MS;
  }

  /** A number that two runs share only if they ran the same jobs in the same order. */
  get traceHash(): number {
    return this.hash >>> 0;
  }

  /** Things that could run now. */
  get runnable(): number {
    return this.left + this.waiting;
  }

  /** Timers not yet run. */
  get pendingTimers(): number {
    return this.timers.pending;
  }

  /** Makes a job. */
  job(owner: JobOwner, run: () => boolean, control: boolean, kind: JobKind): Job {
    return new Job(owner, run, control, ++this.jobs, kind);
  }

  /** Makes a job runnable, if it is not already. */
  raise(job: Job): void {
    if (job.queued) return;
    job.queued = true;
    this.next[this.waiting++] = job;
  }

  /** Runs `fn` for `owner` once after `ms` of virtual time; cancel with the function returned. */
  after(owner: JobOwner, ms: number, fn: () => void): () => boolean {
    return this.timers.add(owner, this.clock + Math.max(0, Math.round(ms * NANOS_PER_MS)), fn);
  }

  /** Lets a paused owner go on. */
  resume(owner: JobOwner): void {
    owner.state = 'running';
    for (const job of owner.held.splice(0)) {
      job.queued = false;
      this.raise(job);
    }
  }

  /** Runs one thing; false when nothing is runnable at this moment of virtual time. */
  step(): boolean {
    if (this.timers.nextDue() <= this.clock) this.raise(this.timerJob);
    if (this.left === 0) {
      if (this.waiting === 0) return false;
      const finished = this.round;
      this.round = this.next;
      this.left = this.waiting;
      this.next = finished;
      this.waiting = 0;
    }
    this.onStep?.(this.steps);
    const { round } = this;
    const index = this.left === 1 ? 0 : this.random.below(this.left);
    const job = round[index]!;
    round[index] = round[--this.left]!;
    const { owner } = job;
    if (owner.state !== 'running') {
      if (owner.state === 'paused') owner.held.push(job);
      return true;
    }
    this.steps++;
    this.clock += this.stepNanos;
    this.hash = Math.imul(this.hash ^ job.id, 0x01000193);
    job.queued = false;
    this.onRun?.(job);
    if (job.control) this.controlPending = true;
    if (this.profile !== null) this.timed(job, this.profile);
    else if (job.run()) this.raise(job);
    return true;
  }

  /**
   * Runs at most `maxSteps` things without leaving this call; stops early when nothing is runnable, or after one
   * that may have settled promises.
   * @returns how many ran.
   */
  pump(maxSteps: number): number {
    let ran = 0;
    while (ran < maxSteps && this.step()) {
      ran++;
      if (this.controlPending) break;
    }
    return ran;
  }

  /** Moves the clock to the next timer if that is due by `limit` (milliseconds): for when nothing is runnable. */
  jump(limit: number): boolean {
    const due = this.timers.nextDue();
    if (due > limit * NANOS_PER_MS) return false;
    this.clock = Math.max(this.clock, due);
    return true;
  }

  /** Moves the clock on to `ms`, not past a timer. */
  sleepUntil(ms: number): void {
    this.clock = Math.max(this.clock, Math.min(Math.round(ms * NANOS_PER_MS), this.timers.nextDue()));
  }

  private timed(job: Job, profile: (owner: JobOwner, ms: number) => void): void {
    const start = performance.now();
    if (job.run()) this.raise(job);
    profile(job.owner, performance.now() - start);
  }

  private fireOne(): boolean {
    const timer = this.timers.take(this.clock);
    if (timer === null) return false;
    const { owner } = timer;
    if (owner.state === 'running') fire(timer);
    else if (owner.state === 'paused') {
      // It fires when its owner goes on.
      const late = this.job(owner, () => (fire(timer), false), true, 'timer');
      late.queued = true;
      owner.held.push(late);
    }
    return true;
  }
}
