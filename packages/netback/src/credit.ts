/**
 * The rate limit of a vif: as xen-netback's credit scheduler. The toolstack's key `rate` is `bytes,usec`; each
 * window of `usec` adds `bytes` of credit, up to a burst that always lets the longest packet through.
 *
 * One bucket for all queues of the vif (Linux has one per queue, so there a guest's limit grows with its
 * queues). Owned by the vif; asked once per packet by `GuestTransmit` and only when a limit is set.
 */
import type { Loop } from '@netaccel/xen';

/** Least burst: a packet of 64 KiB twice, as in Linux. */
export const LEAST_BURST_BYTES = 131_072;

/** A parsed `rate` key. */
export interface Rate {
  /** Credit of one window. */
  readonly bytes: number;
  /** Length of a window in microseconds. */
  readonly usec: number;
}

/** Parses `bytes,usec`; null when it is not that. */
export function parseRate(text: string): Rate | null {
  const match = /^\s*(\d{1,10})\s*,\s*(\d{1,10})\s*$/.exec(text);
  if (match === null) return null;
  const bytes = Number(match[1]);
  const usec = Number(match[2]);
  return bytes > 0 && usec > 0 ? { bytes, usec } : null;
}

/** A token bucket. */
export class Credit {
  /** Called when there is credit again after {@link take} refused. */
  onCredit: () => void = () => undefined;
  private windowBytes = Infinity;
  private windowMs = 0;
  private remaining = Infinity;
  private windowStart = 0;
  private cancelTimer: (() => void) | null = null;

  constructor(private readonly loop: Loop) {}

  /** The limit in bytes per second, or 0 for none. */
  get bytesPerSecond(): number {
    return this.limited ? Math.round((this.windowBytes * 1000) / this.windowMs) : 0;
  }

  /** Whether there is a limit: without one the frame path asks nothing. */
  get limited(): boolean {
    return this.windowBytes !== Infinity;
  }

  /** Sets the limit, or removes it; takes effect with the next packet. */
  set(rate: Rate | null): void {
    this.stop();
    this.windowBytes = rate?.bytes ?? Infinity;
    this.windowMs = (rate?.usec ?? 0) / 1000;
    this.remaining = this.windowBytes;
    this.windowStart = this.loop.now();
    this.onCredit();
  }

  /** Spends `bytes`, or answers false and calls {@link onCredit} when the next window begins. */
  take(bytes: number): boolean {
    if (this.cancelTimer !== null) return false;
    const now = this.loop.now();
    const next = this.windowStart + this.windowMs;
    if (now >= next) {
      this.windowStart = now;
      this.refill();
    }
    if (bytes <= this.remaining) {
      this.remaining -= bytes;
      return true;
    }
    this.windowStart += this.windowMs;
    this.cancelTimer = this.loop.after(this.windowStart - now, this.elapsed);
    return false;
  }

  /** No callback any more. */
  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  private readonly elapsed = (): void => {
    this.cancelTimer = null;
    this.refill();
    this.onCredit();
  };

  private refill(): void {
    this.remaining = Math.min(
      this.remaining + this.windowBytes,
      Math.max(LEAST_BURST_BYTES, this.windowBytes),
    );
  }
}
