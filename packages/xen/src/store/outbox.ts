/**
 * What a connection still has to be sent: replies and watch events, in order.
 *
 * As long as the transport takes messages nothing is kept. When it does not, an event that waits already is not
 * queued again (a watch says "look again", and one look will do), and an event over the limit is dropped and
 * counted, so a client that does not read costs bounded memory (XSA-326, 349). Replies are never dropped: their
 * number is bounded because the connection takes no further requests while it is over the limit.
 */
import { Fifo } from './fifo.js';
import { encodeMessage, joinStrings, MAX_PAYLOAD_BYTES, MessageType } from './wire.js';

/** How the bytes leave. */
export interface Outlet {
  /** Takes one whole message. */
  send(message: Uint8Array): void;
  /** Whether it takes one now; when it does again, the connection is drained. Without it, always. */
  writable?(): boolean;
}

/** What happened to events; one object for the whole server. */
export interface EventCounters {
  /** Handed to a transport, or queued for it. */
  eventsQueued: number;
  /** Left out because the same event was waiting already (XSA-349). */
  eventsCoalesced: number;
  /** Left out because the connection has too much waiting (XSA-326). */
  eventsDropped: number;
  /** Left out because path and token do not fit into one message (XSA-324). */
  eventsTooLong: number;
}

interface Waiting {
  readonly bytes: Uint8Array;
  /** Set for an event. */
  readonly key: string | undefined;
}

/** The queue of one connection. */
export class Outbox {
  readonly #queue = new Fifo<Waiting>();
  #bytes = 0;
  #sending = false;
  readonly #events = new Set<string>();

  constructor(
    readonly outlet: Outlet,
    readonly counters: EventCounters,
  ) {}

  /** Bytes that wait. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** Sends or queues a reply. */
  pushReply(bytes: Uint8Array): void {
    this.#push({ bytes, key: undefined });
  }

  /** Sends, queues or leaves out an event. */
  pushEvent(path: string, token: string, limitBytes: number): void {
    const key = `${path}\0${token}`;
    if (key.length + 1 > MAX_PAYLOAD_BYTES) this.counters.eventsTooLong++;
    else if (this.#events.has(key)) this.counters.eventsCoalesced++;
    else if (this.#bytes >= limitBytes) this.counters.eventsDropped++;
    else {
      this.counters.eventsQueued++;
      const payload = joinStrings([path, token]);
      const type = MessageType.WATCH_EVENT;
      this.#push({ bytes: encodeMessage({ type, requestId: 0, transactionId: 0, payload }), key });
    }
  }

  /** Sends what the transport takes. */
  drain(): void {
    // A transport may say that it is writable from within its own `send`.
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#queue.length > 0 && this.#isWritable()) {
        const { bytes, key } = this.#queue.shift()!;
        this.#bytes -= bytes.length;
        if (key !== undefined) this.#events.delete(key);
        this.outlet.send(bytes);
      }
    } finally {
      this.#sending = false;
    }
  }

  /** Forgets everything that waits. */
  clear(): void {
    this.#queue.clear();
    this.#bytes = 0;
    this.#events.clear();
  }

  #push(waiting: Waiting): void {
    this.#queue.push(waiting);
    this.#bytes += waiting.bytes.length;
    if (waiting.key !== undefined) this.#events.add(waiting.key);
    this.drain();
  }

  #isWritable(): boolean {
    return this.outlet.writable?.() ?? true;
  }
}
