/** A domain's worker as the lab's main thread has it: questions and their answers, its log, its end. */
import { readFileSync } from 'node:fs';
import { MessagePort, Worker } from 'node:worker_threads';
import type { LogLevel } from '@netaccel/core-hooks';
import type { FrameBatch, WatchedPorts } from '../ports/bridge-watch.js';
import type { Question, WorkerOrder, WorkerWord } from './worker-protocol.js';

/** How long a worker has for an answer, and for its end. */
export const ANSWER_MS = 10_000;
/** What waits for the other half and for a plugin may take all of their deadlines together. */
const PATIENT_MS = 30_000;
const PATIENT: ReadonlySet<Question['method']> = new Set(['suspend', 'resume', 'desk']);

/** A domain's worker, as the lab has it. */
export class DomainWorker {
  /** The kernel's number of its thread, 0 when it is not known. */
  thread = 0;
  /** Takes frames that a watch copied; see {@link watch}. */
  onFrames: (batch: FrameBatch) => void = () => undefined;
  private readonly worker: Worker;
  private readonly pending = new Map<
    number,
    { resolve: (v: unknown) => void; reject: (e: Error) => void; timer: NodeJS.Timeout }
  >();
  private nextId = 1;
  private readonly ready: Promise<void>;
  /** Resolves when its thread has ended. */
  readonly ended: Promise<void>;

  /** Whether its thread runs. */
  live = true;
  private over: () => void = () => undefined;

  /**
   * Starts it.
   * @internal
   * @param nudge lets its event loop have a turn: a domain that sleeps hears no message.
   */
  constructor(
    readonly name: string,
    order: WorkerOrder,
    log: (level: LogLevel, message: string) => void,
    public nudge: () => void,
  ) {
    this.ended = new Promise((resolve) => (this.over = resolve));
    this.worker = new Worker(new URL('./domain-worker.js', import.meta.url), {
      name,
      workerData: order,
      transferList: [order.seat.storePort],
    });
    this.ready = new Promise((resolve, reject) => {
      this.worker.once('error', (error) => {
        log('error', `${name}: ${error.stack ?? error.message}`);
        reject(error);
        this.failAll(error);
      });
      this.worker.once('exit', () => {
        const gone = new Error(`${name} has ended`);
        this.live = false;
        reject(gone);
        this.failAll(gone);
        this.over();
      });
      this.worker.on('message', (word: WorkerWord) => {
        if (word.kind === 'ready') {
          this.thread = word.thread;
          resolve();
        } else if (word.kind === 'log') log(word.level, word.message);
        else if (word.kind === 'frames') this.onFrames(word.batch);
        else this.settle(word);
      });
    });
    this.ready.catch(() => undefined); // whoever asks it something is told
  }

  /** Asks it something. */
  ask(method: Question['method'], ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      const limitMs = PATIENT.has(method) ? PATIENT_MS : ANSWER_MS;
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(
          new Error(
            `${this.name} did not answer ${method} within ${limitMs} ms; the lab may have to be restarted`,
          ),
        );
      }, limitMs);
      this.pending.set(id, { resolve, reject, timer });
      this.ready.then(
        () => {
          if (!this.live) {
            this.settle({ kind: 'answer', id, error: { message: `${this.name} has ended` } });
            return;
          }
          this.worker.postMessage({ id, method, args } satisfies Question, portsOf(args));
          this.nudge();
        },
        (error: unknown) => {
          this.settle({
            kind: 'answer',
            id,
            error: { message: error instanceof Error ? error.message : String(error) },
          });
        },
      );
    });
  }

  /** Has a driver domain copy frames off its bridge to {@link onFrames}; null ends it. */
  async watch(ports: WatchedPorts | null): Promise<void> {
    await this.ask('watch', ports);
  }

  /** Ends it by force. */
  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  /** Nanoseconds of CPU that its thread has used; 0 when this system does not say. */
  cpuNanos(): number {
    if (this.thread === 0) return 0;
    try {
      return Number(readFileSync(`/proc/self/task/${this.thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      return 0; // the thread has ended, or the kernel keeps no such account
    }
  }

  private settle(word: Extract<WorkerWord, { kind: 'answer' }>): void {
    const waiting = this.pending.get(word.id);
    if (waiting === undefined) return;
    this.pending.delete(word.id);
    clearTimeout(waiting.timer);
    if (word.error === undefined) waiting.resolve(word.result);
    else waiting.reject(Object.assign(new Error(word.error.message), { code: word.error.code ?? 'ERROR' }));
  }

  private failAll(error: Error): void {
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.pending.clear();
  }
}

/** Ports among the arguments of a question: they go over to the worker. */
function portsOf(args: readonly unknown[]): MessagePort[] {
  return args.flatMap((arg) =>
    typeof arg === 'object' && arg !== null && 'storePort' in arg && arg.storePort instanceof MessagePort
      ? [arg.storePort]
      : [],
  );
}
