import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openNativeDomain } from '../../src/native/index.js';
import { NativeStore } from '../../src/native/store.js';
import { connectSocket } from '../../src/native/store-transports.js';
import { StoreClient, StoreServer, connectDirect } from '../../src/store/index.js';
import { MessageType } from '../../src/store/wire.js';
import { ScriptedLibc } from './scripted-libc.js';

const TIMEOUT = 60_000;

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xenstored-'));
  path = join(directory, 'socket');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** A store on a Unix socket, which a test can take away. */
async function serve(server: StoreServer): Promise<{ stop(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const listener: Server = createServer((socket) => {
    sockets.add(socket);
    const connection = server.connect(0, (message) => socket.write(message));
    socket.on('data', (bytes) => {
      connection.receive(bytes);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connection.close();
    });
  });
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  return {
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) =>
        listener.close(() => {
          resolve();
        }),
      );
    },
  };
}

/** A clock that a test moves on. */
function clockOf() {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly fn: () => void }>();
  return {
    after: (ms: number, fn: () => void) => {
      const timer = { at: now + ms, fn };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    /** Milliseconds until the next timer. */
    next: () => Math.min(...[...timers].map(({ at }) => at - now)),
    pass: (ms: number) => {
      now += ms;
      for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.fn();
    },
  };
}

/** Lets sockets get on until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

describe('the store of a real host', () => {
  it(
    'outlives its connection: calls wait, watches are set again and fire',
    async () => {
      const server = new StoreServer();
      let listening = await serve(server);
      const said: (string | null)[] = [];
      const clock = clockOf();
      let attempts = 0;
      const store = await NativeStore.open({
        connect: () => {
          attempts++;
          return connectSocket(path);
        },
        clock,
        onStore: (lost) => said.push(lost),
        onHandlerError: (error) => {
          throw error;
        },
      });
      store.setHome('/local/domain/0');
      const events: string[] = [];
      await store.watch('backend', (at) => events.push(at));
      const gone = await store.watch('other', () => undefined);
      await gone.remove();
      await store.write('backend/vif', 'x');
      await until(() => events.includes('backend/vif'));

      await listening.stop();
      await until(() => said.length > 0);
      expect(said[0]).toMatch(/closed/);
      expect(store.connected).toBe(false);
      const late = store.read('/local/domain/0/backend/vif');
      events.length = 0;
      clock.pass(49);
      expect(attempts).toBe(1);
      clock.pass(1);
      expect(attempts).toBe(2);
      // Nobody listens: the next attempt comes after twice the pause.
      await until(() => clock.next() === 100);
      listening = await serve(server);
      clock.pass(100);
      expect(attempts).toBe(3);
      await expect(late).resolves.toBe('x');
      await until(() => events.includes('backend'));
      expect(said.at(-1)).toBeNull();
      expect(store).toMatchObject({ reconnects: 1, watches: 1 });
      await store.write('/local/domain/0/backend/vif', 'y');
      await until(() => events.includes('backend/vif'));

      store.close();
      await expect(store.read('backend')).rejects.toMatchObject({ code: 'ECLOSED' });
      await listening.stop();
    },
    TIMEOUT,
  );

  it(
    'rejects what is under way when the connection goes, and transactions that began on it',
    async () => {
      const listening = await serve(new StoreServer());
      const store = await NativeStore.open({
        connect: () => connectSocket(path),
        clock: clockOf(),
        onStore: () => undefined,
        onHandlerError: () => undefined,
      });
      const result = store.transaction(async (tx) => {
        await store.write('/a', '1', tx);
        await listening.stop();
        await until(() => !store.connected);
        await store.write('/b', '2', tx);
      });
      await expect(result).rejects.toMatchObject({ code: 'ECLOSED' });
      store.close();
    },
    TIMEOUT,
  );

  it('says where it looked when nobody is there', async () => {
    await expect(connectSocket(path)).rejects.toMatchObject({
      code: 'NO_STORE',
      message: expect.stringContaining(path) as string,
    });
  });
});

function isAnswer(message: Uint8Array): boolean {
  return new DataView(message.buffer, message.byteOffset).getUint32(0, true) !== MessageType.WATCH_EVENT;
}

/**
 * A scripted host whose xenbus device is domain 7's connection to a store. As the kernel's, a read gives all that
 * waits, and a request that comes before the last one's answer overwrites that: `overwritten` counts these.
 */
function hostOf(server: StoreServer) {
  const libc = new ScriptedLibc();
  const host = { libc, requests: 0, overwritten: 0 };
  let answers = 0;
  const waiting: Uint8Array[] = [];
  const tell = (): void => {
    queueMicrotask(() => {
      libc.readable('/dev/xen/xenbus');
    });
  };
  const connection = server.connect(7, (message) => {
    waiting.push(message);
    if (isAnswer(message)) answers++;
    tell();
  });
  libc.streams.set('/dev/xen/xenbus', {
    read: () => {
      return waiting.length > 0 ? new Uint8Array(Buffer.concat(waiting.splice(0))) : null;
    },
    write: (bytes) => {
      // Answered is what has been read, too: the writer cannot know of the rest.
      if (host.requests++ > answers || waiting.some(isAnswer)) host.overwritten++;
      connection.receive(bytes);
    },
  });
  return host;
}

async function toolsOf(server: StoreServer): Promise<StoreClient> {
  const tools = new StoreClient(connectDirect(server, 0, queueMicrotask));
  await tools.write('/local/domain/7/domid', '7');
  await tools.setPermissions('/local/domain/7', [{ domid: 7, access: 'none' }]);
  await tools.setPermissions('/local/domain/7/domid', [{ domid: 7, access: 'none' }]);
  return tools;
}

describe('a domain of a real host', () => {
  it(
    'opens by its xenbus device, finds out which it is, and closes everything',
    async () => {
      const server = new StoreServer();
      await toolsOf(server);
      const { libc } = hostOf(server);
      const domain = await openNativeDomain({ libc, store: '/dev/xen/xenbus', arenaBytes: 2 ** 20 });
      expect(domain).toMatchObject({ id: 7, storePath: '/dev/xen/xenbus' });
      expect([...libc.open_.values()].sort()).toEqual([
        '/dev/xen/evtchn',
        '/dev/xen/gntalloc',
        '/dev/xen/gntdev',
        '/dev/xen/xenbus',
      ]);
      const address = domain.pages.allocate(2);
      expect(domain.ledger()).toMatchObject({ pages: 2, grants: 0, mappings: 0, ports: 0, watches: 0 });
      domain.pages.free(address);
      expect(() => {
        domain.pages.free(address);
      }).toThrow(/nobody freed yet/);
      expect(domain.describe()).toMatchObject({ id: 7, storeConnected: true, pages: 0 });
      domain.close();
      domain.close();
      expect(libc.open_.size).toBe(0);
      expect(libc.polled).toEqual([]);
    },
    TIMEOUT,
  );

  it(
    'has one request under way at a time: the kernel keeps no more than one of an open device',
    async () => {
      const server = new StoreServer();
      const tools = await toolsOf(server);
      for (let i = 0; i < 20; i++) await tools.write(`/local/domain/7/k${i}`, String(i));
      for (let i = 0; i < 20; i++)
        await tools.setPermissions(`/local/domain/7/k${i}`, [{ domid: 7, access: 'none' }]);
      const host = hostOf(server);
      const domain = await openNativeDomain({
        libc: host.libc,
        store: '/dev/xen/xenbus',
        arenaBytes: 2 ** 20,
      });
      const values = await Promise.all(Array.from({ length: 20 }, (_, i) => domain.store.read(`k${i}`)));
      expect(values).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
      expect(host.requests).toBeGreaterThanOrEqual(20);
      expect(host.overwritten).toBe(0);
      domain.close();
    },
    TIMEOUT,
  );

  it(
    'reads answers as they came while a watch handler sends between them',
    async () => {
      const server = new StoreServer();
      const tools = await toolsOf(server);
      const { libc } = hostOf(server);
      const domain = await openNativeDomain({ libc, store: '/dev/xen/xenbus', arenaBytes: 2 ** 20 });
      const { store } = domain;
      for (let i = 0; i < 10; i++) await store.write(`k${i}`, String(i));
      const deep = `a/${'long/'.repeat(40)}path`;
      await store.write('a', 'before');
      let fired = 0;
      let more: Promise<string | null> = Promise.resolve(null);
      await store.watch('a', () => {
        fired++;
        more = store.readOptional(deep);
      });
      await until(() => fired === 1);
      await more;
      // In one read: the event, then the answers.
      await tools.write('/local/domain/7/a', 'now');
      const values = Promise.all(Array.from({ length: 10 }, (_, i) => store.read(`k${i}`)));
      expect(await values).toEqual(Array.from({ length: 10 }, (_, i) => String(i)));
      expect(fired).toBe(2);
      expect(await more).toBeNull();
      domain.close();
      tools.close();
    },
    TIMEOUT,
  );

  it(
    'leaves out events from deeper than a watch goes: the kernel passes no depth on',
    async () => {
      const server = new StoreServer();
      await toolsOf(server);
      const { libc } = hostOf(server);
      const domain = await openNativeDomain({ libc, store: '/dev/xen/xenbus', arenaBytes: 2 ** 20 });
      const seen: string[] = [];
      await domain.store.watch('device', (at) => seen.push(at), { depth: 1 });
      await domain.store.write('device/vif', 'a');
      await domain.store.write('device/vif/0', 'b');
      await until(() => seen.includes('device/vif'));
      expect(seen).not.toContain('device/vif/0');
      domain.close();
    },
    TIMEOUT,
  );

  it('gives everything back when it cannot open', async () => {
    const server = new StoreServer();
    await toolsOf(server);
    const { libc } = hostOf(server);
    libc.failures.set('open /dev/xen/gntalloc', 'EACCES');
    await expect(
      openNativeDomain({ libc, store: '/dev/xen/xenbus', arenaBytes: 2 ** 20 }),
    ).rejects.toMatchObject({ code: 'NO_RIGHT' });
    expect(libc.polled).toEqual([]);
    expect([...libc.open_.values()]).toEqual([]);
  });

  it('says that a domain without a number was not made by a toolstack', async () => {
    const { libc } = hostOf(new StoreServer());
    await expect(
      openNativeDomain({ libc, store: '/dev/xen/xenbus', arenaBytes: 2 ** 20 }),
    ).rejects.toMatchObject({ code: 'NO_STORE' });
  });
});
