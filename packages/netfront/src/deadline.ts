/**
 * Waiting with an end: a plugin's asynchronous hooks may reject, throw, or never come back. What comes after the
 * deadline is not lost silently: whoever waits may look at it.
 */
import type { Clock } from '@netaccel/core-hooks';

/** How a bounded wait ended. */
export type Outcome<T> =
  | { readonly how: 'done'; readonly value: T }
  | { readonly how: 'failed'; readonly error: unknown }
  | { readonly how: 'late' };

/**
 * Runs `work` and waits for it at most `ms`. Never rejects.
 * @param onLate what to do with a result that comes after all.
 * @param giveUp handed a function that ends the wait early, as if it were late.
 */
export function within<T>(
  clock: Clock,
  ms: number,
  work: () => Promise<T>,
  onLate: (value: T) => void = () => undefined,
  giveUp: (end: () => void) => void = () => undefined,
): Promise<Outcome<T>> {
  return new Promise((resolve) => {
    let over = false;
    const end = (outcome: Outcome<T>): void => {
      if (over) return;
      over = true;
      cancel();
      resolve(outcome);
    };
    const late = (): void => end({ how: 'late' });
    const cancel = clock.after(ms, late);
    giveUp(late);
    const run = async (): Promise<void> => {
      try {
        const value = await work();
        if (over) onLate(value);
        else end({ how: 'done', value });
      } catch (error) {
        end({ how: 'failed', error });
      }
    };
    void run();
  });
}
