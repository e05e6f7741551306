/**
 * A window that moves forward over the bytes of a capture file, or over bytes already in memory.
 *
 * The readers ask it for the next so many bytes in one piece and look at them in place; the window owns its
 * buffer, and moving on may overwrite what was seen before. It grows only as far as bytes really come.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { systemError } from './fault.js';

const FIRST_BYTES = 256 * 1024;

/** Forward-only access to bytes; see the head of the file. */
export class CaptureWindow {
  /** The window; the next unread byte is at {@link at}. Replaced when it has to grow. */
  bytes: Uint8Array;
  /** The same bytes for fields. */
  view: DataView;
  /** Index in {@link bytes} of the next unread byte. */
  at = 0;
  /** Why the operating system failed a read, or null. */
  failure: string | null = null;
  private end: number;
  private base = 0;

  private constructor(
    private fd: number | null,
    bytes: Uint8Array,
    end: number,
  ) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = end;
  }

  /**
   * Over a file; also over a FIFO. To be closed.
   * @throws CaptureFileError when it cannot be opened.
   */
  static open(path: string): CaptureWindow {
    try {
      const fd = openSync(path, 'r');
      return new CaptureWindow(fd, new Uint8Array(FIRST_BYTES), 0);
    } catch (cause) {
      throw systemError('CAPTURE_CANNOT_OPEN', path, 'a capture file that can be read', cause);
    }
  }

  /** Over bytes in memory, which stay the caller's and are not changed. */
  static over(bytes: Uint8Array): CaptureWindow {
    return new CaptureWindow(null, bytes, bytes.length);
  }

  /** Place in the file of the next unread byte. */
  get offset(): number {
    return this.base + this.at;
  }

  /** Unread bytes in the window; after {@link need} said no, all that the file still has. */
  get available(): number {
    return this.end - this.at;
  }

  /** Brings the next `count` bytes into the window in one piece; false when the file ends before. */
  need(count: number): boolean {
    while (this.end - this.at < count) {
      if (this.fd === null || this.failure !== null) return false;
      if (this.at > 0) this.dropRead();
      if (this.end === this.bytes.length) this.grow(count);
      if (!this.fill()) return false;
    }
    return true;
  }

  /** Moves on by `count` bytes, of which the window need not hold all; false when the file ends before. */
  skip(count: number): boolean {
    let left = count;
    while (left > this.end - this.at) {
      left -= this.end - this.at;
      this.at = this.end;
      if (!this.need(1)) return false;
    }
    this.at += left;
    return true;
  }

  /** Closes the file. Idempotent. */
  close(): void {
    if (this.fd !== null) closeSync(this.fd);
    this.fd = null;
  }

  private dropRead(): void {
    this.bytes.copyWithin(0, this.at, this.end);
    this.base += this.at;
    this.end -= this.at;
    this.at = 0;
  }

  /** Doubles, so that a length which promises more than the file has costs at most twice what it has. */
  private grow(wanted: number): void {
    const grown = new Uint8Array(Math.min(this.bytes.length * 2, wanted));
    grown.set(this.bytes.subarray(0, this.end));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  private fill(): boolean {
    try {
      const count = readSync(this.fd!, this.bytes, this.end, this.bytes.length - this.end, null);
      this.end += count;
      return count > 0;
    } catch (cause) {
      this.failure = (cause as NodeJS.ErrnoException).code ?? String(cause);
      return false;
    }
  }
}
