/** A check of a run failed: the message says which and what was seen. */
export class CheckFailed extends Error {
  override name = 'CheckFailed';
}

/** Ends the run at once. */
export function fail(what: string): never {
  throw new CheckFailed(what);
}
