/** Timers in order of due time, then of making: a binary heap, for whichever clock drives it. */

/** One timer. */
export interface Timer<Owner> {
  /** When, in the clock's own unit. */
  readonly due: number;
  /** Breaks ties: the order of making. */
  readonly order: number;
  /** Whose it is. */
  readonly owner: Owner;
  /** What to run; null once it ran or was cancelled. */
  fn: (() => void) | null;
  /** It was taken out to be run: by now, or when its owner can. */
  taken: boolean;
}

/** A set of timers. */
export class Timers<Owner> {
  private readonly heap: Timer<Owner>[] = [];
  private made = 0;
  private cancelled = 0;

  /** Timers neither run nor cancelled. */
  get pending(): number {
    return this.heap.length - this.cancelled;
  }

  /** Adds a timer; the function returned cancels it, and says whether it had not run before. */
  add(owner: Owner, due: number, fn: () => void): () => boolean {
    const timer: Timer<Owner> = { due, order: this.made++, owner, fn, taken: false };
    this.push(timer);
    return () => {
      if (timer.fn === null) return false;
      timer.fn = null;
      if (!timer.taken) this.cancelled++;
      return true;
    };
  }

  /** When the next one is due, or Infinity. */
  nextDue(): number {
    while (this.heap.length > 0 && this.heap[0]!.fn === null) {
      this.pop();
      this.cancelled--;
    }
    return this.heap.length === 0 ? Infinity : this.heap[0]!.due;
  }

  /** Takes the next one out if it is due by `now`. The caller runs it with {@link fire}, now or later. */
  take(now: number): Timer<Owner> | null {
    if (this.nextDue() > now) return null;
    const timer = this.heap[0]!;
    timer.taken = true;
    this.pop();
    return timer;
  }

  private push(timer: Timer<Owner>): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!before(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/** Runs a timer that was taken out, unless it was cancelled since. */
export function fire(timer: Timer<unknown>): void {
  const { fn } = timer;
  timer.fn = null;
  fn?.();
}

function before(a: Timer<unknown>, b: Timer<unknown>): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}
