/** When a plugin that failed on a vif may be tried again: after a pause that doubles with each failure. */
import type { Clock } from '@netaccel/core-hooks';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** The pauses of one vif, by plugin name. */
export class Backoff {
  private readonly failures = new Map<string, number>();
  private readonly pauses = new Map<string, () => void>();

  /** @param over called when a pause is over. */
  constructor(
    private readonly clock: Clock,
    private readonly over: () => void,
  ) {}

  /** Whether the plugin may not be tried now. */
  paused(name: string): boolean {
    return this.pauses.has(name);
  }

  /** It failed; answers the pause in milliseconds. */
  failed(name: string): number {
    const failures = (this.failures.get(name) ?? 0) + 1;
    this.failures.set(name, failures);
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
    this.pauses.get(name)?.();
    const cancel = this.clock.after(pause, () => {
      this.pauses.delete(name);
      this.over();
    });
    this.pauses.set(name, cancel);
    return pause;
  }

  /** It did well, or something changed: it may be tried at once. All of them when no name is given. */
  forgive(name?: string): void {
    for (const each of name === undefined ? [...this.failures.keys()] : [name]) {
      this.failures.delete(each);
      this.pauses.get(each)?.();
      this.pauses.delete(each);
    }
  }
}
