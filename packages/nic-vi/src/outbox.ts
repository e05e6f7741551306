/**
 * What one guest is told: in order, one thing at a time, each until the guest has acknowledged it. Everything that
 * is asynchronous after set-up is a job here, so no two changes of the filters ever overlap.
 *
 * Jobs are posted from the frame path and run outside of it. Bounded: what finds it full is refused.
 */
import type { BackendServices } from '@netaccel/core-hooks';

/** Jobs that wait at most. */
const MOST_JOBS = 64;
/** How long the guest may take for an answer, and the pause before it is told again. */
const ANSWER_MS = 1000;
const RETRY_MS = 50;

/** The jobs of one vif. */
export class Outbox {
  /** Nothing is begun or told any more. */
  closed = false;
  /** Messages that had to be told again. */
  repeated = 0;
  private readonly jobs: (() => Promise<void>)[] = [];
  private running: Promise<void> | null = null;
  private wake: () => void = () => undefined;

  constructor(private readonly services: Pick<BackendServices, 'clock' | 'mailbox' | 'failed'>) {}

  /** Jobs that wait. */
  get waiting(): number {
    return this.jobs.length;
  }

  /** Runs a job after those before it; false when there are too many. */
  post(job: () => Promise<void>): boolean {
    if (this.closed || this.jobs.length === MOST_JOBS) return false;
    this.jobs.push(job);
    this.running ??= this.run();
    return true;
  }

  /** Tells the guest until it answers. False when it refuses, or the outbox was closed. */
  async tell(type: number, payload: Uint8Array): Promise<boolean> {
    for (;;) {
      if (this.closed) return false;
      try {
        return (await this.services.mailbox.request(type, payload, ANSWER_MS)).ok && !this.closed;
      } catch (error) {
        const { code } = error as { code?: unknown };
        if (code !== 'TIMEOUT' && code !== 'FULL') throw error;
      }
      this.repeated++;
      await this.pause();
    }
  }

  /** Forgets the jobs that have not begun; resolves when the one that has is over. */
  async drain(): Promise<void> {
    this.jobs.length = 0;
    await this.running;
  }

  /** Ends it, at once. */
  close(): void {
    this.closed = true;
    this.jobs.length = 0;
    this.wake();
  }

  private async run(): Promise<void> {
    await Promise.resolve(); // whoever posted may be in the middle of a frame
    for (let job = this.jobs.shift(); job !== undefined; job = this.jobs.shift()) {
      try {
        await job();
      } catch (error) {
        if (this.closed) break;
        this.close();
        this.services.failed(error instanceof Error ? error.message : String(error));
      }
    }
    this.running = null;
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.services.clock.after(RETRY_MS, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
