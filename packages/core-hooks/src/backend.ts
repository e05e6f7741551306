/**
 * The backend half of the contract: the hooks that netback calls, and what it hands the plugin.
 *
 * As in history (netback hooks, version 0x00010001) nothing here is on netback's data path: the plugin sees
 * frames through its own hold on a NIC port. Probe and remove are per vif.
 */
import type { Capabilities } from './capabilities.js';
import type { Frame } from './frame.js';
import type { ReceiveFence, VifIdentity } from './frontend.js';
import { NO_OPTIONS, defaultOptions } from './options.js';
import type { OptionValues, OptionsOf, OptionsSchema } from './options.js';
import type { CommonServices, MappedPages } from './services.js';

/** Quotas of one vif, read all or nothing from the store's `limits/` (defaults 8, 384, 8), fixed at probe. */
export interface VifLimits {
  /** Receive filters. */
  readonly maxFilters: number;
  /** Pages of packet buffers. */
  readonly maxBufferPages: number;
  /** Multicast groups. */
  readonly maxMulticasts: number;
}

/** A plugin's hold on one port of a NIC: what `driverlink` was. */
export interface NicPortHold {
  /** The port's name, which the vif's `accel` key names: `eth0`. */
  readonly name: string;
  /** The NIC's own control interface. A plugin knows the kind of NIC that it was written for, and checks. */
  readonly device: unknown;
  /**
   * Shows `handler` each frame that the driver domain receives from the wire on this port, before the bridge
   * has it. The handler looks and returns; it keeps and changes nothing. Ends with the function returned.
   */
  onReceive(this: void, handler: (frame: Frame) => void): () => void;
  /** Shows `handler` each frame that the driver domain sends to the wire on this port. */
  onTransmit(this: void, handler: (frame: Frame) => void): () => void;
  /** Resolves when every frame that the NIC had given to the driver domain before this call has been handled. */
  received(this: void): Promise<void>;
  /** Calls `handler` on link changes and at once with the present state. */
  onLink(this: void, handler: (up: boolean) => void): () => void;
  /** Calls `handler` when the NIC was reset: every VI and filter is gone. */
  onReset(this: void, handler: () => void): () => void;
}

/** What netback hands a plugin for one vif. */
export interface BackendServices extends CommonServices {
  /** Which device this is. */
  readonly vif: VifIdentity;
  /** Quotas. */
  readonly limits: VifLimits;
  /** The NIC port that the vif's `accel` key names. */
  readonly port: NicPortHold;
  /**
   * Maps pages of the guest for the device: the driver domain's CPU does not touch them.
   * @throws when a reference is not granted to this domain; nothing stays mapped then.
   */
  map(this: void, refs: Uint32Array, access: 'read' | 'write'): MappedPages;
  /**
   * Resolves, when every frame that has entered the slow path towards the guest is on its rx rings, to that
   * point in the stream. With `port.received()` before it, it orders the first fast frame of a flow behind the
   * last slow one.
   */
  fence(this: void): Promise<ReceiveFence>;
  /** The vif's transmit rate limit in bytes per second, or 0 for none. It may change: read it where it is needed. */
  readonly rateBytesPerSecond: number;
  /**
   * Gives the fast path its share of the vif's transmit rate limit: both paths spend one budget, so their sum keeps
   * to it. For plugins that declare `transmitRate`; on a vif with a limit there are no others.
   * @param handler called at once, and whenever there is credit. It adds `bytes` to what the fast path may send, up
   * to `most` in all, and answers how many did not fit: the slow path gets those. `bytes` is `Infinity` while there
   * is no limit; a limit that comes later begins with a call of 0 bytes: nothing is sent without credit from then on.
   * @returns ends it; credit that was not spent is void.
   */
  onCredit(this: void, handler: CreditHandler): () => void;
}

/** Takes transmit credit in bytes, up to `most` in all; answers what did not fit. */
export type CreditHandler = (bytes: number, most: number) => number;

/** One vif's backend plugin: what `probe` made. */
export interface BackendAccelerator {
  /** Takes the VI down and gives everything back; bounded in time, and needs nothing from the guest. */
  remove(): Promise<void>;
  /** The vif's state for `explain`: VI, filters with hits, quotas; plain data. */
  describe(): Readonly<Record<string, unknown>>;
}

/** A backend plugin: what its module exports by default. */
export interface BackendAcceleratorDefinition {
  /** Marks the kind; set by {@link defineBackendAccelerator}. */
  readonly kind: 'backend';
  /** The npm name of the package. */
  readonly name: string;
  /** The package's version. */
  readonly version: string;
  /** The contract it was made for. */
  readonly contract: number;
  /** What it can do, as data. */
  readonly capabilities: Capabilities;
  /** Name of the frontend plugin that a guest is told to load (`accel-frontend`). */
  readonly frontend: string;
  /** Whether it knows this kind of NIC; asked before `probe`. */
  supports(device: unknown): boolean;
  /** What an operator may set; left out by a plugin without options. The host judges what is set before `probe`. */
  readonly options?: OptionsSchema;
  /**
   * Attaches to one vif. A rejection leaves the vif on the slow path, with the reason recorded.
   * @param options what was set, of `options`; the defaults of what is left out.
   */
  probe(services: BackendServices, options?: OptionValues): Promise<BackendAccelerator>;
}

/** A backend plugin as its author writes it: `probe` is given every option, as its schema says. */
export interface BackendAcceleratorSource<S extends OptionsSchema> extends Omit<
  BackendAcceleratorDefinition,
  'kind' | 'options' | 'probe'
> {
  /** See {@link BackendAcceleratorDefinition.options}. */
  readonly options?: S;
  /** See {@link BackendAcceleratorDefinition.probe}. */
  probe(services: BackendServices, options: OptionsOf<S>): Promise<BackendAccelerator>;
}

/** Declares a backend plugin; a module's default export. */
export function defineBackendAccelerator<const S extends OptionsSchema = typeof NO_OPTIONS>(
  source: BackendAcceleratorSource<S>,
): BackendAcceleratorDefinition {
  const defaults = defaultOptions<OptionsSchema>(source.options ?? NO_OPTIONS);
  return {
    ...source,
    kind: 'backend',
    // The host has judged what is set: it is of the schema's types.
    probe: (services, options) => source.probe(services, { ...defaults, ...options } as OptionsOf<S>),
  };
}
