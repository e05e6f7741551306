/**
 * The control side of a connection: who the device is, and the keys by which the backend finds its rings.
 * Called by Netfront between the states; writes like Linux's xen-netfront, in one transaction.
 */
import type { VifIdentity } from '@netaccel/core-hooks';
import { XenbusState, switchState } from '@netaccel/xen';
import type { Domain } from '@netaccel/xen';
import type { Store, StoreTransaction } from '@netaccel/xen/store';
import type { QueueKeys } from './connection.js';
import type { ControlKeys } from './control.js';
import { OWN_KEYS, frontendKeys, parseKey } from './features.js';
import type { Agreement, NetfrontFeatures } from './features.js';

/** Payload bytes of a frame when the toolstack says nothing. */
export const DEFAULT_MTU = 1500;
/** What an `mtu` key may say: IPv4's least, and what the protocol's packets have room for. */
const LEAST_MTU = 68;
const MOST_MTU = 65521;
const MOST_REASON_BYTES = 512;

/** The device cannot be used as it is in the store. */
export class DeviceError extends Error {
  /**
   * @param code `NO_DEVICE` the directory has no usable `backend` and `backend-id`; `BAD_MAC` the `mac` key makes no
   * sense.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: 'NO_DEVICE' | 'BAD_MAC',
    message: string,
  ) {
    super(message);
    this.name = 'DeviceError';
  }
}

/** A device as the toolstack made it. */
export interface DeviceKeys {
  readonly vif: VifIdentity;
  /** The backend's directory. */
  readonly backendPath: string;
  /** The `trusted` key. */
  readonly trusted: string | null;
}

/** The address that `aa:bb:cc:dd:ee:ff` spells, or null. */
export function parseMac(text: string | null): Uint8Array | null {
  if (text === null || !/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)) return null;
  return Uint8Array.from(text.split(':'), (part) => parseInt(part, 16));
}

/** The payload that the key `mtu` allows. */
export function parseMtu(text: string | null): number {
  return Math.min(MOST_MTU, Math.max(LEAST_MTU, parseKey(text, DEFAULT_MTU)));
}

/**
 * Reads who the device is, from the frontend's directory.
 * @throws DeviceError, StoreError.
 */
export async function readDevice(domain: Domain, path: string, handle: number): Promise<DeviceKeys> {
  const read = (key: string): Promise<string | null> => domain.store.readOptional(`${path}/${key}`);
  const [backendPath, backendId, macText, mtuText, trusted] = await Promise.all(
    ['backend', 'backend-id', 'mac', 'mtu', 'trusted'].map(read),
  );
  const backend = parseKey(backendId ?? null, -1);
  if (backendPath === null || backendPath === undefined || backendPath === '' || backend < 0)
    throw new DeviceError(
      'NO_DEVICE',
      `${path}: expected the keys "backend" and "backend-id", saw ${JSON.stringify(backendPath)} and ` +
        `${JSON.stringify(backendId)}; has the toolstack made vif ${handle} for domain ${domain.id}?`,
    );
  const mac = parseMac(macText ?? null);
  if (mac === null)
    throw new DeviceError(
      'BAD_MAC',
      `${path}/mac: expected six hexadecimal bytes with colons, saw ${JSON.stringify(macText)}; set the vif's MAC address`,
    );
  const mtu = parseMtu(mtuText ?? null);
  return { vif: { handle, guest: domain.id, backend, mac, mtu }, backendPath, trusted: trusted ?? null };
}

async function writeQueue(store: Store, path: string, keys: QueueKeys, tx: StoreTransaction): Promise<void> {
  await store.write(`${path}/tx-ring-ref`, String(keys.txRingRef), tx);
  await store.write(`${path}/rx-ring-ref`, String(keys.rxRingRef), tx);
  if (keys.txPort === keys.rxPort) await store.write(`${path}/event-channel`, String(keys.txPort), tx);
  else {
    await store.write(`${path}/event-channel-tx`, String(keys.txPort), tx);
    await store.write(`${path}/event-channel-rx`, String(keys.rxPort), tx);
  }
}

async function removeKeys(store: Store, path: string, tx: StoreTransaction): Promise<void> {
  const there = new Set(await store.list(path, tx));
  for (const key of OWN_KEYS) if (there.has(key)) await store.remove(`${path}/${key}`, tx);
  for (const key of there) if (/^queue-\d+$/.test(key)) await store.remove(`${path}/${key}`, tx);
}

/**
 * Writes all keys and the state Connected, at once. One queue has flat keys, several a directory each and no
 * flat ones; what an earlier connection left is removed first, so that nothing of it can be taken for this one's.
 * @returns false when the device is gone from the store.
 */
export function publishKeys(
  store: Store,
  path: string,
  queues: readonly QueueKeys[],
  control: ControlKeys | null,
  own: NetfrontFeatures,
  agreement: Agreement,
): Promise<boolean> {
  return store.transaction(async (tx) => {
    if (!(await store.exists(path, tx))) return false;
    await removeKeys(store, path, tx);
    if (agreement.multiQueue) await store.write(`${path}/multi-queue-num-queues`, String(queues.length), tx);
    if (queues.length === 1) await writeQueue(store, path, queues[0]!, tx);
    else for (const [i, keys] of queues.entries()) await writeQueue(store, `${path}/queue-${i}`, keys, tx);
    if (control !== null) {
      await store.write(`${path}/ctrl-ring-ref`, String(control.ref), tx);
      await store.write(`${path}/event-channel-ctrl`, String(control.port), tx);
    }
    for (const [key, value] of Object.entries(frontendKeys(own, agreement)))
      await store.write(`${path}/${key}`, value, tx);
    return switchState(store, path, XenbusState.Connected, tx);
  });
}

/**
 * Says that the frontend has changed what it may change while connected: the room that it wants before received data.
 * @returns false when the device is gone from the store.
 */
export function publishHeadroom(store: Store, path: string, headroom: number): Promise<boolean> {
  return store.transaction(async (tx) => {
    if (!(await switchState(store, path, XenbusState.Reconfiguring, tx))) return false;
    await store.write(`${path}/xdp-headroom`, String(headroom), tx);
    return true;
  });
}

/**
 * Says in the store why the device failed, where Linux's xenbus_dev_fatal does. A toolstack that made no `error`
 * directory does not get to know.
 */
export async function publishError(
  store: Store,
  path: string,
  reason: string,
  onError: (error: unknown) => void,
): Promise<void> {
  try {
    await store.write(`error/${path}/error`, reason.slice(0, MOST_REASON_BYTES));
  } catch (error) {
    onError(error);
  }
}
