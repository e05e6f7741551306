/**
 * A capture file as what stands behind an interface: sends the file's frames at the pace at which they were
 * captured, once or again and again, and takes whatever comes.
 *
 * Runs in the domain's loop by timers, so an idle one costs nothing. It owns the packets that it read; a frame
 * belongs to the transmitter as soon as that has taken it.
 */
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import type { Loop } from '@netaccel/xen';
import { describeCaptureFault, readCapture } from '../capture/index.js';
import type { CapturedPacket } from '../capture/index.js';
import type { Transmitter } from '../traffic/transmitter.js';

/** What is replayed; plain data. */
export interface Replay {
  /** The capture file. */
  readonly file: string;
  /** Whether it starts again at the end. */
  readonly loop: boolean;
}

/** Counters of a port. */
export interface FilePortStatistics {
  /** Frames sent. */
  framesSent: number;
  /** Times that the file was sent to its end. */
  rounds: number;
  /** Frames of the file that were not sent: cut when they were captured, shorter than a header, or too long. */
  unsendable: number;
  /** Frames that came. */
  framesReceived: number;
  /** Bytes of them. */
  bytesReceived: number;
}

const ETHERNET = 1;
const HEADER_BYTES = 14;
const TAG_BYTES = 4;
/** Longest pause between two frames, however long the capture paused; also between two rounds, at least. */
const LONGEST_PAUSE_MS = 1000;
const ROUND_PAUSE_MS = 10;
/** How long until the next try when all buffers are under way. */
const NO_BUFFER_PAUSE_MS = 5;
/** Frames sent in one go. */
const BATCH = 64;

interface Scheduled {
  readonly bytes: Uint8Array;
  /** Milliseconds after the frame before. */
  readonly pauseMs: number;
}

/** One capture file. */
export class FilePort implements FrameSink {
  /** Counters. */
  readonly statistics: FilePortStatistics = {
    framesSent: 0,
    rounds: 0,
    unsendable: 0,
    framesReceived: 0,
    bytesReceived: 0,
  };
  private readonly frames: readonly Scheduled[];
  private next = 0;
  private due = 0;
  private kept: Frame | null = null;
  private cancel: (() => void) | null = null;
  private closed = false;

  /**
   * @param memory what frames point into.
   * @param loop its domain's.
   * @param out where the frames go.
   * @param replay which file.
   * @param mtu payload bytes of a frame: longer ones are not sent.
   * @param complain takes a line for the operator.
   * @throws CaptureFileError when the file cannot be opened.
   */
  constructor(
    private readonly memory: Memory,
    private readonly loop: Loop,
    private readonly out: Transmitter,
    private readonly replay: Replay,
    mtu: number,
    complain: (message: string) => void,
  ) {
    const { packets, faults, brokenOff } = readCapture(replay.file);
    const fault = brokenOff ?? faults[0];
    if (fault !== undefined)
      complain(
        `${describeCaptureFault(fault, replay.file)}; the ${packets.length} packets that could be read are used`,
      );
    const sendable = packets.filter((packet) => isSendable(packet, mtu));
    this.statistics.unsendable = packets.length - sendable.length;
    this.frames = schedule(sendable);
  }

  /** Begins to send. */
  start(): void {
    if (this.frames.length === 0) return;
    this.due = this.loop.now() + this.frames[0]!.pauseMs;
    this.plan();
  }

  /** There is room to send again: what was kept goes first. */
  resume(): void {
    if (this.kept !== null) this.send();
  }

  /** A frame for whoever is behind the interface. */
  deliver(frame: Frame): void {
    this.statistics.framesReceived++;
    this.statistics.bytesReceived += frame.totalBytes;
  }

  /** Nothing waits. */
  flush(): void {
    return;
  }

  /** The domain is suspended: it holds no transmit buffer any more, and begins again with the frame that it kept. */
  putAside(): void {
    if (this.kept === null) return;
    this.kept.release();
    this.kept = null;
    this.plan();
  }

  /** Ends it. Idempotent. */
  close(): void {
    this.closed = true;
    this.cancel?.();
    this.cancel = null;
    this.kept?.release();
    this.kept = null;
  }

  private plan(): void {
    if (this.closed || this.cancel !== null) return;
    this.cancel = this.loop.after(Math.max(0, this.due - this.loop.now()), () => {
      this.cancel = null;
      this.send();
    });
  }

  private send(): void {
    for (let n = 0; n < BATCH && !this.closed && this.due <= this.loop.now(); n++) {
      const frame = this.kept ?? this.fill(this.frames[this.next]!.bytes);
      if (frame === null) {
        this.due = this.loop.now() + NO_BUFFER_PAUSE_MS;
        break;
      }
      if (!this.out.startXmit(frame, true)) {
        this.kept = frame; // `resume` follows
        this.out.flush();
        return;
      }
      this.kept = null;
      this.statistics.framesSent++;
      if (this.isOver()) {
        this.out.flush();
        return;
      }
    }
    this.out.flush();
    this.plan();
  }

  /** The next frame's turn; true when there is none. */
  private isOver(): boolean {
    this.next++;
    if (this.next === this.frames.length) {
      this.next = 0;
      this.statistics.rounds++;
      if (!this.replay.loop) return true;
      this.due += ROUND_PAUSE_MS;
    }
    // After a stop the pace goes on from now; what was missed is not made up for in one burst.
    this.due = Math.max(this.due, this.loop.now() - LONGEST_PAUSE_MS) + this.frames[this.next]!.pauseMs;
    return false;
  }

  private fill(bytes: Uint8Array): Frame | null {
    const frame = this.out.allocate(bytes.length);
    if (frame === null) return null;
    this.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    return frame;
  }
}

function isSendable({ bytes, originalBytes, interface: { linkType } }: CapturedPacket, mtu: number): boolean {
  return (
    linkType === ETHERNET &&
    bytes.length === originalBytes &&
    bytes.length >= HEADER_BYTES &&
    bytes.length <= mtu + HEADER_BYTES + TAG_BYTES
  );
}

function schedule(packets: readonly CapturedPacket[]): Scheduled[] {
  let last: number | null = null;
  return packets.map(({ bytes, time }) => {
    const at = time === null ? last : time.seconds * 1000 + time.nanoseconds / 1e6;
    const pauseMs = at === null || last === null ? 0 : Math.min(Math.max(at - last, 0), LONGEST_PAUSE_MS);
    last = at ?? last;
    return { bytes, pauseMs };
  });
}
