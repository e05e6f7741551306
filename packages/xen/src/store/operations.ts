/**
 * What a request does to the nodes: rights, quotas, then the change; on the live store or in a transaction.
 *
 * Every function checks all it needs before it changes the first thing, so a refused request has done nothing
 * (XSA-414, 415). Who may not know whether a node exists is told EACCES either way: for a missing node the
 * nearest one above it decides.
 */
import type { Workspace } from './live.js';
import { isPrivileged, Right, rightsOf, type Caller, type Permissions } from './permissions.js';
import { childOf, isSpecial, leafOf, parentOf } from './path.js';
import type { StoreNode } from './tree.js';
import { StoreError } from './error.js';

const PERMISSION_BYTES = 8;
const NO_VALUE = new Uint8Array(0);

/** Bytes that a node counts for its owner. */
export function memoryOf(path: string, node: Pick<StoreNode, 'value' | 'permissions'>): number {
  return leafOf(path).length + node.value.length + node.permissions.length * PERMISSION_BYTES;
}

function refuse(path: string, needed: number): never {
  const wanted = (needed & Right.OWNER) !== 0 ? 'own' : needed === Right.READ ? 'read' : 'write';
  throw new StoreError('EACCES', `the caller may not ${wanted} ${path}`);
}

/** The node, if it is there and the caller has the rights; undefined if it is not and the caller may know. */
function find(
  space: Workspace,
  caller: Caller,
  path: string,
  needed: number,
  part: 'content' | 'children' = 'content',
): StoreNode | undefined {
  const node = space.look(path, part);
  if (node !== undefined) {
    if ((rightsOf(node.permissions, caller) & needed) === needed) return node;
    refuse(path, needed);
  }
  for (let above = parentOf(path); above !== undefined; above = parentOf(above)) {
    const found = space.look(above, 'content');
    if (found === undefined) continue;
    if ((rightsOf(found.permissions, caller) & needed) !== 0) return undefined;
    break;
  }
  if (isPrivileged(caller)) return undefined;
  return refuse(path, needed);
}

function mustFind(
  space: Workspace,
  caller: Caller,
  path: string,
  needed: number,
  part: 'content' | 'children' = 'content',
): StoreNode {
  const node = find(space, caller, path, needed, part);
  if (node === undefined) throw new StoreError('ENOENT', `there is no ${path}`);
  return node;
}

function requirePlain(path: string): void {
  if (isSpecial(path)) throw new StoreError('EINVAL', `${path} is an event, not a node`);
}

/** Throws unless the caller may have a node of this size. */
function checkSize(
  space: Workspace,
  caller: Caller,
  path: string,
  bytes: number,
  permissions: Permissions,
): void {
  const limit = space.ledger.quotas.limit(caller.domid, 'node-size');
  if (bytes + permissions.length * PERMISSION_BYTES > limit)
    throw new StoreError('ENOSPC', `${path} would be larger than the quota "node-size" (${limit} bytes)`);
}

/** Throws unless `owner` may have this much more. Domain 0 may put anything on anyone's account. */
function checkAccount(space: Workspace, caller: Caller, owner: number, nodes: number, bytes: number): void {
  if (isPrivileged(caller)) return;
  const { ledger } = space;
  if (ledger.exceeds(owner, 'nodes', nodes) || ledger.exceeds(owner, 'memory', bytes))
    throw new StoreError('ENOSPC', `domain ${owner} is at its quota of nodes or memory`);
}

function charge(space: Workspace, owner: number, nodes: number, bytes: number): void {
  if (nodes !== 0) space.ledger.charge(owner, 'nodes', nodes);
  if (bytes !== 0) space.ledger.charge(owner, 'memory', bytes);
}

/** READ: the value. */
export function read(space: Workspace, caller: Caller, path: string): Uint8Array {
  requirePlain(path);
  return mustFind(space, caller, path, Right.READ).value;
}

/** DIRECTORY: the node, for its children. */
export function list(space: Workspace, caller: Caller, path: string): StoreNode {
  requirePlain(path);
  return mustFind(space, caller, path, Right.READ, 'children');
}

/** GET_PERMS. */
export function getPermissions(space: Workspace, caller: Caller, path: string): Permissions {
  return mustFind(space, caller, path, Right.READ).permissions;
}

/** WRITE: sets the value; makes the node and what is missing above it. */
export function write(space: Workspace, caller: Caller, path: string, value: Uint8Array): void {
  requirePlain(path);
  const node = find(space, caller, path, Right.WRITE);
  if (node === undefined) {
    create(space, caller, path, value);
    return;
  }
  const { permissions } = node;
  const owner = permissions[0]!.domid;
  const grownBytes = value.length - node.value.length;
  checkSize(space, caller, path, value.length + node.childListBytes, permissions);
  checkAccount(space, caller, owner, 0, grownBytes);
  space.mark(path, 'subtree');
  charge(space, owner, 0, grownBytes);
  space.put(path, value, permissions);
}

/** MKDIR: makes the node and what is missing above it; one that is there stays as it is. */
export function makeDirectory(space: Workspace, caller: Caller, path: string): void {
  requirePlain(path);
  if (find(space, caller, path, Right.WRITE) === undefined) create(space, caller, path, NO_VALUE);
}

/** New nodes have the permissions of what they are made in; an unprivileged maker owns them. */
function create(space: Workspace, caller: Caller, path: string, value: Uint8Array): void {
  const missing: string[] = [];
  let above: StoreNode | undefined;
  let abovePath: string | undefined = path;
  while (abovePath !== undefined && (above = space.look(abovePath, 'content')) === undefined) {
    missing.unshift(abovePath);
    abovePath = parentOf(abovePath);
  }
  if (above === undefined || abovePath === undefined)
    throw new StoreError('EINVAL', `${path} has no root that it could be made under`);
  const [aboveOwner, ...others] = above.permissions;
  const owner = isPrivileged(caller) ? aboveOwner!.domid : caller.domid;
  const permissions: Permissions = [{ domid: owner, access: aboveOwner!.access }, ...others];

  let bytes = 0;
  for (const made of missing) {
    const madeValue = made === path ? value : NO_VALUE;
    const listBytes = made === path ? 0 : leafOf(path).length + 1;
    bytes += memoryOf(made, { value: madeValue, permissions });
    checkSize(space, caller, made, madeValue.length + listBytes, permissions);
  }
  const listBytes = above.childListBytes + leafOf(missing[0]!).length + 1;
  checkSize(space, caller, abovePath, above.value.length + listBytes, above.permissions);
  checkAccount(space, caller, owner, missing.length, bytes);

  space.mark(path, 'subtree');
  charge(space, owner, missing.length, bytes);
  for (const made of missing) space.put(made, made === path ? value : NO_VALUE, permissions);
}

/** RM: removes the node and all under it. One that is not there is fine if its parent is. */
export function remove(space: Workspace, caller: Caller, path: string): void {
  requirePlain(path);
  const parent = parentOf(path);
  if (find(space, caller, path, Right.WRITE) !== undefined) {
    if (parent === undefined) throw new StoreError('EINVAL', `${path} cannot be removed`);
    removeSubtree(space, path);
  } else if (parent === undefined || space.look(parent, 'content') === undefined)
    throw new StoreError('ENOENT', `neither ${path} nor its parent is there`);
}

/** Removes a node and all under it, whoever owns what (as xenstored does); children before their parents. */
export function removeSubtree(space: Workspace, path: string): void {
  const found: { path: string; node: StoreNode }[] = [];
  const pending = [path];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const node = space.look(next, 'children');
    if (node === undefined) continue;
    found.push({ path: next, node });
    for (const name of node.children.keys()) pending.push(childOf(next, name));
  }
  const gone = found.reverse().map(({ path: at, node }) => {
    return { at, owner: node.permissions[0]!.domid, bytes: memoryOf(at, node) };
  });
  for (const { at } of gone) space.mark(at, at === path ? 'subtree' : 'exact');
  for (const { at, owner, bytes } of gone) {
    charge(space, owner, -1, -bytes);
    space.delete(at);
  }
}

/** SET_PERMS. Only the owner may; only domain 0 may name another owner (XSA-352), `/` is no exception (353). */
export function setPermissions(
  space: Workspace,
  caller: Caller,
  path: string,
  permissions: Permissions,
): void {
  const node = mustFind(space, caller, path, Right.WRITE | Right.OWNER);
  const oldOwner = node.permissions[0]!.domid;
  const newOwner = permissions[0]!.domid;
  if (!isPrivileged(caller) && newOwner !== oldOwner)
    throw new StoreError('EPERM', `the owner of ${path} is domain ${oldOwner}; only domain 0 may change it`);
  const oldBytes = memoryOf(path, node);
  const newBytes = memoryOf(path, { value: node.value, permissions });
  checkSize(space, caller, path, node.value.length + node.childListBytes, permissions);
  checkAccount(space, caller, newOwner, 0, newBytes - oldBytes);
  space.mark(path, 'subtree');
  charge(space, oldOwner, -1, -oldBytes);
  charge(space, newOwner, 1, newBytes);
  space.put(path, node.value, permissions);
}
