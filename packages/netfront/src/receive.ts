/**
 * Receive: what comes in on the plugin's queue and on the receive rings, in the order of each flow.
 *
 * Called by the poll task with a budget; nobody else delivers frames to the stack.
 *
 * Why the order holds. A flow changes its path in two ways.
 *
 * Fast to slow: a filter is removed from the NIC. Each frame that the NIC gave to the VI before that was in
 * the plugin's queue before the next frame of the flow could reach a receive ring, by way of the bridge and
 * netback. So it is enough that a frame on a ring is delivered after all that was in the plugin's queue when
 * the frame was first seen. This is what a *phase* does: it notes how far each ring is filled (`ends`), then
 * polls the plugin until it has passed everything that its queue held at that moment, and only then delivers
 * the rings, up to the marks and no further. What arrives on a ring meanwhile belongs to the next phase.
 * The plugin has passed everything when it answers that nothing is left, or, if more keeps coming, when it has
 * done as many units as its queue can hold at all (`queueUnits`): so a fast queue that never runs dry delays
 * the rings by a bounded amount of work, and cannot starve them.
 *
 * Slow to fast: a filter is inserted. The frames before it are on their way through netback, and only the two
 * halves of the plugin know when the last of them is on a ring (`fence`). The plugin holds the fast frames of
 * the new filter until `passed(fence)`, which compares what was delivered here with the marks of the fence.
 * Nothing in a phase depends on this: frames that the plugin holds are simply not in its queue's way.
 *
 * Shares. While the rings' turn has come, each side gets half of the budget, and what one leaves the other may
 * use. While a phase waits for the plugin, the whole budget is the plugin's: that is the shortest way to the
 * rings' turn. Among the rings, each poll begins with the one after the last that was served.
 */
import { holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, ReceiveFence } from '@netaccel/core-hooks';
import type { Counters } from './counters.js';
import type { Hooks } from './hooks.js';
import type { ReceiveRing } from './receive-ring.js';

/** Units that a plugin's queue may hold, unless the options say otherwise. */
export const QUEUE_UNITS = 4096;
/** Frames that one poll of a plugin may deliver before the rest is dropped: well above any budget. */
const MOST_DELIVERED = 1024;

/** The receive half of a connection. */
export class ReceivePath {
  private hooks: Hooks | null = null;
  /** The response index of each ring up to which this phase delivers. */
  private readonly ends: Uint32Array;
  private phase = false;
  /** Units that the plugin may still have had in its queue when the phase began. */
  private owed = 0;
  /** The plugin's last poll used all that it was given: it may have more. */
  fastMore = false;
  private turn = 0;
  /** What the plugin delivered during a poll: the stack gets it when the plugin has returned. */
  private readonly batch: (Frame | null)[] = new Array<Frame | null>(MOST_DELIVERED).fill(null);
  private batched = 0;
  private polling = false;

  /**
   * @param rings one per queue.
   * @param stack where frames go.
   * @param queueUnits the most that a plugin's queue holds: frames and completions.
   * @param counters the device's totals.
   */
  constructor(
    private readonly rings: readonly ReceiveRing[],
    private readonly stack: FrameSink,
    private readonly queueUnits: number,
    private readonly counters: Counters,
  ) {
    this.ends = new Uint32Array(rings.length);
  }

  /** Hooks are live from here on. */
  attach(hooks: Hooks): void {
    this.hooks = hooks;
    // A phase that is under way began before the plugin had anything: it owes nothing.
  }

  /** No hook is called from here on. */
  detach(): void {
    this.hooks = null;
    this.owed = 0;
    this.fastMore = false;
  }

  /**
   * Delivers at most `budget` frames (a plugin's completions count, too).
   * @returns units done.
   */
  poll(budget: number): number {
    if (!this.phase) this.beginPhase();
    let left = budget;
    if (this.hooks !== null)
      left -= this.pollPlugin(this.hooks, this.phase && this.owed === 0 ? (budget + 1) >>> 1 : budget);
    if (this.phase && this.owed === 0 && left > 0) left -= this.pollRings(left);
    if (this.fastMore && this.hooks !== null && left > 0) left -= this.pollPlugin(this.hooks, left);
    return budget - left;
  }

  /** Whether something is left to do that is known already. */
  get more(): boolean {
    return this.fastMore || this.phase;
  }

  /** A frame from the plugin; false outside of its poll, where it may not deliver. */
  deliver(frame: Frame): boolean {
    if (this.batched === MOST_DELIVERED) {
      this.counters.fastOverrun++;
      return false;
    }
    if (frame.next === null) frame.hold();
    else holdChain(frame);
    this.batch[this.batched++] = frame;
    return this.polling;
  }

  /** Whether the slow path has delivered everything up to a fence. Entries beyond the queues say nothing. */
  passed(fence: ReceiveFence): boolean {
    for (let i = 0; i < this.rings.length && i < fence.length; i++)
      if (((this.rings[i]!.consumed - fence[i]!) | 0) < 0) return false;
    return true;
  }

  /** Delivers what a plugin handed in at the wrong moment, or before it was cut off. */
  deliverBatch(): number {
    const count = this.batched;
    for (let i = 0; i < count; i++) {
      const frame = this.batch[i]!;
      this.batch[i] = null;
      this.counters.fastReceived++;
      this.counters.fastReceivedBytes += frame.totalBytes;
      this.stack.deliver(frame);
      if (frame.next === null) frame.release();
      else releaseChain(frame);
    }
    this.batched = 0;
    return count;
  }

  private beginPhase(): void {
    const { rings, ends } = this;
    let waiting = 0;
    for (let i = 0; i < rings.length; i++) {
      const ring = rings[i]!;
      const available = ring.available();
      ends[i] = ring.consumed + available;
      waiting += available;
    }
    this.phase = waiting > 0;
    this.owed = this.phase && this.hooks !== null ? this.queueUnits : 0;
  }

  private pollPlugin(hooks: Hooks, budget: number): number {
    this.polling = true;
    const done = hooks.poll(budget);
    this.polling = false;
    this.deliverBatch();
    this.fastMore = done === budget && hooks.fault === null;
    this.owed = this.fastMore ? Math.max(0, this.owed - done) : 0;
    return done;
  }

  /** The rings up to the marks; the phase is over when all of them are reached, or blocked by half a packet. */
  private pollRings(budget: number): number {
    const { rings, ends } = this;
    let left = budget;
    for (let i = 0; i < rings.length && left > 0; i++) {
      const at = (this.turn + i) % rings.length;
      left -= rings[at]!.receive(this.stack, ends[at]!, left);
    }
    this.turn = (this.turn + 1) % rings.length;
    this.phase = left === 0 && this.behind();
    return budget - left;
  }

  private behind(): boolean {
    const { rings, ends } = this;
    for (let i = 0; i < rings.length; i++) if (rings[i]!.consumed !== ends[i]) return true;
    return false;
  }
}
