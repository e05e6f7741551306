/**
 * How a domain's thread sleeps and is woken.
 *
 * The sleeper sets its asleep word, looks once more for work, and sleeps while the word is still set. Whoever has
 * work for it publishes the work first and looks at the word after that; if it is set, the one who clears it does
 * the waking. So a wake is never lost, costs nothing while the peer is awake, and is done once.
 */
import type { Lab } from './lab.js';
import { domainRecord } from './plan.js';

const ASLEEP = domainRecord.fields.asleep.offset >>> 2;
const WAKER = domainRecord.fields.waker.offset >>> 2;

/**
 * Sleeping by other means than `Atomics.wait`: a host whose domain also waits for a file descriptor polls that
 * and an eventfd, say. Every thread that may wake such a domain must have one.
 */
export interface Waker {
  /** What others wake this thread by; not 0. It means something in every thread of the process. */
  readonly handle: number;
  /** Wakes the thread whose handle it is, or lets its next `sleep` end at once. */
  wake(handle: number): void;
  /** Returns when woken or after `timeoutMs`, possibly for no reason. */
  sleep(timeoutMs: number): void;
}

/** Wakes the domain in `slot` if it sleeps. Its work is published already. */
export function wakeDomain(lab: Lab, slot: number, wake: ((handle: number) => void) | undefined): void {
  const { ints } = lab.memory;
  const at = (lab.plan.record(slot) >>> 2) + ASLEEP;
  if (Atomics.load(ints, at) === 0 || Atomics.compareExchange(ints, at, 1, 0) !== 1) return;
  const handle = Atomics.load(ints, at - ASLEEP + WAKER);
  if (handle === 0) Atomics.notify(ints, at, 1);
  else wake?.(handle); // without: it wakes by itself when its sleep's time is over
}

/** One thread's bed. */
export class Bed {
  private readonly at: number;

  /**
   * @param lab where its domain is.
   * @param slot its domain.
   * @param waker how it sleeps; by `Atomics.wait` when left out.
   */
  constructor(
    private readonly lab: Lab,
    slot: number,
    private readonly waker: Waker | undefined,
  ) {
    const record = lab.plan.record(slot) >>> 2;
    this.at = record + ASLEEP;
    Atomics.store(lab.memory.ints, record + WAKER, waker?.handle ?? 0);
  }

  /**
   * Sleeps until woken, at most `timeoutMs`.
   * @param idle looks for work once more after the word is set; false: there is some, do not sleep.
   * @returns false when the time passed and nobody woke it.
   */
  sleep(timeoutMs: number, idle: () => boolean): boolean {
    const { ints } = this.lab.memory;
    Atomics.store(ints, this.at, 1);
    if (idle()) {
      if (this.waker === undefined) Atomics.wait(ints, this.at, 1, timeoutMs);
      else this.waker.sleep(timeoutMs);
    }
    return Atomics.exchange(ints, this.at, 0) === 0;
  }
}
