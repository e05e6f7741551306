/**
 * The guest's network driver: one vif, as a stack sees it.
 *
 * Everything slow is in the device (device.ts): states, connections, the accelerator. Everything fast is in the
 * connection, which exists only while a backend is there.
 */
import type { Frame, VifIdentity } from '@netaccel/core-hooks';
import { stateName } from '@netaccel/xen';
import { Counters } from './counters.js';
import { Device } from './device.js';
import type { Agreement } from './features.js';
import type { NetfrontOptions, NetfrontState, StartOptions } from './netfront-options.js';
import { addTotals, merge, zeroTotals } from './statistics.js';
import type { NetfrontStatistics } from './statistics.js';

/**
 * One vif.
 *
 * @example
 * ```ts
 * const front = new Netfront({ domain, handle: 0, stack, registry });
 * await front.start();
 * const frame = front.allocate(60);
 * if (frame !== null) {
 *   memory.bytes.set(bytes, frame.address);
 *   frame.describe(frame.address, 60);
 *   front.startXmit(frame, false);
 * }
 * await front.stop();
 * ```
 */
export class Netfront {
  private readonly counters = new Counters();
  private readonly pastTotals = zeroTotals();
  private readonly device: Device;

  constructor(options: NetfrontOptions) {
    this.device = new Device(options, this.counters, (totals) => addTotals(this.pastTotals, totals));
  }

  /**
   * Brings the device up. Resolves when a backend is connected for the first time; from then on the device
   * follows its backend by itself. When the wait ends without success the device goes on trying: `stop` it.
   * @throws DeviceError, StoreError, ConnectError.
   */
  start(wait: StartOptions = {}): Promise<void> {
    return this.device.start(wait);
  }

  /**
   * Takes the device down: the plugin is detached, the backend gets its time to let go, everything is given
   * back. Frames that the stack still holds keep their pages until it releases them. What a backend that did not let
   * go in time puts on the rings afterwards, nobody counts. Never rejects.
   */
  stop(): Promise<void> {
    return this.device.stop();
  }

  /**
   * Before the guest is saved or moved: no frame is taken any more (`startXmit` answers false), those that were
   * taken are sent, the plugin is detached, what the backend had for the guest is delivered, and the connection is
   * closed: nothing points to this host any more. Frames that could not be sent in time are counted as
   * `txUnanswered`. A backend that does not answer delays it by `drainTimeoutMs` and `closeTimeoutMs` at most; what it
   * puts on the rings after that is counted as `rxUnread` with the next connection. Never rejects.
   */
  suspend(): Promise<void> {
    return this.device.suspend();
  }

  /**
   * After a move, or one that was called off: everything is read anew, from whatever host this is now, and the
   * device goes on with the plugin that this host's backend names, or without. Totals go on.
   */
  resume(wait: StartOptions = {}): Promise<void> {
    return this.start(wait);
  }

  /**
   * A transmit buffer of at least `bytes` (at most `LARGE_BUFFER_BYTES`), held once by the caller, empty, at
   * its home. Null when none is free or no backend is connected: `onReady` follows.
   */
  allocate(bytes: number): Frame | null {
    const { connection } = this.device;
    return connection === null ? null : connection.buffers.allocate(bytes);
  }

  /**
   * Sends a frame, on whichever path is right for it.
   * @param more another call, or `flush`, follows at once.
   * @returns true: taken, released when it is done with. False: the queue is stopped, the frame is still the
   * caller's, and `onReady` follows.
   * @throws FrameInUseError for a buffer that was handed in and has not come home.
   */
  startXmit(frame: Frame, more: boolean): boolean {
    const { transmit } = this.device;
    return transmit !== null && transmit.startXmit(frame, more);
  }

  /**
   * Asks for room before the data of each received page, now and for later connections; the backend may leave less, and
   * says so with each frame. Traffic goes on meanwhile.
   * @returns whether the backend has taken it up; false when it leaves no room or there is no connection now.
   */
  setHeadroom(bytes: number): Promise<boolean> {
    return this.device.changes.setHeadroom(bytes);
  }

  /**
   * The multicast groups whose frames are wanted, now and for later connections; null: all. With a backend that lets
   * them be chosen at any time frames of other groups stop once all of these are joined; with one that does not, the
   * device connects anew to begin or end choosing. Where the backend cannot, or has no room for a group, all come.
   * @throws RangeError for what is no group address.
   */
  setGroups(groups: readonly Uint8Array[] | null): void {
    this.device.changes.setGroups(groups);
  }

  /** Nothing follows what `more` held back. */
  flush(): void {
    this.device.transmit?.flush();
  }

  /** Frames can go: a backend is connected and says that its link is up. */
  get carrier(): boolean {
    return this.device.carrier;
  }

  /** What both sides agreed on, or null without a connection: what the stack may hand in. */
  get agreed(): Agreement | null {
    const { connection, agreement } = this.device;
    return connection === null ? null : agreement;
  }

  /** Who the device is; null before `start`. */
  get vif(): VifIdentity | null {
    return this.device.keys?.vif ?? null;
  }

  /** Where it stands. */
  get state(): NetfrontState {
    return this.device.state;
  }

  /** The device's totals, over both paths and all connections. */
  statistics(): NetfrontStatistics {
    const accelerated = { ...this.pastTotals };
    this.device.accelerator.addTotals(accelerated);
    return merge(this.counters, accelerated, this.device.accelerator.declines);
  }

  /** Everything about the device, as plain data. */
  describe(): Readonly<Record<string, unknown>> {
    const { device } = this;
    return {
      path: device.path,
      frontend: stateName(device.own),
      backend: stateName(device.backend.state),
      backendPath: device.keys?.backendPath ?? null,
      carrier: device.carrier,
      reason: device.reason,
      fences: device.pauses.fences,
      agreed: device.agreement,
      connection: device.connection?.describe() ?? null,
      accelerator: device.accelerator.describe(),
      statistics: this.statistics(),
    };
  }
}
