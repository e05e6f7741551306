/**
 * What can be wrong with a capture file, and how it is said.
 *
 * Bytes of a file are somebody else's: what is wrong with them is a value, a {@link CaptureFault}, and what
 * was read before it is kept. A file that cannot be opened or written throws a {@link CaptureFileError}.
 */
import { CaptureLimits } from './layouts.js';

/** Stable codes of faults, for programs. */
export type CaptureFaultCode =
  /** Neither pcap nor pcapng. */
  | 'CAPTURE_NOT_A_CAPTURE'
  /** A version that is not read. */
  | 'CAPTURE_VERSION'
  /** The file ends inside a header, a packet or a block. */
  | 'CAPTURE_TRUNCATED'
  /** A length that cannot be. */
  | 'CAPTURE_BAD_LENGTH'
  /** A field with a value that cannot be. */
  | 'CAPTURE_BAD_FIELD'
  /** Options that cannot be read. */
  | 'CAPTURE_BAD_OPTION'
  /** A packet of an interface that the section does not describe. */
  | 'CAPTURE_NO_INTERFACE'
  /** More than the reader's bounds allow. */
  | 'CAPTURE_TOO_LARGE'
  /** The operating system failed a read. */
  | 'CAPTURE_READ_FAILED';

/**
 * What a fault did: `stopped`, nothing after it was read; `skipped`, that block was left out; `kept`, the
 * packet is there and the field was mended or left out.
 */
export type CaptureConsequence = 'stopped' | 'skipped' | 'kept';

/** Something wrong in a capture file, as data. */
export interface CaptureFault {
  /** Stable code. */
  readonly code: CaptureFaultCode;
  /** What it did to reading. */
  readonly consequence: CaptureConsequence;
  /** Byte of the file where it shows; for a file cut short, the byte where it ends. */
  readonly offset: number;
  /** What was expected there. */
  readonly expected: string;
  /** What was seen. */
  readonly seen: string;
  /** What to do. */
  readonly advice: string;
}

/** One line for people: where, what was expected, what was seen, what to do. */
export function describeCaptureFault(fault: CaptureFault, file = 'capture'): string {
  const { offset, expected, seen, advice } = fault;
  return `${file}: byte ${offset}: expected ${expected}; seen ${seen}; ${advice}`;
}

/** The faults of one file: the first ones as values, the rest as a count. */
export class CaptureFaults {
  /** In the order of the file; at most `CaptureLimits.faults`, and always the one that stopped reading. */
  readonly list: CaptureFault[] = [];
  /** All of them. */
  count = 0;
  /** The one that stopped reading, or null. */
  stopped: CaptureFault | null = null;

  /** Takes one. */
  add(fault: CaptureFault): void {
    this.count++;
    if (fault.consequence === 'stopped') this.stopped ??= fault;
    if (this.list.length < CaptureLimits.faults || fault.consequence === 'stopped') this.list.push(fault);
  }
}

/** Stable codes of {@link CaptureFileError}. */
export type CaptureFileErrorCode =
  /** It could not be opened or created. */
  | 'CAPTURE_CANNOT_OPEN'
  /** The name does not say which format to write. */
  | 'CAPTURE_UNKNOWN_FORMAT'
  /** The buffer lent to a writer cannot be used. */
  | 'CAPTURE_BAD_BUFFER'
  /** A write failed: what came after it is not in the file. */
  | 'CAPTURE_WRITE_FAILED';

/** A capture file could not be opened or written. */
export class CaptureFileError extends Error {
  /**
   * @param code stable code for programs.
   * @param file the file's name.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: CaptureFileErrorCode,
    readonly file: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${message}`, options);
    this.name = 'CaptureFileError';
  }
}

const ADVICE_BY_ERRNO: Readonly<Record<string, string>> = {
  ENOENT: 'check the spelling; the folder must exist',
  EACCES: 'check the permissions of the file and of its folder',
  EPERM: 'check the permissions of the file and of its folder',
  EISDIR: 'name a file, not a folder',
  ENOTDIR: 'a part of the path is a file, not a folder',
  ENOSPC: 'make room on the disk, then start the capture again',
  EROFS: 'choose a folder on a disk that may be written',
  EMFILE: 'too many files are open: close some, or raise `ulimit -n`',
};

/** The operating system's error as a {@link CaptureFileError}. */
export function systemError(
  code: CaptureFileErrorCode,
  file: string,
  expected: string,
  cause: unknown,
): CaptureFileError {
  const { code: errno, message } = cause as NodeJS.ErrnoException;
  const advice = ADVICE_BY_ERRNO[errno ?? ''] ?? 'try another file';
  return new CaptureFileError(code, file, `expected ${expected}; seen ${errno ?? message}; ${advice}`, {
    cause,
  });
}
