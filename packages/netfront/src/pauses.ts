/**
 * When a device looks at its backend again: after a pause that grows with each time in a row that the backend had to
 * be fenced. Owned by the device; one timer at most.
 */
import type { Loop } from '@netaccel/xen';

/** The pause before a device connects again that failed, or had to fence its backend once. */
export const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** The pauses of one device. */
export class Pauses {
  /** Times in a row that the backend had to be fenced. */
  fences = 0;
  private fencedAt = -Infinity;
  private cancel: (() => void) | null = null;

  /**
   * @param loop its timers.
   * @param over called at the end of each pause.
   */
  constructor(
    private readonly loop: Loop,
    private readonly over: () => void,
  ) {}

  /** Whether it pauses now: it does not reconnect. */
  get active(): boolean {
    return this.cancel !== null;
  }

  /** Begins a pause of `ms`, in place of one that is under way. */
  begin(ms: number): void {
    this.end();
    this.cancel = this.loop.after(ms, () => {
      this.cancel = null;
      this.over();
    });
  }

  /** Ends it; nobody is told. */
  end(): void {
    this.cancel?.();
    this.cancel = null;
  }

  /** The backend was fenced: how long the pause is after that. Doubled each time, until all was well for a minute. */
  afterFence(): number {
    const now = this.loop.now();
    if (now - this.fencedAt > LONGEST_PAUSE_MS) this.fences = 0;
    this.fencedAt = now;
    return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.fences++);
  }
}
