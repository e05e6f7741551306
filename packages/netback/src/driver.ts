/**
 * The domain's whole driver: serves every vif that the toolstack makes for this domain, and stops serving those
 * it removes.
 *
 * Watches `backend/vif`; each event only asks for another look, and a look compares the store with what is
 * served. Vifs start and stop each at its own pace: one whose guest hangs delays no other.
 */
import type { FrameSink } from '@netaccel/core-hooks';
import { BACKEND_REACTIONS, Worker, XenbusState, readState, statesToWrite, switchState } from '@netaccel/xen';
import type { DomainId, XenbusStateName } from '@netaccel/xen';
import { StoreError } from '@netaccel/xen/store';
import type { Store, Watch } from '@netaccel/xen/store';
import { writeDeviceKeys } from './device-keys.js';
import { HOTPLUG_KEY, message } from './handshake.js';
import { Netback } from './netback.js';
import type { NetbackOptions } from './netback.js';

/** Where a vif's frames go, and what happens when it is gone. */
export interface VifNetwork {
  /** Gets the guest's frames. */
  readonly sink: FrameSink;
  /** Called with the vif when it serves: the network may deliver to it from now on. */
  attach(vif: Netback): void;
  /** Resolves when no frame for the vif waits here that came before the call; left out: none ever does. */
  settled?(): Promise<void>;
  /** Called when it serves no more: nothing may be delivered to it from now on. */
  detach(vif: Netback): void;
}

/** Which vif. */
export interface VifName {
  /** The guest. */
  readonly guest: DomainId;
  /** Number of the vif within it. */
  readonly handle: number;
}

/** What a driver is made with. */
export interface NetbackDriverOptions extends Pick<
  NetbackOptions,
  'domain' | 'features' | 'limits' | 'hotplug' | 'accelerators'
> {
  /**
   * Makes the network side of a vif, before it starts; null to leave the vif alone. A vif whose network cannot be
   * made (it throws, or rejects) is refused: the reason is logged and written where the toolstack looks, and the
   * device is closed, so that a guest which a backend before this one left connected does not wait for ever.
   */
  network(vif: VifName): VifNetwork | null | Promise<VifNetwork | null>;
  /** Told each vif's published states. */
  readonly onState?: (vif: VifName, state: XenbusStateName, reason: string | null) => void;
  /** Told of each vif that cannot be served, and why. */
  readonly onRefused?: (vif: VifName, reason: string) => void;
  /** Told of each vif that the toolstack removed, when nothing of it is held any more. */
  readonly onGone?: (vif: VifName) => void;
}

/** A vif and its network side. */
interface Opened {
  readonly vif: Netback;
  readonly network: VifNetwork;
}

interface Served {
  readonly name: VifName;
  /** What is served; null until its network is made, and where none is. */
  opened: Opened | null;
  /** Resolves when it serves, or could not. */
  started: Promise<void>;
}

const ROOT = 'backend/vif';
/** The root, a guest's directory, a vif's directory: what lies deeper is the vif's own business. */
const DEPTH = 2;

/**
 * The vifs of one driver domain.
 *
 * @example
 * ```ts
 * const driver = new NetbackDriver({ domain, network: ({ guest, handle }) => bridge.addPort(`vif${guest}.${handle}`) });
 * await driver.start();
 * // ... the toolstack makes and removes vifs ...
 * await driver.stop();
 * ```
 */
export class NetbackDriver {
  private readonly served = new Map<string, Served>();
  private readonly leaving = new Map<string, Promise<void>>();
  private watch: Watch | null = null;
  private starting: Promise<void> | null = null;
  private stopping: Promise<void> | null = null;
  private readonly worker: Worker;

  constructor(private readonly options: NetbackDriverOptions) {
    this.worker = new Worker(
      options.domain.loop,
      () => this.compare(),
      (error) => {
        options.domain.log('warn', `netback: ${ROOT} cannot be read: ${message(error)}`);
        return !(error instanceof StoreError && error.code === 'ECLOSED');
      },
    );
  }

  /** Begins to serve; resolves when the vifs that are there have their features written. */
  start(): Promise<void> {
    return (this.starting ??= this.begin());
  }

  /** Stops every vif, all at the same time. */
  stop(): Promise<void> {
    return (this.stopping ??= this.end());
  }

  /** The vif of that name, when it is served. */
  vif(guest: DomainId, handle: number): Netback | undefined {
    return this.served.get(`${guest}/${handle}`)?.opened?.vif;
  }

  /** A NIC port came or went: every vif looks again. */
  portsChanged(): void {
    for (const vif of this.vifs()) vif.portsChanged();
  }

  /** Every vif that is served. */
  vifs(): Netback[] {
    return [...this.served.values()].flatMap(({ opened }) => (opened === null ? [] : [opened.vif]));
  }

  /** The driver's state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return { leaving: this.leaving.size, vifs: this.vifs().map((vif) => vif.describe()) };
  }

  private async begin(): Promise<void> {
    this.watch = await this.options.domain.store.watch(
      ROOT,
      () => {
        this.worker.wake();
      },
      { depth: DEPTH },
    );
    await this.worker.pass();
    await Promise.all([...this.served.values()].map(({ started }) => started));
  }

  private async end(): Promise<void> {
    await this.starting?.catch(() => undefined);
    await this.watch?.remove();
    await this.worker.stop();
    for (const key of [...this.served.keys()]) this.remove(key, false);
    await Promise.all(this.leaving.values());
  }

  private async compare(): Promise<void> {
    const wanted = await this.wanted();
    for (const key of [...this.served.keys()]) if (!wanted.has(key)) this.remove(key, true);
    // One that came back while its predecessor still stops waits for it.
    for (const [key, name] of wanted)
      if (!this.served.has(key) && !this.leaving.has(key)) this.add(key, name);
  }

  /** The vifs that the store names: `backend/vif/<domid>/<handle>`, both in decimal, that are not half removed. */
  private async wanted(): Promise<Map<string, VifName>> {
    const { store } = this.options.domain;
    const wanted = new Map<string, VifName>();
    if (!(await store.exists(ROOT))) return wanted;
    for (const guest of await store.list(ROOT))
      for (const handle of await children(store, `${ROOT}/${guest}`)) {
        if (!/^\d{1,5}$/.test(guest) || !/^\d{1,5}$/.test(handle)) continue;
        // One without a `frontend` is the toolstack's mistake, and is told so by the vif.
        if ((await store.readOptional(`${ROOT}/${guest}/${handle}/state`)) === null) continue;
        wanted.set(`${guest}/${handle}`, { guest: Number(guest), handle: Number(handle) });
      }
    return wanted;
  }

  private add(key: string, name: VifName): void {
    const served: Served = { name, opened: null, started: Promise.resolve() };
    this.served.set(key, served);
    served.started = this.open(key, name, served);
  }

  /** Makes the network side and starts the vif; never rejects. */
  private async open(key: string, name: VifName, served: Served): Promise<void> {
    const { domain, features, limits, hotplug, accelerators } = this.options;
    try {
      const made = this.options.network(name);
      const network = made instanceof Promise ? await made : made;
      if (network === null) return;
      const vif = new Netback({
        domain,
        ...(features !== undefined && { features }),
        ...(limits !== undefined && { limits }),
        ...(hotplug !== undefined && { hotplug }),
        ...(accelerators !== undefined && { accelerators }),
        frontend: name.guest,
        handle: name.handle,
        network: network.sink,
        networkSettled: async () => network.settled?.(),
        onState: (state, reason) => this.options.onState?.(name, state, reason),
      });
      served.opened = { vif, network };
      network.attach(vif);
      await vif.start();
    } catch (error) {
      if (error instanceof StoreError && error.code === 'ECLOSED')
        await this.postponed(key, served, message(error));
      else await this.refused(key, served, message(error));
    }
  }

  /** The connection to the store was lost meanwhile: nothing is wrong with the vif, and it is tried again. */
  private async postponed(key: string, served: Served, reason: string): Promise<void> {
    this.options.domain.log(
      'warn',
      `vif ${key} does not start: ${reason}; tried again when the store is back`,
    );
    if (this.served.get(key) !== served) return;
    await this.letGo(key, served);
    if (this.served.get(key) === served) this.served.delete(key);
    this.worker.wake();
  }

  /**
   * Says why a vif is not served, to the operator and where the toolstack looks; lets go of what it had, and closes the
   * device: as Linux's `xenbus_dev_fatal`, then `netback_remove`, when the probe of a vif fails. It stays refused until
   * the toolstack makes it anew.
   */
  private async refused(key: string, served: Served, reason: string): Promise<void> {
    const { domain } = this.options;
    const { name } = served;
    const path = `${ROOT}/${key}`;
    domain.log('error', `vif ${key} does not start: ${reason}`);
    this.options.onRefused?.(name, reason);
    await this.tell(key, () => domain.store.write(`error/${path}/error`, reason));
    // Removed meanwhile: whoever did that takes it.
    if (this.served.get(key) !== served) return;
    await this.letGo(key, served);
    await this.tell(key, async () => {
      await writeDeviceKeys(domain.store, path, { [HOTPLUG_KEY]: null });
      // What the store has is what a backend before this one left; what of the way down is gone is not gone again.
      const left = await readState(domain.store, path);
      for (const state of statesToWrite(left, BACKEND_REACTIONS.remove))
        if (await switchState(domain.store, path, XenbusState[state]))
          this.options.onState?.(name, state, reason);
    });
  }

  /** Gives back what a vif that does not start has, and writes nothing. */
  private async letGo(key: string, served: Served): Promise<void> {
    const { opened } = served;
    served.opened = null;
    if (opened === null) return;
    await this.tell(key, () => {
      opened.network.detach(opened.vif);
      return opened.vif.stop(true);
    });
  }

  /** The store may be gone by now, and then there is nobody to tell. */
  private async tell(key: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.options.domain.log('debug', `vif ${key}: ${message(error)}`);
    }
  }

  private remove(key: string, removed: boolean): void {
    const served = this.served.get(key)!;
    this.served.delete(key);
    const left = this.take(served, removed).finally(() => {
      this.leaving.delete(key);
      if (removed) this.options.onGone?.(served.name);
      this.worker.wake();
    });
    this.leaving.set(key, left);
  }

  private async take(served: Served, removed: boolean): Promise<void> {
    // A vif that runs is stopped whatever it waits for; one whose network is being made is waited for.
    if (served.opened === null) await served.started;
    if (served.opened === null) return;
    const { vif, network } = served.opened;
    network.detach(vif);
    await vif.stop(removed);
  }
}

/** The names under a node; none when it has gone meanwhile. */
async function children(store: Store, path: string): Promise<string[]> {
  try {
    return await store.list(path);
  } catch (error) {
    if (error instanceof StoreError && error.code === 'ENOENT') return [];
    throw error;
  }
}
