/**
 * How a thread that serves devices sleeps: one `poll` on their descriptors and on an eventfd by which other
 * threads wake it.
 *
 * The sleeper makes the `Waiter` (it owns the eventfd) and gives `kickDescriptor` to those who wake it; they
 * make a `Kicker`. A kick is a system call: kick only a peer whose flag says that it sleeps. A thread inside
 * `wait` cannot be terminated before the timeout, so the timeout is always finite.
 */
import { EventFdFlag, POLLFD, PollEvent } from './abi.js';
import { TapError, checked } from './error.js';
import type { Libc } from './ffi.js';

/** The longest sleep: how late a thread notices that the process wants to end. */
export const MAX_WAIT_MS = 1000;

const EVENT_BYTES = 8;
const WORDS = POLLFD.sizeBytes / 4;
/** poll(2) passes over negative descriptors. */
const IGNORED = -1;
const ALARMS = PollEvent.error | PollEvent.hangUp | PollEvent.invalid;

/** Wakes a {@link Waiter} of any thread. */
export class Kicker {
  private readonly one = new Uint32Array(new ArrayBuffer(EVENT_BYTES));
  private readonly address: number;

  /** @param kickDescriptor the waiter's; it must not be used after the waiter is closed. */
  constructor(
    private readonly libc: Libc,
    private readonly kickDescriptor: number,
  ) {
    this.one[0] = 1;
    this.address = libc.addressOf(this.one);
  }

  /** Ends the waiter's sleep, or its next one. Kicks merge. */
  kick(): void {
    this.libc.write(this.kickDescriptor, this.address, EVENT_BYTES);
  }
}

/** Sleeps until a descriptor can be read, a kick comes, or time is up. */
export class Waiter {
  /** For `Kicker`s in other threads; a plain number, for `postMessage`. */
  readonly kickDescriptor: number;

  private readonly polled: Int32Array;
  private readonly polledAddress: number;
  private readonly drained = new Uint32Array(new ArrayBuffer(EVENT_BYTES));
  private readonly drainedAddress: number;
  private readonly count: number;
  private readonly descriptors: readonly number[];
  private closed = false;

  /** @param descriptors what to wait for, besides kicks; at most 30. */
  constructor(
    private readonly libc: Libc,
    descriptors: readonly number[],
  ) {
    if (descriptors.length > 30) {
      throw new TapError(
        'BAD_VALUE',
        `A waiter takes at most 30 descriptors, got ${descriptors.length}. Make two.`,
      );
    }
    const flags = EventFdFlag.nonBlocking | EventFdFlag.closeOnExec;
    this.kickDescriptor = checked(libc, libc.eventfd(0, flags), 'make an eventfd', 'Raise "ulimit -n".');
    this.count = descriptors.length + 1;
    this.descriptors = descriptors;
    this.polled = new Int32Array(new ArrayBuffer(this.count * POLLFD.sizeBytes));
    this.polledAddress = libc.addressOf(this.polled);
    this.drainedAddress = libc.addressOf(this.drained);
    [this.kickDescriptor, ...descriptors].forEach((descriptor, slot) => {
      this.polled[slot * WORDS] = descriptor;
      this.polled[slot * WORDS + 1] = PollEvent.readable;
    });
  }

  /**
   * Sleeps. A kick that came before counts: it returns at once.
   * @param timeoutMs at most {@link MAX_WAIT_MS}; 0 only looks.
   * @returns bit 0: kicked; bit n + 1: descriptor n can be read or has failed; 0: time is up, or a signal came.
   */
  wait(timeoutMs: number): number {
    const ready = this.libc.poll(
      this.polledAddress,
      this.count,
      Math.max(0, Math.min(timeoutMs, MAX_WAIT_MS)),
    );
    if (ready <= 0) return 0;
    let mask = 0;
    for (let slot = 0; slot < this.count; slot++) {
      // events in the low half of the word, the kernel's answer in the high half.
      const answered = this.polled[slot * WORDS + 1]! >>> 16;
      if ((answered & (PollEvent.readable | ALARMS)) !== 0) mask |= 1 << slot;
    }
    if ((mask & 1) !== 0) this.libc.read(this.kickDescriptor, this.drainedAddress, EVENT_BYTES);
    return mask;
  }

  /** No longer waits for descriptor n of those that it was made with: it has failed, or nobody can read it now. */
  ignore(n: number): void {
    this.polled[(n + 1) * WORDS] = IGNORED;
    this.polled[(n + 1) * WORDS + 1] = PollEvent.readable;
  }

  /** Waits for descriptor n again. */
  heed(n: number): void {
    this.polled[(n + 1) * WORDS] = this.descriptors[n]!;
  }

  /** Closes the eventfd. Idempotent. Kickers must be gone by then: the number may be used anew. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.libc.close(this.kickDescriptor);
  }
}
