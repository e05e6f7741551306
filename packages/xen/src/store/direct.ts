/**
 * A connection to a server in the same thread, for a machine that runs all its domains in one.
 *
 * Nothing is delivered in the call that sends it: each message is one task for `schedule`, which decides when;
 * a seeded scheduler so orders whole runs. Tasks carry no message of their own: each delivers the next one, so the
 * order on the connection holds in whatever order tasks run.
 */
import type { Connection } from './connection.js';
import { Fifo } from './fifo.js';
import type { StoreServer } from './server.js';
import type { StoreTransport } from './transport.js';

/** Messages that may be under way to the client; more wait in the server, where equal events become one. */
const WINDOW = 16;

/**
 * Runs each task once, later, in any order.
 * @param settles whether the task may settle promises of the client: one that a server gets settles none.
 */
export type Schedule = (task: () => void, settles: boolean) => void;

/** A connection in this thread. */
export class DirectTransport implements StoreTransport {
  readonly #schedule: Schedule;
  readonly #toServer = new Fifo<() => void>();
  readonly #toClient = new Fifo<() => void>();
  readonly #connection: Connection;
  #onMessage: ((message: Uint8Array) => void) | undefined;
  #onClosed: ((reason: string) => void) | undefined;
  #closed = false;
  readonly #deliverToServer = (): void => this.#toServer.shift()?.();
  readonly #deliverToClient = (): void => {
    this.#toClient.shift()?.();
    this.#connection.drain();
  };

  /** Use {@link connectDirect}. */
  constructor(server: StoreServer, domid: number, schedule: Schedule) {
    this.#schedule = schedule;
    this.#connection = server.connect(
      domid,
      (message) => this.#carry(this.#toClient, () => this.#onMessage?.(message)),
      {
        writable: () => this.#toClient.length < WINDOW,
        onClosed: (reason) => this.#carry(this.#toClient, () => this.#endedByServer(reason)),
      },
    );
  }

  /** {@inheritDoc StoreTransport.send} */
  send(message: Uint8Array): void {
    if (!this.#closed) this.#carry(this.#toServer, () => this.#connection.receive(message));
  }

  /** {@inheritDoc StoreTransport.onMessage} */
  onMessage(handler: (message: Uint8Array) => void): void {
    this.#onMessage = handler;
  }

  /** {@inheritDoc StoreTransport.onClosed} */
  onClosed(handler: (reason: string) => void): void {
    this.#onClosed = handler;
  }

  /** {@inheritDoc StoreTransport.close} */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // After what was sent before it.
    this.#carry(this.#toServer, () => this.#connection.close());
  }

  /**
   * The client died: the server lets go of it at once. Nothing is delivered any more, not even that it is over: a
   * request without an answer stays without one, so nothing of the client runs again.
   */
  abandon(): void {
    this.#closed = true;
    this.#onMessage = undefined;
    this.#connection.close();
  }

  #carry(queue: Fifo<() => void>, deliver: () => void): void {
    queue.push(deliver);
    if (queue === this.#toClient) this.#schedule(this.#deliverToClient, true);
    else this.#schedule(this.#deliverToServer, false);
  }

  #endedByServer(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClosed?.(reason);
  }
}

/**
 * Connects domain `domid` to a server in this thread.
 * @param schedule runs the tasks.
 * @throws StoreError `EINVAL` for a number that no domain can have.
 */
export function connectDirect(server: StoreServer, domid: number, schedule: Schedule): DirectTransport {
  return new DirectTransport(server, domid, schedule);
}
