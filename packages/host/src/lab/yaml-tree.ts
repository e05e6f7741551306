/**
 * Turns a parsed YAML document into plain data and, beside it, the place of each key and value.
 *
 * Aliases are unfolded here, because what they unfold to must be bounded and must not contain itself. Used by
 * {@link LabSource} only, which tells people.
 */
import { type Alias, isAlias, isMap, isScalar, isSeq, type Node } from 'yaml';

/** What stands in a file, as JSON has it. */
export type PlainValue = null | boolean | number | string | PlainValue[] | { [key: string]: PlainValue };

/** A path from the root: keys and indexes. */
export type LabPath = readonly (string | number)[];

/** A value's place. */
export interface Located {
  /** Offset in the text. */
  readonly at: number;
  /** Of a mapping or list: what stands in it, with the offset of the key. */
  readonly children: ReadonlyMap<string | number, { readonly keyAt: number; readonly node: Located }>;
}

/** A value and its place. */
export interface Turned {
  /** The value. */
  readonly value: PlainValue;
  /** Its place. */
  readonly located: Located;
}

/** What can be wrong with a tree. */
export type TreeFault =
  | { readonly kind: 'deep' | 'many'; readonly at: number }
  | { readonly kind: 'loop' | 'unanchored'; readonly at: number; readonly alias: string }
  | { readonly kind: 'twice'; readonly at: number; readonly firstAt: number; readonly path: LabPath };

/** Bounds on a tree. */
export interface TreeLimits {
  /** How deep mappings and lists may stand in each other. */
  readonly depth: number;
  /** Values after aliases have been unfolded. */
  readonly values: number;
}

/** Where a node stands, while it is turned. */
interface Around {
  readonly path: LabPath;
  /** The mappings and lists that it stands in. */
  readonly nodes: readonly unknown[];
  /** Where the alias stands through which it is seen again, or null. */
  readonly aliasAt: number | null;
}

const NO_CHILDREN: Located['children'] = new Map();

/** Turns one document. */
export class YamlTree {
  private readonly anchors = new Map<string, Node>();
  /** What each alias means: the node that had its anchor where the alias stands. */
  private readonly targets = new Map<Alias, Node | undefined>();
  private left: number;
  private isExhausted = false;

  /**
   * @param limits bounds.
   * @param report takes what is wrong; of the bounds, the first breach only.
   */
  constructor(
    private readonly limits: TreeLimits,
    private readonly report: (fault: TreeFault) => void,
  ) {
    this.left = limits.values;
  }

  /** Turns the document's contents; useful when nothing was reported. */
  turn(contents: Node | null): Turned {
    return this.node(contents, { path: [], nodes: [], aliasAt: null }, 0);
  }

  private node(node: unknown, around: Around, keyAt: number): Turned {
    const at = (node as Node | null)?.range?.[0] ?? keyAt;
    if (!this.hasRoom(at, around)) return leaf(at, null);
    if (isAlias(node)) return this.alias(node, at, around);
    const { anchor } = (node ?? {}) as { anchor?: string };
    if (anchor !== undefined && around.aliasAt === null) this.anchors.set(anchor, node as Node);
    const nodes = [...around.nodes, node];
    if (isSeq(node)) return this.sequence(node.items, at, { ...around, nodes });
    if (isMap(node)) return this.mapping(node.items, at, { ...around, nodes });
    return leaf(at, isScalar(node) ? (node.value as PlainValue) : null);
  }

  private hasRoom(at: number, around: Around): boolean {
    const isDeep = around.nodes.length > this.limits.depth;
    if (--this.left >= 0 && !isDeep && !this.isExhausted) return true;
    if (!this.isExhausted) this.report({ kind: isDeep ? 'deep' : 'many', at: around.aliasAt ?? at });
    this.isExhausted = true;
    return false;
  }

  private alias(alias: Alias, at: number, around: Around): Turned {
    if (!this.targets.has(alias)) this.targets.set(alias, this.anchors.get(alias.source));
    const target = this.targets.get(alias);
    if (target === undefined) this.report({ kind: 'unanchored', at, alias: alias.source });
    else if (around.nodes.includes(target)) this.report({ kind: 'loop', at, alias: alias.source });
    else {
      const { value, located } = this.node(target, { ...around, aliasAt: around.aliasAt ?? at }, at);
      return { value, located: { at, children: located.children } };
    }
    return leaf(at, null);
  }

  private sequence(items: readonly unknown[], at: number, around: Around): Turned {
    const children = new Map<string | number, { keyAt: number; node: Located }>();
    const value = items.map((item, i) => {
      const child = this.node(item, { ...around, path: [...around.path, i] }, at);
      children.set(i, { keyAt: child.located.at, node: child.located });
      return child.value;
    });
    return { value, located: { at, children } };
  }

  private mapping(items: readonly { key: unknown; value: unknown }[], at: number, around: Around): Turned {
    const children = new Map<string | number, { keyAt: number; node: Located }>();
    const entries: [string, PlainValue][] = [];
    for (const { key, value } of items) {
      const name = isScalar(key) ? String(key.value) : '';
      const keyAt = (key as Node | null)?.range?.[0] ?? at;
      const path = [...around.path, name];
      const child = this.node(value, { ...around, path }, keyAt);
      const first = children.get(name);
      if (first !== undefined) {
        this.report({ kind: 'twice', at: keyAt, firstAt: first.keyAt, path });
        continue;
      }
      children.set(name, { keyAt, node: child.located });
      entries.push([name, child.value]);
    }
    return { value: Object.fromEntries(entries), located: { at, children } };
  }
}

function leaf(at: number, value: PlainValue): Turned {
  return { value, located: { at, children: NO_CHILDREN } };
}
