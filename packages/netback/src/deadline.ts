/** Waiting with an end, for what a plugin or a guest may never finish. */
import type { Clock } from '@netaccel/core-hooks';

/** How a bounded wait ended. */
export type Outcome<T> =
  | { readonly how: 'done'; readonly value: T }
  | { readonly how: 'failed'; readonly reason: string }
  | { readonly how: 'late' | 'given-up' };

/** What may end a wait early, and what becomes of a result that nobody waits for any more. */
export interface WaitOptions<T> {
  /** Says when there is no point in waiting on: `end` may be called at any time; answers what ends the watching. */
  readonly watch?: (end: () => void) => () => void;
  /** Takes a result that came after all. */
  readonly onLate?: (value: T) => void;
}

/** Runs `work` and waits for it at most `ms`. Never rejects, and leaves no timer behind. */
export function within<T>(
  clock: Clock,
  ms: number,
  work: () => Promise<T>,
  { watch, onLate }: WaitOptions<T> = {},
): Promise<Outcome<T>> {
  return new Promise((resolve) => {
    let over = false;
    let unwatch: () => void = () => undefined;
    const end = (outcome: Outcome<T>) => {
      if (over) return;
      over = true;
      cancel();
      unwatch();
      resolve(outcome);
    };
    const cancel = clock.after(ms, () => {
      end({ how: 'late' });
    });
    const run = async () => {
      try {
        const value = await work();
        if (over) onLate?.(value);
        else end({ how: 'done', value });
      } catch (error) {
        end({ how: 'failed', reason: error instanceof Error ? error.message : String(error) });
      }
    };
    void run();
    const ended = () => over;
    if (watch === undefined) return;
    unwatch = watch(() => {
      end({ how: 'given-up' });
    });
    if (ended()) unwatch();
  });
}

/** Waits that may be given up whenever something happens. */
export class Waits {
  private readonly checks = new Set<() => void>();

  /** @param clock what their limits are counted by. */
  constructor(private readonly clock: Clock) {}

  /** Something happened: each wait asks whether it goes on. */
  look(): void {
    for (const check of [...this.checks]) check();
  }

  /** Waits for `work` at most `ms`, and no longer than until `giveUp`, which is asked at each {@link look}. */
  within<T>(
    ms: number,
    work: () => Promise<T>,
    giveUp: () => boolean = () => false,
    onLate: (value: T) => void = () => undefined,
  ): Promise<Outcome<T>> {
    const watch: WaitOptions<T>['watch'] = (end) => {
      const check = () => {
        if (giveUp()) end();
      };
      this.checks.add(check);
      check();
      return () => {
        this.checks.delete(check);
      };
    };
    return within(this.clock, ms, work, { watch, onLate });
  }
}
