/**
 * One run of counted, checked frames over a frames lab: what the demo's frames mode and the frame benchmarks measure.
 */
import type { Loop } from '@netaccel/xen';
import type { OneThreadLab, SwitchableSink } from '../machine/one-thread-lab.js';
import { FrameCheck } from '../traffic/frame-check.js';
import type { Check } from '../traffic/frame-check.js';
import { FrameSource } from '../traffic/frame-source.js';
import type { Transmitter } from '../traffic/transmitter.js';
import type { Accelerated } from './result.js';

/** Flows of a run: below the default filter quota, so that all of them can be accelerated. */
const FLOWS = 4;
/** Frames under way at most, and their bytes: a receiver's ring holds as much. */
const WINDOW = 256;
const WINDOW_BYTES = 512 * 1024;

/** What one measured stretch found. */
export interface Stretch {
  /** How long it took. */
  readonly seconds: number;
  /** Frames received. */
  readonly frames: number;
  /** Bytes received. */
  readonly bytes: number;
  /** What became of every frame. */
  readonly check: Check;
  /** What the plugins did meanwhile. */
  readonly accelerated: Accelerated;
}

/** One end of a path: where frames are sent, and who gets those that arrive. */
export interface Endpoint {
  /** The loop of its domain. */
  readonly loop: Loop;
  /** Where frames are sent. */
  readonly out: Transmitter;
  /** Gets those that arrive. */
  readonly sink: SwitchableSink;
}

/** Who runs it. */
export interface FramesRunOwner {
  /** The lab underneath. */
  readonly lab: OneThreadLab;
  /** What the plugins did so far. */
  accelerated(): Accelerated;
}

/** One run: a source at one end, a check at the other. */
export class FramesRun {
  private readonly source: FrameSource;
  private readonly check: FrameCheck;

  constructor(
    private readonly owner: FramesRunOwner,
    from: Endpoint,
    to: Endpoint,
    sizes: readonly number[],
    endpoints: ConstructorParameters<typeof FrameSource>[3]['endpoints'],
    fullEvery: number,
  ) {
    const { memory } = owner.lab.lab;
    this.check = new FrameCheck(memory, FLOWS, fullEvery);
    this.source = new FrameSource(memory, from.loop, from.out, {
      endpoints,
      flows: FLOWS,
      sizes,
      window: Math.min(WINDOW, Math.floor(WINDOW_BYTES / Math.max(...sizes))),
      arrived: () => this.check.received,
    });
    this.check.onProgress = () => {
      this.source.resume();
    };
    from.sink.onReady = () => {
      this.source.resume();
    };
    to.sink.to = this.check;
  }

  /** Frames that have arrived. */
  get received(): number {
    return this.check.received;
  }

  /** Sends `frames` more and waits until all have arrived, or nothing moves any more. */
  async send(frames: number): Promise<Stretch> {
    const before = this.owner.accelerated();
    const { received, bytes } = this.check;
    const start = performance.now();
    this.source.start(frames);
    let quiet = 0;
    let last = -1;
    await this.owner.lab.pump(() => {
      if (this.check.received >= this.source.sent && this.source.sent >= this.source.limit) return true;
      quiet = this.check.received === last ? quiet + 1 : 0;
      last = this.check.received;
      return quiet > 20_000;
    });
    const seconds = (performance.now() - start) / 1000;
    this.source.pause();
    return {
      seconds,
      frames: this.check.received - received,
      bytes: this.check.bytes - bytes,
      check: this.check.result(this.source.sent),
      accelerated: difference(this.owner.accelerated(), before),
    };
  }

  /** Lets the source send without end; {@link settled} pauses it. */
  begin(): void {
    this.source.start(Number.MAX_SAFE_INTEGER / 2);
  }

  /** Runs for about `ms` of real time. */
  async flow(ms: number): Promise<void> {
    const end = performance.now() + ms;
    await this.owner.lab.pump(() => performance.now() >= end);
  }

  /** Pauses the source and waits for what is under way: the outcome so far. */
  async settled(): Promise<Check> {
    this.source.pause();
    await this.owner.lab.lab.settle(100);
    return this.check.result(this.source.sent);
  }

  /** Bytes that have arrived. */
  get bytes(): number {
    return this.check.bytes;
  }

  /** Gives its tasks back. */
  close(): void {
    this.source.stop();
  }
}

/** What happened between two looks. */
export function difference(now: Accelerated, before: Accelerated): Accelerated {
  const declines: Record<string, number> = {};
  for (const [reason, n] of Object.entries(now.declines)) {
    const more = n - (before.declines[reason] ?? 0);
    if (more > 0) declines[reason] = more;
  }
  return {
    txSent: now.txSent - before.txSent,
    txDeclined: now.txDeclined - before.txDeclined,
    rxFast: now.rxFast - before.rxFast,
    rxSlow: now.rxSlow - before.rxSlow,
    declines,
  };
}
