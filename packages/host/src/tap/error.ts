/**
 * The one error that this folder throws: set-up failures and our own mistakes. The frame path answers with
 * numbers instead.
 */
import { constants } from 'node:os';
import type { Libc } from './ffi.js';

/** What went wrong, for programs. */
export type TapErrorCode =
  /** Not Linux, or an architecture whose kernel interface is not known here. */
  | 'UNSUPPORTED_PLATFORM'
  /** The optional dependency koffi is not installed or does not load. */
  | 'NO_KOFFI'
  /** Neither privileged nor able to make a user namespace. */
  | 'NO_USER_NAMESPACE'
  /** /dev/net/tun is missing or may not be opened. */
  | 'NO_TUN_DEVICE'
  /** The `setpriv` program of util-linux is missing. */
  | 'NO_SETPRIV'
  /** The `nsenter` program of util-linux is missing. */
  | 'NO_NSENTER'
  /** A system call failed; `errno` has its name. */
  | 'SYSTEM_CALL'
  /** The thread could not return to its own network namespace: end the process. */
  | 'THREAD_LOST'
  /** A value that the kernel or this code cannot take. */
  | 'BAD_VALUE'
  /** Used after close. */
  | 'CLOSED';

/** A guest's network, or the way to it, could not be made. */
export class TapError extends Error {
  /**
   * @param code stable code.
   * @param message what was expected, what was seen, what to do.
   * @param errno name of the kernel's error, such as `EPERM`; undefined when no call failed.
   */
  constructor(
    readonly code: TapErrorCode,
    message: string,
    readonly errno?: string,
  ) {
    super(message);
    this.name = 'TapError';
  }
}

const names = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);
// Linux errors that Node's table lacks and that TAP devices answer with.
names.set(77, 'EBADFD');

/** Name of an error number: `EPERM`; `errno 4711` for one without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/**
 * Passes on a system call's result, or throws what the kernel answered.
 * @param doing what was tried, such as "open /dev/net/tun".
 * @param remedy what to do about it.
 */
export function checked(libc: Libc, result: number, doing: string, remedy: string): number {
  if (result >= 0) return result;
  const name = errnoName(libc.errno());
  throw new TapError('SYSTEM_CALL', `Cannot ${doing}: the kernel answered ${name}. ${remedy}`, name);
}
