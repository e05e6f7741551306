/**
 * The store's server: connections in, requests worked off one at a time, replies and events out.
 *
 * Whoever owns a transport calls `connect` and feeds the connection; nothing here does I/O. Each connection gets
 * one request answered in turn. A transport may call back in from within a `send`: that only queues, so a request
 * is never interrupted by another. A client's mistake costs that client an error or its connection, nobody else
 * anything.
 */
import { StoreConnection, type Connection } from './connection.js';
import { DOMAIN_REQUESTS } from './domain-requests.js';
import { isRealDomid } from './domid.js';
import { isWireError, StoreError, type WireErrorCode } from './error.js';
import { isPrivileged } from './permissions.js';
import type { Counts } from './quota.js';
import { GUEST_REQUESTS, type Reply, type RequestRow } from './requests.js';
import { StoreState, type StoreCounters, type StoreServerOptions } from './state.js';
import {
  encodeMessage,
  joinStrings,
  MAX_PAYLOAD_BYTES,
  messageTypeName,
  MessageType,
  type Message,
} from './wire.js';

/** What a transport tells and is told besides bytes. */
export interface ConnectOptions {
  /** Whether `send` takes a message now; when it does again, call the connection's `drain`. Without it, always. */
  readonly writable?: () => boolean;
  /** The server ended the connection; what to show an operator. Not called after the transport's own `close`. */
  readonly onClosed?: (reason: string) => void;
}

/** A picture of one connection. */
export interface ConnectionDescription {
  /** The domain at the other end. */
  readonly domid: number;
  /** Open transactions. */
  readonly transactions: number;
  /** Watches that are set. */
  readonly watches: number;
  /** Bytes of requests that wait, because the client does not read or writes too much. */
  readonly waitingRequestBytes: number;
  /** Bytes of replies and events that the transport has not taken. */
  readonly waitingReplyBytes: number;
}

/** A picture of the server. */
export interface StoreDescription {
  /** Domains that the store talks to. */
  readonly introduced: number[];
  /** What each domain has, by number. */
  readonly counts: Readonly<Record<number, Counts>>;
  /** Open connections. */
  readonly connections: readonly ConnectionDescription[];
  /** Since the start. */
  readonly counters: Readonly<StoreCounters>;
}

const REQUESTS: ReadonlyMap<number, RequestRow> = new Map([...GUEST_REQUESTS, ...DOMAIN_REQUESTS]);

/** A store. */
export class StoreServer {
  readonly #state: StoreState;
  readonly #ready = new Set<StoreConnection>();
  readonly #tasks: (() => void)[] = [];
  readonly #heldDomains = new Set<number>();
  #running = false;

  constructor(options: StoreServerOptions = {}) {
    this.#state = new StoreState(options);
  }

  /**
   * A client of domain `domid` is there; a domain that was not introduced is now.
   * @param send takes one whole message; the bytes are the receiver's.
   * @throws StoreError `EINVAL` for a number that no domain can have.
   */
  connect(domid: number, send: (message: Uint8Array) => void, options: ConnectOptions = {}): Connection {
    if (!isRealDomid(domid)) throw new StoreError('EINVAL', `${domid} is not the number of a domain`);
    const { writable, onClosed } = options;
    // A transport that throws ends its own connection, not the request of whoever caused the event.
    const guarded = <T>(call: () => T, otherwise: T): T => {
      try {
        return call();
      } catch (error) {
        this.#cut(connection, `the transport failed: ${String(error)}`);
        return otherwise;
      }
    };
    const outlet = {
      send: (message: Uint8Array) => guarded(() => send(message), undefined),
      writable: () => guarded(() => writable?.() ?? true, false),
    };
    const connection = new StoreConnection(domid, outlet, this.#state, {
      wake: (woken) => {
        this.#ready.add(woken);
        this.#run();
      },
      closed: (ended, reason) => {
        this.#state.connections.delete(ended);
        this.#ready.delete(ended);
        if (reason === undefined) return;
        this.#state.options.log?.(`connection of domain ${domid} ended: ${reason}`);
        if (onClosed !== undefined) this.#do(() => onClosed(reason));
      },
    });
    this.#state.connections.add(connection);
    this.#do(() => this.#state.introduce(domid));
    return connection;
  }

  /**
   * A domain is there: `@introduceDomain`. From within a `send` it takes effect after the request at hand.
   * @throws StoreError `EINVAL` for a number that no domain can have.
   */
  introduceDomain(domid: number): void {
    if (!isRealDomid(domid)) throw new StoreError('EINVAL', `${domid} is not the number of a domain`);
    this.#do(() => this.#state.introduce(domid));
  }

  /** A domain shut down or crashed, and may be resumed: `@releaseDomain`, once until RESUME. */
  shutDownDomain(domid: number): void {
    this.#do(() => this.#state.shutDown(domid));
  }

  /**
   * A domain is gone: its connections, watches, transactions, nodes, rights, counts; then `@releaseDomain`.
   * @throws StoreError `EINVAL` for domain 0.
   */
  releaseDomain(domid: number): void {
    this.#state.checkReleasable(domid);
    this.#do(() => this.#state.release(domid));
  }

  /** Ends all connections. The nodes stay. */
  close(): void {
    for (const connection of [...this.#state.connections]) connection.end('the store was shut down');
  }

  /** Counts everything anew; returns what does not agree with the ledger, nothing when all does. */
  check(): string[] {
    return this.#state.checkAccounts();
  }

  /** What is there now. */
  describe(): StoreDescription {
    const { domains, ledger, connections, counters, watches } = this.#state;
    return {
      introduced: domains.introduced(),
      counts: ledger.describe(),
      connections: [...connections].map((connection) => ({
        domid: connection.domid,
        transactions: connection.transactions.size,
        watches: watches.totalsOf(connection).count,
        waitingRequestBytes: connection.requestBytes,
        waitingReplyBytes: connection.outbox.waitingBytes,
      })),
      counters: { ...counters },
    };
  }

  #do(task: () => void): void {
    this.#tasks.push(task);
    this.#run();
  }

  /** One request per connection and round, and what was asked for from outside in between. */
  #run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      this.#runTasks();
      // A set visits what is added during the walk, so this goes round until nothing is ready.
      for (const connection of this.#ready) {
        this.#ready.delete(connection);
        this.#serve(connection);
        this.#runTasks();
      }
    } finally {
      this.#running = false;
    }
  }

  #runTasks(): void {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task();
  }

  #serve(connection: StoreConnection): void {
    if (!connection.hasWork()) return;
    if (this.#isHeld(connection)) {
      const limit = this.#state.quotas.limit(connection.domid, 'outstanding');
      if (connection.requestBytes > limit) this.#cut(connection, `more than ${limit} bytes of requests wait`);
      return;
    }
    const message = connection.takeRequest();
    this.#state.requestCredit.spend(connection.domid);
    if (message === undefined) {
      this.#state.counters.connectionsCut++;
      return;
    }
    this.#answer(connection, message);
    if (connection.hasWork()) this.#ready.add(connection);
  }

  /** Whether requests wait: the client does not read, or its domain is out of credit. */
  #isHeld(connection: StoreConnection): boolean {
    const { domid } = connection;
    const { writeCredit, requestCredit, quotas, options } = this.#state;
    if (connection.outbox.waitingBytes > quotas.limit(domid, 'outstanding')) return true;
    const waitMs = Math.max(writeCredit.waitMs(domid), requestCredit.waitMs(domid));
    if (waitMs === 0) return false;
    if (!this.#heldDomains.has(domid)) {
      this.#heldDomains.add(domid);
      options.clock?.after(waitMs, () => {
        this.#heldDomains.delete(domid);
        for (const held of this.#state.connections) if (held.domid === domid) this.#ready.add(held);
        this.#run();
      });
    }
    return true;
  }

  #cut(connection: StoreConnection, reason: string): void {
    if (connection.closed) return;
    this.#state.counters.connectionsCut++;
    connection.end(reason);
  }

  #answer(connection: StoreConnection, message: Message): void {
    const { counters } = this.#state;
    counters.requests++;
    let reply: Reply;
    try {
      reply = this.#act(connection, message);
      if (reply.payload.length > MAX_PAYLOAD_BYTES)
        throw new StoreError('E2BIG', `the answer takes ${reply.payload.length} bytes (XSA-72)`);
    } catch (error) {
      counters.refusals++;
      this.#reply(connection, message, MessageType.ERROR, joinStrings([this.#codeOf(error, message)]));
      return;
    }
    // Events come first: when a writer has its reply, each watcher has been told or will be before anything later.
    if (this.#state.fireChanges() && message.transactionId === 0 && !isPrivileged(connection.caller))
      this.#state.countChange(connection.domid);
    this.#reply(connection, message, message.type, reply.payload);
    reply.then?.();
  }

  #act(connection: StoreConnection, message: Message): Reply {
    const row = REQUESTS.get(message.type);
    const { caller } = connection;
    if (row === undefined)
      throw new StoreError('ENOSYS', `${messageTypeName(message.type)} is not a request`);
    if (row.privileged === true && !isPrivileged(caller))
      throw new StoreError('EACCES', `${messageTypeName(message.type)} is for domain 0`);
    const transactionId = row.ignoresTransaction === true ? 0 : message.transactionId;
    const transaction = connection.transactions.get(transactionId);
    if (transactionId !== 0 && transaction === undefined)
      throw new StoreError('ENOENT', `there is no transaction ${transactionId}`);
    const space = transaction ?? this.#state.live;
    const { payload } = message;
    return row.answer({ state: this.#state, connection, caller, payload, space, transactionId, transaction });
  }

  #reply(connection: StoreConnection, request: Message, type: number, payload: Uint8Array): void {
    if (connection.closed) return;
    const { requestId, transactionId } = request;
    connection.outbox.pushReply(encodeMessage({ type, requestId, transactionId, payload }));
  }

  #codeOf(error: unknown, message: Message): WireErrorCode {
    const { counters, options } = this.#state;
    if (error instanceof StoreError && isWireError(error.code)) {
      if (error.code === 'EAGAIN') counters.conflicts++;
      return error.code;
    }
    counters.internalErrors++;
    options.log?.(
      `${messageTypeName(message.type)} failed inside: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
    );
    return 'EIO';
  }
}
