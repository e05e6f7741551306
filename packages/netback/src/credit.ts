/**
 * The rate limit of a vif: as xen-netback's credit scheduler. The toolstack's key `rate` is `bytes,usec`; each
 * window of `usec` adds `bytes` of credit, up to a burst that always lets the longest packet through.
 *
 * One bucket for all queues of the vif (Linux has one per queue, so there a guest's limit grows with its
 * queues), and for both paths: a plugin's fast path is given its share of the same credit. Owned by the vif; asked
 * once per packet by `GuestTransmit` and only when a limit is set.
 */
import type { CreditHandler } from '@netaccel/core-hooks';
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

/** Longest frame of either path: an IP packet of 64 KiB, with Ethernet header and VLAN tag. */
const LONGEST_FRAME_BYTES = 65_535 + 18;
/** Parts in which a window's credit comes while a fast path has a share: half of the burst always holds two of them. */
const PARTS = 4;
/** Bounds of the time between two of them. */
const LEAST_PART_MS = 1;
const MOST_PART_MS = 10;

/** A token bucket. */
export class Credit {
  /** Called when there is credit again after {@link take} refused. */
  onCredit: () => void = () => undefined;
  private windowBytes = Infinity;
  private windowMs = 0;
  private remaining = Infinity;
  private windowStart = 0;
  private cancelTimer: (() => void) | null = null;
  /** Who spends the fast path's share, and what either path saves up at most meanwhile. */
  private fast: CreditHandler | null = null;
  private half = 0;
  private starved = false;

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
    if (this.fast !== null) this.beginShare(this.fast);
    this.onCredit();
  }

  /**
   * Shares the limit with a fast path, one at a time: of each part of a window's credit half goes to either path,
   * and what one has no room for to the other. Both together never have more than one burst.
   * @returns ends the share.
   */
  share(fast: CreditHandler): () => void {
    this.stop();
    this.fast = fast;
    this.beginShare(fast);
    return () => {
      if (this.fast !== fast) return;
      this.fast = null;
      this.stop();
      this.windowStart = this.loop.now();
      this.onCredit();
    };
  }

  /** Spends `bytes`, or answers false and calls {@link onCredit} when the next window begins. */
  take(bytes: number): boolean {
    if (this.starved || (this.fast === null && this.cancelTimer !== null)) return false;
    const now = this.loop.now();
    const next = this.windowStart + this.windowMs;
    if (this.fast === null && now >= next) {
      this.windowStart = now;
      this.refill();
    }
    if (bytes <= this.remaining) {
      this.remaining -= bytes;
      return true;
    }
    if (this.fast !== null) {
      this.starved = true;
      return false;
    }
    this.windowStart += this.windowMs;
    this.cancelTimer = this.loop.after(this.windowStart - now, this.elapsed);
    return false;
  }

  /** No callback any more. */
  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
    this.starved = false;
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

  private beginShare(fast: CreditHandler): void {
    if (!this.limited) {
      fast(Infinity, Infinity);
      return;
    }
    const partMs = Math.min(Math.max(this.windowMs / PARTS, LEAST_PART_MS), MOST_PART_MS);
    const perPart = (this.windowBytes * partMs) / this.windowMs;
    this.half = Math.max(LONGEST_FRAME_BYTES, Math.ceil(Math.max(this.windowBytes, PARTS * perPart) / 2));
    this.remaining = Math.min(this.remaining, this.half);
    this.windowStart = this.loop.now();
    fast(0, this.half);
    const part = (): void => {
      this.cancelTimer = this.loop.after(partMs, part);
      this.deal(fast);
    };
    this.cancelTimer = this.loop.after(partMs, part);
  }

  /** Deals the credit of the time since it was dealt last. */
  private deal(fast: CreditHandler): void {
    const { half } = this;
    const perMs = this.windowBytes / this.windowMs;
    const bytes = Math.floor((this.loop.now() - this.windowStart) * perMs);
    // A fraction of a byte is kept for the next time.
    this.windowStart += bytes / perMs;
    const slow = Math.min(Math.ceil(bytes / 2), half - this.remaining);
    const left = fast(bytes - slow, half);
    this.remaining += slow;
    // A plugin's answer: nothing but credit that it was given comes back.
    if (left > 0) this.remaining = Math.min(half, this.remaining + Math.min(left, bytes - slow));
    if (!this.starved) return;
    this.starved = false;
    this.onCredit();
  }
}
