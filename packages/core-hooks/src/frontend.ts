/**
 * The frontend half of the contract: the hooks that netfront calls, and what it hands the plugin.
 *
 * The hooks are those of the last historical generation (linux-2.6.18-xen, version 0x00010003): new device,
 * remove, start transmit, poll, start and stop interrupts, check ready, statistics. Two are added: `quiesce`,
 * without which frames in the plugin's queue and frames already on the slow path could not be kept in order
 * on the way out, and `flush`, without which no doorbell could safely wait for the rest of a batch.
 */
import type { Frame } from './frame.js';
import type { Capabilities } from './capabilities.js';
import type { CommonServices, Registers, SharedPages } from './services.js';
import type { Verdict } from './verdict.js';

/** Who the device is. */
export interface VifIdentity {
  /** The vif's number within its guest. */
  readonly handle: number;
  /** The guest's domain id. */
  readonly guest: number;
  /** The driver domain's id. */
  readonly backend: number;
  /** Its MAC address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Payload bytes of a frame: the Ethernet header is not counted. */
  readonly mtu: number;
  /**
   * The only IP addresses that the guest may use, 4 or 16 bytes each (the toolstack's key `ip`); left out, any. The
   * backend half knows them, and tells the frontend half.
   */
  readonly addresses?: readonly Uint8Array[];
}

/**
 * A point in the slow path's receive stream: the response index of each rx ring once every frame that had
 * entered the slow path was on it. Made by netback (`fence`), carried by the plugin's mailbox, judged by
 * netfront (`passed`).
 */
export type ReceiveFence = readonly number[];

/** What netfront hands a plugin for one device. */
export interface FrontendServices extends CommonServices {
  /** Which device this is. */
  readonly vif: VifIdentity;
  /**
   * The memory that offered frames lie in. A plugin that has its device know these pages can send without
   * a copy; `null` when frames may lie anywhere.
   */
  readonly transmitMemory: SharedPages | null;
  /**
   * Maps a page of device registers that the other half granted.
   * @param ref the grant reference.
   * @param doorbell port of the other half's event channel that is notified on a write, on machines where
   * a write to the page does not reach the device by itself.
   */
  mapRegisters(this: void, ref: number, doorbell: number): Registers;
  /** Hands a received frame to the guest. It is read before the call returns, or held. Call from `poll` only. */
  deliver(this: void, frame: Frame): void;
  /** The hardware is done with a frame that was answered `sent`. Once for each. Any context but `startTransmit`. */
  completed(this: void, frame: Frame): void;
  /** There is room again after `busy`: netfront offers what it kept, if the slow path has room too. */
  wake(this: void): void;
  /** Asks for `poll`. What an event handler calls. */
  schedulePoll(this: void): void;
  /** True once netfront has delivered every slow-path frame up to the fence. */
  passed(this: void, fence: ReceiveFence): boolean;
}

/** 64-bit-safe totals of one device's fast path (exact to 2^53); never reset while attached. */
export interface AcceleratorStatistics {
  /** Frames sent by the plugin. */
  txFrames: number;
  /** Bytes of them. */
  txBytes: number;
  /** Frames delivered by the plugin. */
  rxFrames: number;
  /** Bytes of them. */
  rxBytes: number;
  /** Frames that the hardware failed to send. */
  txErrors: number;
  /** Frames that arrived and could not be delivered. */
  rxErrors: number;
}

/**
 * One device's plugin: what `newDevice` made. The data hooks are called from one thread, never re-entered;
 * they must not allocate, await or throw (a plugin that throws is detached).
 */
export interface FrontendAccelerator {
  /**
   * Offers one frame. Decline before anything may answer busy; after a decline or busy the frame is untouched.
   * @param frame the head of a chain, netfront's own until `sent` is answered.
   * @param more another frame follows at once, or {@link flush} does: the doorbell may wait for it. Always false
   * for a plugin without `flush`.
   */
  startTransmit(frame: Frame, more: boolean): Verdict;
  /**
   * Nothing follows what `more` announced: what waits for the doorbell goes now. Leave it out, and every frame is
   * offered with `more` false. Called after a `startTransmit` that was told of more and answered `sent`.
   */
  flush?(): void;
  /**
   * Does at most `budget` units of work: each frame delivered and each transmit completion is one.
   * @returns units done; fewer than `budget` says that nothing is left.
   */
  poll(budget: number): number;
  /** Arms the interrupt. True: events are waiting already, nothing was armed, poll again. */
  startInterrupts(): boolean;
  /** Disarms it: polling begins. */
  stopInterrupts(): void;
  /** Whether a frame that was answered `busy` would be taken now. */
  checkReady(): boolean;
  /**
   * Adds this device's totals since attach into `into`. Called once more just before the hooks are cleared, and a last
   * time after {@link remove}: received frames that it lets go of there are among `rxErrors` then.
   */
  statistics(into: AcceleratorStatistics): void;
  /**
   * The fast path ends soon: stop drawing traffic and let the hardware finish. `startTransmit` is not called
   * any more, `poll` still is; when this resolves, no frame arrives on the fast path that was not already in
   * the queue, and every frame answered `sent` is completed or will be by a last `poll`. The host waits for a
   * bounded time.
   */
  quiesce(): Promise<void>;
  /**
   * Gives everything back. No hook call overlaps, and none but one of {@link statistics} follows. Must finish on its
   * own resources alone, even if the other half is gone; frames that were never completed are taken back by netfront.
   */
  remove(): Promise<void>;
  /** The device's state for `explain`: plain data. */
  describe(): Readonly<Record<string, unknown>>;
}

/** A frontend plugin: what its module exports by default. */
export interface FrontendAcceleratorDefinition {
  /** Marks the kind; set by {@link defineFrontendAccelerator}. */
  readonly kind: 'frontend';
  /** The npm name of the package, which is also the value of the vif's `accel-frontend` key. */
  readonly name: string;
  /** The package's version. */
  readonly version: string;
  /** The contract it was made for: `CONTRACT_VERSION` at the time. */
  readonly contract: number;
  /** What it can do, as data. */
  readonly capabilities: Capabilities;
  /** Names of its own decline reasons, in the order of `declinedOwn`. */
  readonly declineReasons?: readonly string[];
  /** Makes a device's plugin; hooks are live when it resolves. A rejection leaves the device on the slow path. */
  newDevice(services: FrontendServices): Promise<FrontendAccelerator>;
}

/**
 * Declares a frontend plugin; a module's default export.
 *
 * @example
 * ```ts
 * export default defineFrontendAccelerator({
 *   name: 'my-nic-frontend', version: '1.0.0', contract: CONTRACT_VERSION, capabilities: { receiveFilters: 8 },
 *   newDevice: async (services) => new MyDevice(services),
 * });
 * ```
 */
export function defineFrontendAccelerator(
  definition: Omit<FrontendAcceleratorDefinition, 'kind'>,
): FrontendAcceleratorDefinition {
  return { ...definition, kind: 'frontend' };
}
