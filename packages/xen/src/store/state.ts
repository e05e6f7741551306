/**
 * All that the store knows, and what happens to it apart from single requests: domains that come and go.
 *
 * Requests and the server share one of these. It owns the nodes, watches, counts and records; connections are
 * in here so that a domain that goes takes its own with it.
 */
import type { Clock } from '@netaccel/core-hooks';
import type { StoreConnection } from './connection.js';
import { isRealDomid, PRIVILEGED_DOMID } from './domid.js';
import { Domains } from './domains.js';
import { StoreError } from './error.js';
import { DomainCredit } from './fairness.js';
import { LiveStore } from './live.js';
import { memoryOf } from './operations.js';
import type { EventCounters } from './outbox.js';
import { SPECIAL_PATHS } from './path.js';
import type { Permissions } from './permissions.js';
import { Ledger, QuotaTable, type QuotaName } from './quota.js';
import { removeDomainFrom } from './release.js';
import { Tree } from './tree.js';
import { WatchTable } from './watches.js';

/** What a store is made with. */
export interface StoreServerOptions {
  /** Limits other than the table's. */
  readonly quotas?: Partial<Record<QuotaName, number>>;
  /** Time, for holding back domains that disturb others' transactions (XSA-206). Without it none is held back. */
  readonly clock?: Pick<Clock, 'now' | 'after'>;
  /** Whether a domain is there, introduced or not; permissions for others are left out. Without it, all are. */
  readonly domainExists?: (domid: number) => boolean;
  /** Domain 0 sent INTRODUCE; the domain counts as introduced already. */
  readonly onIntroduce?: (request: IntroduceRequest) => void;
  /** One line for the operator. */
  readonly log?: (line: string) => void;
}

/** What INTRODUCE says. */
export interface IntroduceRequest {
  /** The domain that is there. */
  readonly domid: number;
  /** Frame number of the ring page, in the domain's own count. */
  readonly gfn: number;
  /** Event channel of the ring, unbound in that domain. */
  readonly port: number;
}

/** What the server counts, besides the events. */
export interface StoreCounters extends EventCounters {
  /** Requests answered, also with an error. */
  requests: number;
  /** Requests answered with an error. */
  refusals: number;
  /** Transactions that ended in EAGAIN. */
  conflicts: number;
  /** Connections ended for a breach of the protocol, a flood, or a transport that failed. */
  connectionsCut: number;
  /** Requests that failed by our own mistake, answered with EIO; each is in the log. */
  internalErrors: number;
}

/** The nodes that are there from the start. */
export const ROOTS: readonly string[] = ['/', SPECIAL_PATHS.introduce, SPECIAL_PATHS.release];
/** Their permissions: domain 0's, nobody else's business until it says so. */
export const ROOT_PERMISSIONS: Permissions = [{ domid: PRIVILEGED_DOMID, access: 'none' }];

/** The state of one store. */
export class StoreState {
  readonly quotas: QuotaTable;
  readonly ledger: Ledger;
  readonly live: LiveStore;
  readonly watches = new WatchTable();
  readonly domains = new Domains();
  readonly writeCredit: DomainCredit;
  readonly requestCredit: DomainCredit;
  readonly connections = new Set<StoreConnection>();
  readonly counters: StoreCounters = {
    requests: 0,
    refusals: 0,
    conflicts: 0,
    connectionsCut: 0,
    internalErrors: 0,
    eventsQueued: 0,
    eventsCoalesced: 0,
    eventsDropped: 0,
    eventsTooLong: 0,
  };
  /** Open transactions of all connections. */
  openTransactions = 0;

  constructor(readonly options: StoreServerOptions) {
    this.quotas = new QuotaTable(options.quotas);
    this.ledger = new Ledger(this.quotas);
    this.live = new LiveStore(Tree.create(ROOTS, ROOT_PERMISSIONS), this.ledger);
    this.writeCredit = new DomainCredit(this.quotas, options.clock, 'write-rate', 'write-burst');
    this.requestCredit = new DomainCredit(this.quotas, options.clock, 'request-rate', 'request-burst');
    for (const path of ROOTS) {
      this.ledger.charge(PRIVILEGED_DOMID, 'nodes', 1);
      this.ledger.charge(PRIVILEGED_DOMID, 'memory', memoryOf(path, this.live.look(path)!));
    }
  }

  /** Whether a permission may name this domain. */
  domainExists(domid: number): boolean {
    return isRealDomid(domid) && (this.options.domainExists?.(domid) ?? true);
  }

  /** Tells the watches what changed since the last call; whether anything did. */
  fireChanges(): boolean {
    const changes = this.live.takeChanges();
    for (const change of changes) this.watches.fire(change);
    return changes.length > 0;
  }

  /** `domid` changed something: it pays for it if somebody else's transaction may suffer (XSA-206). */
  countChange(domid: number): void {
    if (this.openTransactions > this.ledger.count(domid, 'transactions')) this.writeCredit.spend(domid);
  }

  /** A domain is there; a real one. */
  introduce(domid: number): void {
    const record = this.domains.record(domid);
    if (record.introduced) return;
    record.introduced = true;
    this.#fireSpecial(SPECIAL_PATHS.introduce, domid);
  }

  /** A domain shut down, and may be resumed. Told once. */
  shutDown(domid: number): void {
    if (!this.domains.isIntroduced(domid)) return;
    const record = this.domains.record(domid);
    if (record.shutdown) return;
    record.shutdown = true;
    this.#fireSpecial(SPECIAL_PATHS.release, domid);
  }

  /** @throws StoreError `EINVAL` for domain 0, and for a number that no domain can have. */
  checkReleasable(domid: number): void {
    if (domid === PRIVILEGED_DOMID || !isRealDomid(domid))
      throw new StoreError('EINVAL', `domain ${domid} cannot be released`);
  }

  /**
   * A domain is gone, and everything of it goes: its connections first, so that it hears nothing of the rest,
   * then its nodes and rights (XSA-322, 419), its counts and limits (XSA-483).
   */
  release(domid: number): void {
    const wasIntroduced = this.domains.isIntroduced(domid);
    for (const connection of [...this.connections])
      if (connection.domid === domid) connection.end(`domain ${domid} was released`);
      else for (const transaction of connection.transactions.values()) transaction.domainReleased(domid);
    removeDomainFrom(this.live, domid, ROOTS, ROOT_PERMISSIONS);
    this.ledger.forget(domid);
    this.quotas.forget(domid);
    this.writeCredit.forget(domid);
    this.requestCredit.forget(domid);
    this.domains.forget(domid);
    this.fireChanges();
    if (wasIntroduced) this.#fireSpecial(SPECIAL_PATHS.release, domid);
  }

  /** Counts all nodes anew and returns where the ledger is wrong; empty when it is right. */
  checkAccounts(): string[] {
    const counted = new Ledger(this.quotas);
    for (const root of ROOTS)
      for (const { path, node } of this.live.tree.walk(root)) {
        counted.charge(node.permissions[0]!.domid, 'nodes', 1);
        counted.charge(node.permissions[0]!.domid, 'memory', memoryOf(path, node));
      }
    for (const { domid, memoryBytes, count } of this.#watchCounts()) {
      counted.charge(domid, 'watches', count);
      counted.charge(domid, 'memory', memoryBytes);
    }
    for (const { domid, transactions } of this.connections)
      counted.charge(domid, 'transactions', transactions.size);
    const domids = new Set([...Object.keys(counted.describe()), ...Object.keys(this.ledger.describe())]);
    return [...domids].flatMap((text) => {
      const expected = JSON.stringify(counted.describe()[Number(text)] ?? {});
      const seen = JSON.stringify(this.ledger.describe()[Number(text)] ?? {});
      return expected === seen ? [] : [`domain ${text}: counted ${expected}, on the books ${seen}`];
    });
  }

  #watchCounts(): { domid: number; count: number; memoryBytes: number }[] {
    return [...this.connections].map((connection) => {
      return { domid: connection.domid, ...this.watches.totalsOf(connection) };
    });
  }

  #fireSpecial(path: string, domid: number): void {
    this.watches.fireSpecial(path, domid, this.live.look(path)!.permissions);
  }
}
