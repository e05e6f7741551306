/**
 * The loop of a domain on a real host: rounds inside of Node's event loop.
 *
 * A round calls the handlers of readable descriptors, then each raised task once, then sends what was put off until
 * its end: notifications and unmasks, so that many of them cost one call. Under load rounds follow each other for up
 * to a millisecond before the event loop has a turn, where descriptors, timers and promises get on. Idle, nothing
 * runs at all.
 */
import type { Task } from '../machine.js';
import type { DescriptorPoll, NativeLibc } from './libc.js';
import type { Interest, NativeCounters, NativeLoop } from './types.js';

/** Work that a task does in one go. */
const TASK_BUDGET = 64;
/** Longest time between two turns of the event loop. */
const TURN_MS = 1;

class LoopTask implements Task {
  queued = false;
  live = true;

  constructor(
    private readonly loop: DomainRounds,
    readonly run: (budget: number) => boolean,
  ) {}

  raise(): void {
    if (this.queued || !this.live) return;
    this.queued = true;
    this.loop.enqueue(this);
  }

  cancel(): void {
    if (this.live) this.loop.tasks--;
    this.live = false;
  }
}

class DescriptorInterest implements Interest {
  ready = false;
  private open = true;
  /** What the poll was last told: telling it again costs system calls, though it changes nothing. */
  private polling = false;
  private readonly poll: DescriptorPoll;

  constructor(
    private readonly loop: DomainRounds,
    libc: NativeLibc,
    descriptor: number,
    readonly handler: () => void,
  ) {
    this.poll = libc.poll(descriptor, () => {
      if (this.ready || !this.open) return;
      this.ready = true;
      loop.readable(this);
    });
    this.resume();
  }

  pause(): void {
    this.ready = false;
    if (!this.polling) return;
    this.polling = false;
    this.poll.stop();
  }

  resume(): void {
    if (!this.open || this.polling) return;
    this.polling = true;
    this.poll.start();
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.ready = false;
    this.poll.close();
    this.loop.interests.delete(this);
  }
}

/** The loop of a domain. */
export class DomainRounds implements NativeLoop {
  /** Tasks not cancelled. */
  tasks = 0;
  /** Timers not yet run. */
  timers = 0;
  /** Called at the end of each round. */
  onRoundEnd: () => void = () => undefined;
  /** Descriptors that are looked after. */
  readonly interests = new Set<DescriptorInterest>();
  private readonly running = new Set<ReturnType<typeof setTimeout>>();
  private round: LoopTask[] = [];
  private next: LoopTask[] = [];
  private waiting = 0;
  private readables: DescriptorInterest[] = [];
  private ready: DescriptorInterest[] = [];
  private scheduled = false;
  private closed = false;
  private readonly turn = (): void => {
    this.takeTurn();
  };

  constructor(
    private readonly libc: NativeLibc,
    private readonly counters: NativeCounters,
  ) {}

  /** Milliseconds since the process began. */
  now(): number {
    return performance.now();
  }

  /** Runs `fn` once after `ms`; cancel with the function returned. */
  after(ms: number, fn: () => void): () => void {
    this.timers++;
    const done = (): boolean => {
      if (!this.running.delete(timer)) return false;
      this.timers--;
      return true;
    };
    const timer = setTimeout(() => {
      if (done()) fn();
    }, ms);
    this.running.add(timer);
    return () => {
      if (done()) clearTimeout(timer);
    };
  }

  /** Makes a task: it gets a budget of 64 and answers whether there is more to do. */
  task(run: (budget: number) => boolean): Task {
    this.tasks++;
    return new LoopTask(this, run);
  }

  /** {@inheritDoc NativeLoop.whenReadable} */
  whenReadable(descriptor: number, handler: () => void): Interest {
    const interest = new DescriptorInterest(this, this.libc, descriptor, handler);
    this.interests.add(interest);
    return interest;
  }

  /** A task was raised. */
  enqueue(task: LoopTask): void {
    this.next[this.waiting++] = task;
    this.schedule();
  }

  /** A descriptor can be read. */
  readable(interest: DescriptorInterest): void {
    this.ready.push(interest);
    this.schedule();
  }

  /** Makes sure that a round comes: something was put off until its end. */
  schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    setImmediate(this.turn);
  }

  /** Nothing runs any more. Idempotent. */
  close(): void {
    this.closed = true;
    for (const timer of this.running) clearTimeout(timer);
    this.timers -= this.running.size;
    this.running.clear();
    for (const interest of this.interests) interest.close();
  }

  /** Rounds until there is nothing to do, or the event loop is due. */
  private takeTurn(): void {
    if (this.closed) return;
    this.counters.turns++;
    // Set while rounds run: what is raised in them needs no schedule of its own.
    this.scheduled = true;
    try {
      this.once();
      // A clock is read only where there is more to do: it may cost a system call.
      if (this.hasWork()) {
        const end = this.now() + TURN_MS;
        do this.once();
        while (this.hasWork() && this.now() < end);
      }
    } finally {
      this.scheduled = false;
      if (this.hasWork()) this.schedule();
    }
  }

  private hasWork(): boolean {
    return this.waiting > 0 || this.ready.length > 0;
  }

  private once(): void {
    this.counters.rounds++;
    if (this.ready.length > 0) this.handleReadables();
    if (this.waiting > 0) this.runTasks();
    this.onRoundEnd();
  }

  private handleReadables(): void {
    const { readables } = this;
    this.readables = this.ready;
    this.ready = readables;
    for (const interest of this.readables) {
      if (!interest.ready) continue;
      interest.ready = false;
      interest.handler();
    }
    this.readables.length = 0;
  }

  private runTasks(): void {
    const { round, waiting } = this;
    this.round = this.next;
    this.next = round;
    this.waiting = 0;
    for (let i = 0; i < waiting; i++) {
      const task = this.round[i]!;
      task.queued = false;
      if (task.live && task.run(TASK_BUDGET)) task.raise();
    }
  }
}
