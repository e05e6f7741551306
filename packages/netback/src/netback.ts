/**
 * One vif: the driver domain's half of one guest's network interface.
 *
 * Frames from the guest go to `options.network`; frames for the guest come in by `deliver` and `flush`. The
 * handshake (handshake.ts) makes and ends the connection (connection.ts); the accelerator slot
 * (accelerator.ts) runs a plugin beside it. Made by `NetbackDriver`, or by whoever has one vif to serve.
 */
import type { Frame, FrameSink, ReceiveFence, VifIdentity } from '@netaccel/core-hooks';
import { stateName } from '@netaccel/xen';
import type { Domain, DomainId, XenbusStateName } from '@netaccel/xen';
import type { Watch } from '@netaccel/xen/store';
import { AcceleratorSlot } from './accelerator.js';
import { TransmitBuffers } from './buffers.js';
import type { Accelerators } from './candidates.js';
import { Connection } from './connection.js';
import { Credit, parseRate } from './credit.js';
import { writeDeviceKeys } from './device-keys.js';
import { allFeatures, featureValues } from './features.js';
import type { BackendFeatures } from './features.js';
import { Handshake, message } from './handshake.js';
import { hasSameAddresses, readVifKeys } from './identity.js';
import { HEADROOM_KEY, MULTICAST_KEY, parseHeadroom, parseNumber, readFrontendKeys } from './keys.js';
import { checkLimits, defaultLimits } from './limits.js';
import type { Limits } from './limits.js';
import { MulticastGroups } from './multicast.js';
import { OwnAddresses } from './own-addresses.js';
import { Counters, RxDrop } from './statistics.js';
import type { NetbackStatistics } from './statistics.js';

/** Who says that the vif is plugged into a network. */
export type Hotplug = 'script' | 'self';

/** What a vif is made with. */
export interface NetbackOptions {
  /** The driver domain. */
  readonly domain: Domain;
  /** The guest. */
  readonly frontend: DomainId;
  /** The vif's number in the guest. */
  readonly handle: number;
  /** Where the guest's frames go: a bridge's port. It gets no frame after {@link Netback.stop} has resolved. */
  readonly network: FrameSink;
  /**
   * Resolves when no frame for the guest waits in the network that came before the call. A network that never keeps
   * frames back leaves it out.
   */
  readonly networkSettled?: () => Promise<void>;
  /** Plugins and NIC ports; without them the vif has the slow path only. */
  readonly accelerators?: Accelerators;
  /** What is offered to the guest; all when left out. */
  readonly features?: Partial<BackendFeatures>;
  /** Bounds; {@link defaultLimits} where left out. */
  readonly limits?: Partial<Limits>;
  /**
   * `script`: Connected waits until the toolstack's hotplug script has written `hotplug-status`. `self` (when left
   * out): whoever made the network is the hotplug, and the driver writes that key.
   */
  readonly hotplug?: Hotplug;
  /** Told each published state, with the reason when the driver itself closed the device. */
  readonly onState?: (state: XenbusStateName, reason: string | null) => void;
  /** Told when the toolstack took the device offline and it has closed. */
  readonly onGone?: () => void;
}

/**
 * The backend of one vif.
 *
 * @example
 * ```ts
 * const vif = new Netback({ domain, frontend: 1, handle: 0, network: bridge.port() });
 * await vif.start();        // features are written, the frontend may come
 * vif.deliver(frame);       // a frame for the guest
 * vif.flush();
 * await vif.stop();         // everything is given back
 * ```
 */
export class Netback implements FrameSink {
  private readonly limits: Limits;
  private readonly features: BackendFeatures;
  private readonly path: string;
  private readonly counters = new Counters();
  private readonly credit: Credit;
  private readonly multicast: MulticastGroups;
  private readonly own = new OwnAddresses();
  private readonly handshake: Handshake;
  private readonly slot: AcceleratorSlot | null;
  private readonly watches: Watch[] = [];
  /** Of keys that the guest, or the toolstack for it, may change while it is connected. */
  private readonly guestWatches: Watch[] = [];
  private buffers: TransmitBuffers | null = null;
  private connection: Connection | null = null;
  private identity: VifIdentity | null = null;
  private frontendPath = '';
  private starting: Promise<void> | null = null;
  private stopping: Promise<void> | null = null;

  constructor(private readonly options: NetbackOptions) {
    const { domain, frontend, handle, accelerators } = options;
    this.limits = checkLimits({ ...defaultLimits, ...options.limits });
    this.features = { ...allFeatures, ...options.features };
    this.path = `backend/vif/${frontend}/${handle}`;
    this.credit = new Credit(domain.loop);
    this.credit.onCredit = () => this.connection?.raise();
    this.multicast = new MulticastGroups(this.limits.multicastGroups);
    const { teardownTimeoutMs, probeTimeoutMs, requestTimeoutMs } = this.limits;
    this.slot =
      accelerators === undefined
        ? null
        : new AcceleratorSlot({
            accelerators,
            domain,
            guest: frontend,
            path: this.path,
            teardownTimeoutMs,
            probeTimeoutMs,
            requestTimeoutMs,
            fence: () => this.fenceOfPlugins(),
            rateBytesPerSecond: () => this.credit.bytesPerSecond,
            shareCredit: (fast) => this.credit.share(fast),
          });
    this.handshake = new Handshake({
      domain,
      path: this.path,
      hotplug: options.hotplug ?? 'self',
      teardownTimeoutMs,
      identify: () => this.identify(),
      prepare: async () => this.slot?.rise(this.identity!, this.frontendPath),
      features: () => featureValues(this.features, this.limits.maxQueues),
      connect: () => this.connect(),
      reconfigure: () => this.reconfigure(),
      disconnect: () => this.disconnect(),
      onState: (state, reason) => options.onState?.(stateName(state), reason),
      onGone: () => options.onGone?.(),
    });
  }

  /** Begins to serve the vif: writes the features and waits for the frontend. */
  start(): Promise<void> {
    return (this.starting ??= this.begin());
  }

  /**
   * Ends: the frontend is asked to close and given a limited time for it; then everything is given back,
   * whatever the guest does. Resolves when the network gets no more frames and nothing is held, save buffers
   * that the network itself still holds: their pages go when it lets go of them.
   * @param removed the toolstack removed the vif's directory: the frontend is not asked, nothing is written.
   */
  stop(removed = false): Promise<void> {
    return (this.stopping ??= this.end(removed));
  }

  /** A frame for the guest. It is read within the call, or held. */
  deliver(frame: Frame): void {
    if (this.connection !== null) this.connection.deliver(frame);
    else this.counters.rxDropped[RxDrop['not-connected']]!++;
  }

  /** The batch is over: it is published, and the guest notified. */
  flush(): void {
    this.connection?.flush();
  }

  /**
   * Resolves when every frame that was delivered before the call is on the guest's rings or was dropped and
   * counted, to the response index of each queue's ring at that point; to no index when there is no connection.
   * @throws FenceClosedError when the vif disconnects first.
   */
  fence(): Promise<ReceiveFence> {
    return this.connection?.fence() ?? Promise.resolve([]);
  }

  /** A flow's first fast frame comes behind what the network has of it, too. */
  private async fenceOfPlugins(): Promise<ReceiveFence> {
    await this.options.networkSettled?.();
    return this.fence();
  }

  /** A NIC port came or went: whether the vif is accelerated is looked at again. */
  portsChanged(): void {
    this.slot?.portsChanged();
  }

  /** Totals since the vif was made. */
  statistics(): NetbackStatistics {
    return this.counters.snapshot();
  }

  /** The vif's state, for people and `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      guest: this.options.frontend,
      handle: this.options.handle,
      mac: this.identity === null ? null : formatMac(this.identity.mac),
      addresses: this.own.describe(),
      mtu: this.identity?.mtu ?? null,
      ...this.handshake.describe(),
      queues: this.connection?.queueCount ?? 0,
      queuedFrames: this.connection?.queuedFrames ?? 0,
      hashedAsAsked: this.connection?.hashes ?? false,
      staticGrants: this.connection?.staticGrants ?? 0,
      framesInNetwork: this.buffers?.out ?? 0,
      rateBytesPerSecond: this.credit.bytesPerSecond,
      accelerator: this.slot?.describe() ?? null,
      multicastGroups: this.multicast.controlled ? this.multicast.describe() : null,
    };
  }

  private async begin(): Promise<void> {
    if (this.stopping !== null) return;
    const { domain } = this.options;
    const { store } = domain;
    try {
      this.takeBuffers();
    } catch (error) {
      // A guest that a backend before this one served takes itself for connected: the vif starts all the same, and a
      // connection that cannot be made is closed, with its reason.
      domain.log('warn', `vif ${this.path}: ${message(error)}; tried again when the guest connects`);
    }
    this.watches.push(await store.watch(`${this.path}/rate`, () => void this.readRate(), { depth: 0 }));
    for (const key of ['mac', 'ip'])
      this.watches.push(
        await store.watch(`${this.path}/${key}`, () => void this.readIdentity(), { depth: 0 }),
      );
    await this.slot?.start();
    await this.handshake.start();
  }

  private async end(removed: boolean): Promise<void> {
    await this.starting?.catch(() => undefined);
    this.slot?.close();
    await this.handshake.stop(removed);
    await this.slot?.stop();
    this.credit.stop();
    for (const watch of this.watches.splice(0)) await watch.remove();
    // Not awaited: what the network holds may be in a NIC's queue, and comes home when it is sent.
    void this.buffers?.retire();
  }

  private async identify(): Promise<string> {
    const { domain, frontend, handle } = this.options;
    const keys = await readVifKeys(domain.store, this.path, domain.id, frontend, handle);
    this.identity = keys.identity;
    this.own.set(keys.identity);
    this.frontendPath = keys.frontendPath;
    return keys.frontendPath;
  }

  /** The toolstack may have changed who the vif is while it is connected. */
  private async readIdentity(): Promise<void> {
    const { domain, frontend, handle } = this.options;
    const before = this.identity;
    if (before === null) return;
    try {
      const { identity } = await readVifKeys(domain.store, this.path, domain.id, frontend, handle);
      const same = hasSameAddresses(identity, before);
      if (this.identity !== before || (same && identity.mtu === before.mtu)) return;
      this.identity = identity;
      this.own.set(identity);
      if (same) this.slot?.remeasure(identity);
      else this.slot?.identify(identity);
    } catch (error) {
      // A vif that the toolstack removes has no keys any more, and nothing to be said about them.
      if (!(await domain.store.exists(this.path).catch(() => false))) return;
      domain.log('warn', `vif ${this.path}: it stays who it is: ${message(error)}`);
    }
  }

  private async connect(): Promise<void> {
    const { domain, frontend, network } = this.options;
    const keys = await readFrontendKeys(domain.store, this.frontendPath, this.limits.maxQueues);
    this.multicast.clear();
    this.multicast.controlled = keys.multicastControl && this.features.multicastControl;
    this.connection = new Connection({
      domain,
      guest: frontend,
      keys: {
        ...keys,
        control: this.features.controlRing ? keys.control : null,
        headroom: this.features.xdpHeadroom ? keys.headroom : 0,
      },
      network,
      buffers: this.takeBuffers(),
      credit: this.credit,
      multicast: this.multicast,
      own: this.own,
      counters: this.counters,
      limits: this.limits,
      onBreach: (what) => {
        this.handshake.close(`the guest broke the ring's rules: ${what}`);
      },
      onStall: (stalled) => {
        domain.log('warn', `vif ${this.path}: the guest's receiver ${stalled ? 'is stalled' : 'goes on'}`);
        this.writeCarrier(!stalled);
      },
    });
    const watch = async (key: string, look: () => void): Promise<void> => {
      const path = `${this.frontendPath}/${key}`;
      this.guestWatches.push(await domain.store.watch(path, look, { depth: 0 }));
    };
    await watch('mtu', () => void this.readIdentity());
    if (this.features.multicastControl) await watch(MULTICAST_KEY, () => void this.readMulticastControl());
  }

  /** The vif's buffers, got at its start, or when a guest connects if there was no memory for them then. */
  private takeBuffers(): TransmitBuffers {
    if (this.buffers === null) {
      this.buffers = new TransmitBuffers(this.options.domain.pages, this.limits);
      this.buffers.onHome = () => this.connection?.raise();
    }
    return this.buffers;
  }

  /** What a guest may change while it is connected: the room before received data. */
  private async reconfigure(): Promise<void> {
    if (!this.features.xdpHeadroom) return;
    const text = await this.options.domain.store.readOptional(`${this.frontendPath}/${HEADROOM_KEY}`);
    this.connection?.setHeadroom(parseHeadroom(text));
  }

  /** The plugin goes first, while there are rings for its fence and a store for its last words. */
  private async disconnect(): Promise<void> {
    await this.slot?.sink();
    const { connection } = this;
    this.connection = null;
    connection?.close();
    for (const watch of this.guestWatches.splice(0)) await watch.remove();
  }

  /** A guest may ask for control of its groups, and give it up, at any time. */
  private async readMulticastControl(): Promise<void> {
    const { domain } = this.options;
    const { connection } = this;
    try {
      const asked = parseNumber(await domain.store.readOptional(`${this.frontendPath}/${MULTICAST_KEY}`));
      if (connection === this.connection) this.multicast.controlled = (asked ?? 0) !== 0;
    } catch (error) {
      domain.log('debug', `vif ${this.path}: ${MULTICAST_KEY}: ${message(error)}`);
    }
  }

  private async readRate(): Promise<void> {
    const { domain } = this.options;
    try {
      const text = await domain.store.readOptional(`${this.path}/rate`);
      const rate = text === null ? null : parseRate(text);
      if (text !== null && rate === null)
        domain.log(
          'warn',
          `vif ${this.path}: rate: expected "bytes,usec", saw ${text}; traffic is not limited`,
        );
      this.credit.set(rate);
      this.slot?.rateChanged();
    } catch (error) {
      domain.log('debug', `vif ${this.path}: rate: ${message(error)}`);
    }
  }

  private writeCarrier(up: boolean): void {
    const { domain } = this.options;
    writeDeviceKeys(domain.store, this.path, { carrier: up ? '1' : '0' }).catch((error: unknown) => {
      domain.log('debug', `vif ${this.path}: carrier: ${message(error)}`);
    });
  }
}

/** Six bytes as `00:16:3e:01:02:03`. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
