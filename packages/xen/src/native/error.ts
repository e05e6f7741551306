/**
 * The one error of this folder: what a real host lacks, and our own mistakes. What a peer does is a status or a
 * `MachineError`, as in every machine.
 */
import { constants } from 'node:os';

/** What went wrong, for programs. */
export type NativeErrorCode =
  /** Not Linux, or an architecture whose kernel interface is not known here. */
  | 'UNSUPPORTED_PLATFORM'
  /** The optional dependency koffi is not installed or does not load. */
  | 'NO_KOFFI'
  /** This machine does not run under Xen. */
  | 'NO_XEN'
  /** A device of the kernel's is missing. */
  | 'NO_DEVICE'
  /** A device or the store may not be opened by this user. */
  | 'NO_RIGHT'
  /** Neither xenstored's socket nor the xenbus device answers. */
  | 'NO_STORE'
  /** A system call failed; `errno` has its name. */
  | 'SYSTEM_CALL'
  /** A value that this code cannot take. */
  | 'BAD_VALUE';

/** A real host could not give what was asked of it. */
export class NativeError extends Error {
  /**
   * @param code stable code.
   * @param message what was expected, what was seen, what to do.
   * @param errno name of the kernel's error, such as `EPERM`; undefined when no call failed.
   */
  constructor(
    readonly code: NativeErrorCode,
    message: string,
    readonly errno?: string,
  ) {
    super(message);
    this.name = 'NativeError';
  }
}

const names = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** Name of an error number: `EPERM`; `errno 4711` for one without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}
