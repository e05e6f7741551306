/**
 * What an application sends through: a guest's netfront, or the driver domain's own NIC port. The same source
 * drives both, so that native, slow and fast runs differ in nothing but the path.
 */
import type { Frame } from '@netaccel/core-hooks';

/** A way out of a domain. */
export interface Transmitter {
  /** A buffer to write a frame of at most `bytes` into, held once; null when all are in flight. */
  allocate(bytes: number): Frame | null;
  /**
   * Sends a frame that `allocate` gave.
   * @param more another follows at once; otherwise it is published now.
   * @returns false when the queue is stopped: the frame was not taken, and `onReady` will be called.
   */
  startXmit(frame: Frame, more: boolean): boolean;
  /** Publishes what `more` held back. */
  flush(): void;
}
