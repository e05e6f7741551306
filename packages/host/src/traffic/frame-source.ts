/**
 * Sends the frames of frames mode: as many as a window allows, round robin over flows and sizes.
 *
 * The window is what flow control is to TCP: at most so many frames between source and check, so that a
 * receiver is never overrun and a frame that is missing was lost by somebody. Owned by a run; runs as a task
 * of its domain.
 */
import type { Memory } from '@netaccel/core-hooks';
import type { Loop, Task } from '@netaccel/xen';
import { Template, stampFrame, template } from './frame-format.js';
import type { Endpoints } from './frame-format.js';
import type { Transmitter } from './transmitter.js';

/** How a source sends. */
export interface SourceOptions {
  /** Who the frames are between. */
  readonly endpoints: Endpoints;
  /** Flows, each with its own ports and sequence. */
  readonly flows: number;
  /** Frame sizes in bytes, taken in turn. */
  readonly sizes: readonly number[];
  /** Most frames under way. */
  readonly window: number;
  /** Frames that have arrived so far. */
  readonly arrived: () => number;
}

/** Room before the frame so that what follows the 14-byte Ethernet header is aligned. */
const ALIGN_BYTES = 2;
/** Tells the frames of one source from those of another that used the same buffers. */
let sources = 0;

/** A source of frames. */
export class FrameSource {
  /** Frames given to the transmitter. */
  sent = 0;
  /** Frames that may be sent in all; the source pauses there. */
  limit = 0;
  private readonly sequences: Uint32Array;
  private readonly templates: readonly Template[];
  private readonly task: Task;
  private flow = 0;
  private sizeIndex = 0;

  constructor(
    private readonly memory: Memory,
    loop: Loop,
    private readonly out: Transmitter,
    private readonly options: SourceOptions,
  ) {
    const { endpoints, flows, sizes } = options;
    this.sequences = new Uint32Array(flows);
    const id = ++sources & 0xffff;
    this.templates = sizes.map((size) => new Template(template(endpoints, id, size)));
    this.task = loop.task((budget) => this.run(budget));
  }

  /** Lets `frames` more be sent, and begins. */
  start(frames: number): void {
    this.limit += frames;
    this.resume();
  }

  /** Sends no more until `start`. */
  pause(): void {
    this.limit = this.sent;
  }

  /** Looks again: the transmitter has room, or frames arrived. */
  resume(): void {
    if (this.sent < this.limit) this.task.raise();
  }

  /** Ends it. */
  stop(): void {
    this.pause();
    this.task.cancel();
  }

  private run(budget: number): boolean {
    const { options, out, sequences } = this;
    const { sizes } = options;
    const window = options.window - (this.sent - options.arrived());
    let left = Math.min(budget, window, this.limit - this.sent) | 0;
    if (left <= 0) return false;
    while (left > 0) {
      const { flow, sizeIndex } = this;
      const size = sizes[sizeIndex]!;
      const frame = out.allocate(size + ALIGN_BYTES);
      if (frame === null) break;
      const at = frame.home + ALIGN_BYTES;
      const sequence = sequences[flow]!;
      this.templates[sizeIndex]!.write(this.memory, at);
      stampFrame(this.memory, at, flow, sequence, size);
      frame.describe(at, size);
      if (!out.startXmit(frame, --left > 0)) {
        frame.release();
        out.flush();
        return false;
      }
      sequences[flow] = sequence + 1;
      this.sent++;
      this.advance();
    }
    if (left > 0) out.flush();
    return left === 0 && this.sent < this.limit;
  }

  /** The next frame is the next flow's; when each has had its turn, of the next size. */
  private advance(): void {
    if (++this.flow < this.sequences.length) return;
    this.flow = 0;
    if (++this.sizeIndex === this.templates.length) this.sizeIndex = 0;
  }
}
