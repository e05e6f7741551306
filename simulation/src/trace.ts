/**
 * A run as a trace that timeline viewers open (Chrome's trace event format, the JSON object form): a process for each
 * host, a thread for each domain, a slice for each step, and a mark for each thing done.
 * Format: "Trace Event Format", Google, 2016: `ph` X (complete), i (instant), M (metadata); `ts` in microseconds.
 */
import type { SimMachine, SimLab } from '@netaccel/xen/sim';

/** One entry of `traceEvents`. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'i' | 'M';
  readonly ts: number;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  readonly s?: 'g' | 'p' | 't';
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A whole trace. */
export interface TraceFile {
  readonly displayTimeUnit: 'ns';
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: Readonly<Record<string, unknown>>;
}

const STEP_US = 1;
/** Steps kept; the last ones are those that matter. */
const KEPT = 200_000;
/** Thread of what belongs to no domain. */
const MACHINE = 999;

/** Records a lab. */
export class Trace {
  private readonly events: TraceEvent[] = [];
  private readonly threads = new Map<object, { pid: number; tid: number }>();
  private readonly names: TraceEvent[] = [];

  constructor(private readonly lab: SimLab) {
    lab.scheduler.onRun = (job) => {
      const { pid, tid } = this.threads.get(job.owner) ?? { pid: 0, tid: MACHINE };
      const step = lab.scheduler.steps;
      this.add({
        name: job.kind,
        ph: 'X',
        ts: this.now() - STEP_US,
        dur: STEP_US,
        pid,
        tid,
        args: { step, job: job.id },
      });
    };
    this.name(0, MACHINE, 'machine', 'timers and devices');
  }

  /** Names a host's domains; again after one of them was made anew. */
  domains(host: number, machine: SimMachine, ids: readonly number[]): void {
    for (const id of ids) {
      const domain = machine.domain(id);
      if (domain === undefined) continue;
      this.threads.set(machine.ownerOf(id), { pid: host + 1, tid: id });
      this.name(host + 1, id, machine.name, domain.name);
    }
  }

  /** Marks a moment. */
  mark(name: string, args: Readonly<Record<string, unknown>>): void {
    this.add({ name, ph: 'i', s: 'g', ts: this.now(), pid: 0, tid: MACHINE, args });
  }

  /** All of it. */
  file(otherData: Readonly<Record<string, unknown>>): TraceFile {
    return { displayTimeUnit: 'ns', traceEvents: [...this.names, ...this.events], otherData };
  }

  private now(): number {
    // Whole nanoseconds, so that a slice ends where the next one begins.
    return Math.round(this.lab.scheduler.now() * 1e6) / 1000;
  }

  private add(event: TraceEvent): void {
    this.events.push(event);
    if (this.events.length > KEPT * 2) this.events.splice(0, KEPT);
  }

  private name(pid: number, tid: number, process: string, thread: string): void {
    for (const [name, value] of [
      ['process_name', process],
      ['thread_name', thread],
    ] as const)
      this.names.push({ name, ph: 'M', ts: 0, pid, tid, args: { name: value } });
  }
}
