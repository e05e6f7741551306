/**
 * A connection over a `MessagePort`, between a worker and the thread that has the server.
 *
 * Both sides speak in frames: a message's bytes either way; `'taken'` from the client for each message it got,
 * so that the server keeps (and joins) what a slow client has not read; `{ closed }` from the server at the end.
 * A frame of any other kind from a client costs it the connection.
 */
import type { Connection } from './connection.js';
import type { StoreServer } from './server.js';
import type { StoreTransport } from './transport.js';

/** What is needed of a `MessagePort`, a browser's or Node's. */
export interface PortLike {
  /** Posts a frame. */
  postMessage(frame: unknown): void;
  /** Adds who gets the frames, as `data` of each event. */
  addEventListener(type: 'message', listener: (event: unknown) => void): void;
  /** Lets frames come. */
  start(): void;
  /** Ends the channel, once what was posted is delivered. */
  close(): void;
}

/** Messages that may be under way to the client. */
const WINDOW = 16;
const TAKEN = 'taken';

interface ClosedFrame {
  readonly closed: string;
}

function listen(port: PortLike, handler: (frame: unknown) => void): void {
  port.addEventListener('message', (event) => {
    handler((event as { readonly data?: unknown }).data);
  });
  port.start();
}

function isClosedFrame(frame: unknown): frame is ClosedFrame {
  return typeof frame === 'object' && frame !== null && 'closed' in frame && typeof frame.closed === 'string';
}

/**
 * Serves domain `domid` on a port that a worker has the other end of.
 * When the worker is gone, close the connection: a port does not tell.
 * @throws StoreError `EINVAL` for a number that no domain can have.
 */
export function servePort(server: StoreServer, domid: number, port: PortLike): Connection {
  let underWay = 0;
  const connection = server.connect(
    domid,
    (message) => {
      underWay++;
      port.postMessage(message);
    },
    {
      writable: () => underWay < WINDOW,
      onClosed: (closed) => {
        port.postMessage({ closed } satisfies ClosedFrame);
        port.close();
      },
    },
  );
  listen(port, (frame) => {
    if (frame instanceof Uint8Array) connection.receive(frame);
    else if (frame === TAKEN) {
      underWay = Math.max(0, underWay - 1);
      connection.drain();
    } else {
      connection.close();
      port.close();
    }
  });
  return connection;
}

/** The client's end of {@link servePort}. */
export function connectPort(port: PortLike): StoreTransport {
  let onMessage: ((message: Uint8Array) => void) | undefined;
  let onClosed: ((reason: string) => void) | undefined;
  let closed = false;
  listen(port, (frame) => {
    if (closed) return;
    if (frame instanceof Uint8Array) {
      port.postMessage(TAKEN);
      onMessage?.(frame);
    } else if (isClosedFrame(frame)) {
      closed = true;
      onClosed?.(frame.closed);
      port.close();
    }
  });
  return {
    send: (message) => {
      if (!closed) port.postMessage(message);
    },
    onMessage: (handler) => {
      onMessage = handler;
    },
    onClosed: (handler) => {
      onClosed = handler;
    },
    close: () => {
      if (closed) return;
      closed = true;
      port.postMessage(null);
      port.close();
    },
  };
}
