/**
 * What the decoder of each format offers the reader, and what both say when a file ends too soon.
 */
import type { CaptureFaults } from './fault.js';
import type { CaptureFormat, CaptureInterface, CapturedPacket } from './packet.js';
import type { CaptureWindow } from './window.js';

/** Decodes one format; the reader drives it. */
export interface CaptureDecoder {
  /** Which format. */
  readonly format: CaptureFormat;
  /** The next packet, or null at the end or where it broke off. */
  next(): CapturedPacket | null;
}

/** What a decoder works with. */
export interface DecoderContext {
  /** The bytes. */
  readonly window: CaptureWindow;
  /** Takes what is wrong. */
  readonly faults: CaptureFaults;
  /** Interfaces of the whole file, in the order of their description; the decoder adds to it. */
  readonly interfaces: CaptureInterface[];
  /** Packets handed out so far. */
  packets: number;
}

/**
 * Records that the file ended `wanted` bytes into something that it has not whole.
 * @param what with its article: `an enhanced packet block of 96 bytes`.
 * @param from byte of the file where it begins.
 * @param wanted bytes of it that were to be read, counted from `from`.
 */
export function addTruncated(context: DecoderContext, what: string, from: number, wanted: number): void {
  const { window, faults } = context;
  const offset = window.offset + window.available;
  const read = `${context.packets} ${context.packets === 1 ? 'packet' : 'packets'}`;
  if (window.failure !== null) {
    faults.add({
      code: 'CAPTURE_READ_FAILED',
      consequence: 'stopped',
      offset,
      expected: `${what} that begins at byte ${from}`,
      seen: `the error ${window.failure} from the operating system`,
      advice: `the ${read} before it were kept; copy the file to a sound disk and try again`,
    });
    return;
  }
  faults.add({
    code: 'CAPTURE_TRUNCATED',
    consequence: 'stopped',
    offset,
    expected: `${from + wanted - offset} more bytes of ${what} that begins at byte ${from}`,
    seen: 'the end of the file',
    advice: `the ${read} before it were kept; if the file was still being written or copied, wait and read it again`,
  });
}
