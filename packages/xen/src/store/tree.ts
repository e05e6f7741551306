/**
 * The nodes of the store, as a tree that can be forked in no time.
 *
 * A fork shares all nodes with its origin; whichever of the two changes a node first makes a copy of it and of
 * the way to it, once per fork. So a transaction's snapshot costs nothing until somebody writes. The tree owns
 * its nodes; values and permission lists are never changed in place. Nothing here recurses (XSA-418).
 */
import type { Permissions } from './permissions.js';
import { childOf } from './path.js';

/** A node as others may see it. Valid until the tree changes; values and permission lists may be kept. */
export interface StoreNode {
  /** Its value, any bytes. */
  readonly value: Uint8Array;
  /** Its entries, owner first. */
  readonly permissions: Permissions;
  /** Changes with value, permissions and the list of children; never repeats within a store. */
  readonly generation: number;
  /** Changes with value and permissions only. */
  readonly contentGeneration: number;
  /** Its children by name, in the order they were made. */
  readonly children: ReadonlyMap<string, StoreNode>;
  /** Bytes of the children's names with a NUL after each: the length of its DIRECTORY list. */
  readonly childListBytes: number;
}

class TreeNode implements StoreNode {
  generation = 0;
  contentGeneration = 0;
  childListBytes = 0;

  constructor(
    readonly fork: object,
    public value: Uint8Array,
    public permissions: Permissions,
    readonly children: Map<string, TreeNode>,
  ) {}

  copyFor(fork: object): TreeNode {
    const copy = new TreeNode(fork, this.value, this.permissions, new Map(this.children));
    copy.generation = this.generation;
    copy.contentGeneration = this.contentGeneration;
    copy.childListBytes = this.childListBytes;
    return copy;
  }
}

/** A node and its canonical path. */
export interface FoundNode {
  readonly path: string;
  readonly node: StoreNode;
}

const NO_VALUE = new Uint8Array(0);

/** Ways that were asked for; all are forgotten when there are too many. */
const ways = new Map<string, readonly string[]>();
const MOST_WAYS = 1024;

/**
 * `/a/b` is the way `''`, `a`, `b` from a hidden top that also holds the special nodes. This is asked more often than
 * all else together, nearly always for one of a few paths.
 */
function wayTo(path: string): readonly string[] {
  let way = ways.get(path);
  if (way !== undefined) return way;
  if (ways.size >= MOST_WAYS) ways.clear();
  way = path === '/' ? [''] : path.split('/');
  ways.set(path, way);
  return way;
}

/** A tree of nodes by canonical path. */
export class Tree {
  #top: TreeNode;
  #fork = {};
  readonly #counter: { generation: number };

  private constructor(top: TreeNode, counter: { generation: number }) {
    this.#top = top;
    this.#counter = counter;
  }

  /** A tree of these roots and nothing else: `/` and the special nodes, each with the same permissions. */
  static create(roots: readonly string[], permissions: Permissions): Tree {
    const tree = new Tree(new TreeNode({}, NO_VALUE, permissions, new Map()), { generation: 0 });
    for (const root of roots) tree.put(root, NO_VALUE, permissions);
    return tree;
  }

  /** The node at a canonical path. */
  get(path: string): StoreNode | undefined {
    let node: TreeNode | undefined = this.#top;
    for (const name of wayTo(path)) {
      node = node.children.get(name);
      if (node === undefined) return undefined;
    }
    return node;
  }

  /** A second tree with the same nodes. From here on each changes for itself. */
  fork(): Tree {
    this.#fork = {};
    return new Tree(this.#top, this.#counter);
  }

  /**
   * Sets value and permissions of a node, and makes it if it is not there. Its parent must be.
   * @throws Error when the parent is missing: our own mistake.
   */
  put(path: string, value: Uint8Array, permissions: Permissions): void {
    const way = wayTo(path);
    const name = way[way.length - 1]!;
    const parent = this.#writable(way, path);
    const old = parent.children.get(name);
    const generation = ++this.#counter.generation;
    let node: TreeNode;
    if (old === undefined) {
      node = new TreeNode(this.#fork, value, permissions, new Map());
      parent.generation = generation;
      parent.childListBytes += name.length + 1;
    } else {
      node = this.#own(old);
      node.value = value;
      node.permissions = permissions;
    }
    node.generation = generation;
    node.contentGeneration = generation;
    parent.children.set(name, node);
  }

  /**
   * Takes a node out, with all that is under it.
   * @throws Error when it is not there: our own mistake.
   */
  delete(path: string): void {
    const way = wayTo(path);
    const name = way[way.length - 1]!;
    const parent = this.#writable(way, path);
    if (!parent.children.delete(name)) throw new Error(`store tree: ${path} is deleted, and is not there`);
    parent.generation = ++this.#counter.generation;
    parent.childListBytes -= name.length + 1;
  }

  /** A node and all under it, each before its children. Collect before changing the tree. */
  *walk(path: string): Generator<FoundNode, void, undefined> {
    const start = this.get(path);
    const stack: FoundNode[] = start === undefined ? [] : [{ path, node: start }];
    for (let found = stack.pop(); found !== undefined; found = stack.pop()) {
      yield found;
      for (const [name, node] of found.node.children) stack.push({ path: childOf(found.path, name), node });
    }
  }

  #own(node: TreeNode): TreeNode {
    return node.fork === this.#fork ? node : node.copyFor(this.#fork);
  }

  /** The parent of the last name of a way, to be changed. */
  #writable(way: readonly string[], path: string): TreeNode {
    let node = (this.#top = this.#own(this.#top));
    for (let level = 0; level < way.length - 1; level++) {
      const name = way[level]!;
      const child = node.children.get(name);
      if (child === undefined)
        throw new Error(`store tree: ${path} is changed, and "${name}" on the way is missing`);
      const owned = this.#own(child);
      if (owned !== child) node.children.set(name, owned);
      node = owned;
    }
    return node;
  }
}
