/**
 * The loop of a domain that has a thread of its own and a real clock.
 *
 * The inner loop (events, tasks, pollers) is synchronous and, under load, all there is. It is left for a turn of
 * the event loop, where promises, messages and files get on, when control work was done, at least each
 * millisecond, and before sleeping. Before it sleeps it polls a little: waking costs more than that.
 */
import type { Task } from '../machine.js';
import type { CountedLoop } from './domain.js';
import type { Lab } from './lab.js';
import { domainRecord, labHeader } from './plan.js';
import { Timers, fire } from './timers.js';
import { turn } from './turn.js';
import { Bed } from './wake.js';
import type { Waker } from './wake.js';

const MAIL = domainRecord.fields.mail.offset >>> 2;
const STOP = domainRecord.fields.stop.offset >>> 2;
const LAB_STOP = labHeader.fields.stop.offset >>> 2;

/** Looked up once: in a worker the global is a getter, and the loop asks for the time more often than for anything. */
const { performance } = globalThis;

/** Work that a task does in one go. */
const TASK_BUDGET = 64;
/** Longest sleep when nothing is said: a process that wants to end does not wait longer. */
const SLEEP_MS = 100;
/** Longest sleep while something outside of the loop is waited for. */
const EXTERNAL_SLEEP_MS = 1;
/** Sleeps in a row that nobody ended, after which the event loop has a turn: what came there woke nobody. */
const IDLE_SLEEPS_PER_TURN = 5;
/** Longest time between two turns of the event loop, when idle: sleeps that pollers share are not counted. */
const IDLE_TURN_MS = 500;
/** Longest time between two turns of the event loop, under load. */
const TURN_MS = 1;
/** Turns of the event loop after control work: the first message of a port takes two on Node 24. */
const CONTROL_TURNS = 2;
/** Polling before a sleep, pollers are asked this often: each time may be a system call. */
const POLLER_MS = 0.01;
/** It polls for this fraction of its longest time at least. */
const LEAST_PATIENCE = 8;
/** Rounds of the inner loop between two looks at the clock. */
const ROUNDS_PER_LOOK = 16;

/** How a loop runs. */
export interface DomainLoopOptions {
  /** Microseconds for which it polls before it sleeps; 30 when left out. */
  readonly spinMicros?: number | undefined;
  /** Longest sleep in milliseconds; 100 when left out. */
  readonly sleepMs?: number | undefined;
  /** How it sleeps; by `Atomics.wait` when left out. */
  readonly waker?: Waker | undefined;
}

/** What a loop asks of its domain. */
export interface LoopHooks {
  /** Calls the handlers of pending events. */
  deliver(): void;
  /** Handles control messages that came. */
  mail(): void;
  /** Nothing to do for now: what could not be done before may be tried again. */
  idle(): void;
}

/** What a loop did since it began. */
export interface LoopCounters {
  /** Rounds of the inner loop. */
  rounds: number;
  /** Turns given to the event loop. */
  turns: number;
  /** Times it went to sleep. */
  sleeps: number;
  /** Sleeps that nobody ended. */
  timeouts: number;
  /** Timers run. */
  timersRun: number;
  /** Times that control messages were looked for. */
  mails: number;
}

class LoopTask implements Task {
  queued = false;
  live = true;

  constructor(
    private readonly loop: { enqueue(task: LoopTask): void; cancelled(): void },
    readonly run: (budget: number) => boolean,
  ) {}

  raise(): void {
    if (this.queued || !this.live) return;
    this.queued = true;
    this.loop.enqueue(this);
  }

  cancel(): void {
    if (this.live) this.loop.cancelled();
    this.live = false;
  }
}

/** The loop of a domain with a thread of its own: `await loop.run()` is that thread's life. */
export class DomainLoop implements CountedLoop {
  /** Tasks not cancelled. */
  tasks = 0;
  /** What it did since it began. */
  readonly counters: LoopCounters = { rounds: 0, turns: 0, sleeps: 0, timeouts: 0, timersRun: 0, mails: 0 };
  private readonly schedule = new Timers<null>();
  private readonly pollers: (() => boolean)[] = [];
  private round: LoopTask[] = [];
  private next: LoopTask[] = [];
  private waiting = 0;
  private external = 0;
  private stopped = false;
  private seenMail = 0;
  private readonly record: number;
  private readonly bed: Bed;
  private readonly spinMs: number;
  /** For how long it polls now: half as long after each time that nothing came, twice after each that something did. */
  private patienceMs: number;
  private readonly sleepMs: number;
  private hooks: LoopHooks = { deliver: () => undefined, mail: () => undefined, idle: () => undefined };
  private readonly queue = {
    enqueue: (task: LoopTask): void => {
      this.next[this.waiting++] = task;
    },
    cancelled: (): void => {
      this.tasks--;
    },
  };
  private readonly mayStaySleeping = (): boolean => !this.hasWork();

  /**
   * @param lab where its domain is.
   * @param slot its domain.
   * @param options how it runs.
   */
  constructor(
    private readonly lab: Lab,
    private readonly slot: number,
    options: DomainLoopOptions = {},
  ) {
    this.record = lab.plan.record(slot) >>> 2;
    this.bed = new Bed(lab, slot, options.waker);
    this.spinMs = this.patienceMs = (options.spinMicros ?? 30) / 1000;
    this.sleepMs = options.sleepMs ?? SLEEP_MS;
  }

  /** Timers not yet run. */
  get timers(): number {
    return this.schedule.pending;
  }

  /** Milliseconds since this thread began. */
  now(): number {
    return performance.now();
  }

  /** Runs `fn` once after `ms`; cancel with the function returned. */
  after(ms: number, fn: () => void): () => void {
    return this.schedule.add(null, this.now() + ms, fn);
  }

  /** Makes a task: it gets a budget of 64 and answers whether there is more to do. */
  task(run: (budget: number) => boolean): Task {
    this.tasks++;
    return new LoopTask(this.queue, run);
  }

  /**
   * Asks `poll` in each round; it answers whether it found work. A domain that has pollers needs a `waker` that
   * also ends a sleep when they have work, or they are asked only when something else wakes it.
   * @returns ends it.
   */
  addPoller(poll: () => boolean): () => void {
    this.pollers.push(poll);
    return () => {
      const at = this.pollers.indexOf(poll);
      if (at >= 0) this.pollers.splice(at, 1);
    };
  }

  /** Work outside of the loop (an `import()`, a file): while it goes on the loop does not sleep for long. */
  during<T>(work: Promise<T>): Promise<T> {
    this.external++;
    const over = (): void => {
      this.external--;
    };
    work.then(over, over);
    return work;
  }

  /** Ends `run` soon. */
  stop(): void {
    this.stopped = true;
  }

  /** Sets what the loop asks of its domain. */
  connect(hooks: LoopHooks): void {
    this.hooks = hooks;
  }

  /** Runs until stopped, from here or by the machine. An error thrown by a task or a handler ends it. */
  async run(): Promise<void> {
    let lastTurn = -Infinity;
    let turnsOwed = 1; // something ran since the last turn: promises may wait to go on
    let fresh = true; // something ran since the last spin: more may follow soon
    while (!this.isStopped()) {
      const busy = this.work();
      const control = this.control();
      if (busy || control) {
        turnsOwed = control ? CONTROL_TURNS : Math.max(turnsOwed, 1);
        fresh = true;
      }
      const now = this.now();
      if (busy && !control && now - lastTurn < TURN_MS) continue;
      if (!busy && !control && fresh) {
        fresh = this.spin(now);
        if (fresh) {
          turnsOwed = Math.max(turnsOwed, 1);
          continue;
        }
      }
      if (turnsOwed > 0) {
        this.counters.turns++;
        await turn();
        lastTurn = this.now();
        turnsOwed--;
      } else if (!this.sleep() || this.now() - lastTurn > IDLE_TURN_MS) turnsOwed = 1;
    }
  }

  /** Rounds until nothing is left to do, or it is time to look at the clock. True when the last one was busy. */
  private work(): boolean {
    for (let i = 0; i < ROUNDS_PER_LOOK; i++) if (!this.once()) return i > 0;
    return true;
  }

  /** One round: events, each raised task once, each poller once. */
  private once(): boolean {
    this.counters.rounds++;
    let busy = false;
    if (this.lab.ports.waiting(this.slot)) {
      this.hooks.deliver();
      busy = true;
    }
    if (this.waiting > 0) {
      const { round, waiting } = this;
      this.round = this.next;
      this.next = round;
      this.waiting = 0;
      for (let i = 0; i < waiting; i++) {
        const task = this.round[i]!;
        task.queued = false;
        if (task.live && task.run(TASK_BUDGET)) task.raise();
      }
      busy = true;
    }
    for (let i = 0; i < this.pollers.length; i++) if (this.pollers[i]!()) busy = true;
    return busy;
  }

  /** Messages and timers; true when there were some. */
  private control(): boolean {
    let busy = false;
    const mail = Atomics.load(this.lab.memory.words, this.record + MAIL);
    if (mail !== this.seenMail) {
      this.seenMail = mail;
      this.counters.mails++;
      this.hooks.mail();
      busy = true; // a nudge may be for the event loop
    }
    const now = this.now();
    for (let timer = this.schedule.take(now); timer !== null; timer = this.schedule.take(now)) {
      this.counters.timersRun++;
      fire(timer);
      busy = true;
    }
    return busy;
  }

  /** Polls for a while, longer where that has paid; true when work came up. */
  private spin(since: number): boolean {
    const { spinMs } = this;
    const found = this.spinUntil(since, since + this.patienceMs);
    const next = found ? this.patienceMs * 2 : this.patienceMs / 2;
    this.patienceMs = Math.min(spinMs, Math.max(spinMs / LEAST_PATIENCE, next));
    return found;
  }

  private spinUntil(since: number, end: number): boolean {
    let ask = since + POLLER_MS;
    for (let now = since; now < end; now = this.now()) {
      if (this.hasWork()) return true;
      if (now < ask || this.pollers.length === 0) continue;
      if (this.once()) return true;
      ask = this.now() + POLLER_MS;
    }
    return false;
  }

  /**
   * Sleeps until there is work for the inner loop; false when the event loop should have a turn instead.
   * A sleep that nobody ended is simply begun again: this is all that an idle domain does.
   */
  private sleep(): boolean {
    this.hooks.idle();
    const { counters } = this;
    for (let i = 0; i < IDLE_SLEEPS_PER_TURN; i++) {
      const longest = this.external > 0 ? EXTERNAL_SLEEP_MS : this.sleepMs;
      const timeout = Math.min(longest, this.schedule.nextDue() - this.now());
      if (timeout <= 0) return true;
      counters.sleeps++;
      const woken = this.bed.sleep(timeout, this.mayStaySleeping);
      // What goes on outside needs the event loop, whether or not pollers have to be asked too.
      if (this.external > 0) return false;
      if (woken || this.pollers.length > 0) return true;
      counters.timeouts++;
    }
    return false;
  }

  private hasWork(): boolean {
    return (
      this.waiting > 0 ||
      this.lab.ports.waiting(this.slot) ||
      Atomics.load(this.lab.memory.words, this.record + MAIL) !== this.seenMail ||
      this.isStopped()
    );
  }

  private isStopped(): boolean {
    const { words } = this.lab.memory;
    return (
      this.stopped || Atomics.load(words, this.record + STOP) !== 0 || Atomics.load(words, LAB_STOP) !== 0
    );
  }
}
