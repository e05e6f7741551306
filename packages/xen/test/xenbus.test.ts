import { beforeEach, describe, expect, it } from 'vitest';
import { connectDirect, StoreClient, StoreServer, type Store } from '../src/store/index.js';
import { Tasks } from './store/tasks.js';
import {
  BACKEND_REACTIONS,
  BACKEND_TABLE,
  backendReaction,
  FRONTEND_REACTIONS,
  FRONTEND_TABLE,
  frontendReaction,
  parseState,
  readState,
  stateName,
  statesToWrite,
  switchState,
  watchState,
  XENBUS_STATE_NAMES,
  XenbusState,
  type BackendReaction,
  type FrontendReaction,
  type Reaction,
  type XenbusStateName,
  type XenbusStateValue,
} from '../src/xenbus.js';

const S = XenbusState;

describe('the states', () => {
  it('have the numbers of xen/include/public/io/xenbus.h', () => {
    expect(XENBUS_STATE_NAMES.map((name) => XenbusState[name])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(stateName(S.InitWait)).toBe('InitWait');
  });

  it.each([
    ['4', 4],
    ['0', 0],
    ['8', 8],
    ['9', 0],
    ['', 0],
    ['44', 0],
    [' 4', 0],
    ['-1', 0],
    ['4\0', 0],
    ['Connected', 0],
    [null, 0],
  ])('%j reads as %i', (value, state) => {
    expect(parseState(value)).toBe(state);
  });
});

const halves = [
  ['frontend', FRONTEND_TABLE, FRONTEND_REACTIONS, ['Initialising', 'Connected', 'Closing', 'Closed']],
  [
    'backend',
    BACKEND_TABLE,
    BACKEND_REACTIONS,
    ['InitWait', 'Connected', 'Closing', 'Closed', 'Reconfigured'],
  ],
] as const;

describe.each(halves)('the %s', (_, table, reactions, written) => {
  const cells = XENBUS_STATE_NAMES.flatMap((own) =>
    XENBUS_STATE_NAMES.map((other) => ({ own, other, reaction: table[own][other] })),
  );
  const byName = new Map<string, Reaction>(Object.entries(reactions));
  const reactionTo = (name: string): Reaction => byName.get(name)!;

  it('has a reaction for each of 9 x 9 pairs of states, and for no other', () => {
    expect(cells).toHaveLength(81);
    for (const { own, other, reaction } of cells)
      expect(reactions, `${own}, ${other}`).toHaveProperty(reaction);
    expect(Object.keys(table)).toEqual(XENBUS_STATE_NAMES);
    for (const own of XENBUS_STATE_NAMES) expect(Object.keys(table[own])).toEqual(XENBUS_STATE_NAMES);
  });

  it('uses each reaction, and writes the states that such a half has, and no other', () => {
    expect(new Set(cells.map(({ reaction }) => reaction))).toEqual(new Set(Object.keys(reactions)));
    const states = new Set(Object.values(reactions).flatMap(({ then }: Reaction) => then));
    expect(states).toEqual(new Set(written));
  });

  it('comes to rest for each pair when the other half does not move', () => {
    for (const { own, other } of cells) {
      let state = own;
      const seen = new Set<XenbusStateName>();
      for (;;) {
        const next: XenbusStateName | undefined = statesToWrite(S[state], reactionTo(table[state][other])).at(
          -1,
        );
        if (next === undefined) break;
        expect(seen.has(next), `${own} sees ${other} and goes in circles`).toBe(false);
        seen.add(next);
        state = next;
      }
    }
  });

  it('has no device left when its own directory is gone, and writes nothing to it', () => {
    for (const other of XENBUS_STATE_NAMES) expect(table.Unknown[other]).toBe('remove');
    if (table === FRONTEND_TABLE) expect(FRONTEND_REACTIONS.remove.then).toEqual([]);
  });
});

describe('what Linux does', () => {
  // drivers/net/xen-netfront.c netback_changed, drivers/net/xen-netback/xenbus.c frontend_changed.
  it.each<[XenbusStateName, XenbusStateName, FrontendReaction]>([
    ['Initialising', 'InitWait', 'publish'],
    ['Connected', 'InitWait', 'none'],
    ['Connected', 'Connected', 'connect'],
    ['Connected', 'Closing', 'close'],
    ['Connected', 'Closed', 'close'],
    ['Closed', 'Closed', 'none'],
    ['Connected', 'Reconfigured', 'none'],
    ['Connected', 'Initialising', 'none'],
  ])('the frontend, %s, sees %s: %s', (own, other, reaction) => {
    expect(frontendReaction(S[own], S[other])).toBe(reaction);
  });

  it.each<[XenbusStateName, XenbusStateName, BackendReaction]>([
    ['Initialising', 'Initialising', 'advertise'],
    ['Initialising', 'Connected', 'connect'],
    ['InitWait', 'Connected', 'connect'],
    ['Connected', 'Connected', 'none'],
    ['Connected', 'Initialising', 'reconnect'],
    ['Closed', 'Initialising', 'reconnect'],
    ['InitWait', 'Closing', 'close'],
    ['Connected', 'Closing', 'close'],
    ['Closing', 'Closed', 'closed'],
    ['Connected', 'Closed', 'closed'],
    ['Closed', 'Closed', 'closed'],
    ['Connected', 'Unknown', 'remove'],
    ['Connected', 'InitWait', 'refuse'],
    ['Connected', 'Reconfiguring', 'reconfigure'],
  ])('the backend, %s, sees %s: %s', (own, other, reaction) => {
    expect(backendReaction(S[own], S[other])).toBe(reaction);
  });
});

describe('two halves that follow the tables', () => {
  /** Runs both halves until neither has anything to do; returns each state that was written. */
  function settle(front: XenbusStateName, back: XenbusStateName, backFirst: boolean): string[] {
    const states = { front, back };
    const log: string[] = [];
    let turns = 0;
    for (let quiet = 0, half: 'front' | 'back' = backFirst ? 'back' : 'front'; quiet < 2;) {
      const next =
        half === 'front'
          ? statesToWrite(
              S[states.front],
              FRONTEND_REACTIONS[frontendReaction(S[states.front], S[states.back])],
            )
          : statesToWrite(
              S[states.back],
              BACKEND_REACTIONS[backendReaction(S[states.back], S[states.front])],
            );
      quiet = next.length === 0 ? quiet + 1 : 0;
      for (const name of next) log.push(`${half} ${name}`);
      states[half] = next.at(-1) ?? states[half];
      half = half === 'front' ? 'back' : 'front';
      if (++turns > 50) throw new Error(`no rest: ${log.join(', ')}`);
    }
    log.push(`rest at ${states.front}, ${states.back}`);
    return log;
  }

  it.each([true, false])('connect (backend first: %s)', (backFirst) => {
    expect(settle('Initialising', 'Initialising', backFirst)).toEqual([
      'back InitWait',
      'front Connected',
      'back Connected',
      'rest at Connected, Connected',
    ]);
  });

  it('close when the backend is told to, and connect again when the frontend starts over', () => {
    expect(settle('Connected', 'Closing', false)).toEqual([
      'front Closing',
      'front Closed',
      'back Closed',
      'rest at Closed, Closed',
    ]);
    expect(settle('Initialising', 'Closed', true)).toEqual([
      'back InitWait',
      'front Connected',
      'back Connected',
      'rest at Connected, Connected',
    ]);
  });

  it('close when the frontend does', () => {
    expect(settle('Closing', 'Connected', true)).toEqual([
      'back Closing',
      'front Closed',
      'back Closed',
      'rest at Closed, Closed',
    ]);
  });

  it('close when the peer closes before it was connected', () => {
    expect(settle('Initialising', 'Closing', false).at(-1)).toBe('rest at Closed, Closed');
    expect(settle('Closing', 'InitWait', true).at(-1)).toBe('rest at Closed, Closed');
    expect(settle('Closed', 'InitWait', true).at(-1)).toBe('rest at Closed, Closed');
  });

  it('connect again when the frontend was restarted without a word', () => {
    expect(settle('Initialising', 'Connected', true)).toEqual([
      'back Closing',
      'back Closed',
      'back InitWait',
      'front Connected',
      'back Connected',
      'rest at Connected, Connected',
    ]);
  });

  it('connect again when the backend was restarted, with the rings that are there', () => {
    expect(settle('Connected', 'Initialising', true)).toEqual([
      'back Connected',
      'rest at Connected, Connected',
    ]);
  });

  it('connect again when a backend comes back to a frontend that had closed', () => {
    expect(settle('Closed', 'InitWait', false).at(-1)).toBe('rest at Connected, Connected');
  });

  it('end when the other is gone', () => {
    expect(settle('Connected', 'Unknown', false).slice(0, 2)).toEqual(['front Closing', 'front Closed']);
    expect(settle('Unknown', 'Connected', true)).toEqual([
      'back Closing',
      'back Closed',
      'rest at Unknown, Closed',
    ]);
  });

  it('stay apart when the backend has fenced a frontend that does not close', () => {
    expect(settle('Connected', 'Closing', true).at(-1)).toBe('rest at Closed, Closed');
    for (const own of ['Closing', 'Closed'] as const)
      expect(backendReaction(S[own], S.Connected)).toBe('none');
    expect(backendReaction(S.Connected, S.InitWait)).toBe('refuse');
    expect(backendReaction(S.Closing, S.InitWait)).toBe('none');
  });

  it('take up a change while connected (netfront: XDP headroom)', () => {
    expect(backendReaction(S.Connected, S.Reconfiguring)).toBe('reconfigure');
    expect(backendReaction(S.Reconfigured, S.Reconfiguring)).toBe('reconfigure');
    expect(settle('Connected', 'Reconfigured', true)).toEqual([
      'back Connected',
      'rest at Connected, Connected',
    ]);
  });
});

describe('states in the store', () => {
  const path = '/local/domain/5/device/vif/0';
  let tasks: Tasks;
  let server: StoreServer;
  let store: Store;
  let peer: Store;

  beforeEach(() => {
    tasks = new Tasks();
    server = new StoreServer();
    store = new StoreClient(connectDirect(server, 0, tasks.schedule));
    peer = new StoreClient(connectDirect(server, 0, tasks.schedule));
  });

  it('are read; what is missing, closed to us or nonsense is Unknown', async () => {
    expect(await tasks.until(readState(store, path))).toBe(S.Unknown);
    await tasks.until(store.write(`${path}/state`, '4'));
    expect(await tasks.until(readState(store, path))).toBe(S.Connected);
    const guest = new StoreClient(connectDirect(server, 5, tasks.schedule));
    expect(await tasks.until(readState(guest, path))).toBe(S.Unknown);
    guest.close();
    await expect(readState(guest, path)).rejects.toThrow(/closed/);
  });

  it('are switched, unless the node is gone or has the state already', async () => {
    expect(await tasks.until(switchState(store, path, S.Connected))).toBe(false);
    expect(await tasks.until(store.exists(path))).toBe(false);
    await tasks.until(store.write(`${path}/state`, '1'));
    const seen: string[] = [];
    await tasks.until(peer.watch(`${path}/state`, (at) => seen.push(at)));
    expect(await tasks.until(switchState(store, path, S.Connected))).toBe(true);
    expect(await tasks.until(switchState(store, path, S.Connected))).toBe(true);
    await tasks.idle();
    expect(seen).toHaveLength(2);
    expect(await tasks.until(store.read(`${path}/state`))).toBe('4');
  });

  it('are switched together with other keys in a transaction', async () => {
    await tasks.until(store.write(`${path}/state`, '1'));
    const publishing = store.transaction(async (tx) => {
      await store.write(`${path}/tx-ring-ref`, '8', tx);
      await switchState(store, path, S.Connected, tx);
      expect(await peer.read(`${path}/state`)).toBe('1');
    });
    await tasks.until(publishing);
    expect(await tasks.until(readState(peer, path))).toBe(S.Connected);
  });

  it('are watched: each change, the end of the node, and nothing from below it', async () => {
    const seen: XenbusStateValue[] = [];
    const errors: unknown[] = [];
    const watch = await tasks.until(
      watchState(
        store,
        path,
        (state) => seen.push(state),
        (error) => errors.push(error),
      ),
    );
    await tasks.idle();
    for (const value of ['1', '1', '4']) {
      await tasks.until(peer.write(`${path}/state`, value));
      await tasks.idle();
    }
    const { requests } = server.describe().counters;
    await tasks.until(peer.write(`${path}/state/tree/below`, ''));
    await tasks.idle();
    expect(server.describe().counters.requests).toBe(requests + 1);
    await tasks.until(peer.remove(path));
    await tasks.idle();
    expect(seen).toEqual([S.Unknown, S.Initialising, S.Connected, S.Unknown]);
    await tasks.until(watch.remove());
    await tasks.until(peer.write(`${path}/state`, '6'));
    await tasks.idle();
    expect(seen).toHaveLength(4);
    expect(errors).toEqual([]);
  });

  it('are read again when an event comes during the read', async () => {
    const seen: XenbusStateValue[] = [];
    await tasks.until(
      watchState(
        store,
        path,
        (state) => seen.push(state),
        () => undefined,
      ),
    );
    const writes = ['1', '2', '3', '4', '5', '6'].map((value) => peer.write(`${path}/state`, value));
    await tasks.until(Promise.all(writes));
    await tasks.idle();
    expect(seen.at(-1)).toBe(S.Closed);
  });

  it('report an error of the handler, and that the connection ended not at all after removal', async () => {
    const errors: unknown[] = [];
    const failing = new Error('mine');
    const watch = await tasks.until(
      watchState(
        store,
        path,
        () => {
          throw failing;
        },
        (error) => errors.push(error),
      ),
    );
    await tasks.idle();
    expect(errors).toEqual([failing]);
    const writing = peer.write(`${path}/state`, '1');
    store.close();
    await tasks.until(watch.remove());
    await tasks.until(writing);
    await tasks.idle();
    expect(errors).toHaveLength(1);
  });
});
