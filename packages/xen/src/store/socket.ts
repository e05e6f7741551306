/**
 * A store on a Unix socket, in xenstored's own protocol: what the stock xenstore tools connect to.
 *
 * Whoever may open the socket is domain 0, so only the owner may. Each client has a connection of its own; what
 * it does wrong costs itself an error or its connection. A client that does not read stops being read, and past
 * a limit is cut off, since domain 0 has no quotas. For the main thread: a worker cannot set the file's mode.
 */
import { lstatSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { PRIVILEGED_DOMID } from './domid.js';
import type { StoreServer } from './server.js';

/** Bounds of one socket. */
export const STORE_SOCKET_LIMITS = {
  /** Clients at a time; another is hung up on. */
  clients: 64,
  /** Bytes of replies and events that a client may leave unread before it is cut off. */
  waitingBytes: 4 * 1024 * 1024,
  /** Bytes of a path that a Unix socket takes (unix(7)). */
  pathBytes: 107,
} as const;

/** The socket could not be made. */
export class StoreSocketError extends Error {
  /**
   * @param code `BUSY` a server answers there; `NOT_A_SOCKET` another kind of file is there; `TOO_LONG` the path;
   * `REFUSED` the system said no.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: 'BUSY' | 'NOT_A_SOCKET' | 'TOO_LONG' | 'REFUSED',
    message: string,
  ) {
    super(message);
    this.name = 'StoreSocketError';
  }
}

/** A store that is being served. */
export interface StoreSocket {
  /** Where. */
  readonly path: string;
  /** Clients that are connected. */
  readonly clients: number;
  /** Ends it: hangs up on every client and removes the socket. Idempotent. */
  close(): void;
}

/**
 * Serves `server` at `path` until it is closed. A socket that nobody answers at is replaced.
 *
 * ```ts
 * const store = await serveSocket(machine.storeServer, '/tmp/lab-store');
 * // XENSTORED_PATH=/tmp/lab-store xenstore-ls -f
 * store.close();
 * ```
 * @throws StoreSocketError
 */
export async function serveSocket(server: StoreServer, path: string): Promise<StoreSocket> {
  await makeWay(path);
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serveClient(server, socket);
  });
  listener.maxConnections = STORE_SOCKET_LIMITS.clients;
  await new Promise<void>((resolve, reject) => {
    listener.once('error', (error) => reject(refused(path, error)));
    // The file is made within the call, and with this mask it is nobody else's for not a moment.
    const mask = process.umask(0o177);
    try {
      listener.listen(path, resolve);
    } finally {
      process.umask(mask);
    }
  });
  const remove = (): void => rmSync(path, { force: true });
  process.once('exit', remove); // also when the end was not orderly
  let open = true;
  return {
    path,
    get clients() {
      return sockets.size;
    },
    close: () => {
      if (!open) return;
      open = false;
      process.off('exit', remove);
      listener.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One client, from its first byte to its end. */
function serveClient(server: StoreServer, socket: Socket): void {
  const connection: Connection = server.connect(
    PRIVILEGED_DOMID,
    (message) => {
      if (!socket.write(message)) socket.pause(); // nothing more is asked until it has read
    },
    {
      writable: () => {
        if (!socket.writableNeedDrain) return true;
        if (connection.waitingBytes > STORE_SOCKET_LIMITS.waitingBytes) socket.destroy();
        return false;
      },
      // Replies to what came before a breach are still sent.
      onClosed: () => {
        socket.destroySoon();
      },
    },
  );
  socket.on('data', (bytes) => {
    connection.receive(bytes);
  });
  socket.on('drain', () => {
    connection.drain();
    if (!socket.writableNeedDrain) socket.resume();
  });
  socket.on('error', () => socket.destroy());
  socket.once('close', () => {
    connection.close();
  });
}

/** Removes a socket that was left behind; refuses to remove anything else. */
async function makeWay(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > STORE_SOCKET_LIMITS.pathBytes || bytes === 0)
    throw new StoreSocketError(
      'TOO_LONG',
      `${path}: expected 1 to ${STORE_SOCKET_LIMITS.pathBytes} bytes, as Unix sockets have, saw ${bytes}; choose a shorter path`,
    );
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket())
    throw new StoreSocketError(
      'NOT_A_SOCKET',
      `${path}: expected nothing or a socket that was left behind, saw another kind of file; choose another path`,
    );
  if (await answers(path))
    throw new StoreSocketError(
      'BUSY',
      `${path}: a server answers there already; stop it, or choose another path`,
    );
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

function refused(path: string, error: NodeJS.ErrnoException): StoreSocketError {
  return new StoreSocketError(
    'REFUSED',
    `expected to make a socket at ${path}; got ${error.code ?? error.message}; choose a path in a folder of your own`,
  );
}
