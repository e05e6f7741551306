/**
 * The store of a real host: a `Store` that outlives its connection.
 *
 * When the connection is lost, calls without an answer reject; later ones wait until it is back, for a while. Then
 * the watches are set again, and each fires as a new one does, so that their owners look again. Relative paths are
 * made absolute here: xenstored's socket belongs to no domain.
 */
import type { Clock } from '@netaccel/core-hooks';
import { StoreClient } from '../store/client.js';
import { StoreError } from '../store/error.js';
import { failure } from '../store/exchange.js';
import { depthOf } from '../store/path.js';
import type { Permissions } from '../store/permissions.js';
import type {
  Store,
  StoreTransaction,
  TransactionOptions,
  Watch,
  WatchHandler,
  WatchOptions,
} from '../store/store.js';
import type { StoreTransport } from '../store/transport.js';

/** What a store of a real host is made with. */
export interface NativeStoreOptions {
  /** Makes a connection. */
  readonly connect: () => Promise<StoreTransport>;
  /** Pauses between attempts. */
  readonly clock: Pick<Clock, 'after'>;
  /** Told when the connection is lost, with the reason, and when it is back, with null. */
  readonly onStore: (lost: string | null) => void;
  /** A watch handler threw. */
  readonly onHandlerError: (error: unknown) => void;
}

/** How long a call waits for a lost connection. */
const WAIT_MS = 10_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** A watch, through all connections. */
interface Standing {
  readonly path: string;
  readonly handler: WatchHandler;
  readonly options: WatchOptions;
  /** The present connection's, or null. */
  set: Watch | null;
}

/** A transport that says when its end was not asked for here. */
function observed(transport: StoreTransport, onLost: (reason: string) => void): StoreTransport {
  return {
    send: (message) => {
      transport.send(message);
    },
    onMessage: (handler) => {
      transport.onMessage(handler);
    },
    onClosed: (handler) => {
      transport.onClosed((reason) => {
        handler(reason);
        onLost(reason);
      });
    },
    close: () => {
      transport.close();
      onLost('the other end broke the protocol');
    },
  };
}

/** The store of a real host. */
export class NativeStore implements Store {
  /** Times that the connection was made again. */
  reconnects = 0;
  private client: StoreClient | null = null;
  private home = '';
  private closed = false;
  private readonly standing = new Set<Standing>();
  private readonly waiting = new Set<(client: StoreClient | null) => void>();
  /** Which connection a transaction belongs to: its number means nothing on another. */
  private readonly owners = new WeakMap<StoreTransaction, StoreClient>();
  private cancelPause: () => void = () => undefined;

  private constructor(private readonly options: NativeStoreOptions) {}

  /** Connects. @throws NativeError when the first connection cannot be made. */
  static async open(options: NativeStoreOptions): Promise<NativeStore> {
    const store = new NativeStore(options);
    store.use(await options.connect());
    return store;
  }

  /** Relative paths are under here from now on. */
  setHome(path: string): void {
    this.home = path;
  }

  /** Watches that are set by others than the domain itself, whose own are relative: set before there was a home. */
  get watches(): number {
    let count = 0;
    for (const { path } of this.standing) if (/^[/@]/.test(path)) count++;
    return count;
  }

  /** Whether there is a connection. */
  get connected(): boolean {
    return this.client !== null;
  }

  read(path: string, transaction?: StoreTransaction): Promise<string> {
    return this.ask(transaction, (client) => client.read(this.absolute(path), transaction));
  }

  readOptional(path: string, transaction?: StoreTransaction): Promise<string | null> {
    return this.ask(transaction, (client) => client.readOptional(this.absolute(path), transaction));
  }

  write(path: string, value: string, transaction?: StoreTransaction): Promise<void> {
    return this.ask(transaction, (client) => client.write(this.absolute(path), value, transaction));
  }

  mkdir(path: string, transaction?: StoreTransaction): Promise<void> {
    return this.ask(transaction, (client) => client.mkdir(this.absolute(path), transaction));
  }

  remove(path: string, transaction?: StoreTransaction): Promise<void> {
    return this.ask(transaction, (client) => client.remove(this.absolute(path), transaction));
  }

  list(path: string, transaction?: StoreTransaction): Promise<string[]> {
    return this.ask(transaction, (client) => client.list(this.absolute(path), transaction));
  }

  exists(path: string, transaction?: StoreTransaction): Promise<boolean> {
    return this.ask(transaction, (client) => client.exists(this.absolute(path), transaction));
  }

  setPermissions(path: string, permissions: Permissions, transaction?: StoreTransaction): Promise<void> {
    return this.ask(transaction, (client) =>
      client.setPermissions(this.absolute(path), permissions, transaction),
    );
  }

  getPermissions(path: string, transaction?: StoreTransaction): Promise<Permissions> {
    return this.ask(transaction, (client) => client.getPermissions(this.absolute(path), transaction));
  }

  async watch(path: string, handler: WatchHandler, options: WatchOptions = {}): Promise<Watch> {
    const standing = this.stand(path, handler, options);
    let watch: Watch;
    try {
      watch = await this.ask(undefined, (client) => this.set(client, standing));
    } catch (error) {
      this.standing.delete(standing);
      throw error;
    }
    return {
      path,
      token: watch.token,
      remove: async () => {
        this.standing.delete(standing);
        // With the store go all watches.
        if (!this.closed) await standing.set?.remove();
      },
    };
  }

  async transaction<T>(
    body: (transaction: StoreTransaction) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    return this.ask(undefined, (client) =>
      client.transaction((transaction) => {
        this.owners.set(transaction, client);
        return body(transaction);
      }, options),
    );
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.cancelPause();
    this.standing.clear();
    const { client } = this;
    this.client = null;
    client?.close();
    for (const wake of [...this.waiting]) wake(null);
  }

  private absolute(path: string): string {
    return path.startsWith('/') || path.startsWith('@') || this.home === '' ? path : `${this.home}/${path}`;
  }

  /** Notes a watch down; its handler is called with paths as the caller wrote them. */
  private stand(path: string, handler: WatchHandler, options: WatchOptions): Standing {
    const whole = this.absolute(path);
    const prefix = whole === path ? '' : `${this.home}/`;
    const deepest = options.depth === undefined ? Infinity : depthOf(whole) + options.depth;
    const standing: Standing = {
      path: whole,
      options,
      set: null,
      handler: (at, token) => {
        // The kernel's device passes no depth on, so every level may come.
        if (!this.standing.has(standing) || (!at.startsWith('@') && depthOf(at) > deepest)) return;
        handler(at.startsWith(prefix) ? at.slice(prefix.length) : at, token);
      },
    };
    this.standing.add(standing);
    return standing;
  }

  private async set(client: StoreClient, standing: Standing): Promise<Watch> {
    const watch = await client.watch(standing.path, standing.handler, standing.options);
    standing.set = watch;
    if (!this.standing.has(standing)) await watch.remove();
    return watch;
  }

  private async ask<T>(
    transaction: StoreTransaction | undefined,
    call: (client: StoreClient) => Promise<T>,
  ): Promise<T> {
    const owner = transaction === undefined ? undefined : this.owners.get(transaction);
    return call(owner ?? this.client ?? (await this.whenConnected()));
  }

  private whenConnected(): Promise<StoreClient> {
    return new Promise((resolve, reject) => {
      const give = (client: StoreClient | null): void => {
        this.waiting.delete(give);
        cancel();
        if (client !== null) resolve(client);
        else reject(failure('ECLOSED', 'a call', 'there is no connection to the store'));
      };
      const cancel = this.closed
        ? () => undefined
        : this.options.clock.after(WAIT_MS, () => {
            give(null);
          });
      this.waiting.add(give);
      if (this.closed) give(null);
    });
  }

  private use(transport: StoreTransport): void {
    const client: StoreClient = new StoreClient(
      observed(transport, (reason) => {
        this.lost(client, reason);
      }),
      { onHandlerError: this.options.onHandlerError },
    );
    this.client = client;
    for (const give of [...this.waiting]) give(client);
  }

  private lost(client: StoreClient, reason: string): void {
    if (this.closed || this.client !== client) return;
    this.client = null;
    for (const standing of this.standing) standing.set = null;
    this.options.onStore(reason);
    this.again(FIRST_PAUSE_MS);
  }

  private again(pauseMs: number): void {
    this.cancelPause = this.options.clock.after(pauseMs, () => void this.reconnect(pauseMs));
  }

  private async reconnect(pauseMs: number): Promise<void> {
    let transport: StoreTransport;
    try {
      transport = await this.options.connect();
    } catch {
      if (!this.closed) this.again(Math.min(2 * pauseMs, LONGEST_PAUSE_MS));
      return;
    }
    if (this.closed) {
      transport.close();
      return;
    }
    this.reconnects++;
    this.use(transport);
    this.options.onStore(null);
    const { client } = this;
    if (client === null) return;
    for (const standing of [...this.standing])
      this.set(client, standing).catch((error: unknown) => {
        if (!(error instanceof StoreError && error.code === 'ECLOSED')) this.options.onHandlerError(error);
      });
  }
}
