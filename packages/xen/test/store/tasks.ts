/**
 * Where a direct connection's deliveries wait, and who decides their order: a seed, or first come first served.
 */
import { randomNumbers } from './raw-client.js';

export class Tasks {
  readonly #waiting: (() => void)[] = [];
  readonly #pick: (count: number) => number;

  constructor(seed?: number) {
    const random = randomNumbers(seed ?? 0);
    this.#pick = seed === undefined ? () => 0 : random;
  }

  readonly schedule = (task: () => void): void => {
    this.#waiting.push(task);
  };

  /** Runs tasks, one turn of the event loop each, until `promise` is settled or nothing is left to run. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    const isSettled = (): boolean => settled;
    await Promise.resolve();
    for (;;) {
      // Whatever awaits something gets to run before the next task.
      await new Promise((resolve) => setImmediate(resolve));
      if (isSettled()) return promise;
      if (this.#waiting.length === 0) throw new Error('nothing is left to run, and the promise is pending');
      this.#waiting.splice(this.#pick(this.#waiting.length), 1)[0]!();
    }
  }

  /** Runs everything. */
  async idle(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const task = this.#waiting.splice(this.#pick(this.#waiting.length), 1)[0];
      if (task === undefined) return;
      task();
    }
  }
}
