/**
 * Keeps a domain that asks without end from everybody else's time, and one that writes without end from making
 * everybody else's transactions fail (XSA-206).
 *
 * Each request of an unprivileged domain costs it one credit; so does, of another kind, each change that it makes while
 * another domain has a transaction open. Credit comes back with time, at the rate of a quota. A domain in debt is not
 * refused: its requests wait. The server asks before it takes a request and sets a timer for the moment the credit is
 * back.
 */
import type { Clock } from '@netaccel/core-hooks';
import type { QuotaName, QuotaTable } from './quota.js';

interface Credit {
  left: number;
  atMs: number;
}

/** One kind of credit, of each domain. Without a clock nothing is ever held back. */
export class DomainCredit {
  readonly #credits = new Map<number, Credit>();

  /**
   * @param rate name of the quota that says how fast credit comes back.
   * @param burst name of the quota that says how much there is at most.
   */
  constructor(
    readonly quotas: QuotaTable,
    readonly clock: Pick<Clock, 'now' | 'after'> | undefined,
    readonly rate: QuotaName,
    readonly burst: QuotaName,
  ) {}

  /** A domain used one. */
  spend(domid: number): void {
    const credit = this.#now(domid);
    if (credit !== undefined) credit.left--;
  }

  /** Milliseconds until the domain's requests are taken again; 0 when they are now. */
  waitMs(domid: number): number {
    const debt = -(this.#now(domid)?.left ?? 0);
    return debt <= 0 ? 0 : Math.ceil((debt * 1000) / this.quotas.limit(domid, this.rate));
  }

  /** A domain is gone. */
  forget(domid: number): void {
    this.#credits.delete(domid);
  }

  #now(domid: number): Credit | undefined {
    const burst = this.quotas.limit(domid, this.burst);
    const rate = this.quotas.limit(domid, this.rate);
    if (this.clock === undefined || burst === Infinity || rate === Infinity) return undefined;
    const atMs = this.clock.now();
    let credit = this.#credits.get(domid);
    if (credit === undefined) this.#credits.set(domid, (credit = { left: burst, atMs }));
    credit.left = Math.min(burst, credit.left + ((atMs - credit.atMs) * rate) / 1000);
    credit.atMs = atMs;
    return credit;
  }
}
