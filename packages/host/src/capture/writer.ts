/**
 * Writes frames into a capture file as they pass, without holding them and without an allocation for each.
 *
 * Used by `netaccel capture` and by capture-file ports. The writer owns its buffer and its file; frames stay
 * the caller's and are copied before the call returns. A write that fails never throws into the frame path:
 * the writer stops recording, counts what it loses, and says so in `failure` and at `close`.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Frame, Memory } from '@netaccel/core-hooks';
import type { CaptureEncoder } from './encoder.js';
import { CaptureFileError, systemError } from './fault.js';
import { CaptureLimits, padded } from './layouts.js';
import type { CaptureDirection, CaptureFormat } from './packet.js';
import { PcapEncoder } from './pcap-encoder.js';
import { PcapngEncoder } from './pcapng-encoder.js';
import { type CaptureSink, type LentBuffer, Staging } from './staging.js';

/** Endings of file names and the format that each asks for. */
const FORMAT_BY_ENDING: Readonly<Record<string, CaptureFormat>> = {
  pcap: 'pcap',
  cap: 'pcap',
  dmp: 'pcap',
  pcapng: 'pcapng',
  ntar: 'pcapng',
};

const DEFAULT_BUFFER_BYTES = 1024 * 1024;
/** Room for a section header or an interface description with their texts. */
const HEADER_BYTES = 16 * 1024;

/** How to write a capture. */
export interface CaptureWriterOptions {
  /** The format; by the ending of the file's name when left out. */
  readonly format?: CaptureFormat;
  /** What `timeNs` 0 means, in milliseconds since 1970; 0 when left out. */
  readonly originMs?: number;
  /** Most bytes captured of a frame; 262144 when left out. */
  readonly snapBytes?: number;
  /** Bytes of the buffer; 1 MiB when left out, and never less than the longest packet. */
  readonly bufferBytes?: number;
  /** A part of a domain's memory to use for the buffer, in place of one of its own. */
  readonly buffer?: LentBuffer;
  /** What the file says wrote it (pcapng only); `netaccel` when left out. */
  readonly application?: string;
  /** A comment on the whole file (pcapng only). */
  readonly comment?: string;
}

/** An interface to be written. */
export interface CaptureWriterInterface {
  /** Its name: `alpha.a`. */
  readonly name: string;
  /** A line about it. */
  readonly description?: string;
  /** The memory that frames captured here lie in; needed for {@link CaptureWriter.frame}. */
  readonly memory?: Memory;
}

/** What a writer has done so far; each frame offered is in exactly one of the first three. */
export interface CaptureCounters {
  /** Packets recorded. */
  packets: number;
  /** Not recorded: an earlier write failed, or the writer was closed. */
  lostAfterFailure: number;
  /** Not recorded: no such interface, or one without a memory. */
  unknownInterface: number;
  /** Of those recorded, how many were cut to `snapBytes`. */
  cut: number;
}

/** Which format a file's name asks for, or null when it does not say. */
export function captureFormatOf(path: string): CaptureFormat | null {
  const ending = /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase();
  return (ending !== undefined && FORMAT_BY_ENDING[ending]) || null;
}

function snapBytesOf({ snapBytes = CaptureLimits.packetBytes }: CaptureWriterOptions): number {
  return Math.min(Math.max(Math.floor(snapBytes), 1), CaptureLimits.packetBytes);
}

/** Bytes that a buffer must have to take the longest packet, or a header. */
function leastBufferBytes(options: CaptureWriterOptions): number {
  return padded(snapBytesOf(options)) + HEADER_BYTES;
}

function ownBufferBytes(options: CaptureWriterOptions): number {
  return padded(Math.max(options.bufferBytes ?? DEFAULT_BUFFER_BYTES, leastBufferBytes(options)));
}

function checkBuffer(file: string, options: CaptureWriterOptions): void {
  const least = leastBufferBytes(options);
  const { buffer } = options;
  if (buffer === undefined || (buffer.bytes >= least && buffer.bytes % 4 === 0 && buffer.address % 4 === 0))
    return;
  const message =
    `expected a buffer of at least ${least} bytes, address and bytes multiples of 4; ` +
    `seen ${buffer.bytes} at ${buffer.address}; lend more, or capture less of each frame with snapBytes`;
  throw new CaptureFileError('CAPTURE_BAD_BUFFER', file, message);
}

/**
 * A capture being written.
 *
 * @example
 * ```ts
 * const writer = CaptureWriter.create('lab.pcapng', { originMs: Date.now() });
 * const vif = writer.addInterface({ name: 'alpha.a', memory });
 * writer.frame(frame, vif, CaptureDirection.outbound, clockNs, 'fast');
 * writer.close();
 * ```
 */
export class CaptureWriter {
  /** What was done so far. Read it, do not change it. */
  readonly counters: CaptureCounters = { packets: 0, lostAfterFailure: 0, unknownInterface: 0, cut: 0 };
  private readonly staging: Staging;
  private readonly encoder: CaptureEncoder;
  private readonly snapBytes: number;
  /** By interface index; null where frames cannot be read. */
  private readonly memories: (Memory | null)[] = [];
  private closed = false;

  private constructor(
    private readonly file: string,
    /** The format that is written. */
    readonly format: CaptureFormat,
    sink: CaptureSink,
    private readonly closeSink: () => void,
    options: CaptureWriterOptions,
  ) {
    const { originMs = 0, application = 'netaccel' } = options;
    const wholeMs = Math.floor(originMs);
    const origin = BigInt(wholeMs) * 1_000_000n + BigInt(Math.round((originMs - wholeMs) * 1e6));
    const snapBytes = snapBytesOf(options);
    this.snapBytes = snapBytes;
    this.staging = new Staging(options.buffer ?? ownBufferBytes(options), sink);
    this.encoder =
      format === 'pcap'
        ? new PcapEncoder(this.staging, snapBytes, origin)
        : new PcapngEncoder(this.staging, snapBytes, origin, application, options.comment);
  }

  /**
   * Creates a file, or empties the one that is there.
   * @throws CaptureFileError when it cannot be created, when neither its name nor `format` says the format, or
   * when the buffer that is lent is too small.
   */
  static create(path: string, options: CaptureWriterOptions = {}): CaptureWriter {
    const format = options.format ?? captureFormatOf(path);
    if (format === null) {
      const endings = Object.keys(FORMAT_BY_ENDING).map((ending) => `.${ending}`);
      const message = `expected a name that ends in ${endings.join(', ')}; seen another ending; rename it, or give the format`;
      throw new CaptureFileError('CAPTURE_UNKNOWN_FORMAT', path, message);
    }
    checkBuffer(path, options);
    let fd: number;
    try {
      fd = openSync(path, 'w');
    } catch (cause) {
      throw systemError('CAPTURE_CANNOT_OPEN', path, 'a file that can be created', cause);
    }
    const sink = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    };
    return new CaptureWriter(path, format, sink, () => closeSync(fd), options);
  }

  /**
   * Writes to a function instead of a file.
   * @param sink takes each full buffer, whose bytes are valid during the call; throws to end the capture.
   * @throws CaptureFileError when the buffer that is lent is too small.
   */
  static over(
    sink: CaptureSink,
    options: CaptureWriterOptions & { readonly format: CaptureFormat },
  ): CaptureWriter {
    checkBuffer('capture', options);
    return new CaptureWriter('capture', options.format, sink, () => undefined, options);
  }

  /** Why writing stopped, or null. */
  get failure(): CaptureFileError | null {
    const { failure } = this.staging;
    if (failure === null) return null;
    return systemError('CAPTURE_WRITE_FAILED', this.file, 'that what was captured can be written', failure);
  }

  /** Bytes recorded so far, those still in the buffer included. */
  get writtenBytes(): number {
    return this.staging.sentBytes + this.staging.at;
  }

  /** Adds an interface, at any time, and returns its number. */
  addInterface({ name, description, memory }: CaptureWriterInterface): number {
    if (!this.closed) this.encoder.describe(name, description);
    return this.memories.push(memory ?? null) - 1;
  }

  /**
   * Records one frame, a chain of fragments in the interface's memory.
   * @param timeNs nanoseconds since the writer's origin; exact to 2^53.
   * @param comment which path it took: `slow`, `fast`, `native`.
   * @param packetId the same number for the same frame seen at another interface; below 2^53.
   * @returns whether it was recorded; when not, a counter says why.
   */
  frame(
    frame: Frame,
    interfaceIndex: number,
    direction: CaptureDirection,
    timeNs: number,
    comment?: string,
    packetId?: number,
  ): boolean {
    const memory = this.memories[interfaceIndex];
    if (memory === undefined || memory === null) {
      this.counters.unknownInterface++;
      return false;
    }
    const { totalBytes } = frame;
    let left = totalBytes < this.snapBytes ? totalBytes : this.snapBytes;
    if (!this.begin(left, interfaceIndex, timeNs, totalBytes)) return false;
    for (let part: Frame | null = frame; part !== null && left > 0; part = part.next) {
      const length = part.length < left ? part.length : left;
      this.staging.copy(memory, part.address, length);
      left -= length;
    }
    this.encoder.end(direction, comment, packetId);
    return true;
  }

  /**
   * Records a packet whose bytes are at hand.
   * @param originalBytes what it had before it was cut; the length of `bytes` when left out.
   */
  packet(
    bytes: Uint8Array,
    interfaceIndex: number,
    direction: CaptureDirection,
    timeNs: number,
    comment?: string,
    packetId?: number,
    originalBytes: number = bytes.length,
  ): boolean {
    if (this.memories[interfaceIndex] === undefined) {
      this.counters.unknownInterface++;
      return false;
    }
    const capturedBytes = Math.min(bytes.length, this.snapBytes);
    if (!this.begin(capturedBytes, interfaceIndex, timeNs, originalBytes)) return false;
    this.staging.put(bytes.subarray(0, capturedBytes));
    this.encoder.end(direction, comment, packetId);
    return true;
  }

  /** Hands what is buffered to the file, so that a reader sees it; false when that failed, now or before. */
  flush(): boolean {
    return this.staging.flush();
  }

  /**
   * Writes what is left and closes the file. Idempotent.
   * @throws CaptureFileError when this write or an earlier one failed; the file is closed all the same.
   */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.staging.flush();
    this.closeSink();
    const { failure } = this;
    if (failure !== null) throw failure;
  }

  private begin(
    capturedBytes: number,
    interfaceIndex: number,
    timeNs: number,
    originalBytes: number,
  ): boolean {
    if (this.closed || !this.staging.reserve(capturedBytes + this.encoder.overheadBytes)) {
      this.counters.lostAfterFailure++;
      return false;
    }
    this.counters.packets++;
    if (capturedBytes < originalBytes) this.counters.cut++;
    this.encoder.begin(interfaceIndex, timeNs, originalBytes);
    return true;
  }
}
