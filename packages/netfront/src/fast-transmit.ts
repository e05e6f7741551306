/**
 * The fast half of transmit: offers frames to the plugin, and keeps the order of each flow while its frames
 * change between the paths.
 *
 * The rule, both ways: a flow's frame goes on one path only when none of the flow is under way on the other.
 * Slow to fast: a frame is offered only when its flow bucket has no frame on a transmit ring. A flow that never
 * pauses would stay slow for ever so, because its ring is never empty of it: after `patience` frames the queue
 * stands still for the moment that the bucket takes to drain. A bucket that is declined even then gets twice
 * the patience, so a flow that the plugin never takes costs next to nothing.
 * Fast to slow: a frame that is declined while the plugin has frames of its bucket under way is kept until
 * they are completed.
 *
 * Owned by the transmit path. It keeps at most one frame, and while it does the queue is stopped, so a kept
 * frame is always older than whatever is offered next.
 */
import { Verdict } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import type { Counters } from './counters.js';
import { FLOW_BUCKETS } from './flow.js';
import type { SlowFlows } from './flow.js';
import { FAULT } from './hooks.js';
import type { Hooks } from './hooks.js';
import { Place } from './transmit-buffers.js';
import type { TransmitBuffers, TransmitFrame } from './transmit-buffers.js';

/** Frames that a bucket sends slow, because of its own slow frames, before the queue waits for them: one ring. */
export const FIRST_PATIENCE = 256;
/** The most that this grows to. */
export const MOST_PATIENCE = 65536;

/** What becomes of a frame that was offered. */
export const Offer = {
  /** The plugin has it. */
  sent: 0,
  /** It goes slow. */
  slow: 1,
  /** It is kept here: stop the queue. */
  kept: 2,
} as const;
/** One of {@link Offer}. */
export type Offer = (typeof Offer)[keyof typeof Offer];

/** What a kept frame waits for. */
const Until = { nothing: 0, ready: 1, slowGone: 2, fastGone: 3 } as const;
/** The same, for people. */
const untilNames = [
  'nothing',
  'room in the plugin',
  'slow frames of its flow',
  'fast frames of its flow',
] as const;
type Until = (typeof Until)[keyof typeof Until];

/** The plugin's side of transmit. */
export class FastTransmit {
  /** Frames are offered. False without a plugin, and from the moment that one is on its way out. */
  offering = false;
  /** Frames that the plugin took and has not completed. */
  inFlight = 0;
  /** The frame that is kept, or null. */
  kept: TransmitFrame | null = null;
  /** Counts frames that were kept: a watchdog sees by it whether the one that it saw before is still there. */
  keptSerial = 0;
  private until: Until = Until.nothing;
  private woken = false;
  private ordered = true;
  private hooks: Hooks | null = null;
  /** Frames that the plugin has, by flow bucket. */
  private readonly fast = new Uint16Array(FLOW_BUCKETS);
  /** Frames that went slow in a row, because of those before them, by flow bucket. */
  private readonly behind = new Uint32Array(FLOW_BUCKETS);
  private readonly patience = new Uint32Array(FLOW_BUCKETS);

  /**
   * @param buffers whose frames are offered.
   * @param slow frames on transmit rings, by flow bucket.
   * @param counters the device's totals.
   */
  constructor(
    private readonly buffers: TransmitBuffers,
    private readonly slow: SlowFlows,
    private readonly counters: Counters,
  ) {}

  /** Where it stands. */
  describe(): Readonly<Record<string, unknown>> {
    const { offering, inFlight, kept, until } = this;
    return { offering, inFlight, keptFrameWaitsFor: kept === null ? null : untilNames[until] };
  }

  /** Hooks are live from here on. Called between two pieces of work of the data path. */
  attach(hooks: Hooks): void {
    this.hooks = hooks;
    this.offering = true;
    this.ordered = true;
    this.woken = false;
    this.behind.fill(0);
    this.patience.fill(FIRST_PATIENCE);
  }

  /** No frame is offered from here on; a kept one waits for nothing but its flow's fast frames. */
  stopOffering(): void {
    this.hooks?.flush();
    this.offering = false;
    if (this.kept !== null) this.until = Until.fastGone;
  }

  /** Whether the kept frame waits for the plugin: for room, or for frames to be completed. */
  get waitsForPlugin(): boolean {
    return this.kept !== null && this.until !== Until.slowGone;
  }

  /** Frames under way that slow ones must not overtake. */
  get pending(): number {
    return this.ordered ? this.inFlight : 0;
  }

  /** The plugin had its time to complete what it has: nothing waits for that any more. */
  giveUpOrder(): void {
    this.ordered = false;
  }

  /**
   * The plugin is gone: frames that it never completed come back.
   * @returns how many.
   */
  detach(): number {
    this.stopOffering();
    this.hooks = null;
    const missing = this.inFlight;
    if (missing > 0) {
      for (const frame of this.buffers.frames) if (frame.place === Place.fast) this.buffers.finish(frame);
      this.counters.fastTakenBack += missing;
      this.fast.fill(0);
      this.inFlight = 0;
    }
    return missing;
  }

  /** Offers a frame; nothing older waits. The caller has collected the slow path's answers. */
  offer(frame: TransmitFrame, bucket: number, more: boolean): Offer {
    if (this.slow.busy(bucket)) {
      this.counters.fastBehindSlow++;
      if (++this.behind[bucket]! <= this.patience[bucket]!) return Offer.slow;
      this.counters.fastDrains++;
      return this.keep(frame, Until.slowGone);
    }
    return this.hand(frame, bucket, more);
  }

  /**
   * Looks whether the kept frame can go. The slow path has room for it.
   * @returns slow: the caller sends it there now; kept: it waits on.
   */
  retry(): Offer {
    const frame = this.kept!;
    const { bucket } = frame;
    if (this.until === Until.slowGone && this.slow.busy(bucket)) return Offer.kept;
    if (this.until === Until.fastGone && this.ordered && this.fast[bucket] !== 0) return Offer.kept;
    if (this.until === Until.ready && !this.woken && !this.hooks!.checkReady()) return Offer.kept;
    const offered = this.until !== Until.fastGone && this.offering;
    const drained = this.until === Until.slowGone;
    this.kept = null;
    this.woken = false;
    const offer = offered ? this.hand(frame, bucket, false) : Offer.slow;
    if (drained) this.learn(bucket, offer);
    if (offer === Offer.slow) frame.place = Place.stack;
    return offer;
  }

  /** The plugin has room again. */
  wake(): void {
    this.woken = true;
  }

  /**
   * The plugin is done with a frame.
   * @returns false when it never had it.
   */
  completed(frame: Frame): boolean {
    const { buffers } = this;
    if (!buffers.owns(frame) || frame.place !== Place.fast) return false;
    this.fast[frame.bucket]!--;
    this.inFlight--;
    this.counters.fastCompleted++;
    buffers.finish(frame);
    return true;
  }

  /** Nothing follows what was held back. */
  flush(): void {
    if (this.hooks !== null) this.hooks.flush();
  }

  /** The connection ends: the kept frame comes back unsent. */
  abandon(): boolean {
    const frame = this.kept;
    this.kept = null;
    if (frame !== null) this.buffers.finish(frame);
    return frame !== null;
  }

  private hand(frame: TransmitFrame, bucket: number, more: boolean): Offer {
    frame.place = Place.offered;
    const verdict = this.hooks!.startTransmit(frame, more);
    if (verdict === Verdict.sent) {
      frame.place = Place.fast;
      this.fast[bucket]!++;
      this.inFlight++;
      this.counters.fastSent++;
      this.counters.fastSentBytes += frame.totalBytes;
      this.behind[bucket] = 0;
      return Offer.sent;
    }
    frame.place = Place.stack;
    this.behind[bucket] = 0;
    if (verdict === Verdict.busy) {
      this.counters.fastBusy++;
      return this.keep(frame, Until.ready);
    }
    if (verdict === FAULT) this.offering = false;
    if (this.fast[bucket] === 0) return Offer.slow;
    this.counters.fastWaits++;
    return this.keep(frame, Until.fastGone);
  }

  private keep(frame: TransmitFrame, until: Until): Offer {
    frame.place = Place.kept;
    this.kept = frame;
    this.keptSerial++;
    this.until = until;
    this.woken = false;
    return Offer.kept;
  }

  /** The queue stood still for a bucket: was it worth it? */
  private learn(bucket: number, offer: Offer): void {
    if (offer === Offer.slow) this.patience[bucket] = Math.min(MOST_PATIENCE, this.patience[bucket]! * 2);
    else if (offer === Offer.sent) this.patience[bucket] = FIRST_PATIENCE;
  }
}
