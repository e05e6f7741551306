/**
 * Who may do what with a node (xenstore.txt SET_PERMS; the historical XenBus page).
 *
 * A node has a list of entries. The first names the owner, who may do everything, and its access is what
 * domains without an entry of their own get. Domain 0 may do everything anywhere. Lists are never changed in
 * place: whoever holds one may keep it.
 */
import { parseDomid, PRIVILEGED_DOMID, RESERVED_DOMIDS } from './domid.js';

/** What an entry allows. */
export type Access = 'none' | 'read' | 'write' | 'both';

/** One entry of a node's list. */
export interface Permission {
  /** Whom it is about; the owner, in the first entry. */
  readonly domid: number;
  /** What that domain may do; in the first entry, what everyone without an entry may do. */
  readonly access: Access;
}

/** A node's entries, owner first. Never empty. */
export type Permissions = readonly Permission[];

/** The letter of each access on the wire. */
export const ACCESS_LETTERS: Readonly<Record<Access, string>> = {
  none: 'n',
  read: 'r',
  write: 'w',
  both: 'b',
};

const accessOf = new Map((Object.keys(ACCESS_LETTERS) as Access[]).map((a) => [ACCESS_LETTERS[a], a]));

/** Rights as bits, so that a request names all it needs at once. */
export const Right = { READ: 1, WRITE: 2, OWNER: 4 } as const;

const rightsOfAccess: Readonly<Record<Access, number>> = {
  none: 0,
  read: Right.READ,
  write: Right.WRITE,
  both: Right.READ | Right.WRITE,
};

/** Who asks. */
export interface Caller {
  /** The domain at the other end of the connection. */
  readonly domid: number;
  /** The domain it was set to stand in for (SET_TARGET), whose rights it has besides its own. */
  readonly target?: number | undefined;
}

/** Whether the caller escapes all checks and quotas. */
export function isPrivileged(caller: Caller): boolean {
  return caller.domid === PRIVILEGED_DOMID;
}

/** What `caller` may do with a node of these permissions: bits of {@link Right}. */
export function rightsOf(permissions: Permissions, caller: Caller): number {
  const owner = permissions[0]!;
  const isCaller = (domid: number): boolean => domid === caller.domid || domid === caller.target;
  if (isPrivileged(caller) || isCaller(owner.domid)) return Right.READ | Right.WRITE | Right.OWNER;
  const own = permissions.find(
    (entry, at) => at > 0 && (isCaller(entry.domid) || entry.domid === RESERVED_DOMIDS.ANY),
  );
  return rightsOfAccess[(own ?? owner).access];
}

/** An entry as the wire writes it: letter and decimal domain number, `b5`. */
export function formatPermission(permission: Permission): string {
  return `${ACCESS_LETTERS[permission.access]}${permission.domid}`;
}

/** The entry that `text` spells, or undefined. */
export function parsePermission(text: string): Permission | undefined {
  const access = accessOf.get(text.slice(0, 1));
  const domid = parseDomid(text.slice(1));
  return access === undefined || domid === undefined ? undefined : { domid, access };
}
