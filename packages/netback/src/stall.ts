/**
 * Watches one queue whose guest posts too few receive buffers (XSA-392): frames that waited long enough are
 * dropped, and a guest that makes no progress for a long time loses its carrier until it posts again.
 *
 * A timer runs only while frames wait. Without `feature-rx-notify` the guest does not say when it posts, so the
 * timer is short and looks; as in Linux such a guest is never called stalled.
 */
import type { Loop } from '@netaccel/xen';
import type { Backlog } from './backlog.js';
import type { GuestReceive } from './receive.js';

/** Time limits of one queue. */
export interface StallTimes {
  /** How long a frame waits. */
  readonly drainTimeoutMs: number;
  /** How long nothing moves before the guest is stalled; `Infinity` for never. */
  readonly stallTimeoutMs: number;
}

/** The watch of one queue. */
export class StallWatch {
  /** When the shortage began that lasts until now. */
  private since: number | null = null;
  private cancelTimer: (() => void) | null = null;

  constructor(
    private readonly loop: Loop,
    private readonly receive: GuestReceive,
    private readonly backlog: Backlog,
    private readonly times: StallTimes,
    private readonly onStall: (stalled: boolean) => void,
  ) {}

  /** The backlog has a first frame. */
  waiting(): void {
    this.since ??= this.loop.now();
    if (this.cancelTimer === null) this.schedule();
  }

  /** Frames left the backlog for the ring: the guest is alive. */
  moved(): void {
    this.since = this.backlog.length > 0 ? this.loop.now() : null;
  }

  /** An event came: a stalled guest may have posted buffers. */
  look(): void {
    if (!this.receive.stalled || !this.receive.revived()) return;
    this.receive.stalled = false;
    this.since = null;
    this.onStall(false);
  }

  /** No timer any more. */
  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  private schedule(): void {
    const now = this.loop.now();
    const due = Math.min(this.backlog.expiry, (this.since ?? now) + this.times.stallTimeoutMs);
    this.cancelTimer = this.loop.after(Math.max(due - now, 0), this.tick);
  }

  private readonly tick = (): void => {
    this.cancelTimer = null;
    this.receive.drain();
    const now = this.loop.now();
    if (this.since !== null && now - this.since >= this.times.stallTimeoutMs) {
      this.receive.stalled = true;
      this.receive.expire(Infinity);
      this.onStall(true);
      return;
    }
    this.receive.expire(now);
    if (this.backlog.length > 0) this.schedule();
  };
}
