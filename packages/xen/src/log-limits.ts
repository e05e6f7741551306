/** Bounds of a log. */
export interface LogLimits {
  /** Lines at once. */
  readonly burst: number;
  /** Lines a second after that. */
  readonly perSecond: number;
}

/** How much a domain says to the operator, whatever its peers do: what a peer can cause costs a log no more than this. */
export const LOG_LIMITS: LogLimits = Object.freeze({ burst: 50, perSecond: 10 });
