/**
 * What a toolstack does for a vif: the nodes in the store that make two drivers meet, as libxl writes them.
 *
 * Called by whoever runs a lab, through the privileged domain's connection. The drivers see nothing else of
 * the lab: a real toolstack on a real host writes the same keys.
 */
import { XenbusState } from '@netaccel/xen';
import type { DomainId } from '@netaccel/xen';
import type { Permissions, Store, StoreTransaction } from '@netaccel/xen/store';

/** A vif to be made. */
export interface VifSpec {
  /** The guest. */
  readonly guest: DomainId;
  /** The driver domain that serves it. */
  readonly backend: DomainId;
  /** Number of the vif within the guest. */
  readonly handle: number;
  /** `02:00:00:00:00:0a`. */
  readonly mac: string;
  /** Payload bytes of a frame. */
  readonly mtu: number;
  /** The NIC port that the vif may be accelerated on, or null. */
  readonly accel: string | null;
  /** The only IP addresses that the guest may send from, or null (or left out) when that is its own affair. */
  readonly addresses?: readonly string[] | null;
  /** `bytes,usec` as netback reads it, or null for no limit. */
  readonly rate: string | null;
  /** Quotas of the accelerator, written only when all are given. */
  readonly limits: {
    readonly filters: number;
    readonly bufferPages: number;
    readonly multicasts: number;
  } | null;
}

/** The frontend's directory. */
export function frontendPath(guest: DomainId, handle: number): string {
  return `/local/domain/${guest}/device/vif/${handle}`;
}

/** The backend's directory. */
export function backendPath(backend: DomainId, guest: DomainId, handle: number): string {
  return `/local/domain/${backend}/backend/vif/${guest}/${handle}`;
}

/** Makes a domain's own directory. */
export async function introduceDomain(store: Store, id: DomainId, name: string): Promise<void> {
  const home = `/local/domain/${id}`;
  await store.transaction(async (tx) => {
    const readable: Permissions = [
      { domid: 0, access: 'none' },
      { domid: id, access: 'read' },
    ];
    const own: Permissions = [{ domid: id, access: 'none' }];
    await store.write(`${home}/name`, name, tx);
    await store.write(`${home}/domid`, String(id), tx);
    for (const path of [home, `${home}/name`, `${home}/domid`])
      await store.setPermissions(path, readable, tx);
    for (const path of [`${home}/device`, `${home}/backend`, `${home}/backend/vif`, `${home}/error`]) {
      await store.mkdir(path, tx);
      await store.setPermissions(path, own, tx);
    }
  });
}

/** Makes a vif's two directories; both drivers see it appear at once. */
export async function createVif(store: Store, vif: VifSpec): Promise<void> {
  const front = frontendPath(vif.guest, vif.handle);
  const back = backendPath(vif.backend, vif.guest, vif.handle);
  await store.transaction(async (tx) => {
    await ownedBy(store, tx, back, vif.backend, vif.guest);
    await ownedBy(store, tx, front, vif.guest, vif.backend);
    await writeAll(store, tx, back, {
      frontend: front,
      'frontend-id': String(vif.guest),
      online: '1',
      handle: String(vif.handle),
      mac: vif.mac,
      type: 'vif',
      'hotplug-status': 'connected',
      ...(vif.accel === null ? {} : { accel: vif.accel }),
      ...(vif.addresses == null ? {} : { ip: vif.addresses.join(' ') }),
      ...(vif.rate === null ? {} : { rate: vif.rate }),
      ...(vif.limits === null
        ? {}
        : {
            'limits/max-filters': String(vif.limits.filters),
            'limits/max-buf-pages': String(vif.limits.bufferPages),
            'limits/max-mcasts': String(vif.limits.multicasts),
          }),
      state: String(XenbusState.Initialising),
    });
    await writeAll(store, tx, front, {
      backend: back,
      'backend-id': String(vif.backend),
      handle: String(vif.handle),
      mac: vif.mac,
      mtu: String(vif.mtu),
      state: String(XenbusState.Initialising),
    });
  });
}

/**
 * Says which NIC port a vif may be accelerated on, or, with null, that it may not be any more: the backend
 * attaches or detaches at run time.
 */
export async function setAccel(
  store: Store,
  backend: DomainId,
  guest: DomainId,
  handle: number,
  port: string | null,
): Promise<void> {
  const key = `${backendPath(backend, guest, handle)}/accel`;
  if (port === null) await store.remove(key);
  else await store.write(key, port);
}

/**
 * Lets a vif whose halves have both closed begin again, as a toolstack does when a driver domain was restarted: the new
 * netback offers its features, and the frontend, which goes on watching, connects.
 */
export async function restartVif(
  store: Store,
  backend: DomainId,
  guest: DomainId,
  handle: number,
): Promise<void> {
  await store.transaction(async (tx) => {
    for (const path of [frontendPath(guest, handle), backendPath(backend, guest, handle)])
      await store.write(`${path}/state`, String(XenbusState.Initialising), tx);
  });
}

/** Asks both drivers to let a vif go: the orderly way, as `xl network-detach` does. */
export async function closeVif(
  store: Store,
  backend: DomainId,
  guest: DomainId,
  handle: number,
): Promise<void> {
  const back = backendPath(backend, guest, handle);
  await store.transaction(async (tx) => {
    await store.write(`${back}/online`, '0', tx);
    await store.write(`${back}/state`, String(XenbusState.Closing), tx);
  });
}

/** Removes a vif's directories, once both halves are closed or the deadline for it has passed. */
export async function removeVif(
  store: Store,
  backend: DomainId,
  guest: DomainId,
  handle: number,
): Promise<void> {
  await store.remove(backendPath(backend, guest, handle));
  await store.remove(frontendPath(guest, handle));
}

/** Forgets a domain that is gone, or has moved to another host: its own directory. */
export async function forgetDomain(store: Store, id: DomainId): Promise<void> {
  await store.remove(`/local/domain/${id}`);
}

/** Makes a directory that `owner` writes and `reader` reads; what is made below it inherits that. */
async function ownedBy(
  store: Store,
  tx: StoreTransaction,
  path: string,
  owner: DomainId,
  reader: DomainId,
): Promise<void> {
  await store.mkdir(path, tx);
  await store.setPermissions(
    path,
    [
      { domid: owner, access: 'none' },
      { domid: reader, access: 'read' },
    ],
    tx,
  );
}

async function writeAll(
  store: Store,
  tx: StoreTransaction,
  directory: string,
  values: Record<string, string>,
): Promise<void> {
  for (const [key, value] of Object.entries(values)) await store.write(`${directory}/${key}`, value, tx);
}
