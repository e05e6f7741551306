/**
 * A transaction: reads see the store as it was at the start, writes stay inside until the commit.
 *
 * It notes what its answers depended on and, at the commit, compares that with the live store: anything
 * changed since is EAGAIN, and nothing happened. A transaction that wrote nothing always commits: it saw one
 * moment of the store. Making a node depends on its parent's content, not on its siblings, so two transactions
 * that fill one directory do not get in each other's way (XSA-206).
 */
import type { ChangeScope, LiveStore, Workspace } from './live.js';
import type { Ledger } from './quota.js';
import { isPrivileged, type Caller, type Permissions } from './permissions.js';
import type { StoreNode, Tree } from './tree.js';
import { StoreError } from './error.js';

/** What a transaction saw of a node: generations, 0 where there was no node. */
interface Seen {
  readonly content: number;
  /** Set when the list of children counted, too. */
  all: number | undefined;
}

/** One open transaction of one connection. */
export class Transaction implements Workspace {
  readonly ledger: Ledger;
  readonly #live: LiveStore;
  readonly #caller: Caller;
  /** As it was at the start; never changed. */
  readonly #start: Tree;
  readonly #own: Tree;
  readonly #seen = new Map<string, Seen>();
  readonly #written = new Set<string>();
  readonly #marks = new Map<string, ChangeScope>();
  readonly #released = new Set<number>();

  constructor(live: LiveStore, caller: Caller) {
    this.#live = live;
    this.#caller = caller;
    this.#start = live.tree.fork();
    this.#own = this.#start.fork();
    this.ledger = live.ledger.overlay();
  }

  /** Whether it would change anything. */
  get wrote(): boolean {
    return this.#written.size > 0;
  }

  look(path: string, part: 'content' | 'children'): StoreNode | undefined {
    const before = this.#start.get(path);
    let seen = this.#seen.get(path);
    if (seen === undefined) {
      if (this.#seen.size >= this.ledger.quotas.limit(this.#caller.domid, 'transaction-nodes'))
        throw new StoreError(
          'ENOSPC',
          `the transaction touches more nodes than the quota "transaction-nodes"`,
        );
      seen = { content: before?.contentGeneration ?? 0, all: undefined };
      this.#seen.set(path, seen);
    }
    if (part === 'children') seen.all = before?.generation ?? 0;
    return this.#own.get(path);
  }

  mark(path: string, scope: ChangeScope): void {
    if (scope === 'subtree' || !this.#marks.has(path)) this.#marks.set(path, scope);
  }

  put(path: string, value: Uint8Array, permissions: Permissions): void {
    this.#own.put(path, value, permissions);
    this.#written.add(path);
  }

  delete(path: string): void {
    this.#own.delete(path);
    this.#written.add(path);
  }

  /** A domain is gone: what was written here in its name must not outlive it (XSA-322). */
  domainReleased(domid: number): void {
    this.#released.add(domid);
  }

  /**
   * Puts everything into the live store, or nothing.
   * @throws StoreError `EAGAIN` when something it depended on changed, `ENOSPC` when a quota no longer allows it.
   */
  commit(): void {
    if (!this.wrote) return;
    if (this.#isStale() || this.#namesReleased())
      throw new StoreError('EAGAIN', 'what the transaction read or wrote was changed in between');
    if (!isPrivileged(this.#caller) && this.#live.ledger.overdrawnBy(this.ledger).length > 0)
      throw new StoreError('ENOSPC', 'the transaction would put a domain over a quota');
    for (const [path, scope] of this.#marks) this.#live.mark(path, scope);
    // In the order of first writing: a directory made here comes before what was made in it.
    for (const path of this.#written) {
      const node = this.#own.get(path);
      if (node !== undefined) this.#live.put(path, node.value, node.permissions);
      else if (this.#live.look(path) !== undefined) this.#live.delete(path);
    }
    this.#live.ledger.absorb(this.ledger);
  }

  #isStale(): boolean {
    for (const [path, { content, all }] of this.#seen) {
      const now = this.#live.look(path);
      if ((now?.contentGeneration ?? 0) !== content) return true;
      if (all !== undefined && (now?.generation ?? 0) !== all) return true;
    }
    return false;
  }

  #namesReleased(): boolean {
    if (this.#released.size === 0) return false;
    for (const path of this.#written)
      if (this.#own.get(path)?.permissions.some(({ domid }) => this.#released.has(domid)) === true)
        return true;
    return false;
  }
}
