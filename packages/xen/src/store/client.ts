/**
 * A client of the store over any transport of whole messages (worker, thread, socket, a real Xen host's device).
 *
 * Watch handlers are called in the order of events, one at a time, and after whoever awaits a reply that came
 * earlier. The client owns its transport and closes it; drivers see it as a `Store`.
 */
import { StoreError } from './error.js';
import { Exchange, failure, type Ask } from './exchange.js';
import { depthOf } from './path.js';
import { formatPermission, parsePermission, type Permissions } from './permissions.js';
import type {
  Store,
  StoreTransaction,
  TransactionOptions,
  Watch,
  WatchHandler,
  WatchOptions,
} from './store.js';
import type { StoreTransport } from './transport.js';
import { bytesToString, MessageType, messageTypeName, splitStrings } from './wire.js';

/** What a client is made with. */
export interface StoreClientOptions {
  /** A watch handler threw. Without it the error is thrown again, outside of the client. */
  readonly onHandlerError?: (error: unknown) => void;
  /** The number of the first request; 1 without. */
  readonly firstRequestId?: number;
}

/** What a client holds. */
export interface StoreClientDescription {
  /** Requests without an answer. */
  readonly pending: number;
  /** Watches that are set. */
  readonly watches: number;
  /** Whether the connection is over. */
  readonly closed: boolean;
  /** Replies to no request of this client, and events without path or token. */
  readonly strayMessages: number;
}

const ATTEMPTS = 32;
/** Restarts of a list that changes while its parts are read. */
const LIST_ATTEMPTS = 16;
/** One empty string: the payload of requests that say nothing. */
const EMPTY = new Uint8Array(1);

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

function isCode(error: unknown, ...codes: string[]): error is StoreError {
  return error instanceof StoreError && codes.includes(error.code);
}

/** The store, through one connection. */
export class StoreClient implements Store {
  readonly #exchange: Exchange;
  readonly #watches = new Map<string, WatchHandler>();
  readonly #ended = new WeakSet<StoreTransaction>();
  #nextToken = 1;

  constructor(transport: StoreTransport, options: StoreClientOptions = {}) {
    const { onHandlerError = throwLater, firstRequestId = 1 } = options;
    const onEvent = (path: string, token: string): void => {
      try {
        // A watch that was removed may still have an event under way.
        this.#watches.get(token)?.(path, token);
      } catch (error) {
        onHandlerError(error);
      }
    };
    this.#exchange = new Exchange(transport, onEvent, firstRequestId);
  }

  read(path: string, transaction?: StoreTransaction): Promise<string> {
    return this.#ask({ type: MessageType.READ, texts: [path], decode: bytesToString, transaction });
  }

  readOptional(path: string, transaction?: StoreTransaction): Promise<string | null> {
    return this.#ask<string | null>({
      type: MessageType.READ,
      texts: [path],
      decode: bytesToString,
      transaction,
      missing: null,
    });
  }

  write(path: string, value: string, transaction?: StoreTransaction): Promise<void> {
    return this.#ask({ type: MessageType.WRITE, texts: [path], value, decode: nothing, transaction });
  }

  mkdir(path: string, transaction?: StoreTransaction): Promise<void> {
    return this.#ask({ type: MessageType.MKDIR, texts: [path], decode: nothing, transaction });
  }

  remove(path: string, transaction?: StoreTransaction): Promise<void> {
    return this.#ask({ type: MessageType.RM, texts: [path], decode: nothing, transaction });
  }

  async list(path: string, transaction?: StoreTransaction): Promise<string[]> {
    try {
      return await this.#ask({ type: MessageType.DIRECTORY, texts: [path], decode: stringsOf, transaction });
    } catch (error) {
      if (!isCode(error, 'E2BIG')) throw error;
      return await this.#listInParts(path, transaction);
    }
  }

  exists(path: string, transaction?: StoreTransaction): Promise<boolean> {
    return this.#ask<boolean>({
      type: MessageType.GET_PERMS,
      texts: [path],
      decode: () => true,
      transaction,
      missing: false,
    });
  }

  setPermissions(path: string, permissions: Permissions, transaction?: StoreTransaction): Promise<void> {
    const texts = [path, ...permissions.map(formatPermission)];
    return this.#ask({ type: MessageType.SET_PERMS, texts, decode: nothing, transaction });
  }

  getPermissions(path: string, transaction?: StoreTransaction): Promise<Permissions> {
    const decode = (payload: Uint8Array): Permissions =>
      stringsOf(payload).map((text) => {
        const permission = parsePermission(text);
        if (permission === undefined)
          throw failure('EPROTO', `permissions of "${path}"`, `"${text}" came back`);
        return permission;
      });
    return this.#ask({ type: MessageType.GET_PERMS, texts: [path], decode, transaction });
  }

  async watch(path: string, handler: WatchHandler, options: WatchOptions = {}): Promise<Watch> {
    const { depth } = options;
    if (depth === undefined) return this.#setWatch(path, [], handler);
    try {
      return await this.#setWatch(path, [String(depth)], handler);
    } catch (error) {
      if (!isCode(error, 'EINVAL')) throw error;
      // A server without the feature: all events come, and those from further down stop here.
      const deepest = depthOf(path) + depth;
      return await this.#setWatch(path, [], (at, token) => {
        if (depthOf(at) <= deepest) handler(at, token);
      });
    }
  }

  async transaction<T>(
    body: (transaction: StoreTransaction) => Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const { attempts = ATTEMPTS } = options;
    for (let left = attempts; left > 0; left--) {
      const transaction = await this.#begin();
      let result: T;
      try {
        result = await body(transaction);
      } catch (error) {
        // Aborting may fail in its turn, with a connection that is gone; the body's own error says more.
        await this.#finish(transaction, 'F').catch(() => undefined);
        throw error;
      }
      try {
        await this.#finish(transaction, 'T');
        return result;
      } catch (error) {
        if (!isCode(error, 'EAGAIN')) throw error;
      }
    }
    throw failure(
      'EAGAIN',
      'a transaction',
      `other writes came between, ${attempts} times out of ${attempts}`,
    );
  }

  /**
   * Sends any request and returns the payload of its reply: for what has no method here (domains, control).
   * @param type a value of {@link MessageType}.
   */
  request(type: number, payload: Uint8Array = EMPTY, transaction?: StoreTransaction): Promise<Uint8Array> {
    return this.#ask({ type, texts: [], payload, decode: (reply) => reply, transaction });
  }

  close(): void {
    this.#watches.clear();
    this.#exchange.close();
  }

  /** What it holds now. */
  describe(): StoreClientDescription {
    const { pending, closed, strayMessages } = this.#exchange;
    return { pending, watches: this.#watches.size, closed, strayMessages };
  }

  #ask<T>(ask: Ask<T>): Promise<T> {
    const { transaction } = ask;
    if (transaction === undefined || !this.#ended.has(transaction)) return this.#exchange.ask(ask);
    const answer = `transaction ${transaction.id} is over: use it inside its body only`;
    return Promise.reject(failure('EINVAL', messageTypeName(ask.type), answer));
  }

  async #setWatch(path: string, depth: readonly string[], handler: WatchHandler): Promise<Watch> {
    const token = String(this.#nextToken++);
    // Before the request: its first event may be here as soon as its reply.
    this.#watches.set(token, handler);
    try {
      await this.#ask({ type: MessageType.WATCH, texts: [path, token, ...depth], decode: nothing });
    } catch (error) {
      this.#watches.delete(token);
      throw error;
    }
    return { path, token, remove: () => this.#unwatch(path, token) };
  }

  async #unwatch(path: string, token: string): Promise<void> {
    if (!this.#watches.delete(token) || this.#exchange.closed) return;
    try {
      await this.#ask({ type: MessageType.UNWATCH, texts: [path, token], decode: nothing });
    } catch (error) {
      // Gone with the connection, or by a reset: gone is what was wanted.
      if (!isCode(error, 'ENOENT', 'ECLOSED')) throw error;
    }
  }

  async #begin(): Promise<StoreTransaction> {
    const type = MessageType.TRANSACTION_START;
    const [id] = await this.#ask({ type, texts: [''], decode: stringsOf });
    return { id: Number(id) };
  }

  #finish(transaction: StoreTransaction, verdict: 'T' | 'F'): Promise<void> {
    const type = MessageType.TRANSACTION_END;
    const finished = this.#ask({ type, texts: [verdict], decode: nothing, transaction });
    this.#ended.add(transaction);
    return finished;
  }

  async #listInParts(path: string, transaction: StoreTransaction | undefined): Promise<string[]> {
    const names: string[] = [];
    let generation: string | undefined;
    let offset = 0;
    for (let left = LIST_ATTEMPTS; left > 0;) {
      const texts = [path, String(offset)];
      const ask: Ask<string[]> = { type: MessageType.DIRECTORY_PART, texts, decode: stringsOf, transaction };
      const [seen, ...more] = await this.#ask(ask);
      if (generation !== undefined && seen !== generation) {
        // The directory changed: what was read of it does not fit together.
        left--;
        generation = undefined;
        offset = 0;
        names.length = 0;
        continue;
      }
      generation = seen;
      const isLast = more.at(-1) === '';
      if (isLast) more.pop();
      names.push(...more);
      if (isLast) return names;
      if (more.length === 0) throw failure('EPROTO', `list "${path}"`, 'a part without names came back');
      offset += more.reduce((sum, name) => sum + name.length + 1, 0);
    }
    throw failure('EAGAIN', `list "${path}"`, 'it changed each time before it was read to its end');
  }
}

function nothing(): void {
  // The reply of a request that returns nothing is "OK".
}

function stringsOf(payload: Uint8Array): string[] {
  return splitStrings(payload).strings;
}
