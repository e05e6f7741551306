/**
 * The store as a driver or a toolstack sees it. `StoreClient` implements it over any transport.
 *
 * Paths are absolute, or relative to the domain's own directory `/local/domain/<id>`. Values are strings of one
 * character per byte, at most 4096 bytes with the path. Every call may reject with a {@link StoreError}; a call
 * after `close`, or that has no answer yet when the connection ends, rejects with `ECLOSED`.
 */
import type { Permissions } from './permissions.js';

declare const brand: unique symbol;

/** An open transaction: pass it to each call that belongs to it. Over when the body it was handed to returns. */
export interface StoreTransaction {
  /** Nothing at run time: keeps other things with a number from passing for one. */
  readonly [brand]?: 'StoreTransaction';
  /** Its number on this connection. */
  readonly id: number;
}

/** Called for each event, in the order of events; `path` is relative if the watch was set so. */
export type WatchHandler = (path: string, token: string) => void;

/** A watch that is set. */
export interface Watch {
  /** The path it was set with. */
  readonly path: string;
  /** The mark that its events carry. */
  readonly token: string;
  /** Ends it. No call follows, from now on. Idempotent; never rejects for a connection that is gone. */
  remove(): Promise<void>;
}

/** How a watch is set. */
export interface WatchOptions {
  /**
   * Levels below the path that count: 0 for the path alone. A peer can then not make this domain busy by a tree
   * under its state node. Without it all levels. A server without the feature sends all events, and the client
   * leaves out those from further down.
   */
  readonly depth?: number;
}

/** How a transaction is run. */
export interface TransactionOptions {
  /** Runs of the body before EAGAIN is given back to the caller; 32 without. */
  readonly attempts?: number;
}

/** A domain's connection to the store. */
export interface Store {
  /** The value of a node. Rejects with `ENOENT` when it is not there, `EACCES` when it may not be known. */
  read(path: string, transaction?: StoreTransaction): Promise<string>;
  /** The value of a node, or null when it is not there. */
  readOptional(path: string, transaction?: StoreTransaction): Promise<string | null>;
  /** Sets a node's value; makes it, and what is missing above it. */
  write(path: string, value: string, transaction?: StoreTransaction): Promise<void>;
  /** Makes a node with an empty value if it is not there, and what is missing above it. */
  mkdir(path: string, transaction?: StoreTransaction): Promise<void>;
  /** Removes a node and all under it. One that is not there is fine if its parent is; otherwise `ENOENT`. */
  remove(path: string, transaction?: StoreTransaction): Promise<void>;
  /** The names of a node's children, as many as there are. */
  list(path: string, transaction?: StoreTransaction): Promise<string[]>;
  /** Whether a node is there. Rejects with `EACCES` when that may not be known. */
  exists(path: string, transaction?: StoreTransaction): Promise<boolean>;
  /** Sets a node's permissions, owner first. Only the owner may, and domain 0, which may change the owner. */
  setPermissions(path: string, permissions: Permissions, transaction?: StoreTransaction): Promise<void>;
  /** A node's permissions, owner first. */
  getPermissions(path: string, transaction?: StoreTransaction): Promise<Permissions>;
  /**
   * Calls `handler` once soon, and whenever the node or one under it may have changed. An event says "look
   * again": several changes may come as one, and one may come without a change.
   */
  watch(path: string, handler: WatchHandler, options?: WatchOptions): Promise<Watch>;
  /**
   * Runs `body` with a transaction and commits it; all of it happens or nothing. Run again when other writes came
   * between, so it must not act outside the store. A body that throws aborts it, and the error is passed on.
   * Rejects with `EAGAIN` when it lost every time.
   */
  transaction<T>(
    body: (transaction: StoreTransaction) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T>;
  /** Ends the connection: watches and transactions are gone, calls without an answer reject. Idempotent. */
  close(): void;
}
