/**
 * A lock that is one word of the state: free, held, or held with somebody asleep on it (Drepper, "Futexes are
 * tricky", 2011). Critical sections are a batch of frames at most, so a short spin comes first.
 *
 * Order: control lock, then a VI's transmit lock, then one port's lock. No thread holds two port locks, so
 * a wire that crosses two NICs cannot deadlock.
 */
const FREE = 0;
const HELD = 1;
const CONTENDED = 2;
const SPINS = 256;
/** A waiter looks again after this long, whatever happened to the one who should have woken it. */
const WAIT_MS = 2;

/** Locks over one memory; `concurrent: false` makes them free, for the machine of one thread. */
export class Locks {
  private readonly canSleep: boolean;

  /**
   * @param words the device's words.
   * @param concurrent whether other threads use the same state.
   */
  constructor(
    private readonly words: Int32Array,
    private readonly concurrent: boolean,
  ) {
    this.canSleep = concurrent && mayWait(words);
  }

  /** Takes the lock at word `at`. */
  acquire(at: number): void {
    if (!this.concurrent) return;
    if (Atomics.compareExchange(this.words, at, FREE, HELD) !== FREE) this.wait(at);
  }

  /** Gives it back. */
  release(at: number): void {
    if (!this.concurrent) return;
    if (Atomics.exchange(this.words, at, FREE) === CONTENDED) Atomics.notify(this.words, at, 1);
  }

  private wait(at: number): void {
    const words = this.words;
    for (let i = 0; i < SPINS; i++) {
      if (Atomics.load(words, at) === FREE && Atomics.compareExchange(words, at, FREE, HELD) === FREE) return;
    }
    while (Atomics.exchange(words, at, CONTENDED) !== FREE) {
      if (this.canSleep) Atomics.wait(words, at, CONTENDED, WAIT_MS);
    }
  }
}

/** A browser's main thread may not wait, nor may anybody on memory that is not shared. */
function mayWait(words: Int32Array): boolean {
  try {
    // Index 0 never holds this value's complement of itself: the call returns at once or throws.
    Atomics.wait(words, 0, ~words[0]!, 0);
    return true;
  } catch {
    return false;
  }
}
