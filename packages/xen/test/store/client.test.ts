import { beforeEach, describe, expect, it } from 'vitest';
import {
  connectDirect,
  decodeMessage,
  encodeMessage,
  joinStrings,
  MessageType,
  splitStrings,
  StoreClient,
  StoreError,
  StoreServer,
  type Message,
  type Store,
  type StoreTransport,
} from '../../src/store/index.js';
import { SEED } from './raw-client.js';
import { Tasks } from './tasks.js';

/** A transport whose other end is the test. */
class Wire implements StoreTransport {
  readonly sent: Message[] = [];
  closed = false;
  deliver: (message: Uint8Array) => void = () => undefined;
  end: (reason: string) => void = () => undefined;

  send(message: Uint8Array): void {
    this.sent.push(decodeMessage(message)!);
  }
  onMessage(handler: (message: Uint8Array) => void): void {
    this.deliver = handler;
  }
  onClosed(handler: (reason: string) => void): void {
    this.end = handler;
  }
  close(): void {
    this.closed = true;
  }

  reply(to: number, payload: Uint8Array, type = this.sent[to]!.type): void {
    const { requestId, transactionId } = this.sent[to]!;
    this.deliver(encodeMessage({ type, requestId, transactionId, payload }));
  }
  event(path: string, token: string): void {
    const payload = joinStrings([path, token]);
    this.deliver(encodeMessage({ type: MessageType.WATCH_EVENT, requestId: 0, transactionId: 0, payload }));
  }
}

/** Lets everything run that waits for something that has happened. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    return (error as StoreError).code;
  }
}

describe('a client', () => {
  let wire: Wire;
  let client: StoreClient;

  beforeEach(() => {
    wire = new Wire();
    client = new StoreClient(wire, { firstRequestId: 0xffff_fffe });
  });

  it('matches replies that come in any order, and numbers past the end of 32 bits', async () => {
    const reads = ['/a', '/b', '/c'].map((path) => client.read(path));
    expect(wire.sent.map(({ requestId }) => requestId)).toEqual([0xffff_fffe, 0xffff_ffff, 1]);
    wire.reply(2, new Uint8Array([99]));
    wire.reply(0, new Uint8Array([97]));
    wire.reply(1, new Uint8Array([98]));
    expect(await Promise.all(reads)).toEqual(['a', 'b', 'c']);
    expect(client.describe()).toEqual({ pending: 0, watches: 0, closed: false, strayMessages: 0 });
  });

  it('keeps the order of arrival between who awaits a reply and who handles an event', async () => {
    const order: string[] = [];
    const watching = client.watch('/w', (path) => order.push(`event ${path}`));
    wire.reply(0, joinStrings(['OK']));
    await watching;
    const [token] = splitStrings(wire.sent[0]!.payload).strings.slice(1);
    const waits = [
      (async () => {
        await client.read('/a');
        order.push('read');
      })(),
      (async () => {
        if ((await client.readOptional('/b')) === null) order.push('none');
      })(),
      (async () => {
        const wrapped = async (): Promise<string[]> => client.list('/c');
        await wrapped();
        order.push('list');
      })(),
    ];
    wire.event('/w/1', token!);
    wire.reply(1, new Uint8Array(0));
    wire.event('/w/2', token!);
    wire.reply(3, new Uint8Array(0));
    wire.event('/w/3', token!);
    wire.event('/w/4', token!);
    wire.reply(2, joinStrings(['ENOENT']), MessageType.ERROR);
    wire.event('/w/5', token!);
    await Promise.all(waits);
    await turn();
    expect(order).toEqual([
      'event /w/1',
      'read',
      'event /w/2',
      'list',
      'event /w/3',
      'event /w/4',
      'none',
      'event /w/5',
    ]);
  });

  it('gives the watch to its caller before the first event is handled', async () => {
    const order: string[] = [];
    const setting = (async () => {
      const watch = await client.watch('/w', () => order.push('event'), { depth: 1 });
      order.push(`set ${watch.path}`);
    })();
    wire.reply(0, joinStrings(['OK']));
    wire.event('/w', splitStrings(wire.sent[0]!.payload).strings[1]!);
    await setting;
    await turn();
    expect(order).toEqual(['set /w', 'event']);
  });

  it('never calls a handler within another', async () => {
    let depth = 0;
    let deepest = 0;
    let token = '';
    let left = 3;
    const watching = client.watch('/w', () => {
      deepest = Math.max(deepest, ++depth);
      if (left-- > 0) wire.event('/w', token);
      depth--;
    });
    token = splitStrings(wire.sent[0]!.payload).strings[1]!;
    wire.reply(0, joinStrings(['OK']));
    await watching;
    wire.event('/w', token);
    await turn();
    expect([deepest, left]).toEqual([1, -1]);
  });

  it('reports a handler that throws, and goes on', async () => {
    const errors: unknown[] = [];
    const other = new Wire();
    const careful = new StoreClient(other, { onHandlerError: (error) => errors.push(error) });
    const watching = careful.watch('/w', () => {
      throw new Error('mine');
    });
    other.reply(0, joinStrings(['OK']));
    await watching;
    other.event('/w', '1');
    other.event('/w', '1');
    await turn();
    expect(errors).toEqual([new Error('mine'), new Error('mine')]);
  });

  it('counts replies and events that nobody waits for', async () => {
    const read = client.read('/a');
    wire.reply(0, new Uint8Array(0));
    await read;
    wire.reply(0, new Uint8Array(0));
    wire.event('/w', 'unknown');
    const lone = {
      type: MessageType.WATCH_EVENT,
      requestId: 0,
      transactionId: 0,
      payload: joinStrings(['/w']),
    };
    wire.deliver(encodeMessage(lone));
    await turn();
    expect(client.describe().strayMessages).toBe(2);
  });

  it.each<[string, (at: Wire) => void, string]>([
    ['an error', (at) => at.reply(0, joinStrings(['EACCES']), MessageType.ERROR), 'EACCES'],
    ['an error without a name', (at) => at.reply(0, new Uint8Array(0), MessageType.ERROR), 'EPROTO'],
    ['an error of another name', (at) => at.reply(0, joinStrings(['EWEIRD']), MessageType.ERROR), 'EPROTO'],
    ['the reply of another request', (at) => at.reply(0, new Uint8Array(0), MessageType.WRITE), 'EPROTO'],
    ['the end of the connection', (at) => at.end('the store was shut down'), 'ECLOSED'],
    ['what is no message', (at) => at.deliver(new Uint8Array(7)), 'EPROTO'],
    ['a message with bytes to spare', (at) => at.deliver(new Uint8Array(17)), 'EPROTO'],
  ])('rejects on %s', async (_, act, code) => {
    const asked = client.read('/local/domain/5/name');
    act(wire);
    await expect(asked).rejects.toThrow(/READ "\/local\/domain\/5\/name".*; /);
    expect(await codeOf(asked)).toBe(code);
    expect(client.describe().pending).toBe(0);
  });

  it('says what was asked, what came back and what to do', async () => {
    const asked = client.write('/forbidden', 'v');
    wire.reply(0, joinStrings(['EACCES']), MessageType.ERROR);
    await expect(asked).rejects.toThrow(
      'store: WRITE "/forbidden": the answer was EACCES; ' +
        'ask the owner of the node or domain 0 to grant the right with setPermissions',
    );
  });

  it('refuses to send what would break the protocol', async () => {
    expect(await codeOf(client.write('/a\0b', 'v'))).toBe('EINVAL');
    expect(await codeOf(client.write('/a', '\u2615'))).toBe('EINVAL');
    expect(await codeOf(client.write('/a', 'x'.repeat(4095)))).toBe('E2BIG');
    expect(wire.sent).toEqual([]);
    expect(client.describe().pending).toBe(0);
  });

  it('begins a list in parts again when the directory changed, and gives up in the end', async () => {
    const listing = client.list('/d');
    wire.reply(0, joinStrings(['E2BIG']), MessageType.ERROR);
    const parts = [
      ['1', 'old', 'gone'],
      ['2', 'z', ''],
      ['2', 'a', 'bc'],
      ['2', 'd', ''],
    ];
    const offsets: string[] = [];
    for (const [at, part] of parts.entries()) {
      await turn();
      offsets.push(splitStrings(wire.sent[at + 1]!.payload).strings[1]!);
      wire.reply(at + 1, joinStrings(part));
    }
    expect(await listing).toEqual(['a', 'bc', 'd']);
    expect(offsets).toEqual(['0', '9', '0', '5']);

    const restless = codeOf(client.list('/d'));
    for (let at = 5; at < 5 + 1 + 2 * 16; at++) {
      if (at === 5) wire.reply(at, joinStrings(['E2BIG']), MessageType.ERROR);
      else wire.reply(at, joinStrings([String(at), 'x']));
      await turn();
    }
    expect(await restless).toBe('EAGAIN');

    const refused = codeOf(client.list('/d'));
    wire.reply(wire.sent.length - 1, joinStrings(['EACCES']), MessageType.ERROR);
    expect(await refused).toBe('EACCES');
    const senseless = codeOf(client.list('/d'));
    wire.reply(wire.sent.length - 1, joinStrings(['E2BIG']), MessageType.ERROR);
    await turn();
    wire.reply(wire.sent.length - 1, joinStrings(['1']));
    expect(await senseless).toBe('EPROTO');
  });

  it('is over when it is closed, at any moment', async () => {
    const asked = client.read('/a');
    client.close();
    client.close();
    expect(wire.closed).toBe(true);
    expect(await codeOf(asked)).toBe('ECLOSED');
    expect(await codeOf(client.read('/a'))).toBe('ECLOSED');
    wire.reply(0, new Uint8Array(0));
    wire.event('/w', '1');
    wire.end('late');
    expect(client.describe()).toEqual({ pending: 0, watches: 0, closed: true, strayMessages: 0 });
  });

  it('passes on what a transport throws, and forgets the request', async () => {
    wire.send = () => {
      throw new Error('no wire');
    };
    await expect(client.read('/a')).rejects.toThrow('no wire');
    expect(client.describe().pending).toBe(0);
  });

  it('sets a watch without depth where the server has none, and leaves out what is too deep', async () => {
    const seen: string[] = [];
    const watching = client.watch('/w', (path) => seen.push(path), { depth: 1 });
    wire.reply(0, joinStrings(['EINVAL']), MessageType.ERROR);
    await turn();
    wire.reply(1, joinStrings(['OK']));
    await watching;
    const token = splitStrings(wire.sent[1]!.payload).strings[1]!;
    for (const path of ['/w', '/w/a', '/w/a/b']) wire.event(path, token);
    await turn();
    expect(seen).toEqual(['/w', '/w/a']);
    expect(client.describe().watches).toBe(1);
  });
});

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
