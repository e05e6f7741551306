/** Why no project was made: what the command prints, and what a program tells apart by code. */

/** Which rule was broken. */
export type CreateErrorCode = 'BAD_NAME' | 'BAD_DEVICE' | 'NOT_EMPTY' | 'NOT_A_FOLDER' | 'NOT_WRITTEN';

/** No project was made. */
export class CreateError extends Error {
  /**
   * @param code which rule was broken.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: CreateErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'CreateError';
  }
}
