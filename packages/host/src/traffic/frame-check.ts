/**
 * Judges what arrives in frames mode: each frame's sequence within its flow, and its bytes.
 *
 * A {@link FrameSink}: it stands where a guest's stack would. Lost and reordered are told apart by a window
 * of the last {@link WINDOW} numbers of each flow: a number that comes late, for the first time, was
 * reordered and is not lost; one that comes again is a duplicate.
 */
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { BODY, SHORTEST_FRAME_BYTES, bodyByte, readStamp, tailMatches } from './frame-format.js';
import type { Stamp } from './frame-format.js';

/** Numbers per flow that are remembered; a power of two, a multiple of 32. */
const WINDOW = 4096;

/** The outcome, as `netaccel demo --json` prints it. */
export interface Check {
  /** Frames that the source sent. */
  sent: number;
  /** Frames of the source that arrived, each number once. */
  received: number;
  /** Numbers that never came. */
  lost: number;
  /** Numbers that came again. */
  duplicated: number;
  /** Numbers that came after a later one of the same flow. */
  reordered: number;
  /** Frames of ours whose bytes are not those sent. */
  corrupted: number;
}

/** The receiver of a run. */
export class FrameCheck implements FrameSink {
  /** Frames that were right or late, each number once. */
  received = 0;
  /** Bytes of them. */
  bytes = 0;
  private duplicated = 0;
  private reordered = 0;
  private corrupted = 0;
  /** Frames that are not this check's: neighbours' broadcasts and the like. */
  foreign = 0;
  private readonly next: Uint32Array;
  private readonly seen: Uint32Array;
  private readonly stamp: Stamp = { sequence: 0, flow: 0, frameBytes: 0 };
  private readonly bodySums = new Map<number, number>();
  private untilFull = 0;

  /**
   * @param memory what frames point into.
   * @param flows how many flows there are, numbered from 0.
   * @param fullEvery every how many frames each byte of the body is verified; the ends of every frame are.
   * @param onProgress called at the end of each batch that brought something.
   */
  constructor(
    private readonly memory: Memory,
    flows: number,
    private readonly fullEvery = 16,
    public onProgress: () => void = () => undefined,
  ) {
    this.next = new Uint32Array(flows);
    this.seen = new Uint32Array((flows * WINDOW) / 32);
  }

  /** The outcome, given how many were sent. */
  result(sent: number): Check {
    const { received, duplicated, reordered, corrupted } = this;
    return {
      sent,
      received,
      lost: Math.max(0, sent - received - corrupted),
      duplicated,
      reordered,
      corrupted,
    };
  }

  /** Checks one frame that arrived. */
  deliver(frame: Frame): void {
    const stamp = this.stamp;
    const bytes = this.memory.bytes;
    const at = frame.address;
    // Ours are UDP over IPv4 to one of our ports; anything else on the wire is a neighbour's.
    if (
      frame.length < SHORTEST_FRAME_BYTES ||
      bytes[at + 12] !== 8 ||
      bytes[at + 13] !== 0 ||
      bytes[at + 23] !== 17
    ) {
      this.foreign++;
      return;
    }
    if (
      !readStamp(this.memory, at, stamp) ||
      stamp.frameBytes !== frame.totalBytes ||
      stamp.flow >= this.next.length
    ) {
      this.corrupted++;
      return;
    }
    let last = frame;
    while (last.next !== null) last = last.next;
    const full = --this.untilFull <= 0;
    if (full) this.untilFull = this.fullEvery;
    if (
      (last.length >= 4 && !tailMatches(this.memory, last.address + last.length, stamp)) ||
      (full && !this.bodyIsRight(frame))
    ) {
      this.corrupted++;
      return;
    }
    this.place(stamp.flow, stamp.sequence, frame.totalBytes);
  }

  /** The batch is over: whoever waits for progress is told. */
  flush(): void {
    this.onProgress();
  }

  private place(flow: number, sequence: number, frameBytes: number): void {
    const expected = this.next[flow]!;
    const ahead = (sequence - expected) | 0; // the sequence comes as a signed number
    const bit = flow * WINDOW + (sequence & (WINDOW - 1));
    const word = bit >>> 5;
    const mask = 1 << (bit & 31);
    if (ahead >= 0) {
      // Numbers skipped are not seen yet; they may still come.
      for (let i = 0; i < ahead && i < WINDOW; i++) {
        const skipped = flow * WINDOW + ((expected + i) & (WINDOW - 1));
        this.seen[skipped >>> 5]! &= ~(1 << (skipped & 31));
      }
      this.seen[word]! |= mask;
      this.next[flow] = sequence + 1;
    } else if (-ahead > WINDOW || (this.seen[word]! & mask) !== 0) {
      this.duplicated++;
      return;
    } else {
      this.seen[word]! |= mask;
      this.reordered++;
    }
    this.received++;
    this.bytes += frameBytes;
  }

  /** Sums the body over all fragments and compares with the sum of the bytes that the format lays down. */
  private bodyIsRight(head: Frame): boolean {
    const end = head.totalBytes - 4;
    let sum = 0;
    let start = 0;
    for (let f: Frame | null = head; f !== null; f = f.next) {
      const from = Math.max(start, BODY);
      const to = Math.min(start + f.length, end);
      if (to > from) {
        const part = this.memory.sum(f.address + (from - start), to - from, 0);
        // A part that begins at an odd byte of the body has its bytes in the other halves (RFC 1071, 2 (B)).
        sum += ((from - BODY) & 1) === 0 ? part : ((part & 255) << 8) | (part >>> 8);
      }
      start += f.length;
    }
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    return sum === this.expectedSum(head.totalBytes);
  }

  private expectedSum(frameBytes: number): number {
    let sum = this.bodySums.get(frameBytes);
    if (sum === undefined) {
      sum = 0;
      for (let i = BODY; i < frameBytes - 4; i++) sum += bodyByte(i) << (((i - BODY) & 1) === 0 ? 8 : 0);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      this.bodySums.set(frameBytes, sum);
    }
    return sum;
  }
}
