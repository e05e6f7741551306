/**
 * How much a domain may have in the store: the limits as a table, and the ledger of what it has.
 *
 * Every thing that a guest can make the store keep is counted here (XSA-326), checked before anything is
 * changed (XSA-272, 414), and given back with what it was counted for. A transaction counts in an overlay that
 * is dropped or taken over with it.
 */
import { PRIVILEGED_DOMID } from './domid.js';

/** Name of a limit. */
export type QuotaName =
  | 'nodes'
  | 'watches'
  | 'transactions'
  | 'transaction-nodes'
  | 'memory'
  | 'node-size'
  | 'node-permissions'
  | 'outstanding'
  | 'write-rate'
  | 'write-burst'
  | 'request-rate'
  | 'request-burst';

/** One limit. */
export interface QuotaRow {
  /** The limit of a domain that has none of its own; 0 is no limit. */
  readonly initial: number;
  /** Of the limit. */
  readonly unit:
    'nodes' | 'watches' | 'transactions' | 'bytes' | 'entries' | 'per second' | 'writes' | 'requests';
  /** What is counted. */
  readonly counts: string;
}

/** The limits, by the name that CONTROL, GET_QUOTA and SET_QUOTA know. Domain 0 has none. */
export const QUOTAS: Readonly<Record<QuotaName, QuotaRow>> = {
  nodes: { initial: 1000, unit: 'nodes', counts: 'nodes the domain owns' },
  watches: { initial: 128, unit: 'watches', counts: 'watches of all its connections' },
  transactions: { initial: 10, unit: 'transactions', counts: 'open transactions of all its connections' },
  'transaction-nodes': { initial: 1024, unit: 'nodes', counts: 'nodes touched in one transaction' },
  memory: {
    initial: 2_621_440,
    unit: 'bytes',
    counts: 'names, values, permissions it owns, and its watches',
  },
  'node-size': { initial: 2048, unit: 'bytes', counts: "value, permissions and children's names of a node" },
  'node-permissions': { initial: 5, unit: 'entries', counts: 'permission entries of a node' },
  outstanding: {
    initial: 65_536,
    unit: 'bytes',
    counts: 'per connection, and each way: replies and events not yet taken; requests not yet worked off',
  },
  'write-rate': {
    initial: 200,
    unit: 'per second',
    counts: "changes while another domain's transaction is open (XSA-206)",
  },
  'write-burst': { initial: 10, unit: 'writes', counts: 'such changes at once' },
  'request-rate': { initial: 2000, unit: 'per second', counts: 'requests that are answered; others wait' },
  'request-burst': { initial: 1000, unit: 'requests', counts: 'requests that are answered at once' },
};

/** All names, in the table's order. */
export const QUOTA_NAMES = Object.keys(QUOTAS) as QuotaName[];

/** Whether `name` is a limit's. */
export function isQuotaName(name: string): name is QuotaName {
  return Object.hasOwn(QUOTAS, name);
}

/** The limits in force: for everyone, and a domain's own. */
export class QuotaTable {
  readonly #forAll = new Map<QuotaName, number>();
  readonly #forOne = new Map<number, Map<QuotaName, number>>();

  /** @param changes to the table's initial values. */
  constructor(changes: Partial<Record<QuotaName, number>> = {}) {
    for (const name of QUOTA_NAMES) this.#forAll.set(name, changes[name] ?? QUOTAS[name].initial);
  }

  /** The value for everyone, or for one domain; 0 is no limit. */
  get(name: QuotaName, domid?: number): number {
    const own = domid === undefined ? undefined : this.#forOne.get(domid)?.get(name);
    return own ?? this.#forAll.get(name)!;
  }

  /** Sets the value for everyone without one of their own, or for one domain. */
  set(name: QuotaName, value: number, domid?: number): void {
    if (domid === undefined) {
      this.#forAll.set(name, value);
      return;
    }
    const own = this.#forOne.get(domid) ?? new Map<QuotaName, number>();
    this.#forOne.set(domid, own.set(name, value));
  }

  /** What a check compares with: infinite for domain 0 and where the limit is off. */
  limit(domid: number, name: QuotaName): number {
    const value = this.get(name, domid);
    return domid === PRIVILEGED_DOMID || value === 0 ? Infinity : value;
  }

  /** Drops a domain's own values: the number may come back as another domain. */
  forget(domid: number): void {
    this.#forOne.delete(domid);
  }
}

/** What the ledger counts. */
export type CountedItem = 'nodes' | 'memory' | 'watches' | 'transactions';

/** Counts of one domain. */
export type Counts = Readonly<Record<CountedItem, number>>;

/** What a domain without an entry has. */
export const NO_COUNTS: Counts = { nodes: 0, memory: 0, watches: 0, transactions: 0 };

/** What each domain has now. */
export class Ledger {
  readonly #counts = new Map<number, Record<CountedItem, number>>();

  /** @param under the ledger that this one is laid over: what is charged here counts on top of it. */
  constructor(
    readonly quotas: QuotaTable,
    readonly under?: Ledger,
  ) {}

  /** How much a domain has. */
  count(domid: number, item: CountedItem): number {
    return (this.#counts.get(domid)?.[item] ?? 0) + (this.under?.count(domid, item) ?? 0);
  }

  /** Whether `amount` more would be over the domain's limit. Less never is. */
  exceeds(domid: number, item: CountedItem, amount: number): boolean {
    return amount > 0 && this.count(domid, item) + amount > this.quotas.limit(domid, item);
  }

  /** Counts `amount` more, or less. The caller has checked. */
  charge(domid: number, item: CountedItem, amount: number): void {
    let counts = this.#counts.get(domid);
    if (counts === undefined) this.#counts.set(domid, (counts = { ...NO_COUNTS }));
    counts[item] += amount;
  }

  /** A ledger laid over this one, for a transaction. */
  overlay(): Ledger {
    return new Ledger(this.quotas, this);
  }

  /** The domains that an overlay would put over a limit if it were taken over now. */
  overdrawnBy(overlay: Ledger): number[] {
    const items = Object.keys(NO_COUNTS) as CountedItem[];
    return [...overlay.#counts]
      .filter(([domid, counts]) => items.some((item) => this.exceeds(domid, item, counts[item])))
      .map(([domid]) => domid);
  }

  /** Takes over what an overlay counted. */
  absorb(overlay: Ledger): void {
    for (const [domid, counts] of overlay.#counts)
      for (const item of Object.keys(counts) as CountedItem[]) this.charge(domid, item, counts[item]);
  }

  /** Starts a domain at nothing: its number may come back as another domain (XSA-483). */
  forget(domid: number): void {
    this.#counts.delete(domid);
  }

  /** The counts of every domain that has something. */
  describe(): Record<number, Counts> {
    const held = [...this.#counts].filter(([, counts]) => Object.values(counts).some((n) => n !== 0));
    return Object.fromEntries(held.map(([domid, counts]) => [domid, { ...counts }]));
  }
}
