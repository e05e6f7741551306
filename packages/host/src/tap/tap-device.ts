/**
 * The frame path of a TAP: reads the frames that a guest's kernel sends, writes the frames it shall receive.
 *
 * Made in the thread that serves the guest, from the description that the owner of the TAP (namespace.ts)
 * posts to it. It borrows the descriptor and the frame memory; it owns the header and vector memory that the
 * kernel reads. Nothing here allocates, throws or waits after the constructor.
 */
import { constants } from 'node:os';
import { errnoName } from './error.js';
import type { Libc } from './ffi.js';
import { IoVector } from './io-vector.js';
import { VNET_HEADER_BYTES, VnetHeader } from './vnet-header.js';

/** A TAP that is open somewhere in this process; a plain value, for `postMessage`. */
export interface TapDescription {
  /** Name of the interface in its namespace. */
  readonly name: string;
  /** The descriptor, valid in all threads of the process until the owner closes it. */
  readonly descriptor: number;
}

/**
 * Room that holds any frame of a TAP: 64 KiB of IP packet and an Ethernet header with a VLAN tag, rounded up.
 */
export const MAX_TAP_FRAME_BYTES = 65536 + 64;

/** Counters of a {@link TapDevice}. */
export interface TapStatistics {
  /** Frames that came from the guest. */
  framesRead: number;
  /** Their bytes, without header. */
  bytesRead: number;
  /** Frames lost because the room given was too small. */
  readTooLarge: number;
  /** Reads that the kernel refused. */
  readFailed: number;
  /** Frames that the guest's kernel took. */
  framesWritten: number;
  /** Their bytes, without header. */
  bytesWritten: number;
  /** Frames that the kernel refused: malformed header, or the interface is down. */
  writeRefused: number;
  /** The last reason of a refusal, such as `EINVAL`; empty when there was none. */
  lastRefusal: string;
}

const { EAGAIN, EMSGSIZE, EINTR } = constants.errno;
const HEADER_SLOT = 0;

/** Reads and writes the frames of one TAP. */
export class TapDevice {
  /** Header of the last frame read. */
  readonly readHeader = new VnetHeader();
  /** Header of the next frame written. Stays as it is: `clear()` it for an ordinary frame. */
  readonly writeHeader = new VnetHeader();
  /** Room for the next frame read, in pieces; see {@link read}. */
  readonly room: IoVector;
  /** Fragments of the next frame written; see {@link write}. */
  readonly fragments: IoVector;
  /** Counters. */
  readonly statistics: TapStatistics = {
    framesRead: 0,
    bytesRead: 0,
    readTooLarge: 0,
    readFailed: 0,
    framesWritten: 0,
    bytesWritten: 0,
    writeRefused: 0,
    lastRefusal: '',
  };
  /**
   * True after a read failed: the guest's root removed the interface, say. It stays so: stop serving it, and
   * let the waiter `ignore` it.
   */
  failed = false;
  /** System calls made: reads, those that found nothing included, and writes. */
  calls = 0;
  /** Name of the interface. */
  readonly name: string;
  /** The descriptor, for a waiter. */
  readonly descriptor: number;

  private readonly readView: DataView;
  private readonly writeView: DataView;
  private readonly excess: Uint8Array;
  private readonly excessAddress: number;

  /**
   * @param memory the memory that frames live in; places are offsets into it.
   * @param maxFragments the most pieces of one frame, each way.
   */
  constructor(
    private readonly libc: Libc,
    tap: TapDescription,
    memory: Uint8Array,
    maxFragments = 20,
  ) {
    this.name = tap.name;
    this.descriptor = tap.descriptor;
    this.readView = new DataView(new ArrayBuffer(VNET_HEADER_BYTES));
    this.writeView = new DataView(new ArrayBuffer(VNET_HEADER_BYTES));
    this.excess = new Uint8Array(new ArrayBuffer(1));
    this.excessAddress = libc.addressOf(this.excess);
    this.room = new IoVector(libc, memory, maxFragments, 1);
    this.fragments = new IoVector(libc, memory, maxFragments, 1);
    this.room.setAbsolute(HEADER_SLOT, libc.addressOf(this.readView), VNET_HEADER_BYTES);
    this.fragments.setAbsolute(HEADER_SLOT, libc.addressOf(this.writeView), VNET_HEADER_BYTES);
  }

  /** Reads one frame to one place; otherwise as {@link read}. */
  readInto(offset: number, capacity: number): number {
    this.room.clear();
    this.room.add(offset, capacity);
    return this.read();
  }

  /**
   * Reads one frame into `room`, and its header into `readHeader`.
   * @returns the frame's bytes; 0 when no frame waits; `-EMSGSIZE` when a frame was lost for want of room;
   * another `-errno` when the device has {@link failed}. Losses and failures are counted.
   */
  read(): number {
    const { room, statistics } = this;
    // One byte more than the room: the kernel cuts what does not fit without a word.
    room.setAbsolute(room.count, this.excessAddress, 1);
    this.calls++;
    const got = this.libc.readv(this.descriptor, room.address, room.count + 1);
    if (got < 0) {
      const errno = this.libc.errno();
      if (errno === EAGAIN || errno === EINTR) return 0;
      this.failed = true;
      statistics.readFailed++;
      return this.refused(errno);
    }
    const frameBytes = got - VNET_HEADER_BYTES;
    if (frameBytes > room.bytes) {
      statistics.readTooLarge++;
      return this.refused(EMSGSIZE);
    }
    this.readHeader.load(this.readView);
    statistics.framesRead++;
    statistics.bytesRead += frameBytes;
    return frameBytes;
  }

  /** Writes one frame from one place; otherwise as {@link write}. */
  writeFrom(offset: number, length: number): number {
    this.fragments.clear();
    this.fragments.add(offset, length);
    return this.write();
  }

  /**
   * Writes one frame from `fragments`, with `writeHeader` before it.
   * @returns the frame's bytes; 0 when the kernel has no room now: offer it again; below 0 (`-errno`) when it
   * was refused: counted, and the same frame would be refused again.
   */
  write(): number {
    const { fragments, statistics } = this;
    this.writeHeader.store(this.writeView);
    this.calls++;
    const put = this.libc.writev(this.descriptor, fragments.address, fragments.count);
    if (put < 0) {
      const errno = this.libc.errno();
      if (errno === EAGAIN || errno === EINTR) return 0;
      statistics.writeRefused++;
      return this.refused(errno);
    }
    statistics.framesWritten++;
    statistics.bytesWritten += fragments.bytes;
    return fragments.bytes;
  }

  private refused(errno: number): number {
    this.statistics.lastRefusal = errnoName(errno);
    return -errno;
  }
}
