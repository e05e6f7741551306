/**
 * The requests about nodes, watches and transactions: from payload to reply, one row each.
 *
 * The server looks a request up, checks privilege and transaction, and calls its row; a row parses the payload,
 * acts, and returns the reply's payload or throws a StoreError, whose code becomes the ERROR reply.
 */
import type { StoreConnection } from './connection.js';
import { isRealDomid, RESERVED_DOMIDS } from './domid.js';
import { STORE_FEATURES } from './domains.js';
import { StoreError } from './error.js';
import type { Workspace } from './live.js';
import * as operations from './operations.js';
import { canonicalPath, domainPath, isRelative, isSpecial } from './path.js';
import {
  formatPermission,
  isPrivileged,
  parsePermission,
  type Caller,
  type Permission,
  type Permissions,
} from './permissions.js';
import type { StoreState } from './state.js';
import { Transaction } from './transaction.js';
import { bytesToString, joinStrings, MAX_PAYLOAD_BYTES, MessageType, splitStrings } from './wire.js';
import { watchMemoryOf } from './watches.js';

/** What a row works with. */
export interface RequestContext {
  readonly state: StoreState;
  readonly connection: StoreConnection;
  readonly caller: Caller;
  readonly payload: Uint8Array;
  /** The live store, or the transaction that the header names. */
  readonly space: Workspace;
  readonly transactionId: number;
  readonly transaction: Transaction | undefined;
}

/** A reply's payload, and what comes after the reply. */
export interface Reply {
  readonly payload: Uint8Array;
  readonly then?: () => void;
}

/** One request. */
export interface RequestRow {
  /** Domain 0 only; others get EACCES. */
  readonly privileged?: true;
  /** The header's transaction is not looked at (XSA-115). */
  readonly ignoresTransaction?: true;
  /** Answers it. */
  readonly answer: (context: RequestContext) => Reply;
}

/** The reply of a request that returns nothing. */
export const DONE: Reply = { payload: joinStrings(['OK']) };

/** A reply of strings. */
export function replyWith(...strings: string[]): Reply {
  return { payload: joinStrings(strings) };
}

/** Throws `EINVAL`: the payload does not have the form that the request takes. */
export function malformed(expected: string): never {
  throw new StoreError('EINVAL', `the payload is not ${expected}`);
}

/** The only string of a payload. */
export function oneString(payload: Uint8Array): string {
  const { strings, rest } = splitStrings(payload);
  if (strings.length !== 1 || rest.length > 0) malformed('one string with a NUL at its end');
  return strings[0]!;
}

const DECIMAL = /^\d{1,10}$/;

/** The number that `text` spells in decimal. */
export function parseDecimal(text: string): number {
  if (!DECIMAL.test(text)) malformed(`a decimal number where ${JSON.stringify(text.slice(0, 20))} is`);
  return Number(text);
}

function pathOf({ caller }: RequestContext, text: string): string {
  return canonicalPath(text, caller.domid);
}

function read(context: RequestContext): Reply {
  const path = pathOf(context, oneString(context.payload));
  return { payload: operations.read(context.space, context.caller, path) };
}

function directory(context: RequestContext): Reply {
  const node = operations.list(context.space, context.caller, pathOf(context, oneString(context.payload)));
  if (node.childListBytes > MAX_PAYLOAD_BYTES)
    throw new StoreError('E2BIG', 'the list of children takes more than one message: use DIRECTORY_PART');
  return replyWith(...node.children.keys());
}

/** The generation, as many whole names from `offset` as fit, and an empty string once the list is through. */
function directoryPart(context: RequestContext): Reply {
  const { strings } = splitStrings(context.payload);
  if (strings.length !== 2) malformed('a path and an offset');
  const node = operations.list(context.space, context.caller, pathOf(context, strings[0]!));
  const offset = parseDecimal(strings[1]!);
  const generation = joinStrings([String(node.generation)]);
  const names = joinStrings([...node.children.keys()]).subarray(offset);
  const room = MAX_PAYLOAD_BYTES - generation.length - 1;
  const end = names.length <= room ? names.length : names.lastIndexOf(0, room - 1) + 1;
  const isLast = end === names.length;
  const payload = new Uint8Array(generation.length + end + (isLast ? 1 : 0));
  payload.set(generation);
  payload.set(names.subarray(0, end), generation.length);
  return { payload };
}

function write(context: RequestContext): Reply {
  const { payload } = context;
  const text = bytesToString(payload);
  const nul = text.indexOf('\0');
  if (nul < 0) malformed('a path, a NUL and a value');
  const path = pathOf(context, text.slice(0, nul));
  operations.write(context.space, context.caller, path, payload.slice(nul + 1));
  return DONE;
}

function makeDirectory(context: RequestContext): Reply {
  operations.makeDirectory(context.space, context.caller, pathOf(context, oneString(context.payload)));
  return DONE;
}

function remove(context: RequestContext): Reply {
  operations.remove(context.space, context.caller, pathOf(context, oneString(context.payload)));
  return DONE;
}

function getPermissions(context: RequestContext): Reply {
  const path = pathOf(context, oneString(context.payload));
  const permissions = operations.getPermissions(context.space, context.caller, path);
  return replyWith(...permissions.map(formatPermission));
}

/** Entries for domains that do not exist are left out: the next one with that number must not get them (XSA-322). */
function existingOnly(context: RequestContext, [owner, ...others]: Permission[]): Permissions {
  const { state, caller } = context;
  if (!state.domainExists(owner!.domid)) throw new StoreError('ENOENT', `there is no domain ${owner!.domid}`);
  const mayNameAny = (state.domains.featuresOf(caller.domid) & STORE_FEATURES.domidAny) !== 0;
  const counts = ({ domid }: Permission): boolean =>
    domid === RESERVED_DOMIDS.ANY ? mayNameAny : state.domainExists(domid);
  return [owner!, ...others.filter(counts)];
}

function setPermissions(context: RequestContext): Reply {
  const { state, caller } = context;
  const [path, ...texts] = splitStrings(context.payload).strings;
  if (path === undefined || texts.length === 0) malformed('a path and at least one permission');
  const limit = state.quotas.limit(caller.domid, 'node-permissions');
  if (texts.length > limit)
    throw new StoreError('ENOSPC', `${texts.length} permissions; the quota "node-permissions" is ${limit}`);
  const permissions = texts.map(
    (text) => parsePermission(text) ?? malformed('a path and permissions like r5'),
  );
  const canonical = pathOf(context, path);
  operations.setPermissions(context.space, caller, canonical, existingOnly(context, permissions));
  return DONE;
}

function watchDepth(context: RequestContext, path: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const { state, caller } = context;
  if ((state.domains.featuresOf(caller.domid) & STORE_FEATURES.watchDepth) === 0)
    throw new StoreError('EINVAL', 'the domain has no feature "watch depth"');
  const depth = parseDecimal(text);
  if (isSpecial(path) && depth !== 1) throw new StoreError('EINVAL', 'a special watch has depth 1 or none');
  return depth;
}

function watch(context: RequestContext): Reply {
  const { state, connection, caller } = context;
  const { strings } = splitStrings(context.payload);
  const [wanted, token, depthText] = strings;
  if (wanted === undefined || token === undefined || strings.length > 3)
    malformed('a path, a token, perhaps a depth');
  const path = pathOf(context, wanted);
  const depth = watchDepth(context, path, depthText);
  if (state.watches.has(connection, path, token))
    throw new StoreError('EEXIST', `the connection has a watch on ${path} with this token`);
  const prefixLength = isRelative(wanted) ? domainPath(caller.domid).length + 1 : 0;
  const entry = { watcher: connection, path, token, depth, prefixLength };
  const bytes = watchMemoryOf(entry);
  if (state.ledger.exceeds(caller.domid, 'watches', 1) || state.ledger.exceeds(caller.domid, 'memory', bytes))
    throw new StoreError('ENOSPC', `domain ${caller.domid} is at its quota of watches or memory`);
  state.watches.add(entry);
  state.ledger.charge(caller.domid, 'watches', 1);
  state.ledger.charge(caller.domid, 'memory', bytes);
  // A watch fires once when it is set, after the reply, with the path as it was given.
  return { ...DONE, then: () => connection.deliver(wanted, token) };
}

function unwatch(context: RequestContext): Reply {
  const { state, connection, caller } = context;
  const { strings } = splitStrings(context.payload);
  const [wanted, token] = strings;
  if (wanted === undefined || token === undefined || strings.length > 2) malformed('a path and a token');
  const entry = state.watches.remove(connection, pathOf(context, wanted), token);
  if (entry === undefined) throw new StoreError('ENOENT', 'the connection has no such watch');
  state.ledger.charge(caller.domid, 'watches', -1);
  state.ledger.charge(caller.domid, 'memory', -watchMemoryOf(entry));
  return DONE;
}

function resetWatches({ connection }: RequestContext): Reply {
  connection.reset();
  return DONE;
}

function transactionStart({ state, connection, caller, transaction }: RequestContext): Reply {
  if (transaction !== undefined) throw new StoreError('EBUSY', 'transactions cannot be nested');
  if (state.ledger.exceeds(caller.domid, 'transactions', 1))
    throw new StoreError('ENOSPC', `domain ${caller.domid} is at its quota of transactions`);
  return replyWith(String(connection.addTransaction(new Transaction(state.live, caller))));
}

function transactionEnd(context: RequestContext): Reply {
  const { state, connection, caller, transaction, transactionId } = context;
  const verdict = oneString(context.payload);
  if (verdict !== 'T' && verdict !== 'F') malformed('T or F');
  if (transaction === undefined) throw new StoreError('ENOENT', 'the header names no transaction');
  connection.removeTransaction(transactionId);
  if (verdict === 'T') {
    transaction.commit();
    if (transaction.wrote && !isPrivileged(caller)) state.countChange(caller.domid);
  }
  return DONE;
}

function getDomainPath({ payload }: RequestContext): Reply {
  const domid = parseDecimal(oneString(payload));
  if (!isRealDomid(domid)) throw new StoreError('EINVAL', `${domid} is not the number of a domain`);
  return replyWith(domainPath(domid));
}

/** The requests that any domain may send. */
export const GUEST_REQUESTS: ReadonlyMap<number, RequestRow> = new Map<number, RequestRow>([
  [MessageType.DIRECTORY, { answer: directory }],
  [MessageType.DIRECTORY_PART, { answer: directoryPart }],
  [MessageType.READ, { answer: read }],
  [MessageType.WRITE, { answer: write }],
  [MessageType.MKDIR, { answer: makeDirectory }],
  [MessageType.RM, { answer: remove }],
  [MessageType.GET_PERMS, { answer: getPermissions }],
  [MessageType.SET_PERMS, { answer: setPermissions }],
  [MessageType.WATCH, { answer: watch, ignoresTransaction: true }],
  [MessageType.UNWATCH, { answer: unwatch, ignoresTransaction: true }],
  [MessageType.RESET_WATCHES, { answer: resetWatches, ignoresTransaction: true }],
  [MessageType.TRANSACTION_START, { answer: transactionStart }],
  [MessageType.TRANSACTION_END, { answer: transactionEnd }],
  [MessageType.GET_DOMAIN_PATH, { answer: getDomainPath }],
]);
