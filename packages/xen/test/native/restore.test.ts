import { describe, expect, it } from 'vitest';
import { openNativeDomain } from '../../src/native/index.js';
import { StoreClient, StoreServer, connectDirect } from '../../src/store/index.js';
import { decodeMessage, encodeMessage, MessageType } from '../../src/store/wire.js';
import { rounds } from './parts.js';
import { ScriptedLibc } from './scripted-libc.js';

const STORE = '/dev/xen/xenbus';
const EVENTS = '/dev/xen/evtchn';

/** A guest's kernel with its xenbus device, which survives a restore as Linux's does: it sets every watch anew. */
async function guestOf(server: StoreServer, id: number) {
  const libc = new ScriptedLibc();
  const tools = new StoreClient(connectDirect(server, 0, queueMicrotask));
  const introduce = async (domain: number): Promise<void> => {
    await tools.write(`/local/domain/${domain}/domid`, String(domain));
    for (const path of ['', '/domid'])
      await tools.setPermissions(`/local/domain/${domain}${path}`, [{ domid: domain, access: 'none' }]);
  };
  const waiting: Uint8Array[] = [];
  const watches: Uint8Array[] = [];
  let deaf = false;
  const connect = (domain: number) =>
    server.connect(domain, (message) => {
      // Replies to what the kernel asks for itself are not the process's.
      if (deaf && decodeMessage(message)!.type !== MessageType.WATCH_EVENT) return;
      waiting.push(message);
      queueMicrotask(() => {
        libc.readable(STORE);
      });
    });
  await introduce(id);
  let connection = connect(id);
  libc.streams.set(STORE, {
    read: () => (waiting.length > 0 ? new Uint8Array(Buffer.concat(waiting.splice(0))) : null),
    write: (bytes) => {
      if (decodeMessage(bytes)!.type === MessageType.WATCH) watches.unshift(bytes);
      connection.receive(bytes);
    },
  });
  /** It was saved, and is domain `to` now. */
  const restore = async (to: number): Promise<void> => {
    connection.close();
    await tools.remove(`/local/domain/${id}`);
    await introduce(to);
    connection = connect(to);
    deaf = true;
    for (const watch of watches) connection.receive(encodeMessage(decodeMessage(watch)!));
    deaf = false;
  };
  /** The process closed the device: its connection and its watches go, and the next open is another one. */
  const closed = (domain: number): void => {
    connection.close();
    watches.length = 0;
    connection = connect(domain);
  };
  return { libc, restore, closed };
}

async function until(done: () => boolean): Promise<void> {
  for (let turns = 0; !done(); turns++) {
    if (turns > 1000) throw new Error('it did not come to that');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a domain that is restored', () => {
  it.each([9, 7])(
    'says so once as domain %i, and asks the kernel nothing about its old ports',
    async (to) => {
      const { libc, restore, closed } = await guestOf(new StoreServer(), 7);
      let restored = 0;
      const open = () =>
        openNativeDomain({ libc, store: STORE, arenaBytes: 2 ** 20, onRestored: () => restored++ });
      const domain = await open();
      const channel = domain.events.allocateUnbound(0, () => undefined);
      await domain.store.watch('device', () => undefined);
      await rounds();
      expect(restored).toBe(0);
      expect(domain.ledger()).toMatchObject({ ports: 1, watches: 1 });
      channel.notify();
      await restore(to);
      await until(() => restored > 0);
      const calls = libc.calls.length;
      channel.notify();
      channel.unmask();
      channel.close();
      await rounds();
      expect(libc.calls.slice(calls)).toEqual([]);
      expect(() => domain.events.allocateUnbound(0, () => undefined)).toThrow(/restored/);
      expect(() => domain.events.bindInterdomain(0, 1, () => undefined)).toThrow(/restored/);
      await expect(domain.store.read('domid')).rejects.toMatchObject({ code: 'ECLOSED' });
      domain.close();
      // Linux would stop at a BUG if this one were closed.
      expect([...libc.open_.values()]).toEqual([EVENTS]);
      expect(libc.polled).toEqual([]);
      expect(restored).toBe(1);
      expect(domain.ledger()).toMatchObject({ ports: 0, watches: 0, timers: 0 });

      closed(to);
      const next = await open();
      expect(next.id).toBe(to);
      expect(await next.store.read('domid')).toBe(String(to));
      next.close();
      expect([...libc.open_.values()]).toEqual([EVENTS]);
    },
  );

  it('closes its event device too if it had no ports', async () => {
    const { libc, restore } = await guestOf(new StoreServer(), 7);
    let restored = 0;
    const domain = await openNativeDomain({
      ...{ libc, store: STORE, arenaBytes: 2 ** 20 },
      onRestored: () => restored++,
    });
    const standing = await domain.store.watch('device', () => undefined);
    await restore(9);
    await until(() => restored === 1);
    await standing.remove();
    domain.close();
    expect([...libc.open_.values()]).toEqual([]);
  });
});
