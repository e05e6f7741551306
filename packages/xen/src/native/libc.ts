/**
 * The C library calls that a real Xen host's devices need, as a small interface, and its binding to koffi.
 *
 * koffi is an optional dependency: `loadNativeLibc` imports it when asked. Calls return what C returns: -1, and
 * `errno()` has the reason until the next call. Addresses are plain numbers (user addresses are below 2^53).
 */

/** System calls through a foreign function library. */
export interface NativeLibc {
  /** open(2) without O_CREAT. */
  open(path: string, flags: number): number;
  /** close(2). */
  close(descriptor: number): number;
  /** ioctl(2); `argument` is a value or an address, as the request wants. */
  ioctl(descriptor: number, request: number, argument: number): number;
  /** read(2). */
  read(descriptor: number, address: number, length: number): number;
  /** write(2). */
  write(descriptor: number, address: number, length: number): number;
  /** mmap(2): the address, or -1. */
  mmap(
    address: number,
    length: number,
    protection: number,
    flags: number,
    descriptor: number,
    offset: number,
  ): number;
  /** Why the last call of this thread failed. */
  errno(): number;
  /** Where a view's memory lies; the caller keeps its buffer alive. */
  addressOf(view: ArrayBufferView): number;
  /**
   * Calls `ready` from the event loop each time that `descriptor` can be read or has failed, until stopped.
   * Costs nothing while it cannot, and does not keep a process from exiting.
   */
  poll(descriptor: number, ready: () => void): DescriptorPoll;
}

/** A descriptor in the event loop. */
export interface DescriptorPoll {
  /** Begins, or goes on. */
  start(): void;
  /** Pauses. */
  stop(): void;
  /** Ends it, before the descriptor is closed. */
  close(): void;
}
