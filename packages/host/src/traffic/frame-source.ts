/**
 * Sends the frames of frames mode: as many as a window allows, round robin over flows and sizes.
 *
 * The window is what flow control is to TCP: at most so many frames between source and check, so that a
 * receiver is never overrun and a frame that is missing was lost by somebody. Owned by a run; runs as a task
 * of its domain.
 */
import type { Frame, Memory } from '@netaccel/core-hooks';
import type { Loop, Task } from '@netaccel/xen';
import { stampFrame, template } from './frame-format.js';
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
/** Buffers whose contents are remembered, and the least distance between two. */
const BUFFERS = 16384;
const BUFFER_SHIFT = 11;

/** A source of frames. */
export class FrameSource {
  /** Frames given to the transmitter. */
  sent = 0;
  /** Frames that may be sent in all; the source pauses there. */
  limit = 0;
  private readonly sequences: Uint32Array;
  private readonly templates: Uint8Array[][];
  private readonly task: Task;
  /** What each buffer holds already: its address, and the kind of frame; a small direct-mapped memory. */
  private readonly heldAt = new Uint32Array(BUFFERS);
  private readonly heldKind = new Int32Array(BUFFERS).fill(-1);
  private turn = 0;

  constructor(
    private readonly memory: Memory,
    loop: Loop,
    private readonly out: Transmitter,
    private readonly options: SourceOptions,
  ) {
    const { endpoints, flows, sizes } = options;
    this.sequences = new Uint32Array(flows);
    this.templates = Array.from({ length: flows }, (_, flow) =>
      sizes.map((size) => template(endpoints, flow, size)),
    );
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
    const { options, out } = this;
    let left = Math.min(budget, this.limit - this.sent, options.window - (this.sent - options.arrived()));
    if (left <= 0) return false;
    while (left > 0) {
      const flow = this.turn % options.flows;
      const sizeIndex = ((this.turn / options.flows) | 0) % options.sizes.length;
      const size = options.sizes[sizeIndex]!;
      const frame = out.allocate(size + ALIGN_BYTES);
      if (frame === null) break;
      const sequence = this.sequences[flow]!;
      this.fill(frame, flow, sizeIndex, size, sequence);
      if (!out.startXmit(frame, --left > 0)) {
        frame.release();
        out.flush();
        return false;
      }
      this.sequences[flow] = sequence + 1;
      this.sent++;
      this.turn = (this.turn + 1) % (options.flows * options.sizes.length);
    }
    if (left > 0) out.flush();
    return left === 0 && this.sent < this.limit;
  }

  private fill(frame: Frame, flow: number, sizeIndex: number, size: number, sequence: number): void {
    const at = frame.home + ALIGN_BYTES;
    const kind = flow * this.options.sizes.length + sizeIndex;
    // A buffer keeps its bytes between uses: what is fixed is written once for each kind of frame.
    const slot = (frame.home >>> BUFFER_SHIFT) & (BUFFERS - 1);
    if (this.heldAt[slot] !== frame.home || this.heldKind[slot] !== kind) {
      this.memory.bytes.set(this.templates[flow]![sizeIndex]!, at);
      this.heldAt[slot] = frame.home;
      this.heldKind[slot] = kind;
    }
    stampFrame(this.memory, at, flow, sequence, size);
    frame.describe(at, size);
  }
}
