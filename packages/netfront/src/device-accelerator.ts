/**
 * The accelerator of one device, over all its connections: each gets a slot of its own, since a plugin is attached to
 * one connection and knows one mtu for its life.
 *
 * Owned by the device, which begins it with each connection and ends it before the connection closes.
 */
import type { AcceleratorStatistics } from '@netaccel/core-hooks';
import { AcceleratorSlot } from './accelerator.js';
import type { SlotState } from './accelerator.js';
import { ACCELERATOR_DEADLINES } from './attachment.js';
import type { AttachmentParts } from './attachment.js';
import type { Connection } from './connection.js';
import type { DeviceKeys } from './handshake.js';
import type { NetfrontOptions } from './netfront-options.js';

/** The device, as far as this needs it. */
export interface AcceleratedDevice extends Pick<AttachmentParts, 'counters' | 'onTotals' | 'log'> {
  readonly path: string;
  /** The slot went to another state. */
  changed(): void;
}

/** One device's accelerator. */
export class DeviceAccelerator {
  private slot: AcceleratorSlot | null = null;

  /**
   * @param device whose.
   * @param options of the device: where plugins come from, and how long they may take.
   */
  constructor(
    private readonly device: AcceleratedDevice,
    private readonly options: NetfrontOptions,
  ) {}

  /** Whether the connection has a slot: plugins come from somewhere. */
  get present(): boolean {
    return this.slot !== null;
  }

  /** Where it stands. */
  get state(): SlotState {
    return this.slot?.state ?? 'detached';
  }

  /** Why the device has no plugin, or lost the last one; null when there is nothing to say. */
  get reason(): string | null {
    return this.slot?.reason ?? null;
  }

  /** Frames that the present plugin declined, by reason. */
  get declines(): Record<string, number> {
    return this.slot?.declines ?? {};
  }

  /** A connection is open: from here on it has the plugin that its backend names. */
  async begin(connection: Connection, { vif, backendPath }: DeviceKeys): Promise<void> {
    const { device, options } = this;
    const { domain, registry, deadlines } = options;
    if (registry === undefined) return;
    this.slot = new AcceleratorSlot({
      domain,
      backend: vif.backend,
      connection,
      counters: device.counters,
      vif,
      frontendPath: device.path,
      backendPath,
      deadlines: { ...ACCELERATOR_DEADLINES, ...deadlines },
      onTotals: device.onTotals,
      log: (level, message) => device.log(level, message),
      registry,
      onState: () => device.changed(),
    });
    await this.slot.start();
  }

  /** The plugin goes; why it went can still be seen. Bounded by the deadlines. */
  async stop(): Promise<void> {
    await this.slot?.stop();
  }

  /** The same, before the connection closes: there is no slot any more. */
  async end(): Promise<void> {
    await this.stop();
    this.slot = null;
  }

  /** Adds the live plugin's totals. */
  addTotals(into: AcceleratorStatistics): void {
    this.slot?.addTotals(into);
  }

  /** Everything about it, as plain data; null without a slot. */
  describe(): Readonly<Record<string, unknown>> | null {
    return this.slot?.describe() ?? null;
  }
}
