/**
 * Faults drawn by seed, at rates: what a simulated machine is given so that it breaks now and then, at every point
 * where a real one may, and in the same way each time the seed is the same.
 *
 * Only what a correct machine may do is drawn. An event may come late or twice, never not at all.
 */
import { GrantStatus } from '../grant-copy.js';
import type { DomainId, GrantRef, Port } from '../machine.js';
import type { Faults } from './faults.js';
import { Random } from './random.js';

/** How often each fault is drawn, from 0 to 1. What is left out never happens. */
export interface FaultRates {
  /** An event comes late. */
  readonly eventLate?: number;
  /** An event comes twice. */
  readonly eventTwice?: number;
  /** A store message, and all behind it, comes late. */
  readonly storeLate?: number;
  /** A map of a granted page fails. */
  readonly mapFails?: number;
  /** A copy by grant fails. */
  readonly copyFails?: number;
  /** There are no pages. */
  readonly noPages?: number;
  /** There are no grants. */
  readonly noGrants?: number;
  /** There are no event channel ports. */
  readonly noPorts?: number;
}

/** Names of the rates. */
export const faultNames = [
  'eventLate',
  'eventTwice',
  'storeLate',
  'mapFails',
  'copyFails',
  'noPages',
  'noGrants',
  'noPorts',
] as const satisfies readonly (keyof FaultRates)[];

/** Milliseconds of virtual time that something late is late at most. */
const LATE_MS = 5;
const UNIT = 2 ** 32;

/**
 * Faults at rates.
 *
 * @example
 * ```ts
 * const faults = new SeededFaults(7, { eventLate: 0.1, copyFails: 0.01 });
 * const machine = new SimMachine({ seed: 7, faults });
 * // ...
 * faults.rates = {}; // from here on all goes well
 * ```
 */
export class SeededFaults implements Faults {
  /** How often each was drawn. */
  readonly drawn: Record<(typeof faultNames)[number], number> = {
    eventLate: 0,
    eventTwice: 0,
    storeLate: 0,
    mapFails: 0,
    copyFails: 0,
    noPages: 0,
    noGrants: 0,
    noPorts: 0,
  };
  /** Before each step of the scheduler, with its number. */
  step: (step: number) => void = () => undefined;
  private readonly random: Random;

  /**
   * @param seed decides the draws.
   * @param rates may be exchanged at any time.
   */
  constructor(
    seed: number,
    public rates: FaultRates,
  ) {
    this.random = new Random(seed);
  }

  /** {@inheritDoc Faults.event} */
  event(_target: DomainId, _port: Port): number | 'double' | undefined {
    if (this.draw('eventLate')) return this.late();
    return this.draw('eventTwice') ? 'double' : undefined;
  }

  /** {@inheritDoc Faults.storeMessage} */
  storeMessage(_domain: DomainId): number | undefined {
    return this.draw('storeLate') ? this.late() : undefined;
  }

  /** {@inheritDoc Faults.grant} */
  grant(operation: 'map' | 'copy', _domain: DomainId, _peer: DomainId, _ref: GrantRef): number | undefined {
    return this.draw(operation === 'map' ? 'mapFails' : 'copyFails') ? GrantStatus.generalError : undefined;
  }

  /** {@inheritDoc Faults.exhausted} */
  exhausted(_domain: DomainId, what: 'pages' | 'grants' | 'ports', _count: number): boolean {
    return this.draw(what === 'pages' ? 'noPages' : what === 'grants' ? 'noGrants' : 'noPorts');
  }

  private draw(name: (typeof faultNames)[number]): boolean {
    const rate = this.rates[name];
    if (rate === undefined || this.random.next() >= rate * UNIT) return false;
    this.drawn[name]++;
    return true;
  }

  private late(): number {
    return (this.random.below(1000) / 1000) * LATE_MS;
  }
}
