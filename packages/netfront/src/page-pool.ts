/**
 * Pages that received frames lie in, one frame each: those that a receive ring posts, and the private ones that
 * frames of an untrusted backend are copied to. A page is in use, or here. When its owner retires the pool, the
 * memory goes with the last page that comes home: a stack may hold frames longer than a connection lives.
 */
import { Frame, FreeFrames, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';

/** A fixed number of pages and their frames. */
export class PagePool {
  /** Every page's frame by its index. */
  readonly frames: readonly Frame[];
  private readonly home = new FreeFrames();
  private retired = false;

  /**
   * @param count how many pages.
   * @param address of the first; they lie one after the other.
   * @param give gives the memory back, once, when the pool is retired and whole.
   * @param onReturn called when a page comes home after {@link take} had none.
   */
  constructor(
    count: number,
    address: Address,
    private readonly give: () => void,
    private readonly onReturn: () => void,
  ) {
    this.frames = Array.from(
      { length: count },
      (_, i) => new Frame(this.home, i, address + i * PAGE_BYTES, PAGE_BYTES),
    );
    for (let i = count - 1; i >= 0; i--) this.home.put(this.frames[i]!);
  }

  /** Pages that are here. */
  get available(): number {
    return this.home.count;
  }

  /** A page that nobody holds yet, or null. */
  take(): Frame | null {
    const frame = this.home.take();
    if (frame === null && !this.retired) this.home.onHome = this.announce;
    return frame;
  }

  /** Takes back a page that was taken and never held. */
  put(frame: Frame): void {
    this.home.put(frame);
  }

  /** The owner needs it no more. */
  retire(): void {
    this.retired = true;
    this.home.onHome = () => this.giveWhenWhole();
    this.giveWhenWhole();
  }

  private readonly announce = (): void => {
    this.home.onHome = null;
    this.onReturn();
  };

  private giveWhenWhole(): void {
    if (this.home.count === this.frames.length) this.give();
  }
}
