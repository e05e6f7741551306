/**
 * The domain's whole driver: serves every vif that the toolstack makes for this domain, and stops serving those
 * it removes.
 *
 * Watches `backend/vif`; each event only asks for another look, and a look compares the store with what is
 * served. Vifs start and stop each at its own pace: one whose guest hangs delays no other.
 */
import type { FrameSink } from '@netaccel/core-hooks';
import type { DomainId, XenbusStateName } from '@netaccel/xen';
import { StoreError } from '@netaccel/xen/store';
import type { Watch } from '@netaccel/xen/store';
import { message } from './handshake.js';
import { Netback } from './netback.js';
import type { NetbackOptions } from './netback.js';
import { Worker } from './worker.js';

/** Where a vif's frames go, and what happens when it is gone. */
export interface VifNetwork {
  /** Gets the guest's frames. */
  readonly sink: FrameSink;
  /** Called with the vif when it serves: the network may deliver to it from now on. */
  attach(vif: Netback): void;
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
  /** Makes the network side of a vif, before it starts; null to leave the vif alone. */
  network(vif: VifName): VifNetwork | null;
  /** Told each vif's published states. */
  readonly onState?: (vif: VifName, state: XenbusStateName, reason: string | null) => void;
}

interface Served {
  readonly name: VifName;
  readonly vif: Netback;
  readonly network: VifNetwork;
  /** Resolves when it serves, or could not. */
  readonly started: Promise<void>;
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
    return this.served.get(`${guest}/${handle}`)?.vif;
  }

  /** A NIC port came or went: every vif looks again. */
  portsChanged(): void {
    for (const vif of this.vifs()) vif.portsChanged();
  }

  /** Every vif that is served. */
  vifs(): Netback[] {
    return [...this.served.values()].map(({ vif }) => vif);
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

  /** The vifs that the store names: `backend/vif/<domid>/<handle>`, both in decimal, with a frontend. */
  private async wanted(): Promise<Map<string, VifName>> {
    const { store } = this.options.domain;
    const wanted = new Map<string, VifName>();
    if (!(await store.exists(ROOT))) return wanted;
    for (const guest of await store.list(ROOT))
      for (const handle of await store.list(`${ROOT}/${guest}`)) {
        if (!/^\d{1,5}$/.test(guest) || !/^\d{1,5}$/.test(handle)) continue;
        if ((await store.readOptional(`${ROOT}/${guest}/${handle}/frontend`)) === null) continue;
        wanted.set(`${guest}/${handle}`, { guest: Number(guest), handle: Number(handle) });
      }
    return wanted;
  }

  private add(key: string, name: VifName): void {
    const { domain, features, limits, hotplug, accelerators } = this.options;
    const network = this.options.network(name);
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
      onState: (state, reason) => this.options.onState?.(name, state, reason),
    });
    network.attach(vif);
    const started = vif.start().catch((error: unknown) => {
      this.options.domain.log('error', `vif ${key} does not start: ${message(error)}`);
    });
    this.served.set(key, { name, vif, network, started });
  }

  private remove(key: string, removed: boolean): void {
    const { vif, network } = this.served.get(key)!;
    this.served.delete(key);
    network.detach(vif);
    const left = vif.stop(removed).finally(() => {
      this.leaving.delete(key);
      this.worker.wake();
    });
    this.leaving.set(key, left);
  }
}
