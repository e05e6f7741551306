/** The one error that clients of running labs meet. */

/** A running lab could not be reached, or refused. */
export class ControlError extends Error {
  /**
   * @param code `NO_LAB` none runs; `SEVERAL` which one; `REFUSED` the lab's own error; `LOST` it went away;
   * `BUSY` a lab of this name runs already.
   * @param message what was expected, what was seen, what to do.
   * @param reason the lab's own code, when it refused and gave one.
   */
  constructor(
    readonly code: 'NO_LAB' | 'SEVERAL' | 'REFUSED' | 'LOST' | 'BUSY',
    message: string,
    readonly reason?: string,
  ) {
    super(message);
    this.name = 'ControlError';
  }
}
