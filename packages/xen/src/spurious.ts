/**
 * How an event channel whose events are spurious is let through: later and later (XSA-332, XSA-391), so that a peer
 * which only rings the bell costs little. One object for each channel, in every machine.
 */
import type { Clock } from '@netaccel/core-hooks';

/** Spurious events in a row that nothing is done about. */
const TOLERATED = 64;
const MAX_DELAY_MS = 256;

/** Decides when a channel is unmasked. */
export class SpuriousDelay {
  private spurious = 0;
  private cancelTimer: () => void = () => undefined;

  /**
   * @param clock the domain's.
   * @param letThrough unmasks the channel.
   */
  constructor(
    private readonly clock: Clock,
    private readonly letThrough: () => void,
  ) {}

  /** The handler is done; `spurious` when it found no work. True: it is let through later. */
  unmask(spurious: boolean): boolean {
    if (!spurious) this.spurious = 0;
    else if (++this.spurious > TOLERATED) {
      const delayMs = Math.min(2 ** (this.spurious - TOLERATED - 1), MAX_DELAY_MS);
      this.cancelTimer();
      this.cancelTimer = this.clock.after(delayMs, this.letThrough);
      return true;
    }
    this.letThrough();
    return false;
  }

  /** Stops what was put off. */
  cancel(): void {
    this.cancelTimer();
  }
}
