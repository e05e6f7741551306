/**
 * The ways in which a device closes: in turn with its backend when the guest wants it, at once when the backend goes or
 * the connection is made anew, and with a reason, after a breach or a failure, before it tries again.
 *
 * Always in one order: no frame is taken any more, the plugin goes, and then the rings. Owned by the device, which
 * never closes in two ways at a time: its loop does so itself, and is stopped before anybody else does.
 */
import { XenbusState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import type { BackendWatch } from './backend-watch.js';
import type { Connection } from './connection.js';
import { within } from './deadline.js';
import type { DeviceAccelerator } from './device-accelerator.js';
import { publishError } from './handshake.js';
import { messageOf } from './hooks.js';
import type { NetfrontOptions } from './netfront-options.js';
import { FIRST_PAUSE_MS } from './pauses.js';
import type { Pauses } from './pauses.js';
import type { Waiters } from './waiters.js';

const CLOSE_TIMEOUT_MS = 5000;
/** How long a suspend waits for the frames that were taken to be sent. */
const DRAIN_TIMEOUT_MS = 1000;

/** The device, as far as this needs it. */
export interface ClosingDevice {
  readonly path: string;
  readonly own: XenbusStateValue;
  readonly backend: BackendWatch;
  readonly connection: Connection | null;
  readonly opened: boolean;
  readonly accelerator: DeviceAccelerator;
  readonly pauses: Pauses;
  readonly waiters: Waiters;
  reason: string | null;
  /** No frame goes or comes from here on, but for what a plugin has to finish. */
  quiet(): void;
  /** Gives rings, channels and pages back. */
  closeConnection(): void;
  /** The loop looks again. */
  wake(): void;
  write(state: XenbusStateValue): Promise<void>;
  log(level: 'warn' | 'error', message: string): void;
}

/** One device's ways to close. */
export class Closing {
  /**
   * @param device whose.
   * @param options of the device.
   */
  constructor(
    private readonly device: ClosingDevice,
    private readonly options: NetfrontOptions,
  ) {}

  /** What was taken is sent, within its time: by the plugin as long as it is there, then by the rings. */
  async drain(): Promise<void> {
    const { connection, opened, accelerator } = this.device;
    if (!opened || connection === null) return;
    const drained = connection.drain();
    await accelerator.stop();
    await within(this.options.domain.loop, this.drainTimeoutMs, () => drained);
  }

  /**
   * Tells the backend, gives it its time, and gives everything back. Never rejects.
   * @param rest whether what the backend sent until then comes in.
   */
  async inTurn(rest: boolean): Promise<void> {
    const { device } = this;
    const { loop } = this.options.domain;
    await this.detach();
    try {
      if (device.own !== XenbusState.Unknown && device.own !== XenbusState.Closed) {
        await device.connection?.instructions.grants?.drop(this.drainTimeoutMs);
        await device.write(XenbusState.Closing);
        if (device.connection !== null)
          await within(loop, this.options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS, () =>
            device.waiters.until(() => device.backend.isGone),
          );
        if (rest) device.connection?.collectRest();
        device.closeConnection();
        await device.write(XenbusState.Closed);
      }
    } catch (error) {
      device.log('warn', `closing: ${messageOf(error)}`);
    }
    device.closeConnection();
  }

  /** Without a word to the backend: it is gone, or hears of it later. */
  async disconnect(): Promise<void> {
    await this.detach();
    this.device.closeConnection();
  }

  /** Closed, as the backend sees it. */
  async atOnce(): Promise<void> {
    await this.disconnect();
    await this.say();
  }

  /** The backend broke a rule that cannot be lived with: the device is closed, and says why. */
  async fence(breach: string): Promise<void> {
    const reason = `the backend is fenced: ${breach}`;
    this.device.log('error', reason);
    await this.because(reason, this.device.pauses.afterFence());
  }

  /** A step of the loop failed: the device is closed, and says why. */
  async fail(error: unknown): Promise<void> {
    const reason = messageOf(error);
    this.device.log('error', reason);
    try {
      await this.because(reason, FIRST_PAUSE_MS);
    } catch (second) {
      // Without the store nobody can be told; the rings are gone all the same.
      this.device.log('error', `closing after that: ${messageOf(second)}`);
    }
  }

  /** Closed, with the reason where the operator looks; the backend is looked at again after a pause. */
  private async because(reason: string, pauseMs: number): Promise<void> {
    const { device } = this;
    device.reason = reason;
    await this.disconnect();
    device.pauses.begin(pauseMs);
    await publishError(this.options.domain.store, device.path, reason, (error) =>
      device.log('warn', messageOf(error)),
    );
    await this.say();
    device.wake();
  }

  /** The plugin goes; the data path is quiet first. */
  private async detach(): Promise<void> {
    this.device.quiet();
    await this.device.accelerator.end();
  }

  private async say(): Promise<void> {
    await this.device.write(XenbusState.Closing);
    await this.device.write(XenbusState.Closed);
  }

  private get drainTimeoutMs(): number {
    return this.options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS;
  }
}
