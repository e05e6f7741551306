/**
 * How many pages a receive ring is given: few while little comes in, many under load (the fill target of
 * linux-2.6.18-xen's netfront).
 *
 * The target doubles when the backend was about to run out, and falls by one when it has far more than it
 * used. Pages are posted in batches worth a notification: at least half a target. One rule is added: never
 * fewer than the largest packet takes, or a backend with such a packet and a frontend with an unposted half
 * batch would wait for each other for ever.
 */
import { MIN_SLOTS_PER_PACKET, RX_RING_SLOTS } from '@netaccel/xen/netif';

/** Bounds of the fill target, in pages. */
export interface FillOptions {
  /** It never falls below: 8 when left out, and never less than 1. */
  readonly least?: number;
  /** Where it begins: 64. */
  readonly start?: number;
  /** It never grows above: 256, the ring. */
  readonly most?: number;
}

/** The defaults. */
export const FILL_DEFAULTS: Required<FillOptions> = { least: 8, start: 64, most: RX_RING_SLOTS };

/** One ring's fill target. */
export class FillTarget {
  /** Pages that the ring should have. */
  target: number;
  private readonly least: number;
  private readonly most: number;
  private readonly floor: number;
  private begun = false;

  /**
   * @param options the bounds; what contradicts itself is clamped.
   * @param scatterGather packets may take several pages: with one for extra information, 19.
   * @param headroom each packet has extra information besides: one page more, and one for a hash.
   */
  constructor(options: FillOptions, scatterGather: boolean, headroom = false) {
    this.floor = (scatterGather ? MIN_SLOTS_PER_PACKET + 1 : 1) + (headroom ? 2 : 0);
    const clamp = (value: number, low: number): number =>
      Math.min(RX_RING_SLOTS, Math.max(low, Math.floor(value)));
    this.least = clamp(options.least ?? FILL_DEFAULTS.least, this.floor);
    this.most = clamp(options.most ?? FILL_DEFAULTS.most, this.least);
    this.target = Math.min(this.most, clamp(options.start ?? FILL_DEFAULTS.start, this.least));
  }

  /**
   * How many pages to post now.
   * @param posted pages on the ring that are not consumed here.
   */
  want(posted: number): number {
    const missing = this.target - posted;
    return missing < this.target >>> 1 && posted >= this.floor ? 0 : Math.max(0, missing);
  }

  /**
   * Pages were posted: was it nearly too late?
   * @param unused pages that the backend had left before.
   */
  posted(unused: number): void {
    // The first fill of an empty ring came in time.
    if (this.begun && unused < this.target >>> 2) this.target = Math.min(this.most, this.target * 2);
    this.begun = true;
  }

  /**
   * The ring was drained.
   * @param unused pages that the backend has left.
   */
  drained(unused: number): void {
    if (unused > (this.target * 3) >>> 2 && this.target > this.least) this.target--;
  }
}
