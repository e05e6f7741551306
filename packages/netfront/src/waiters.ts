/**
 * Whoever waits for something about the device to be so: asked again whenever anything has changed.
 */
import type { Clock } from '@netaccel/core-hooks';

/** What ends a wait early. */
export interface WaitLimits {
  /** Milliseconds; for ever when left out. */
  readonly timeoutMs?: number;
  /** Ends the wait, not the device. */
  readonly signal?: AbortSignal;
}

/** Conditions that are waited for. */
export class Waiters {
  private readonly waiting = new Set<() => void>();

  /** Resolves when `condition` holds: at once, or after a later {@link look}. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
      look();
    });
  }

  /** The same with an end. Answers how it ended; never rejects. */
  async untilOr(
    condition: () => boolean,
    clock: Clock,
    { timeoutMs = Infinity, signal }: WaitLimits,
  ): Promise<'holds' | 'late' | 'aborted'> {
    const early: { how: 'late' | 'aborted' | null } = { how: signal?.aborted === true ? 'aborted' : null };
    const end = (how: 'late' | 'aborted'): void => {
      early.how ??= how;
      this.look();
    };
    const abort = (): void => end('aborted');
    const cancel = timeoutMs === Infinity ? () => undefined : clock.after(timeoutMs, () => end('late'));
    signal?.addEventListener('abort', abort);
    await this.until(() => early.how !== null || condition());
    cancel();
    signal?.removeEventListener('abort', abort);
    return early.how ?? 'holds';
  }

  /** Something has changed. */
  look(): void {
    for (const look of [...this.waiting]) look();
  }
}
