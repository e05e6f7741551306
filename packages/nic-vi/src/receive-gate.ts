/**
 * When frames that the NIC brings may be delivered: none may overtake what the slow path still has of its flow. Which
 * gate a device has depends on what its other half tells of, see `ViFrontendPlan.fences`.
 */
import type { Frame, ReceiveFence } from '@netaccel/core-hooks';

/** A gate. All of it is called on the frame path, within the device's polls. */
export interface ReceiveGate {
  /** Nothing is taken from the NIC yet: whatever it leads here waits in the queue. */
  readonly isShut: boolean;
  /** A fence has passed that {@link release} has not seen yet. */
  readonly isDue: boolean;
  /** Frames that wait here. */
  readonly held: number;
  /** Whether a frame that came by this filter may be delivered now; else {@link hold} it. */
  isOpen(filter: number): boolean;
  /** Keeps a frame back; false when no fence will come any more: it can only be dropped. */
  hold(filter: number, frame: Frame): boolean;
  /** Delivers, in order, what need not wait any more: at most `budget` frames. Answers how many. */
  release(budget: number): number;
  /** A poll is over: whether it left nothing in the device's queue, and frames received so far. */
  polled(empty: boolean, received: number): void;
  /** The other half does not answer: what waits is let go of, undelivered. Answers how many frames that were. */
  giveUp(): number;
  /** The device goes, and the slow path was given its time: what is in the queue is taken. */
  lift(): void;
  /** Lets go of what waits, undelivered. Answers how many frames that were. */
  drop(): number;
  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>>;
}

/** The whole device behind one fence: shut until the other half has said what comes first, and that has passed. */
export class OneFence implements ReceiveGate {
  readonly held = 0;
  isShut = true;
  private fence: ReceiveFence | null = null;

  /** @param passed whether netfront has delivered everything up to a fence. */
  constructor(private readonly passed: (fence: ReceiveFence) => boolean) {}

  /** The other half says what comes first. */
  add(fence: ReceiveFence): void {
    this.fence = fence;
  }

  /** {@inheritDoc ReceiveGate.isDue} */
  get isDue(): boolean {
    return this.isShut && this.fence !== null && this.passed(this.fence);
  }

  /** Every filter is: a gate that is shut is not asked. */
  isOpen(): boolean {
    return true;
  }

  /** Nothing is ever kept back here. */
  hold(): boolean {
    return false;
  }

  /** {@inheritDoc ReceiveGate.release} */
  release(): number {
    if (this.isDue) this.isShut = false;
    return 0;
  }

  /** Nothing waits for it. */
  polled(): void {
    // one fence comes, and none goes
  }

  /** The fence may have been told of before. */
  giveUp(): number {
    return 0;
  }

  /** {@inheritDoc ReceiveGate.lift} */
  lift(): void {
    this.isShut = false;
  }

  /** Nothing waits here. */
  drop(): number {
    return 0;
  }

  /** {@inheritDoc ReceiveGate.describe} */
  describe(): Readonly<Record<string, unknown>> {
    return { waitsForSlowPath: this.isShut };
  }
}
