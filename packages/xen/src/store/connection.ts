/**
 * One client's end in the server: what came in and waits, what goes out, its watches and transactions.
 *
 * The transport calls `receive`, `drain` and `close`; the server takes requests out one at a time. Everything
 * that a connection holds is given back in `close`, which may come at any moment and any number of times
 * (XSA-233, 484).
 */
import { Fifo } from './fifo.js';
import { Outbox, type Outlet } from './outbox.js';
import type { Caller } from './permissions.js';
import type { StoreState } from './state.js';
import type { Transaction } from './transaction.js';
import { HEADER_BYTES, MAX_PAYLOAD_BYTES, MessageDecoder, type Message } from './wire.js';
import { watchMemoryOf, type Watcher } from './watches.js';

/** What a transport sees of a connection. */
export interface Connection {
  /** The domain at the other end. */
  readonly domid: number;
  /** Whether it is over, from either side. */
  readonly closed: boolean;
  /** Bytes of replies and events that the transport has not taken. */
  readonly waitingBytes: number;
  /** Takes bytes from the client: any piece of the stream, or whole messages. */
  receive(bytes: Uint8Array): void;
  /** The transport takes messages again. */
  drain(): void;
  /** The client is gone, or is to go. Idempotent. */
  close(): void;
}

/** What the server is told of. */
export interface ConnectionEvents {
  /** There may be a request to take. */
  wake(connection: StoreConnection): void;
  /** It is over; `reason` is undefined when the transport said so. */
  closed(connection: StoreConnection, reason: string | undefined): void;
}

const LARGEST_ID = 0xffff_ffff;

/** A connection, as the server sees it. */
export class StoreConnection implements Connection, Watcher {
  readonly outbox: Outbox;
  readonly transactions = new Map<number, Transaction>();
  closed = false;
  readonly #state: StoreState;
  readonly #events: ConnectionEvents;
  readonly #decoder = new MessageDecoder();
  readonly #requests = new Fifo<Message>();
  #requestBytes = 0;
  #lastTransactionId = 0;
  #breach: string | undefined;

  constructor(
    readonly domid: number,
    outlet: Outlet,
    state: StoreState,
    events: ConnectionEvents,
  ) {
    this.outbox = new Outbox(outlet, state.counters);
    this.#state = state;
    this.#events = events;
  }

  get caller(): Caller {
    return { domid: this.domid, target: this.#state.domains.find(this.domid)?.target };
  }

  /** Whether something is left to do for it: a request, or its end after a breach. */
  hasWork(): boolean {
    return !this.closed && (this.#requests.length > 0 || this.#breach !== undefined);
  }

  get waitingBytes(): number {
    return this.outbox.waitingBytes;
  }

  /** Bytes of requests that wait. */
  get requestBytes(): number {
    return this.#requestBytes;
  }

  receive(bytes: Uint8Array): void {
    if (this.closed) return;
    const intact = this.#decoder.push(bytes, (message) => {
      this.#requests.push(message);
      this.#requestBytes += HEADER_BYTES + message.payload.length;
    });
    // What came before the breach is still answered.
    if (!intact) this.#breach = `a message with a payload of more than ${MAX_PAYLOAD_BYTES} bytes`;
    this.#events.wake(this);
  }

  drain(): void {
    if (this.closed) return;
    this.outbox.drain();
    this.#events.wake(this);
  }

  close(): void {
    this.end(undefined);
  }

  /** The next request; ends the connection when a breach comes next. */
  takeRequest(): Message | undefined {
    const message = this.#requests.shift();
    if (message === undefined) {
      if (this.#breach !== undefined) this.end(this.#breach);
    } else this.#requestBytes -= HEADER_BYTES + message.payload.length;
    return message;
  }

  deliver(path: string, token: string): void {
    if (!this.closed) this.outbox.pushEvent(path, token, this.#state.quotas.limit(this.domid, 'outstanding'));
  }

  /** Opens a transaction and returns its number: the next that is not in use, never 0. */
  addTransaction(transaction: Transaction): number {
    do this.#lastTransactionId = this.#lastTransactionId === LARGEST_ID ? 1 : this.#lastTransactionId + 1;
    while (this.transactions.has(this.#lastTransactionId));
    this.transactions.set(this.#lastTransactionId, transaction);
    this.#state.ledger.charge(this.domid, 'transactions', 1);
    this.#state.openTransactions++;
    return this.#lastTransactionId;
  }

  /** Takes a transaction away, committed or not. */
  removeTransaction(id: number): void {
    if (!this.transactions.delete(id)) return;
    this.#state.ledger.charge(this.domid, 'transactions', -1);
    this.#state.openTransactions--;
  }

  /** Drops all watches and transactions: RESET_WATCHES, and the end. */
  reset(): void {
    for (const id of [...this.transactions.keys()]) this.removeTransaction(id);
    for (const watch of this.#state.watches.removeAll(this)) {
      this.#state.ledger.charge(this.domid, 'watches', -1);
      this.#state.ledger.charge(this.domid, 'memory', -watchMemoryOf(watch));
    }
  }

  /** Ends it from the server's side; `reason` is what the transport is told. */
  end(reason: string | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.reset();
    this.outbox.clear();
    this.#requests.clear();
    this.#requestBytes = 0;
    this.#events.closed(this, reason);
  }
}
