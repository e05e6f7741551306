/** The one error of the backend daemon: what a host or a command line does not allow. */

/** The flags, or this host, do not allow a backend. */
export class XenBackendError extends Error {
  /**
   * @param code stable code.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: 'NETWORK' | 'KERNEL_DRIVER' | 'STORE_LOST',
    message: string,
  ) {
    super(message);
    this.name = 'XenBackendError';
  }
}
