/** What the parts of one domain have in common: where it is, and what may go wrong there. */
import type { DomainId } from '../machine.js';
import type { Faults } from './faults.js';
import type { Lab } from './lab.js';

/** A domain as its own parts see it. */
export interface DomainContext {
  /** The lab that it lives in. */
  readonly lab: Lab;
  /** Its place in the lab's tables. */
  readonly slot: number;
  /** The host that it runs on: domain numbers mean something within one host only. Changes when it moves. */
  host: number;
  /** Its number there. Changes when it moves. */
  id: DomainId;
  /** What a test lets go wrong. */
  readonly faults: Faults;
}
