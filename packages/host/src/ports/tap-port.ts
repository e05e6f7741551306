/**
 * Joins a TAP to a transmitter: what the kernel's network stack sends goes into netfront (or the driver domain's
 * own interface), what arrives is written to the TAP. Checksum blanks and 64 KiB segments travel as they are: in
 * the virtio-net header on the TAP's side, in the frame on ours.
 *
 * Polled by the domain's loop; sleeps in the loop's `poll` on the TAP's descriptor. Nothing is copied but a small
 * frame out of the large room that it was read into.
 */
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { FrameHeaders, HEADER_ROOM, TcpFlag } from '@netaccel/nic-vi';
import { MAX_TAP_FRAME_BYTES, VNET_ECN, VnetFlag, VnetSegmentation } from '../tap/index.js';
import type { TapDevice } from '../tap/index.js';
import type { Transmitter } from '../traffic/transmitter.js';
import { HeldFrames } from './held-frames.js';

/** A frame of at most so many bytes is moved to a small buffer, so that large ones are kept for large frames. */
const SMALL_BYTES = 2048;
/** Frames read in one turn at most. */
const READ_BATCH = 32;

/** Counters of a port. */
export interface TapPortStatistics {
  /** Frames that the TAP had no room for. */
  rxTapFull: number;
  /** Frames that the kernel refused, or whose headers do not bear the offload they ask for. */
  rxRefused: number;
}

/** One TAP. */
export class TapPort implements FrameSink {
  /** Counters, besides the device's own. */
  readonly statistics: TapPortStatistics = { rxTapFull: 0, rxRefused: 0 };
  /** The transmitter took no more when it was last polled: poll again when it says that it does. */
  stopped = false;
  private readonly headers: FrameHeaders;
  private spare: Frame | null = null;
  private kept: Frame | null = null;
  /** What it kept when its domain was suspended. */
  private readonly aside: HeldFrames;

  /**
   * @param memory what frames point into.
   * @param device the TAP.
   * @param out where the stack's frames go; set before the first poll.
   */
  constructor(
    private readonly memory: Memory,
    readonly device: TapDevice,
    private readonly out: Transmitter,
  ) {
    this.headers = new FrameHeaders(memory);
    this.aside = new HeldFrames(memory);
  }

  /** Reads what the kernel sends. True: there may be more. */
  poll(): boolean {
    this.stopped = this.aside.length > 0 && !this.takeUp();
    if (this.stopped) return false;
    if (this.kept !== null) {
      if (!this.out.startXmit(this.kept, false)) {
        this.stopped = true;
        return false;
      }
      this.kept = null;
    }
    for (let n = 0; n < READ_BATCH; n++) {
      const frame = this.read();
      if (frame === null) {
        if (n > 0) this.out.flush();
        return n > 0;
      }
      if (!this.out.startXmit(frame, true)) {
        this.kept = frame; // it goes first when there is room again
        this.stopped = true;
        this.out.flush();
        return false;
      }
    }
    this.out.flush();
    return true;
  }

  /** A frame for the kernel. */
  deliver(frame: Frame): void {
    if (!this.describeToKernel(frame)) {
      this.statistics.rxRefused++;
      return;
    }
    const { fragments } = this.device;
    fragments.clear();
    for (let f: Frame | null = frame; f !== null; f = f.next)
      if (!fragments.add(f.address, f.length)) {
        this.statistics.rxRefused++;
        return;
      }
    const written = this.device.write();
    if (written === 0) this.statistics.rxTapFull++;
    else if (written < 0) this.statistics.rxRefused++;
  }

  /** Every frame was written when it was delivered. */
  flush(): void {
    return;
  }

  /** The domain is suspended: it holds no transmit buffer any more; a frame that it kept goes first afterwards. */
  putAside(): void {
    if (this.kept !== null) this.aside.push(this.kept);
    this.close();
  }

  /** Gives back the buffers it keeps. */
  close(): void {
    this.spare?.release();
    this.kept?.release();
    this.spare = this.kept = null;
  }

  private takeUp(): boolean {
    const room = this.out.allocate(MAX_TAP_FRAME_BYTES);
    if (room === null) return false;
    if (this.aside.shift(room)) this.kept = room;
    else room.release();
    return true;
  }

  private read(): Frame | null {
    const room = (this.spare ??= this.out.allocate(MAX_TAP_FRAME_BYTES));
    if (room === null) {
      this.stopped = true;
      return null;
    }
    const bytes = this.device.readInto(room.home, MAX_TAP_FRAME_BYTES);
    if (bytes <= 0) return null;
    const small = bytes <= SMALL_BYTES ? this.out.allocate(bytes) : null;
    const frame = small ?? room;
    if (small === null) this.spare = null;
    else this.memory.copy(small.home, room.home, bytes);
    frame.describe(frame.home, bytes);
    const header = this.device.readHeader;
    if ((header.flags & VnetFlag.needsChecksum) !== 0) frame.checksum = Checksum.blank;
    else if ((header.flags & VnetFlag.dataValid) !== 0) frame.checksum = Checksum.good;
    const kind = header.segmentation & ~VNET_ECN;
    if (kind !== VnetSegmentation.none) {
      frame.segmentation = kind === VnetSegmentation.tcpv4 ? Segmentation.tcpv4 : Segmentation.tcpv6;
      frame.segmentBytes = header.segmentBytes;
    }
    return frame;
  }

  /** Fills the virtio-net header; false when the frame's headers are not what its checksum or segmentation needs. */
  private describeToKernel(frame: Frame): boolean {
    const header = this.device.writeHeader;
    header.clear();
    if (frame.checksum === Checksum.good) header.flags = VnetFlag.dataValid;
    if (frame.checksum !== Checksum.blank) return frame.segmentation === Segmentation.none;
    const { headers } = this;
    const readable = frame.length < HEADER_ROOM ? frame.length : HEADER_ROOM;
    if (!headers.parse(frame.address, readable, frame.totalBytes) || headers.payload === 0) return false;
    header.flags = VnetFlag.needsChecksum;
    header.checksumStart = headers.l4;
    header.checksumOffset = headers.checksumAt - headers.l4;
    if (frame.segmentation === Segmentation.none) return true;
    header.segmentation =
      (frame.segmentation === Segmentation.tcpv4 ? VnetSegmentation.tcpv4 : VnetSegmentation.tcpv6) |
      ((headers.tcpFlags & TcpFlag.cwr) !== 0 ? VNET_ECN : 0);
    header.headerBytes = headers.payload;
    header.segmentBytes = frame.segmentBytes;
    return true;
  }
}
