/**
 * Who wants to hear of which path, and who of them may (XSA-115).
 *
 * The index is by path: a change looks up itself and the directories it is in, so its cost is its depth, not
 * the number of watches. Rights are checked when an event is delivered, with the watcher's rights of that
 * moment. Used by the server; watches belong to connections, which take them out when they close.
 */
import type { Change } from './live.js';
import { parentOf } from './path.js';
import { Right, rightsOf, type Caller, type Permissions } from './permissions.js';

/** The connection that set a watch. */
export interface Watcher {
  /** Whose rights count. */
  readonly caller: Caller;
  /** Queues an event. */
  deliver(path: string, token: string): void;
}

/** One watch. */
export interface WatchEntry {
  readonly watcher: Watcher;
  /** Canonical. */
  readonly path: string;
  /** The client's own mark, given back in each event. */
  readonly token: string;
  /** Levels below the path that count; undefined for all. For a special path: 1 names the domain, or none. */
  readonly depth: number | undefined;
  /** Characters that an event's path is shorter by, because the watch was set with a relative path. */
  readonly prefixLength: number;
}

/** Bytes that a watch counts for its domain. */
export function watchMemoryOf(watch: Pick<WatchEntry, 'path' | 'token'>): number {
  return watch.path.length + watch.token.length;
}

function keyOf(path: string, token: string): string {
  return `${path}\0${token}`;
}

function mayKnow(watcher: Watcher, readers: readonly Permissions[]): boolean {
  return readers.some((permissions) => (rightsOf(permissions, watcher.caller) & Right.READ) !== 0);
}

function tell(watch: WatchEntry, path: string): void {
  watch.watcher.deliver(path.slice(watch.prefixLength), watch.token);
}

/** All watches of a store. */
export class WatchTable {
  readonly #byPath = new Map<string, Set<WatchEntry>>();
  readonly #byWatcher = new Map<Watcher, Map<string, WatchEntry>>();

  /** How many a connection has, and what they count for its domain. */
  totalsOf(watcher: Watcher): { readonly count: number; readonly memoryBytes: number } {
    const own = [...(this.#byWatcher.get(watcher)?.values() ?? [])];
    return { count: own.length, memoryBytes: own.reduce((sum, watch) => sum + watchMemoryOf(watch), 0) };
  }

  /** Whether the connection has a watch with this path and token; there can be only one. */
  has(watcher: Watcher, path: string, token: string): boolean {
    return this.#byWatcher.get(watcher)?.has(keyOf(path, token)) ?? false;
  }

  /** Adds a watch that is not there yet. */
  add(watch: WatchEntry): void {
    const own = this.#byWatcher.get(watch.watcher) ?? new Map<string, WatchEntry>();
    this.#byWatcher.set(watch.watcher, own.set(keyOf(watch.path, watch.token), watch));
    const there = this.#byPath.get(watch.path) ?? new Set<WatchEntry>();
    this.#byPath.set(watch.path, there.add(watch));
  }

  /** Takes one out and returns it; undefined if there was none. */
  remove(watcher: Watcher, path: string, token: string): WatchEntry | undefined {
    const own = this.#byWatcher.get(watcher);
    const watch = own?.get(keyOf(path, token));
    if (own === undefined || watch === undefined) return undefined;
    own.delete(keyOf(path, token));
    if (own.size === 0) this.#byWatcher.delete(watcher);
    const there = this.#byPath.get(path);
    there?.delete(watch);
    if (there?.size === 0) this.#byPath.delete(path);
    return watch;
  }

  /** Takes out all of a connection's (XSA-330: really all) and returns them. */
  removeAll(watcher: Watcher): WatchEntry[] {
    const own = [...(this.#byWatcher.get(watcher)?.values() ?? [])];
    for (const { path, token } of own) this.remove(watcher, path, token);
    return own;
  }

  /** Tells the watches of a change. */
  fire(change: Change): void {
    let levels = 0;
    let at: string | undefined = change.path;
    while (at !== undefined) {
      for (const watch of this.#byPath.get(at) ?? [])
        if (levels <= (watch.depth ?? Infinity) && mayKnow(watch.watcher, change.readers))
          tell(watch, change.path);
      at = change.scope === 'subtree' ? parentOf(at) : undefined;
      levels++;
    }
  }

  /** Tells the watches of a special path that it happened to `domid`. */
  fireSpecial(path: string, domid: number, permissions: Permissions): void {
    const named = `${path}/${domid}`;
    for (const watch of this.#byPath.get(path) ?? [])
      if (mayKnow(watch.watcher, [permissions])) tell(watch, watch.depth === undefined ? path : named);
    for (const watch of this.#byPath.get(named) ?? [])
      if (mayKnow(watch.watcher, [permissions])) tell(watch, named);
  }
}
