/**
 * Reads a capture file packet by packet, whichever of the two formats it is in.
 *
 * Used by capture-file ports, the replay of `netaccel demo`, and anyone with a capture. What is wrong with
 * the bytes never throws: what could be read is handed out, and `faults` and `brokenOff` say the rest.
 */
import type { CaptureDecoder, DecoderContext } from './decoder.js';
import { addTruncated } from './decoder.js';
import { type CaptureFault, CaptureFaults } from './fault.js';
import { BlockType, PcapMagic } from './layouts.js';
import type { CaptureFormat, CapturedPacket, CaptureInterface } from './packet.js';
import { PcapDecoder } from './pcap-decoder.js';
import { PcapngDecoder } from './pcapng-decoder.js';
import { CaptureWindow } from './window.js';

const MAGIC_BYTES = 4;

/** First bytes of files that people take for captures, and what to do with each. */
const LOOKALIKES: readonly (readonly [hex: string, what: string, advice: string])[] = [
  ['1f8b', 'a gzip file', 'unpack it with `gunzip` first'],
  ['28b52ffd', 'a zstd file', 'unpack it with `unzstd` first'],
  ['fd377a58', 'an xz file', 'unpack it with `unxz` first'],
  ['504b0304', 'a zip file', 'unpack it with `unzip` first'],
  ['a1b2cd34', "a capture in Kuznetzov's modified pcap", 'convert it with `editcap -F pcapng`'],
  ['34cdb2a1', "a capture in Kuznetzov's modified pcap", 'convert it with `editcap -F pcapng`'],
  ['736e6f6f', 'a snoop capture', 'convert it with `editcap -F pcapng`'],
  ['474d4255', 'a Network Monitor capture', 'convert it with `editcap -F pcapng`'],
];

/**
 * A capture being read.
 *
 * @example
 * ```ts
 * const reader = CaptureReader.open('captures/mixed.pcapng');
 * for (const packet of reader) console.log(packet.index, packet.bytes.length);
 * if (reader.brokenOff !== null) console.error(describeCaptureFault(reader.brokenOff));
 * reader.close();
 * ```
 */
export class CaptureReader implements Iterable<CapturedPacket> {
  private readonly context: DecoderContext;
  private readonly decoder: CaptureDecoder | null;

  private constructor(private readonly window: CaptureWindow) {
    this.context = { window, faults: new CaptureFaults(), interfaces: [], packets: 0 };
    this.decoder = this.detect();
  }

  /**
   * Opens a file, or a FIFO; to be closed.
   * @throws CaptureFileError when it cannot be opened. What is wrong inside it is in {@link faults}.
   */
  static open(path: string): CaptureReader {
    return new CaptureReader(CaptureWindow.open(path));
  }

  /** Reads bytes in memory, which stay the caller's. */
  static over(bytes: Uint8Array): CaptureReader {
    return new CaptureReader(CaptureWindow.over(bytes));
  }

  /** Which format, or null when it is neither. */
  get format(): CaptureFormat | null {
    return this.decoder?.format ?? null;
  }

  /** Interfaces met so far, over all sections. */
  get interfaces(): readonly CaptureInterface[] {
    return this.context.interfaces;
  }

  /** What was wrong so far: the first ones, and always the one that stopped reading. */
  get faults(): readonly CaptureFault[] {
    return this.context.faults.list;
  }

  /** How many faults there were, those that {@link faults} does not keep included. */
  get faultCount(): number {
    return this.context.faults.count;
  }

  /** Where and why reading stopped before the end of the file, or null. */
  get brokenOff(): CaptureFault | null {
    return this.context.faults.stopped;
  }

  /** Packets handed out so far. */
  get packetCount(): number {
    return this.context.packets;
  }

  /** The next packet, or null at the end. Its bytes are valid until the next call. */
  next(): CapturedPacket | null {
    return this.decoder?.next() ?? null;
  }

  /** The packets that are left; each one's bytes are valid until the next. */
  *[Symbol.iterator](): Iterator<CapturedPacket> {
    for (let packet = this.next(); packet !== null; packet = this.next()) yield packet;
  }

  /** Closes the file. Idempotent; bytes of the last packet stay readable. */
  close(): void {
    this.window.close();
  }

  private detect(): CaptureDecoder | null {
    const { context, window } = this;
    if (!window.need(MAGIC_BYTES)) {
      addTruncated(context, 'a capture file', 0, MAGIC_BYTES);
      return null;
    }
    for (const little of [true, false]) {
      const magic = window.view.getUint32(window.at, little);
      if (magic === PcapMagic.microseconds || magic === PcapMagic.nanoseconds)
        return new PcapDecoder(context, little, magic);
    }
    if (window.view.getUint32(window.at) === BlockType.sectionHeader) return new PcapngDecoder(context);
    const hex = Array.from(window.bytes.subarray(window.at, window.at + MAGIC_BYTES), (byte) =>
      byte.toString(16).padStart(2, '0'),
    );
    const known = LOOKALIKES.find(([start]) => hex.join('').startsWith(start));
    context.faults.add({
      code: 'CAPTURE_NOT_A_CAPTURE',
      consequence: 'stopped',
      offset: 0,
      expected: 'a pcap or pcapng file',
      seen: known === undefined ? `a file that begins with ${hex.join(' ')}` : known[1],
      advice:
        known === undefined
          ? 'name a capture file, as tcpdump, Wireshark or `netaccel capture` write'
          : known[2],
    });
    return null;
  }
}

/** A whole capture in memory. */
export interface Capture {
  /** Which format, or null when it is neither. */
  readonly format: CaptureFormat | null;
  /** Its interfaces, over all sections. */
  readonly interfaces: readonly CaptureInterface[];
  /** Its packets, each with bytes of its own. */
  readonly packets: readonly CapturedPacket[];
  /** What was wrong. */
  readonly faults: readonly CaptureFault[];
  /** Where and why reading stopped before the end, or null. */
  readonly brokenOff: CaptureFault | null;
}

/** What {@link readCapture} holds at most when it is not told: 256 MiB of captured bytes. */
export const DEFAULT_CAPTURE_BYTES = 256 * 1024 * 1024;

/**
 * Reads a whole capture.
 * @param source a path, or the file's bytes.
 * @param mostBytes captured bytes to hold; a capture with more stops there, with a fault that says so.
 * @throws CaptureFileError when the file cannot be opened.
 */
export function readCapture(source: string | Uint8Array, mostBytes = DEFAULT_CAPTURE_BYTES): Capture {
  const reader = typeof source === 'string' ? CaptureReader.open(source) : CaptureReader.over(source);
  try {
    const packets: CapturedPacket[] = [];
    let limit: CaptureFault | null = null;
    let heldBytes = 0;
    for (const packet of reader) {
      heldBytes += packet.bytes.length;
      if (heldBytes > mostBytes) {
        limit = tooLarge(packet, mostBytes);
        break;
      }
      packets.push({ ...packet, bytes: packet.bytes.slice() });
    }
    return {
      format: reader.format,
      interfaces: reader.interfaces,
      packets,
      faults: limit === null ? reader.faults : [...reader.faults, limit],
      brokenOff: limit ?? reader.brokenOff,
    };
  } finally {
    reader.close();
  }
}

function tooLarge(packet: CapturedPacket, mostBytes: number): CaptureFault {
  return {
    code: 'CAPTURE_TOO_LARGE',
    consequence: 'stopped',
    offset: packet.offset,
    expected: `at most ${mostBytes} captured bytes`,
    seen: 'more',
    advice: `the ${packet.index} packets before it were kept; cut the file with \`editcap -c\``,
  };
}
