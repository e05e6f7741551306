/**
 * A serial worker: whatever happens wakes it, and one pass at a time it looks at the present truth and takes the
 * next step. A thousand wakes during a pass cost one more pass; a wake is never lost; a pass that fails can be tried
 * again a little later. What the control sides of both drivers are built on.
 */
import type { Clock } from '@netaccel/core-hooks';

/** After which a pass that failed is tried again. */
const RETRY_MS = 1000;

/** One worker. */
export class Worker {
  private due = false;
  private stopped = false;
  private running: Promise<void> | null = null;
  private cancelRetry: (() => void) | null = null;
  private readonly afterPass: (() => void)[] = [];

  /**
   * @param step one pass. It may {@link wake} for another one.
   * @param failed told what a pass rejected with; answers whether to try again.
   */
  constructor(
    private readonly clock: Clock,
    private readonly step: () => Promise<void>,
    private readonly failed: (error: unknown) => boolean | Promise<boolean>,
  ) {}

  /** Something happened, or may have. */
  wake(): void {
    this.due = true;
    if (this.running === null && !this.stopped) this.running = this.run();
  }

  /** Wakes it, and resolves when a pass that began after this call is over. */
  pass(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.afterPass.push(resolve);
      this.wake();
    });
  }

  /** Resolves when it has nothing to do. */
  async rest(): Promise<void> {
    while (this.running !== null) await this.running;
  }

  /** No pass begins any more; resolves when the last one is over. */
  stop(): Promise<void> {
    this.stopped = true;
    this.cancelRetry?.();
    this.cancelRetry = null;
    return this.rest();
  }

  private async run(): Promise<void> {
    while (this.due && !this.isStopped()) {
      this.due = false;
      const passed = this.afterPass.splice(0);
      try {
        await this.step();
      } catch (error) {
        if ((await this.failed(error)) && !this.isStopped()) this.retry();
      }
      for (const resolve of passed) resolve();
    }
    if (this.stopped) for (const resolve of this.afterPass.splice(0)) resolve();
    // In the same breath as the last look at `due`: a wake from here on begins a new run.
    this.running = null;
  }

  // A method, so that the compiler does not take the field for unchanged over an await.
  private isStopped(): boolean {
    return this.stopped;
  }

  private retry(): void {
    this.cancelRetry?.();
    this.cancelRetry = this.clock.after(RETRY_MS, () => {
      this.cancelRetry = null;
      this.wake();
    });
  }
}
