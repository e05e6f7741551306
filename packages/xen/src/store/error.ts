/**
 * The one error that the store throws, and the names the protocol may carry.
 *
 * The server throws it inside a request and answers with its code; the client throws it at its caller with
 * what was asked, what came back and what to do.
 */

/** Error names of the protocol, in the order of xs_wire.h's table. */
export const WIRE_ERRORS = [
  'EINVAL',
  'EACCES',
  'EEXIST',
  'EISDIR',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'EIO',
  'ENOTEMPTY',
  'ENOSYS',
  'EROFS',
  'EBUSY',
  'EAGAIN',
  'EISCONN',
  'E2BIG',
  'EPERM',
] as const;

/** An error name that travels in an ERROR reply. */
export type WireErrorCode = (typeof WIRE_ERRORS)[number];

/** What a {@link StoreError} may carry: a name from the wire, or one of the client's own two. */
export type StoreErrorCode =
  | WireErrorCode
  /** The connection is closed: nothing was sent, or no answer can come any more. */
  | 'ECLOSED'
  /** The other end broke the protocol. */
  | 'EPROTO';

/** The store refused a request, or the connection to it failed. */
export class StoreError extends Error {
  /**
   * @param code stable code for programs.
   * @param message what was asked, what came back, what to do.
   */
  constructor(
    readonly code: StoreErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'StoreError';
  }
}

const wireErrors: ReadonlySet<string> = new Set(WIRE_ERRORS);

/** Whether `name` is an error name that the protocol knows. */
export function isWireError(name: string): name is WireErrorCode {
  return wireErrors.has(name);
}

/** What a caller can do about an answer; one sentence each, put at the end of a client's message. */
export const ADVICE: Readonly<Record<StoreErrorCode, string>> = {
  EINVAL: 'check the path (letters, digits, - / _ @; no trailing or doubled slash) and the arguments',
  EACCES: 'ask the owner of the node or domain 0 to grant the right with setPermissions',
  EEXIST: 'it is there already: use another token or remove the first',
  EISDIR: 'name a leaf, not a directory',
  ENOENT: 'check that the node (or, for a removal, its parent) exists',
  ENOMEM: 'the domain holds too much in the store: remove nodes or watches',
  ENOSPC: 'a quota of the domain is used up: remove what is not needed, or have domain 0 raise it',
  EIO: 'the store failed inside: see its log',
  ENOTEMPTY: 'empty the directory first',
  ENOSYS: 'this store does not have that request: do without it',
  EROFS: 'the store is read-only',
  EBUSY: 'finish what is in progress (a transaction cannot be nested) and try again',
  EAGAIN: 'run the whole transaction again',
  EISCONN: 'the domain is connected already',
  E2BIG: 'the answer does not fit into one message: ask for less',
  EPERM: 'only domain 0 may change the owner of a node',
  ECLOSED: 'connect again',
  EPROTO: 'the other end does not speak the xenstore protocol: check what this transport is connected to',
};
