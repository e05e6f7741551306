/** What a benchmark case is. */

/** What a case found: figures by name, each with its unit in the name. */
export type Figures = Readonly<Record<string, number>>;

/**
 * Stretches that a frames case measures, unless somebody says otherwise. A run is many short ones, of which the median
 * counts: what disturbs some of them moves it little.
 */
export const STRETCHES = 100;

/** A case cannot run here. */
export class CaseUnavailable extends Error {
  /** @param message what is missing, and what to do. */
  constructor(message: string) {
    super(message);
    this.name = 'CaseUnavailable';
  }
}

/** A case. */
export interface BenchCase {
  readonly name: string;
  /** What it measures, for people. */
  readonly what: string;
  /** Node's own options for its process. */
  readonly node?: readonly string[];
  /** Whether it runs in one thread: it is then bound to one processor, the same for all that are compared. */
  readonly oneThread?: true;
  /** Whether the process must be in a user namespace of its own. */
  readonly namespaces?: true;
  /** @param stretches how many stretches of frames count, for a case that measures in stretches. */
  run(stretches: number): Promise<Figures>;
}
