/**
 * Which filters' frames may be delivered. Frames of a new filter wait until netfront has delivered what the slow path
 * had of the flow before (its *fence*); so do frames of a filter that the other half has not told of yet. Order
 * within a flow is kept.
 *
 * The other half adds or removes one filter at a time, and waits for the answer: that an added one is open and nothing
 * of it waits; that of a removed one nothing is in the queue any more. Waiting frames stay in the device's receive
 * buffers, and there is a place for each of those: the list is never full.
 */
import { holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame, ReceiveFence } from '@netaccel/core-hooks';
import type { ReceiveGate } from './receive-gate.js';

/** Places for filters looked up lately; a power of two. */
const LATELY = 64;

/** A filter that comes or goes. */
interface Change {
  readonly filter: number;
  readonly fence: ReceiveFence;
  /** Frames received when it was told of. */
  readonly since: number;
  readonly done: (ok: boolean) => void;
  readonly answer: Promise<boolean>;
}

/** The filters of one device. */
export class FilterFences implements ReceiveGate {
  /** What has no filter yet is held, not left in the queue. */
  readonly isShut = false;
  /** Frames that wait. */
  held = 0;
  /** Numbers of open filters; 0 is a free place. */
  private readonly open: Int32Array;
  /** Open filters that were looked up lately, each in the place that its number's low bits say. */
  private readonly lately = new Int32Array(LATELY);
  private coming: Change | null = null;
  private going: Change | null = null;
  private ended = false;
  private readonly frames: (Frame | null)[];
  private readonly filters: Int32Array;
  private received = 0;

  /**
   * @param filters most filters at a time.
   * @param buffers receive buffers that the device has.
   * @param events most frames in the device's queue.
   * @param passed whether netfront has delivered everything up to a fence.
   * @param deliver takes a frame that has waited.
   */
  constructor(
    filters: number,
    buffers: number,
    private readonly events: number,
    private readonly passed: (fence: ReceiveFence) => boolean,
    private readonly deliver: (frame: Frame) => void,
  ) {
    this.open = new Int32Array(filters + 1);
    this.frames = new Array<Frame | null>(buffers).fill(null);
    this.filters = new Int32Array(buffers);
  }

  /** A filter was added: resolves to true once it is open. To false when that cannot be. */
  add(number: number, fence: ReceiveFence): Promise<boolean> {
    const filter = number | 0;
    if (this.coming?.filter === filter) return this.coming.answer;
    if (filter !== 0 && this.open.includes(filter)) return Promise.resolve(true);
    if (filter === 0 || this.coming !== null || !this.open.includes(0)) return Promise.resolve(false);
    this.coming = change(filter, fence, this.received);
    return this.coming.answer;
  }

  /** A filter was removed: resolves to true once nothing of it is in the queue. */
  remove(number: number): Promise<boolean> {
    const filter = number | 0;
    if (this.going?.filter === filter) return this.going.answer;
    if (filter === 0 || !this.open.includes(filter)) return Promise.resolve(true);
    if (this.going !== null) return Promise.resolve(false);
    this.going = change(filter, [], this.received);
    return this.going.answer;
  }

  /** Whether a frame of this filter may be delivered now; else {@link hold} it. */
  isOpen(filter: number): boolean {
    const place = filter & (LATELY - 1);
    if (this.lately[place] === filter && filter !== 0) return true;
    if (!this.open.includes(filter)) return false;
    this.lately[place] = filter;
    return true;
  }

  /** Keeps a frame back; false when no fence will come any more: it can only be dropped. */
  hold(filter: number, frame: Frame): boolean {
    if (this.ended) return false;
    holdChain(frame);
    this.frames[this.held] = frame;
    this.filters[this.held++] = filter;
    return true;
  }

  /** Whether {@link release} would do something. */
  get isDue(): boolean {
    return this.coming !== null && this.passed(this.coming.fence);
  }

  /** Delivers, in order, what need not wait any more: at most `budget` frames. Answers how many. */
  release(budget: number): number {
    if (!this.isDue) return 0;
    const { frames, filters, coming } = this;
    let kept = 0;
    let left = 0;
    let done = 0;
    for (let i = 0; i < this.held; i++) {
      const frame = frames[i]!;
      const due = filters[i] === coming!.filter;
      if (due && done < budget) {
        done++;
        this.deliver(frame);
        releaseChain(frame);
      } else {
        if (due) left++;
        frames[kept] = frame;
        filters[kept++] = filters[i]!;
      }
    }
    frames.fill(null, kept, this.held);
    this.held = kept;
    if (left === 0 && coming !== null) {
      this.open[this.open.indexOf(0)] = coming.filter;
      this.coming = null;
      coming.done(true);
    }
    return done;
  }

  /**
   * A poll is over.
   * @param empty whether it left nothing in the device's queue.
   * @param received frames received so far.
   */
  polled(empty: boolean, received: number): void {
    this.received = received;
    const { going } = this;
    // Whatever was in the queue when the filter was removed is before what as many frames later came.
    if (going === null || (!empty && received - going.since < this.events)) return;
    this.open[this.open.indexOf(going.filter)] = 0;
    this.lately.fill(0);
    this.going = null;
    going.done(true);
  }

  /**
   * The other half does not answer, so no fence will come any more: what waits is let go of, undelivered, because later
   * frames of its flow may be with the stack already. Answers how many frames that were.
   */
  giveUp(): number {
    this.ended = true;
    return this.drop();
  }

  /** Lets go of what waits, undelivered. Answers how many frames that were. */
  drop(): number {
    const dropped = this.held;
    for (let i = 0; i < dropped; i++) releaseChain(this.frames[i]!);
    this.frames.fill(null);
    this.held = 0;
    this.coming?.done(false);
    this.going?.done(false);
    this.coming = this.going = null;
    return dropped;
  }

  /** What is held waits for a fence, whoever goes. */
  lift(): void {
    // nothing is left in the queue
  }

  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      filters: {
        open: [...this.open].filter((filter) => filter !== 0),
        coming: this.coming?.filter ?? null,
        going: this.going?.filter ?? null,
        framesHeld: this.held,
      },
    };
  }
}

function change(filter: number, fence: ReceiveFence, since: number): Change {
  let done: (ok: boolean) => void = () => undefined;
  const answer = new Promise<boolean>((resolve) => (done = resolve));
  return { filter, fence, since, done, answer };
}
