/**
 * Keeps a domain that writes without end from making everybody else's transactions fail (XSA-206).
 *
 * Each change that an unprivileged domain makes while another domain has a transaction open costs it one credit;
 * credit comes back with time, at the rate of a quota. A domain in debt is not refused: its requests wait. The
 * server asks before it takes a request and sets a timer for the moment the credit is back.
 */
import type { Clock } from '@netaccel/core-hooks';
import type { QuotaTable } from './quota.js';

interface Credit {
  writes: number;
  atMs: number;
}

/** The credit of each domain. Without a clock nothing is ever held back. */
export class WriteCredit {
  readonly #credits = new Map<number, Credit>();

  constructor(
    readonly quotas: QuotaTable,
    readonly clock: Pick<Clock, 'now' | 'after'> | undefined,
  ) {}

  /** A domain made a change that may have cost another its transaction. */
  spend(domid: number): void {
    const credit = this.#now(domid);
    if (credit !== undefined) credit.writes--;
  }

  /** Milliseconds until the domain's requests are taken again; 0 when they are now. */
  waitMs(domid: number): number {
    const debt = -(this.#now(domid)?.writes ?? 0);
    return debt <= 0 ? 0 : Math.ceil((debt * 1000) / this.quotas.limit(domid, 'write-rate'));
  }

  /** A domain is gone. */
  forget(domid: number): void {
    this.#credits.delete(domid);
  }

  #now(domid: number): Credit | undefined {
    const burst = this.quotas.limit(domid, 'write-burst');
    const rate = this.quotas.limit(domid, 'write-rate');
    if (this.clock === undefined || burst === Infinity || rate === Infinity) return undefined;
    const atMs = this.clock.now();
    const credit = this.#credits.get(domid) ?? { writes: burst, atMs };
    credit.writes = Math.min(burst, credit.writes + ((atMs - credit.atMs) * rate) / 1000);
    credit.atMs = atMs;
    this.#credits.set(domid, credit);
    return credit;
  }
}
