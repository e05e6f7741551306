/**
 * A lock that is one word of the state: free, held, or held with somebody asleep on it (Drepper, "Futexes are
 * tricky", 2011). Critical sections are a batch of frames at most, so a short spin comes first.
 *
 * Order: control lock, then a VI's transmit lock, then one port's lock. No thread holds two port locks, so
 * a wire that crosses two NICs cannot deadlock.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
enum Lock {
  free = 0,
  held = 1,
  contended = 2,
}
const SPINS = 256;
/** A sleeper looks again after this long, whatever happened to the one who should have woken it. */
const NAP_MS = 2;

/** How locks are taken. */
export interface LockOptions {
  /** False when this is the only thread: locks are not taken at all. */
  readonly concurrent: boolean;
  /** After how long a holder counts as dead. */
  readonly patienceMs: number;
  /** Called for each lock that was taken from the dead. */
  readonly broken: () => void;
}

/** Locks over one memory. */
export class Locks {
  private readonly concurrent: boolean;
  private readonly canSleep: boolean;

  /**
   * @param words the device's words.
   * @param options how.
   */
  constructor(
    private readonly words: Int32Array,
    private readonly options: LockOptions,
  ) {
    this.concurrent = options.concurrent;
    this.canSleep = options.concurrent && mayWait(words);
  }

  /** Takes the lock at word `at`. */
  acquire(at: number): void {
    if (!this.concurrent) return;
    if (Atomics.compareExchange(this.words, at, Lock.free, Lock.held) !== Lock.free) this.wait(at);
  }

  /** Gives it back. */
  release(at: number): void {
    if (!this.concurrent) return;
    if (Atomics.exchange(this.words, at, Lock.free) === Lock.contended) Atomics.notify(this.words, at, 1);
  }

  private wait(at: number): void {
    const { words } = this;
    for (let i = 0; i < SPINS; i++)
      if (
        Atomics.load(words, at) === Lock.free &&
        Atomics.compareExchange(words, at, Lock.free, Lock.held) === Lock.free
      )
        return;
    let waited = 0;
    while (Atomics.exchange(words, at, Lock.contended) !== Lock.free) {
      if (!this.canSleep || Atomics.wait(words, at, Lock.contended, NAP_MS) !== 'timed-out') continue;
      waited += NAP_MS;
      if (waited < this.options.patienceMs) continue;
      // A thread that was terminated in here never comes back. What it had not published is lost, and counted.
      this.options.broken();
      return;
    }
  }
}

/** A browser's main thread may not wait, nor may anybody on memory that is not shared. */
function mayWait(words: Int32Array): boolean {
  try {
    // A value that the word does not have: answers at once, or throws.
    Atomics.wait(words, 0, ~words[0]!, 0);
    return true;
  } catch {
    return false;
  }
}
