/**
 * A client that speaks bytes and waits for nothing: the server answers within the call. For tests that look at
 * what is on the wire; what the driver sees is tested through StoreClient.
 */
import {
  bytesToString,
  decodeMessage,
  encodeMessage,
  joinStrings,
  MessageType,
  splitStrings,
  stringToBytes,
  type Connection,
  type Message,
  type MessageTypeName,
  type StoreServer,
} from '../../src/store/index.js';

/** One seed for a test file, printed in test names; set NETACCEL_SEED to repeat a run. */
export const SEED = Number(process.env['NETACCEL_SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff));

/** Small repeatable numbers (mulberry32): 0 <= n < limit. */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed | 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

export class RawClient {
  readonly received: Message[] = [];
  readonly connection: Connection;
  closedBecause: string | undefined;
  isWritable = true;
  #requestId = 0;

  constructor(
    readonly server: StoreServer,
    readonly domid: number,
  ) {
    this.connection = server.connect(
      domid,
      (bytes) => {
        const message = decodeMessage(bytes);
        if (message === undefined) throw new Error('the server sent what is not a message');
        this.received.push(message);
      },
      { writable: () => this.isWritable, onClosed: (reason) => (this.closedBecause = reason) },
    );
  }

  /** Sends a request and returns its number. */
  send(type: number, payload: Uint8Array, transactionId = 0): number {
    const requestId = ++this.#requestId;
    this.connection.receive(encodeMessage({ type, requestId, transactionId, payload }));
    return requestId;
  }

  /** The reply to a request, taken out of what was received; undefined if there is none. */
  reply(requestId: number): Message | undefined {
    const at = this.received.findIndex(
      (m) => m.requestId === requestId && m.type !== MessageType.WATCH_EVENT,
    );
    return at < 0 ? undefined : this.received.splice(at, 1)[0];
  }

  /** The text of the reply, NULs as `|`; an error is its name. */
  ask(type: MessageTypeName, text = '', transactionId = 0): string {
    const payload = stringToBytes(text.replaceAll('|', '\0'));
    const reply = this.reply(this.send(MessageType[type], payload, transactionId));
    if (reply === undefined) return this.connection.closed ? 'closed' : 'no reply';
    const answer = bytesToString(reply.payload).replaceAll('\0', '|');
    return reply.type === MessageType.ERROR ? answer.replace('|', '') : answer;
  }

  /** Events since the last call, as `path token`. */
  events(): string[] {
    const events = this.received.filter(({ type }) => type === MessageType.WATCH_EVENT);
    this.received.splice(
      0,
      Infinity,
      ...this.received.filter(({ type }) => type !== MessageType.WATCH_EVENT),
    );
    return events.map(({ payload }) => splitStrings(payload).strings.join(' '));
  }

  write(path: string, value: string, transactionId = 0): string {
    return this.ask('WRITE', `${path}|${value}`, transactionId);
  }

  read(path: string, transactionId = 0): string {
    return this.ask('READ', `${path}|`, transactionId);
  }

  list(path: string, transactionId = 0): string[] {
    return this.ask('DIRECTORY', `${path}|`, transactionId).split('|').slice(0, -1);
  }

  begin(): number {
    return Number(this.ask('TRANSACTION_START', '|').replace('|', ''));
  }

  end(transactionId: number, verdict: 'T' | 'F' = 'T'): string {
    return this.ask('TRANSACTION_END', `${verdict}|`, transactionId);
  }

  /** The whole tree under a path, as this client sees it: path, value, permissions. */
  dump(path = '/'): Record<string, string> {
    const found: Record<string, string> = {};
    const pending = [path];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      found[next] = `${this.read(next)} ${this.ask('GET_PERMS', `${next}|`)}`;
      for (const name of this.list(next)) pending.push(next === '/' ? `/${name}` : `${next}/${name}`);
    }
    return found;
  }
}

/** A payload of strings, written with `|` for each NUL. */
export function payload(text: string): Uint8Array {
  return joinStrings(text.split('|').slice(0, -1));
}
