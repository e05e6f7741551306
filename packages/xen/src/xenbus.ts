/**
 * The xenbus handshake: states, and what each half of a split device does when it sees the other's, as data.
 *
 * A driver watches the other half's `state` node. After each event, and after each change of its own state, it
 * looks its row up and does what the reaction says; doing so again is harmless. The tables follow Linux's
 * `netback_changed` (xen-netfront) and `frontend_changed` with `set_backend_state` (xen-netback); where they
 * differ, a comment says so. The store's nodes belong to the drivers; nothing here keeps state.
 */
import { StoreError } from './store/error.js';
import type { Store, StoreTransaction, Watch } from './store/store.js';

/** `enum xenbus_state` (xen/include/public/io/xenbus.h); the value of a `state` node, in decimal. */
export const XenbusState = {
  /** No state: the node is missing or makes no sense. The other half is gone. */
  Unknown: 0,
  /** A half is there and getting ready; in a frontend also: it starts over. */
  Initialising: 1,
  /** The backend has written its features and waits for the frontend. */
  InitWait: 2,
  /** The frontend has written its rings and waits for the backend; some do so before Connected. */
  Initialised: 3,
  /** A half is ready for frames: a frontend once it has published, a backend once it has mapped. */
  Connected: 4,
  /** A half has stopped, and waits for the other. */
  Closing: 5,
  /** A half has let go of everything. */
  Closed: 6,
  /** The frontend has changed what may change while connected (netfront: `xdp-headroom`). */
  Reconfiguring: 7,
  /** The backend has taken that up. */
  Reconfigured: 8,
} as const;

/** Name of a state. */
export type XenbusStateName = keyof typeof XenbusState;
/** Number of a state. */
export type XenbusStateValue = (typeof XenbusState)[XenbusStateName];

/** All names, by number. */
export const XENBUS_STATE_NAMES = Object.keys(XenbusState) as XenbusStateName[];

/** The name of a state, for logs. */
export function stateName(state: XenbusStateValue): XenbusStateName {
  return XENBUS_STATE_NAMES[state]!;
}

/** One thing that a driver does on seeing the other half's state. */
export interface Reaction {
  /** What to do, in order. */
  readonly does: string;
  /** The own states to write when that is done: all, or those after the own state if it is one of them. */
  readonly then: readonly XenbusStateName[];
}

/** The states that a half in state `own` has yet to write, in order, for its reaction to be complete. */
export function statesToWrite(own: XenbusStateValue, reaction: Reaction): readonly XenbusStateName[] {
  return reaction.then.slice(reaction.then.indexOf(stateName(own)) + 1);
}

/** Name of a frontend's reaction. */
export type FrontendReaction =
  'none' | 'publish' | 'connect' | 'resume' | 'close' | 'linger' | 'closed' | 'reconnect' | 'remove';

/** Name of a backend's reaction. */
export type BackendReaction =
  | 'none'
  | 'advertise'
  | 'connect'
  | 'reconfigure'
  | 'resume'
  | 'reconnect'
  | 'close'
  | 'closed'
  | 'refuse'
  | 'remove';

/** How long a frontend that has no rings yet gives a closing backend to come back, in milliseconds. */
export const LINGER_MS = 1000;

/** What a frontend may have to do. */
export const FRONTEND_REACTIONS: Readonly<Record<FrontendReaction, Reaction>> = {
  none: { does: 'nothing: wait', then: [] },
  publish: {
    does: 'read the features; allocate rings and channels; write their keys in one transaction',
    then: ['Connected'],
  },
  connect: { does: 'carrier on, fill the receive ring, announce the address (gratuitous ARP)', then: [] },
  resume: { does: 'the backend has taken up what was changed while connected', then: ['Connected'] },
  close: {
    does: 'carrier off, detach the plugin, stop the queues, end the grants, close the channels',
    then: ['Closing', 'Closed'],
  },
  linger: {
    does: `nothing for ${LINGER_MS} ms, since a backend that reconnects passes through here; then as close`,
    then: ['Closing', 'Closed'],
  },
  closed: { does: 'finish what closing left over', then: ['Closed'] },
  reconnect: {
    does: 'the backend is back: forget what was agreed with the last one',
    then: ['Initialising'],
  },
  remove: { does: 'as close, but write nothing: the device is gone from the store', then: [] },
};

/** What a backend may have to do. */
export const BACKEND_REACTIONS: Readonly<Record<BackendReaction, Reaction>> = {
  none: { does: 'nothing: wait', then: [] },
  advertise: { does: 'write the features', then: ['InitWait'] },
  connect: {
    does: 'write the features if that was not done; read the keys, map the rings, bind the channels, run hotplug',
    then: ['Connected'],
  },
  reconfigure: { does: 'read again what may change while connected', then: ['Reconfigured'] },
  resume: { does: 'the frontend has seen that the change is taken up', then: ['Connected'] },
  reconnect: {
    does: 'let go of rings and channels if there are any; write the features',
    then: ['Closing', 'Closed', 'InitWait'],
  },
  close: { does: 'carrier off, detach the plugin, unbind the channels, unmap the rings', then: ['Closing'] },
  closed: {
    does: 'as close if that was not done; if the node `online` is 0, forget the device',
    then: ['Closing', 'Closed'],
  },
  refuse: {
    does: 'count a state that no frontend has; then as close: it must close and start over',
    then: ['Closing'],
  },
  remove: { does: 'as close, then forget the device: the frontend is gone', then: ['Closing', 'Closed'] },
};

/** The reaction by the own state, then the other half's. */
export type ReactionTable<R extends string> = Readonly<
  Record<XenbusStateName, Readonly<Record<XenbusStateName, R>>>
>;

/** A row: what to do for each of the other half's states that matters, and for the rest. */
function row<R extends string>(
  rest: R,
  seen: Partial<Record<XenbusStateName, R>>,
): Record<XenbusStateName, R> {
  const cells = XENBUS_STATE_NAMES.map((name) => [name, seen[name] ?? rest] as const);
  return Object.fromEntries(cells) as Record<XenbusStateName, R>;
}

/** States that a half never has itself: end with the other, do nothing else. */
const frontendStray = row<FrontendReaction>('none', { Unknown: 'close', Closing: 'close', Closed: 'close' });

/**
 * What a frontend does. Where Linux differs: there Unknown is ignored; a Closed backend closes a frontend that is
 * still Initialising, which loses the race of a reconnect; and a Closed frontend stays so when the backend returns.
 */
export const FRONTEND_TABLE: ReactionTable<FrontendReaction> = {
  Unknown: row('remove', {}),
  // Answered at once, a closing backend would close in earnest, and the two would chase each other for ever.
  Initialising: row('none', { InitWait: 'publish', Closing: 'linger' }),
  InitWait: frontendStray,
  Initialised: { ...frontendStray, Connected: 'connect' },
  // A backend that was restarted (Initialising, InitWait) takes up the rings that are there.
  Connected: { ...frontendStray, Connected: 'connect' },
  Closing: row('none', { Unknown: 'closed', Closing: 'closed', Closed: 'closed' }),
  Closed: row('none', { InitWait: 'reconnect' }),
  // It wrote so itself, to change what may change while connected, and its rings go on meanwhile.
  Reconfiguring: { ...frontendStray, Reconfigured: 'resume' },
  Reconfigured: frontendStray,
};

/** What holds for a backend in any state that is not an end: the frontend goes, or says what no frontend says. */
const frontendGoes = {
  Unknown: 'remove',
  Closing: 'close',
  Closed: 'closed',
  InitWait: 'refuse',
  Reconfigured: 'refuse',
} as const;

/** A backend that has mapped rings. */
const backendConnected = row<BackendReaction>('none', {
  ...frontendGoes,
  Initialising: 'reconnect',
  Reconfiguring: 'reconfigure',
});

/** States that a backend never has itself. */
const backendStray = row<BackendReaction>('none', { Unknown: 'remove', Closing: 'close', Closed: 'closed' });

/**
 * What a backend does. Where Linux differs: there Initialised is ignored (blkback and older backends take it for
 * Connected, as here); and a backend that is Closing or Closed connects again to a frontend that is still
 * Connected, so that one it had fenced would be back at once. Here the frontend has to start over.
 */
export const BACKEND_TABLE: ReactionTable<BackendReaction> = {
  Unknown: row('remove', {}),
  Initialising: row('none', {
    ...frontendGoes,
    Initialising: 'advertise',
    Initialised: 'connect',
    Connected: 'connect',
    // It was changing something when the backend before this one went: its rings are there, and are taken up first.
    Reconfiguring: 'connect',
  }),
  InitWait: row('none', {
    ...frontendGoes,
    Initialised: 'connect',
    Connected: 'connect',
    Reconfiguring: 'connect',
  }),
  Initialised: backendStray,
  Connected: backendConnected,
  Closing: row('none', { Unknown: 'remove', Initialising: 'reconnect', Closed: 'closed' }),
  Closed: row('none', { Unknown: 'remove', Initialising: 'reconnect', Closed: 'closed' }),
  Reconfiguring: backendStray,
  Reconfigured: { ...backendConnected, Connected: 'resume' },
};

/** What a frontend in state `own` does when the backend is in state `other`. */
export function frontendReaction(own: XenbusStateValue, other: XenbusStateValue): FrontendReaction {
  return FRONTEND_TABLE[stateName(own)][stateName(other)];
}

/** What a backend in state `own` does when the frontend is in state `other`. */
export function backendReaction(own: XenbusStateValue, other: XenbusStateValue): BackendReaction {
  return BACKEND_TABLE[stateName(own)][stateName(other)];
}

/** The state that the value of a `state` node says; Unknown for what says none. */
export function parseState(value: string | null): XenbusStateValue {
  if (value === null || !/^[0-8]$/.test(value)) return XenbusState.Unknown;
  return Number(value) as XenbusStateValue;
}

/** Codes of the store that say that a peer's node is gone, or is not for us any more. */
function meansGone(error: unknown): boolean {
  return error instanceof StoreError && (error.code === 'ENOENT' || error.code === 'EACCES');
}

/**
 * The state in the device directory `path`: Unknown when the directory is gone, may not be read, or holds nonsense.
 * Rejects with a StoreError for anything else.
 */
export async function readState(
  store: Store,
  path: string,
  transaction?: StoreTransaction,
): Promise<XenbusStateValue> {
  try {
    return parseState(await store.read(`${path}/state`, transaction));
  } catch (error) {
    if (meansGone(error)) return XenbusState.Unknown;
    throw error;
  }
}

async function writeState(
  store: Store,
  path: string,
  state: XenbusStateValue,
  tx: StoreTransaction,
): Promise<boolean> {
  const seen = await store.readOptional(`${path}/state`, tx);
  if (seen === null) return false;
  if (seen !== String(state)) await store.write(`${path}/state`, String(state), tx);
  return true;
}

/**
 * Writes the own state in the device directory `path`, unless it is there already, or the node is gone: a device
 * that is being torn down is not brought back (Linux's `xenbus_switch_state`).
 * @param transaction the caller's, so that the state changes together with other keys; without, one of its own.
 * @returns whether the node is there and has the state.
 */
export function switchState(
  store: Store,
  path: string,
  state: XenbusStateValue,
  transaction?: StoreTransaction,
): Promise<boolean> {
  if (transaction !== undefined) return writeState(store, path, state, transaction);
  return store.transaction((own) => writeState(store, path, state, own));
}

/**
 * Calls `handler` with the state in the device directory `path`: once soon, and whenever it has changed; Unknown
 * when it is gone. What changed and changed back between two looks is not seen. Below the node nothing is watched,
 * so a peer cannot keep this half busy with a tree there.
 * @param onError what reading the state, or the handler, failed with.
 */
export async function watchState(
  store: Store,
  path: string,
  handler: (state: XenbusStateValue) => void,
  onError: (error: unknown) => void,
): Promise<Watch> {
  let removed = false;
  let looking = false;
  let askedAgain = false;
  let last: XenbusStateValue | undefined;
  const isOver = (): boolean => removed;
  const look = async (): Promise<void> => {
    askedAgain = true;
    if (looking) return;
    looking = true;
    try {
      // An event that comes during a read asks for another one: what was read may be older than it.
      while (askedAgain && !isOver()) {
        askedAgain = false;
        const state = await readState(store, path);
        if (isOver() || state === last) continue;
        last = state;
        handler(state);
      }
    } catch (error) {
      if (!isOver()) onError(error);
    } finally {
      looking = false;
    }
  };
  const watch = await store.watch(`${path}/state`, () => void look(), { depth: 0 });
  const remove = (): Promise<void> => {
    removed = true;
    return watch.remove();
  };
  return { path: watch.path, token: watch.token, remove };
}
