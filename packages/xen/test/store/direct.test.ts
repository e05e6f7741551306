// Clients of a store in the same thread: all that a driver does with one, in whatever order the deliveries come.
import { beforeEach, describe, expect, it } from 'vitest';
import {
  connectDirect,
  joinStrings,
  MessageType,
  splitStrings,
  StoreClient,
  StoreServer,
  type Store,
} from '../../src/store/index.js';
import { codeOf } from './code-of.js';
import { SEED } from './raw-client.js';
import { Tasks } from './tasks.js';

describe('a store in the same thread', () => {
  let tasks: Tasks;
  let server: StoreServer;
  let client: StoreClient;
  let store: Store;

  beforeEach(() => {
    tasks = new Tasks();
    server = new StoreServer();
    client = new StoreClient(connectDirect(server, 0, tasks.schedule));
    store = client;
  });

  it('does all that a driver needs', async () => {
    await tasks.until(
      (async () => {
        await store.write('/a/b', 'caf\u00e9\0\u00ff');
        await store.mkdir('/a/c');
        expect(await store.read('/a/b')).toBe('caf\u00e9\0\u00ff');
        expect(await store.list('/a')).toEqual(['b', 'c']);
        expect([await store.exists('/a/c'), await store.exists('/a/d')]).toEqual([true, false]);
        expect([await store.readOptional('/a/c'), await store.readOptional('/none')]).toEqual(['', null]);
        const permissions = [
          { domid: 0, access: 'none' },
          { domid: 5, access: 'both' },
        ] as const;
        await store.setPermissions('/a', permissions);
        expect(await store.getPermissions('/a')).toEqual(permissions);
        await store.remove('/a/b');
        await store.remove('/a/b');
        expect(await codeOf(store.remove('/x/y'))).toBe('ENOENT');
        expect(await codeOf(store.read('/a/b'))).toBe('ENOENT');
        expect(await store.list('/a')).toEqual(['c']);
      })(),
    );
  });

  it('lists more than fits into a message', async () => {
    const names = Array.from({ length: 900 }, (_, n) => `some-child-${n}`);
    await tasks.until(Promise.all(names.map((name) => store.write(`/d/${name}`, ''))));
    expect(await tasks.until(store.list('/d'))).toEqual(names);
  });

  it('lists what is there at one moment, though it changes meanwhile', async () => {
    const names = Array.from({ length: 900 }, (_, n) => `some-child-${n}`);
    await tasks.until(Promise.all(names.map((name) => store.write(`/d/${name}`, ''))));
    const listing = store.list('/d');
    // The first parts are read, then a node goes: the list is begun again.
    const removing = store.remove('/d/some-child-0');
    expect(await tasks.until(listing)).toEqual(names.slice(1));
    await removing;
  });

  it('tells of changes, and stops at once when a watch is removed', async () => {
    const seen: string[] = [];
    const watch = await tasks.until(store.watch('/a', (path, token) => seen.push(`${path} ${token}`)));
    await tasks.until(store.write('/a/b', ''));
    expect(seen).toEqual([`/a ${watch.token}`, `/a/b ${watch.token}`]);
    const writing = store.write('/a/c', '');
    await tasks.until(watch.remove());
    await writing;
    await tasks.until(watch.remove());
    expect(seen).toHaveLength(2);
    expect(server.describe().connections[0]!.watches).toBe(0);
  });

  it('forgets a watch that the server refuses', async () => {
    expect(await tasks.until(codeOf(store.watch('/a//b', () => undefined)))).toBe('EINVAL');
    expect(await tasks.until(codeOf(store.watch('/a//b', () => undefined, { depth: 0 })))).toBe('EINVAL');
    expect(client.describe().watches).toBe(0);
  });

  it('removes a watch that is gone already, with a reset or the connection', async () => {
    const [one, two] = await tasks.until(
      Promise.all(['/a', '/b'].map((path) => client.watch(path, () => undefined))),
    );
    await tasks.until(client.request(MessageType.RESET_WATCHES));
    await tasks.until(one!.remove());
    const removing = two!.remove();
    server.close();
    await tasks.until(removing);
    expect(client.describe()).toMatchObject({ watches: 0, closed: true, pending: 0 });
  });

  it('commits a transaction, and runs it again when others came between', async () => {
    await tasks.until(store.write('/n', '0'));
    const counting = Array.from({ length: 5 }, () =>
      store.transaction(async (tx) => {
        const next = Number(await store.read('/n', tx)) + 1;
        await store.write('/n', String(next), tx);
        return next;
      }),
    );
    expect((await tasks.until(Promise.all(counting))).sort()).toEqual([1, 2, 3, 4, 5]);
    expect(await tasks.until(store.read('/n'))).toBe('5');
    expect(server.describe().counters.conflicts).toBeGreaterThan(0);
  });

  it('aborts a transaction whose body throws', async () => {
    const failing = store.transaction(async (tx) => {
      await store.write('/n', 'never', tx);
      throw new Error('mine');
    });
    await expect(tasks.until(failing)).rejects.toThrow('mine');
    expect(await tasks.until(store.exists('/n'))).toBe(false);
    expect(server.describe().connections[0]!.transactions).toBe(0);
  });

  it('gives up a transaction that loses every time', async () => {
    const rival = new StoreClient(connectDirect(server, 0, tasks.schedule));
    await tasks.until(store.write('/n', ''));
    let runs = 0;
    const losing = store.transaction(
      async (tx) => {
        runs++;
        await store.write('/n', 'mine', tx);
        await rival.write('/n', 'first');
      },
      { attempts: 3 },
    );
    await expect(tasks.until(losing)).rejects.toThrow(/3 times out of 3; run the whole transaction again/);
    expect([runs, await codeOf(losing)]).toEqual([3, 'EAGAIN']);
  });

  it('does not take a transaction that is over', async () => {
    let kept;
    await tasks.until(store.transaction((tx) => Promise.resolve((kept = tx))));
    expect(await codeOf(store.write('/n', '', kept))).toBe('EINVAL');
    await expect(store.write('/n', '', kept)).rejects.toThrow(/is over: use it inside its body only/);
  });

  it('reaches other requests by their number', async () => {
    const path = await tasks.until(client.request(MessageType.GET_DOMAIN_PATH, joinStrings(['7'])));
    expect(splitStrings(path).strings).toEqual(['/local/domain/7']);
  });
});

describe('a direct connection', () => {
  it(`keeps its order, whatever order tasks run in (seed ${SEED})`, async () => {
    const tasks = new Tasks(SEED);
    const server = new StoreServer();
    const [writer, reader] = [0, 0].map(
      (domid) => new StoreClient(connectDirect(server, domid, tasks.schedule)),
    );
    const seen: number[] = [];
    const reads: Promise<void>[] = [];
    await tasks.until(
      reader!.watch('/n', () => {
        reads.push(reader!.readOptional('/n').then((value) => void seen.push(Number(value))));
      }),
    );
    const writes = Array.from({ length: 200 }, (_, n) => writer!.write('/n', String(n + 1)));
    await tasks.until(Promise.all(writes));
    await tasks.idle();
    await tasks.until(Promise.all(reads));
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(200);
  });

  it('leaves waiting to the server, which joins equal events', async () => {
    const tasks = new Tasks();
    const server = new StoreServer();
    const reader = new StoreClient(connectDirect(server, 0, tasks.schedule));
    let events = 0;
    await tasks.until(reader.watch('/n', () => events++));
    await tasks.idle();
    const writer = new StoreClient(
      connectDirect(server, 0, (task) => {
        task();
      }),
    );
    await Promise.all(Array.from({ length: 1000 }, (_, n) => writer.write('/n', String(n))));
    await tasks.idle();
    expect(events).toBeLessThan(40);
    expect(events).toBeGreaterThan(1);
    expect(server.describe().counters.eventsCoalesced).toBeGreaterThan(900);
  });

  it('delivers what was sent before an end, then the end', async () => {
    const tasks = new Tasks(SEED);
    const server = new StoreServer();
    const guest = new StoreClient(connectDirect(server, 5, tasks.schedule));
    const [answered, unanswered] = [guest.request(MessageType.GET_FEATURE), guest.read('/')];
    const codes = Promise.all([codeOf(answered), codeOf(unanswered)]);
    await tasks.until(answered);
    server.releaseDomain(5);
    expect(await tasks.until(codes)).toEqual(['none', expect.stringMatching(/ECLOSED|EACCES/)]);
    await tasks.idle();
    expect(guest.describe().closed).toBe(true);
    expect(server.describe().connections).toEqual([]);
  });

  it('closed by the client closes the server’s end after what was sent', async () => {
    const tasks = new Tasks();
    const server = new StoreServer();
    const client = new StoreClient(connectDirect(server, 0, tasks.schedule));
    const writing = codeOf(client.write('/last', 'words'));
    client.close();
    client.close();
    expect(await writing).toBe('ECLOSED');
    await tasks.idle();
    expect(server.describe().connections).toEqual([]);
    const next = new StoreClient(connectDirect(server, 0, tasks.schedule));
    expect(await tasks.until(next.read('/last'))).toBe('words');
  });
});
