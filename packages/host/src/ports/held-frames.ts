/**
 * Frames that wait while a guest is not there: copied out of the driver domain's memory as plain data, so that they
 * can be handed to another host.
 *
 * Filled by a vif's bridge port while it holds, in the order of arrival; emptied by whoever delivers them. Bounded:
 * what does not fit is counted. Not on the frame path of a guest that runs.
 */
import type { Checksum, Frame, Memory, Segmentation } from '@netaccel/core-hooks';

/** Frames that are held at most, and their bytes: what a vif lets wait for its guest. */
const MOST_FRAMES = 4096;
const MOST_BYTES = 8 * 1024 * 1024;

/** One frame, as plain data. */
export interface HeldFrame {
  readonly bytes: Uint8Array;
  readonly checksum: Checksum;
  readonly segmentation: Segmentation;
  readonly segmentBytes: number;
}

/** The frames. */
export class HeldFrames {
  private frames: HeldFrame[] = [];
  private head = 0;
  private bytes = 0;

  /** @param memory what frames point into. */
  constructor(private readonly memory: Memory) {}

  /** How many wait. */
  get length(): number {
    return this.frames.length - this.head;
  }

  /** Takes a copy; false when there is no room. */
  push(frame: Frame): boolean {
    if (this.length === MOST_FRAMES || this.bytes + frame.totalBytes > MOST_BYTES) return false;
    const bytes = new Uint8Array(frame.totalBytes);
    let at = 0;
    for (let part: Frame | null = frame; part !== null; part = part.next) {
      bytes.set(this.memory.bytes.subarray(part.address, part.address + part.length), at);
      at += part.length;
    }
    const { checksum, segmentation, segmentBytes } = frame;
    this.frames.push({ bytes, checksum, segmentation, segmentBytes });
    this.bytes += bytes.length;
    return true;
  }

  /** Puts frames that came to another port behind the first `after` of those that wait. */
  insert(after: number, others: readonly HeldFrame[]): void {
    const waiting = this.frames.slice(this.head);
    this.frames = [...waiting.slice(0, after), ...others, ...waiting.slice(after)];
    this.head = 0;
    for (const { bytes } of others) this.bytes += bytes.length;
  }

  /** The oldest leaves: written to the start of `into`'s buffer. False when none waits, or it does not fit there. */
  shift(into: Frame): boolean {
    const frame = this.frames[this.head];
    if (frame === undefined) return false;
    this.head++;
    this.bytes -= frame.bytes.length;
    if (frame.bytes.length > into.capacity) return false;
    this.memory.bytes.set(frame.bytes, into.home);
    into.describe(into.home, frame.bytes.length);
    into.checksum = frame.checksum;
    into.segmentation = frame.segmentation;
    into.segmentBytes = frame.segmentBytes;
    return true;
  }

  /** All of them, and none waits any more. */
  take(): HeldFrame[] {
    const all = this.frames.slice(this.head);
    this.frames = [];
    this.head = this.bytes = 0;
    return all;
  }
}
