/**
 * The log lines of one vif's states, so many and no more: the other half of a device can change its state, and make ours
 * follow, as fast as the store answers. What is left out is counted, and where it all ended is said as soon as there is
 * room. Owned by whoever writes the log.
 */
import type { Clock } from '@netaccel/core-hooks';
import { LOG_LIMITS } from '@netaccel/xen';

/** See the top of the file. */
export class StateLines<Line> {
  private credit = LOG_LIMITS.burst;
  private at: number;
  private leftOut = 0;
  private last: Line | null = null;
  private cancel: (() => void) | null = null;

  /** @param write takes a line, and how many were left out before it. */
  constructor(
    private readonly clock: Clock,
    private readonly write: (line: Line, leftOut: number) => void,
  ) {
    this.at = clock.now();
  }

  /** The state has changed. */
  add(line: Line): void {
    const now = this.clock.now();
    this.credit = Math.min(LOG_LIMITS.burst, this.credit + ((now - this.at) * LOG_LIMITS.perSecond) / 1000);
    this.at = now;
    if (this.credit >= 1 && this.last === null) {
      this.credit--;
      this.write(line, 0);
      return;
    }
    if (this.last !== null) this.leftOut++;
    this.last = line;
    this.cancel ??= this.clock.after(1000 / LOG_LIMITS.perSecond, () => {
      this.cancel = null;
      this.credit = 0;
      this.at = this.clock.now();
      this.flush();
    });
  }

  /** What waits to be said is said now: the device is gone, or the log ends. */
  flush(): void {
    this.cancel?.();
    this.cancel = null;
    const { last, leftOut } = this;
    if (last === null) return;
    this.last = null;
    this.leftOut = 0;
    this.write(last, leftOut);
  }
}
