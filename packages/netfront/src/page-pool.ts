/**
 * Pages that received frames lie in, one frame each: those that a receive ring posts, and the private ones that
 * frames of an untrusted backend are copied to. A page is in use, or here. When its owner retires the pool, the
 * memory goes with the last page that comes home: a stack may hold frames longer than a connection lives.
 */
import { Frame, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, FrameOwner } from '@netaccel/core-hooks';

/** A fixed number of pages and their frames. */
export class PagePool implements FrameOwner {
  /** Every page's frame by its index. */
  readonly frames: readonly Frame[];
  private readonly free: Frame[];
  private top: number;
  private wanted = false;
  private retired = false;

  /**
   * @param count how many pages.
   * @param home address of the first; they lie one after the other.
   * @param give gives the memory back, once, when the pool is retired and whole.
   * @param onReturn called when a page comes home after {@link take} had none.
   */
  constructor(
    count: number,
    home: Address,
    private readonly give: () => void,
    private readonly onReturn: () => void,
  ) {
    this.frames = Array.from(
      { length: count },
      (_, i) => new Frame(this, i, home + i * PAGE_BYTES, PAGE_BYTES),
    );
    this.free = [...this.frames].reverse();
    this.top = count;
  }

  /** Pages that are here. */
  get available(): number {
    return this.top;
  }

  /** A page that nobody holds yet, or null. */
  take(): Frame | null {
    if (this.top > 0) return this.free[--this.top]!;
    this.wanted = true;
    return null;
  }

  /** Takes back a page that was taken and never held. */
  put(frame: Frame): void {
    this.free[this.top++] = frame;
    if (this.retired) this.giveWhenWhole();
    else if (this.wanted) {
      this.wanted = false;
      this.onReturn();
    }
  }

  /** {@inheritDoc FrameOwner.reclaim} */
  reclaim(frame: Frame): void {
    frame.next = null;
    this.put(frame);
  }

  /** The owner needs it no more. */
  retire(): void {
    this.retired = true;
    this.giveWhenWhole();
  }

  private giveWhenWhole(): void {
    if (this.top === this.frames.length) this.give();
  }
}
