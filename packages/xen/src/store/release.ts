/**
 * What a dead domain leaves in the tree: nodes that it owned, and rights that others gave it.
 *
 * Its number may come back as another domain, which must inherit neither (XSA-322, 419). The nodes go with all
 * that is under them; a root cannot go and falls back to its first permissions.
 */
import type { LiveStore } from './live.js';
import { memoryOf, removeSubtree } from './operations.js';
import type { Permissions } from './permissions.js';

/** Removes the nodes and rights of `domid`. The changes wait to be told to the watches. */
export function removeDomainFrom(
  live: LiveStore,
  domid: number,
  roots: readonly string[],
  rootPermissions: Permissions,
): void {
  const owned: string[] = [];
  const named: string[] = [];
  for (const root of roots)
    for (const { path, node } of live.tree.walk(root)) {
      const isOwner = node.permissions[0]!.domid === domid;
      if (isOwner && path !== root) owned.push(path);
      else if (node.permissions.some((entry) => entry.domid === domid)) named.push(path);
    }
  for (const path of owned) if (live.look(path) !== undefined) removeSubtree(live, path);
  for (const path of named) {
    const node = live.look(path);
    if (node === undefined) continue;
    const [owner, ...others] = node.permissions;
    const permissions =
      owner!.domid === domid ? rootPermissions : [owner!, ...others.filter((entry) => entry.domid !== domid)];
    const newOwner = permissions[0]!.domid;
    live.ledger.charge(owner!.domid, 'nodes', -1);
    live.ledger.charge(owner!.domid, 'memory', -memoryOf(path, node));
    live.ledger.charge(newOwner, 'nodes', 1);
    live.ledger.charge(newOwner, 'memory', memoryOf(path, { value: node.value, permissions }));
    live.put(path, node.value, permissions);
  }
}
