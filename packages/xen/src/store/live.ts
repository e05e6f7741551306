/**
 * The store as everybody sees it, and what a request may do to it or to a transaction's copy of it.
 *
 * Operations mark a path before they change it, so that the watches learn afterwards who could see it before
 * and who can now (XSA-115): who lost the right to read a node is told, who never had it is not.
 */
import type { Ledger } from './quota.js';
import type { Permissions } from './permissions.js';
import type { StoreNode, Tree } from './tree.js';
import { parentOf } from './path.js';

/**
 * Which watches a change reaches: `subtree`, those on the path and on what it is under; `exact`, those on the
 * path itself, for a node that went because one above it was removed.
 */
export type ChangeScope = 'subtree' | 'exact';

/** One change that watches must hear of. */
export interface Change {
  readonly path: string;
  readonly scope: ChangeScope;
  /** Permissions of the node and its parent, before and after: who may read any of them may know. */
  readonly readers: readonly Permissions[];
}

/** What operations work on: the live store, or a transaction's copy. */
export interface Workspace {
  /** What the nodes count as. */
  readonly ledger: Ledger;
  /** The node at a path. `part` says what of it the answer depends on. */
  look(path: string, part: 'content' | 'children'): StoreNode | undefined;
  /** Announces a change, before it is made; a path once in an operation. */
  mark(path: string, scope: ChangeScope): void;
  /** Makes or changes a node under a parent that is there. */
  put(path: string, value: Uint8Array, permissions: Permissions): void;
  /** Removes a node that is there. */
  delete(path: string): void;
}

interface Mark {
  readonly scope: ChangeScope;
  readonly existed: boolean;
  readonly readersBefore: readonly Permissions[];
}

const NO_CHANGES: readonly Change[] = [];

/** The live nodes. */
export class LiveStore implements Workspace {
  #marks = new Map<string, Mark>();

  constructor(
    readonly tree: Tree,
    readonly ledger: Ledger,
  ) {}

  look(path: string): StoreNode | undefined {
    return this.tree.get(path);
  }

  mark(path: string, scope: ChangeScope): void {
    const existed = this.tree.get(path) !== undefined;
    this.#marks.set(path, { scope, existed, readersBefore: this.#readersOf(path) });
  }

  put(path: string, value: Uint8Array, permissions: Permissions): void {
    this.tree.put(path, value, permissions);
  }

  delete(path: string): void {
    this.tree.delete(path);
  }

  /** The changes since the last call, in the order they were marked. What came and went again is none. */
  takeChanges(): readonly Change[] {
    if (this.#marks.size === 0) return NO_CHANGES;
    const marks = this.#marks;
    this.#marks = new Map();
    const changes: Change[] = [];
    for (const [path, { existed, scope, readersBefore }] of marks)
      if (existed || this.tree.get(path) !== undefined)
        changes.push({ path, scope, readers: [...readersBefore, ...this.#readersOf(path)] });
    return changes;
  }

  #readersOf(path: string): Permissions[] {
    const parent = parentOf(path);
    const own = this.tree.get(path);
    const above = parent === undefined ? undefined : this.tree.get(parent);
    if (own === undefined) return above === undefined ? [] : [above.permissions];
    return above === undefined ? [own.permissions] : [own.permissions, above.permissions];
  }
}
