/**
 * The client's conversation with a server: requests out, replies matched to them, events handed on.
 *
 * Replies are matched by request number, so they may come in any order. Messages are dealt with one at a time in
 * the order they came: whoever awaits a reply runs before anything that arrived after it is looked at.
 * `StoreClient` owns one; it owns the transport.
 */
import { ADVICE, isWireError, StoreError, type StoreErrorCode } from './error.js';
import { Fifo } from './fifo.js';
import type { StoreTransaction } from './store.js';
import type { StoreTransport } from './transport.js';
import {
  decodeMessage,
  encodeMessage,
  joinStrings,
  messageTypeName,
  MessageType,
  splitStrings,
  type Message,
} from './wire.js';

/** One request, and what its reply comes to. */
export interface Ask<T> {
  /** A value of {@link MessageType}. */
  readonly type: number;
  /** Strings of the payload, path first. */
  readonly texts: readonly string[];
  /** One character per byte, after them. */
  readonly value?: string;
  /** The whole payload instead. */
  readonly payload?: Uint8Array;
  readonly decode: (payload: Uint8Array) => T;
  readonly transaction?: StoreTransaction | undefined;
  /** What ENOENT means, where it is an answer and no error. */
  readonly missing?: T;
}

interface Pending {
  readonly ask: Ask<unknown>;
  readonly settle: (message: Message) => void;
  readonly fail: (error: StoreError) => void;
}

const LARGEST_ID = 0xffff_ffff;
const settled = Promise.resolve();
/** Turns of the microtask queue that a reply gets to reach its caller, through the promises in between. */
const TURNS = 8;

/** An error that says what was asked, what came back, and what to do. */
export function failure(code: StoreErrorCode, what: string, answer: string): StoreError {
  return new StoreError(code, `store: ${what}: ${answer}; ${ADVICE[code]}`);
}

function nameOf({ type, texts }: Ask<unknown>): string {
  return texts[0] === undefined
    ? messageTypeName(type)
    : `${messageTypeName(type)} ${JSON.stringify(texts[0])}`;
}

function payloadOf({ texts, value, payload }: Ask<unknown>): Uint8Array {
  return payload ?? joinStrings(texts, value);
}

/** What a reply comes to: a value, or the error that is thrown. */
function outcome<T>(ask: Ask<T>, reply: Message): T {
  if (reply.type === ask.type) return ask.decode(reply.payload);
  if (reply.type !== MessageType.ERROR)
    throw failure('EPROTO', nameOf(ask), `the answer was a ${messageTypeName(reply.type)}`);
  const [name = ''] = splitStrings(reply.payload).strings;
  if (!isWireError(name))
    throw failure('EPROTO', nameOf(ask), `the answer was the unknown error ${JSON.stringify(name)}`);
  if (name === 'ENOENT' && ask.missing !== undefined) return ask.missing;
  throw failure(name, nameOf(ask), `the answer was ${name}`);
}

/** The conversation on one transport. */
export class Exchange {
  /** Replies to no request, and events without path or token. */
  strayMessages = 0;
  readonly #transport: StoreTransport;
  readonly #onEvent: (path: string, token: string) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #arrived = new Fifo<Message>();
  #nextRequestId: number;
  #closedBecause: string | undefined;
  #dealing = false;

  /** @param onEvent gets each event; must not throw. */
  constructor(
    transport: StoreTransport,
    onEvent: (path: string, token: string) => void,
    firstRequestId: number,
  ) {
    this.#transport = transport;
    this.#onEvent = onEvent;
    this.#nextRequestId = firstRequestId;
    transport.onMessage((bytes) => {
      this.#arrive(bytes);
    });
    transport.onClosed((reason) => {
      this.#end('ECLOSED', reason);
    });
  }

  /** Whether the connection is over. */
  get closed(): boolean {
    return this.#closedBecause !== undefined;
  }

  /** Requests without an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Sends a request. Rejects with a StoreError: the answer's, or `ECLOSED` or `EPROTO` when none can come. */
  ask<T>(ask: Ask<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closedBecause !== undefined)
        throw failure('ECLOSED', nameOf(ask), `the connection is closed (${this.#closedBecause})`);
      const { type, transaction } = ask;
      const requestId = this.#takeRequestId();
      const transactionId = transaction?.id ?? 0;
      const bytes = encodeMessage({ type, requestId, transactionId, payload: payloadOf(ask) });
      const settle = (reply: Message): void => {
        try {
          resolve(outcome(ask, reply));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      this.#pending.set(requestId, { ask, settle, fail: reject });
      try {
        this.#transport.send(bytes);
      } catch (error) {
        this.#pending.delete(requestId);
        throw error;
      }
    });
  }

  /** Ends the connection; what has no answer rejects. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#end('ECLOSED', 'it was closed here');
    this.#transport.close();
  }

  /** The next number that no request is waiting on; 0 is for events. */
  #takeRequestId(): number {
    for (;;) {
      const id = this.#nextRequestId;
      this.#nextRequestId = id >= LARGEST_ID ? 1 : id + 1;
      if (!this.#pending.has(id)) return id;
    }
  }

  #arrive(bytes: Uint8Array): void {
    if (this.closed) return;
    const message = decodeMessage(bytes);
    if (message === undefined) {
      this.#end('EPROTO', `what arrived (${bytes.length} bytes) is not one message of the protocol`);
      this.#transport.close();
      return;
    }
    this.#arrived.push(message);
    if (!this.#dealing) this.#deal();
  }

  #deal(): void {
    this.#dealing = true;
    for (let message = this.#arrived.shift(); message !== undefined; message = this.#arrived.shift()) {
      const pending = this.#pending.get(message.requestId);
      if (message.type === MessageType.WATCH_EVENT) this.#event(message);
      else if (pending === undefined) this.strayMessages++;
      else {
        this.#pending.delete(message.requestId);
        pending.settle(message);
        void this.#dealLater();
        return;
      }
    }
    this.#dealing = false;
  }

  /** Goes on once whoever awaits the reply has run. */
  async #dealLater(): Promise<void> {
    for (let turns = TURNS; turns > 0; turns--) await settled;
    this.#deal();
  }

  #event({ payload }: Message): void {
    const [path, token] = splitStrings(payload).strings;
    if (path === undefined || token === undefined) this.strayMessages++;
    else this.#onEvent(path, token);
  }

  #end(code: StoreErrorCode, reason: string): void {
    if (this.closed) return;
    this.#closedBecause = reason;
    this.#arrived.clear();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { ask, fail } of pending)
      fail(failure(code, nameOf(ask), `the connection ended before the answer (${reason})`));
  }
}
