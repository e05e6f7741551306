import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { StoreServer } from '../../src/store/index.js';
import { RawClient, SEED } from './raw-client.js';

let server: StoreServer;
let a: RawClient;
let b: RawClient;

beforeEach(() => {
  server = new StoreServer();
  a = new RawClient(server, 0);
  b = new RawClient(server, 0);
  a.write('/x', '1');
  a.write('/d/y', '2');
});

describe('a transaction', () => {
  it('keeps its writes to itself until it is committed, then all are there', () => {
    const tx = a.begin();
    a.write('/x', 'new', tx);
    a.write('/n/m', 'made', tx);
    a.ask('RM', '/d|', tx);
    a.ask('SET_PERMS', '/x|r0|', tx);
    expect([a.read('/x', tx), a.read('/n/m', tx), a.read('/d', tx)]).toEqual(['new', 'made', 'ENOENT']);
    expect(b.dump()).toEqual({ '/': ' n0|', '/x': '1 n0|', '/d': ' n0|', '/d/y': '2 n0|' });
    expect(a.end(tx)).toBe('OK|');
    expect(b.dump()).toEqual({ '/': ' n0|', '/x': 'new r0|', '/n': ' n0|', '/n/m': 'made n0|' });
    expect(server.check()).toEqual([]);
  });

  it('leaves nothing when it is aborted', () => {
    const before = b.dump();
    const tx = a.begin();
    a.write('/x', 'new', tx);
    a.ask('RM', '/d|', tx);
    expect(a.end(tx, 'F')).toBe('OK|');
    expect(b.dump()).toEqual(before);
    expect(a.end(tx)).toBe('ENOENT');
    expect(a.read('/x', tx)).toBe('ENOENT');
    expect(server.check()).toEqual([]);
  });

  it('reads one moment: what others write meanwhile is not seen', () => {
    const tx = a.begin();
    b.write('/x', 'later');
    b.write('/d/z', '');
    b.ask('RM', '/d/y|');
    expect([a.read('/x', tx), a.list('/d', tx), a.read('/d/y', tx)]).toEqual(['1', ['y'], '2']);
  });

  it('that only read always commits: it saw one moment', () => {
    const tx = a.begin();
    a.read('/x', tx);
    b.write('/x', 'later');
    expect(a.end(tx)).toBe('OK|');
  });

  it('belongs to its connection', () => {
    const tx = a.begin();
    expect(b.read('/x', tx)).toBe('ENOENT');
    expect(b.end(tx)).toBe('ENOENT');
  });

  it('cannot be nested, and a number that is none is ENOENT for any request', () => {
    const tx = a.begin();
    expect(a.ask('TRANSACTION_START', '|', tx)).toBe('EBUSY');
    expect(a.ask('TRANSACTION_END', 'T|')).toBe('ENOENT');
    expect(a.ask('GET_DOMAIN_PATH', '0|', tx + 1)).toBe('ENOENT');
    expect(a.ask('TRANSACTION_START', '|', tx + 1)).toBe('ENOENT');
  });

  it('fires watches at the commit, once a path, and not for what came and went again', () => {
    b.ask('WATCH', '/|t|');
    b.ask('WATCH', '/d/y|below|');
    b.events();
    const tx = a.begin();
    a.write('/x', 'one', tx);
    a.write('/x', 'two', tx);
    a.write('/gone', '', tx);
    a.ask('RM', '/gone|', tx);
    a.ask('RM', '/d|', tx);
    expect(b.events()).toEqual([]);
    a.end(tx);
    expect(b.events()).toEqual(['/x t', '/d/y below', '/d t']);
    const aborted = a.begin();
    a.write('/x', 'three', aborted);
    a.end(aborted, 'F');
    expect(b.events()).toEqual([]);
  });

  it('may remove a directory and make it again', () => {
    const tx = a.begin();
    a.ask('RM', '/d|', tx);
    a.write('/d/z', 'fresh', tx);
    a.end(tx);
    expect(b.dump()).toEqual({ '/': ' n0|', '/x': '1 n0|', '/d': ' n0|', '/d/z': 'fresh n0|' });
    expect(server.check()).toEqual([]);
  });

  it('sees its own changes in generations', () => {
    const tx = a.begin();
    const [before] = a.ask('DIRECTORY_PART', '/d|0|', tx).split('|');
    expect(a.ask('DIRECTORY_PART', '/d|0|', tx).split('|')[0]).toBe(before);
    a.write('/d/z', '', tx);
    expect(a.ask('DIRECTORY_PART', '/d|0|', tx).split('|')[0]).not.toBe(before);
  });

  it('is gone with its connection', () => {
    const tx = a.begin();
    a.write('/x', 'never', tx);
    a.connection.close();
    expect(b.read('/x')).toBe('1');
    expect(server.check()).toEqual([]);
  });
});

describe('a transaction that writes is EAGAIN, with nothing done, after another', () => {
  // What the transaction does, what comes in between, whether it may still commit.
  const cases: [name: string, inside: (tx: number) => void, between: () => void, commits: boolean][] = [
    ['wrote what it read', (tx) => void a.read('/x', tx), () => void b.write('/x', '9'), false],
    ['wrote what it wrote', (tx) => void a.write('/x', '3', tx), () => void b.write('/x', '9'), false],
    ['wrote the same value', (tx) => void a.read('/x', tx), () => void b.write('/x', '1'), false],
    ['removed what it read', (tx) => void a.read('/d/y', tx), () => void b.ask('RM', '/d/y|'), false],
    [
      'removed and made again what it read',
      (tx) => void a.read('/x', tx),
      () => {
        b.ask('RM', '/x|');
        b.write('/x', '1');
      },
      false,
    ],
    ['made what it found missing', (tx) => void a.read('/none', tx), () => void b.write('/none', ''), false],
    ['made what it makes', (tx) => void a.write('/n', '', tx), () => void b.write('/n', ''), false],
    ['removed where it makes', (tx) => void a.write('/d/n', '', tx), () => void b.ask('RM', '/d|'), false],
    ['added to what it listed', (tx) => void a.list('/d', tx), () => void b.write('/d/z', ''), false],
    ['removed from what it listed', (tx) => void a.list('/d', tx), () => void b.ask('RM', '/d/y|'), false],
    ['added to what it removes', (tx) => void a.ask('RM', '/d|', tx), () => void b.write('/d/z', ''), false],
    [
      'changed the permissions of what it read',
      (tx) => void a.read('/x', tx),
      () => void b.ask('SET_PERMS', '/x|r0|'),
      false,
    ],
    [
      'changed what it asked the permissions of',
      (tx) => void a.ask('GET_PERMS', '/x|', tx),
      () => void b.write('/x', ''),
      false,
    ],
    ['wrote elsewhere', (tx) => void a.read('/x', tx), () => void b.write('/d/y', '9'), true],
    [
      'made a sibling of what it makes',
      (tx) => void a.write('/d/n', '', tx),
      () => void b.write('/d/m', ''),
      true,
    ],
    ['added under what it read', (tx) => void a.read('/d', tx), () => void b.write('/d/m', ''), true],
    ['wrote below what it listed', (tx) => void a.list('/d', tx), () => void b.write('/d/y', '9'), true],
  ];

  it.each(cases)('%s', (_, inside, between, commits) => {
    const tx = a.begin();
    inside(tx);
    a.write('/mark', 'committed', tx);
    between();
    const before = b.dump();
    expect(a.end(tx)).toBe(commits ? 'OK|' : 'EAGAIN');
    if (commits) expect(b.read('/mark')).toBe('committed');
    else expect(b.dump()).toEqual(before);
    expect(a.end(tx)).toBe('ENOENT');
    expect(server.check()).toEqual([]);
  });

  it('and the first of two that clash wins', () => {
    const one = a.begin();
    const two = b.begin();
    for (const [client, tx] of [
      [a, one],
      [b, two],
    ] as const)
      client.write('/x', client.read('/x', tx) + '+', tx);
    expect([b.end(two), a.end(one)]).toEqual(['OK|', 'EAGAIN']);
    expect(a.read('/x')).toBe('1+');
    expect(server.describe().counters.conflicts).toBe(1);
  });
});

describe('any interleaving of transactions', () => {
  const paths = ['/p', '/p/q', '/p/q/r', '/p/s', '/t'];
  const kinds = ['read', 'list', 'write', 'mkdir', 'remove', 'open'] as const;
  const step = fc.record({
    kind: fc.constantFrom(...kinds),
    path: fc.constantFrom(...paths),
    value: fc.constantFrom('', 'u', 'v'),
  });
  const program = fc.array(step, { maxLength: 6 });
  type Step = { kind: (typeof kinds)[number]; path: string; value: string };

  function perform(client: RawClient, tx: number, { kind, path, value }: Step): string {
    if (kind === 'read') return client.read(path, tx);
    if (kind === 'list') return client.ask('DIRECTORY', `${path}|`, tx);
    if (kind === 'write') return client.write(path, value, tx);
    if (kind === 'mkdir') return client.ask('MKDIR', `${path}|`, tx);
    if (kind === 'open') return client.ask('SET_PERMS', `${path}|b0|`, tx);
    return client.ask('RM', `${path}|`, tx);
  }

  function start(): { store: StoreServer; clients: RawClient[] } {
    const store = new StoreServer();
    const clients = [0, 1, 2].map(() => new RawClient(store, 0));
    clients[0]!.write('/p/q', 'u');
    return { store, clients };
  }

  it(`answers as if the committed ones had run one after the other (seed ${SEED})`, () => {
    const turns = fc.array(fc.nat(2), { minLength: 24, maxLength: 24 });
    fc.assert(
      fc.property(fc.tuple(program, program, program), turns, (programs, order) => {
        const { store, clients } = start();
        const txs = clients.map((client) => client.begin());
        const answers: string[][] = [[], [], []];
        const committed: number[] = [];
        const changed: number[] = [];
        const watcher = new RawClient(store, 0);
        watcher.ask('WATCH', '/|t|');
        watcher.events();
        const at = [0, 0, 0];
        // Each turn is one step of one program; its last is the commit. Then whoever is left finishes.
        for (const who of [...order, ...[0, 1, 2].flatMap((n) => Array<number>(8).fill(n))]) {
          const todo = programs[who]![at[who]!];
          const isOver = at[who]! > programs[who]!.length;
          at[who]!++;
          if (todo !== undefined) answers[who]!.push(perform(clients[who]!, txs[who]!, todo));
          else if (!isOver && clients[who]!.end(txs[who]!) === 'OK|') {
            committed.push(who);
            if (watcher.events().length > 0) changed.push(who);
          }
        }
        expect(store.check()).toEqual([]);
        const final = clients[0]!.dump();

        // One that changed something takes effect at its commit; one that did not may be of any moment.
        const serial = start();
        const matching = new Map<number, boolean>();
        const tryReaders = (): void => {
          for (const who of committed) {
            if (changed.includes(who) || matching.get(who) === true) continue;
            const tx = serial.clients[who]!.begin();
            const again = programs[who]!.map((todo) => perform(serial.clients[who]!, tx, todo));
            serial.clients[who]!.end(tx, 'F');
            matching.set(who, JSON.stringify(again) === JSON.stringify(answers[who]));
          }
        };
        tryReaders();
        for (const who of changed) {
          const tx = serial.clients[who]!.begin();
          const again = programs[who]!.map((todo) => perform(serial.clients[who]!, tx, todo));
          expect(again).toEqual(answers[who]);
          expect(serial.clients[who]!.end(tx)).toBe('OK|');
          tryReaders();
        }
        for (const who of committed) if (!changed.includes(who)) expect(matching.get(who)).toBe(true);
        expect(serial.clients[0]!.dump()).toEqual(final);
        expect(store.describe().counters.internalErrors).toBe(0);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});
