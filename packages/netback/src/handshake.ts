/**
 * The xenbus life of one vif: which state the frontend is in, what that asks of this half, and in which order.
 *
 * Everything that happens (the frontend's state, the hotplug script, a breach on a ring, a stop) only leaves a
 * mark and wakes one serial worker, which looks at the present truth and takes the next step. So a flood of
 * store events costs one look (XSA-349), a missed or repeated state does no harm, and nothing is torn down in
 * the context in which the trouble was found (XSA-90). What to do is the table of `@netaccel/xen`.
 */
import {
  Worker,
  XenbusState,
  backendReaction,
  readState,
  stateName,
  switchState,
  watchState,
} from '@netaccel/xen';
import type { Domain, XenbusStateValue } from '@netaccel/xen';
import { StoreError } from '@netaccel/xen/store';
import type { Watch } from '@netaccel/xen/store';
import { writeDeviceKeys } from './device-keys.js';

/** Says that the vif is plugged into its network. */
export const HOTPLUG_KEY = 'hotplug-status';
const HOTPLUG_DONE = 'connected';

/** What a handshake calls; none of these overlap. */
export interface HandshakeParts {
  readonly domain: Domain;
  /** Where this half's keys are: `backend/vif/<domid>/<handle>`. */
  readonly path: string;
  /** Who writes `hotplug-status`, for which Connected waits. */
  readonly hotplug: 'script' | 'self';
  /** How long a stop waits for the frontend. */
  readonly teardownTimeoutMs: number;
  /** Reads what the toolstack wrote; answers the frontend's directory. */
  identify(): Promise<string>;
  /** What comes before InitWait and is not a key: the plugin's offer. */
  prepare(): Promise<void>;
  /** The features' keys, written in the transaction that also writes InitWait. */
  features(): Readonly<Record<string, string>>;
  /** Reads the frontend's keys, maps, binds. Rejects with the reason when it cannot be served. */
  connect(): Promise<void>;
  /** Reads again what the frontend may change while it is connected. */
  reconfigure(): Promise<void>;
  /** Lets go of all that `connect` got; never rejects. Idempotent. */
  disconnect(): Promise<void>;
  /** The published state changed. */
  onState(state: XenbusStateValue, reason: string | null): void;
  /** The toolstack took the device offline and the frontend has closed: nothing will happen any more. */
  onGone(): void;
}

/** The worker of one vif. */
export class Handshake {
  /** Why the device was closed last, by our own judgement; null when it was not. */
  reason: string | null = null;
  /** The state as published. */
  published: XenbusStateValue = XenbusState.Initialising;
  private own: XenbusStateValue = XenbusState.Initialising;
  private frontend: XenbusStateValue = XenbusState.Unknown;
  private frontendPath: string | null = null;
  private fault: string | null = null;
  private starting: Promise<void> | null = null;
  private stopping = false;
  private gone = false;
  private wakeStop: (() => void) | null = null;
  private readonly watches: Watch[] = [];
  private readonly worker: Worker;

  constructor(private readonly parts: HandshakeParts) {
    this.worker = new Worker(
      parts.domain.loop,
      () => this.step(),
      (error) => {
        if (error instanceof StoreError && error.code === 'ECLOSED') return false;
        parts.domain.log('error', `vif ${parts.path}: ${message(error)}`);
        return true;
      },
    );
  }

  /** Begins: resolves when the features are written, or the reason why not is on record. */
  start(): Promise<void> {
    return (this.starting ??= this.begin());
  }

  /** The device is to close, for a reason of ours. Callable from anywhere; acts later. */
  close(reason: string): void {
    this.fault ??= reason;
    this.worker.wake();
  }

  /**
   * Ends: asks the frontend to close, waits for it within the time limit, lets go of everything either way.
   * Never rejects.
   * @param removed the toolstack removed the device: nobody is asked or told.
   */
  async stop(removed: boolean): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    await this.starting?.catch(() => undefined);
    await this.worker.stop();
    const { domain, teardownTimeoutMs } = this.parts;
    const serves = this.own === XenbusState.Connected || this.own === XenbusState.Reconfigured;
    if (!removed && serves)
      await this.quietly(async () => {
        await this.publish(XenbusState.Closing);
        await this.frontendCloses(teardownTimeoutMs);
      });
    await this.parts.disconnect();
    if (!removed)
      await this.quietly(async () => {
        await this.publish(XenbusState.Closed);
        await writeDeviceKeys(domain.store, this.parts.path, { [HOTPLUG_KEY]: null });
      });
    for (const watch of this.watches.splice(0)) await this.quietly(() => watch.remove());
    domain.log('debug', `vif ${this.parts.path}: stopped`);
  }

  /** For people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      state: stateName(this.published),
      frontend: stateName(this.frontend),
      frontendPath: this.frontendPath,
      reason: this.reason,
    };
  }

  private async begin(): Promise<void> {
    const { domain, path, hotplug } = this.parts;
    this.frontendPath = await this.identify();
    await this.parts.prepare();
    this.frontend = await readState(domain.store, this.frontendPath);
    this.watches.push(
      await watchState(
        domain.store,
        this.frontendPath,
        (state) => {
          this.frontend = state;
          this.wakeStop?.();
          this.worker.wake();
        },
        (error) => {
          domain.log('error', `vif ${path}: the frontend's state cannot be read: ${message(error)}`);
        },
      ),
    );
    const look = () => {
      this.worker.wake();
    };
    if (hotplug === 'script')
      this.watches.push(await domain.store.watch(`${path}/${HOTPLUG_KEY}`, look, { depth: 0 }));
    // The toolstack's last word on a device that has closed already.
    this.watches.push(await domain.store.watch(`${path}/online`, look, { depth: 0 }));
    await this.worker.pass();
  }

  /** Reads what the toolstack wrote; what is wrong with it is said where the toolstack looks, too. */
  private async identify(): Promise<string> {
    try {
      return await this.parts.identify();
    } catch (error) {
      this.reason = message(error);
      await this.quietly(() => this.writeError(message(error)));
      throw error;
    }
  }

  /** Does what the two states, and what was marked, ask for. */
  private async step(): Promise<void> {
    const { fault } = this;
    if (fault !== null) {
      this.fault = null;
      return this.shut(fault);
    }
    switch (backendReaction(this.own, this.frontend)) {
      case 'none':
        return this.afterHotplug();
      case 'advertise':
        return this.advertise();
      case 'connect':
        if (this.own === XenbusState.Initialising) await this.advertise();
        return this.connect();
      case 'reconfigure':
        await this.parts.reconfigure();
        return this.enter(XenbusState.Reconfigured);
      case 'resume':
        return this.enter(XenbusState.Connected);
      case 'reconnect':
        await this.parts.disconnect();
        // Whatever of the way down has not been gone yet: a frontend may be waiting to see it.
        if (this.own !== XenbusState.Closing && this.own !== XenbusState.Closed)
          await this.enter(XenbusState.Closing);
        await this.enter(XenbusState.Closed);
        await this.identify();
        await this.parts.prepare();
        return this.advertise();
      case 'close':
        await this.parts.disconnect();
        return this.enter(XenbusState.Closing);
      case 'refuse':
        return this.shut(`the frontend went to ${stateName(this.frontend)}, which is no state of a frontend`);
      case 'closed':
      case 'remove':
        return this.closed();
    }
  }

  private async advertise(): Promise<void> {
    const { domain, path, hotplug } = this.parts;
    const keys = {
      ...this.parts.features(),
      ...(hotplug === 'self' && { [HOTPLUG_KEY]: HOTPLUG_DONE }),
      state: String(XenbusState.InitWait),
    };
    if (!(await writeDeviceKeys(domain.store, path, keys))) return;
    this.own = XenbusState.InitWait;
    this.report(XenbusState.InitWait, null);
    // The frontend may have gone on while we wrote.
    this.worker.wake();
  }

  private async connect(): Promise<void> {
    try {
      await this.parts.connect();
    } catch (error) {
      return this.shut(message(error));
    }
    this.own = XenbusState.Connected;
    await this.afterHotplug();
  }

  /** Publishes Connected as soon as the hotplug script, if there is one, has done its part. */
  private async afterHotplug(): Promise<void> {
    if (this.own !== XenbusState.Connected || this.published === XenbusState.Connected) return;
    const { domain, path, hotplug } = this.parts;
    if (hotplug === 'script' && (await domain.store.readOptional(`${path}/${HOTPLUG_KEY}`)) !== HOTPLUG_DONE)
      return;
    this.reason = null;
    await this.enter(XenbusState.Connected);
  }

  /** Closes by our own judgement, and says why where the toolstack looks. */
  private async shut(reason: string): Promise<void> {
    const { domain, path } = this.parts;
    this.reason = reason;
    domain.log('warn', `vif ${path}: closing: ${reason}`);
    await this.parts.disconnect();
    await this.quietly(() => this.writeError(reason));
    await this.enter(XenbusState.Closing);
  }

  /** As Linux's `xenbus_dev_error`. */
  private writeError(reason: string): Promise<void> {
    const { domain, path } = this.parts;
    return domain.store.write(`error/${path}/error`, reason);
  }

  private async closed(): Promise<void> {
    await this.parts.disconnect();
    await this.enter(XenbusState.Closed);
    const { domain, path } = this.parts;
    if (this.gone || (await domain.store.readOptional(`${path}/online`)) !== '0') return;
    this.gone = true;
    this.parts.onGone();
  }

  private async enter(state: XenbusStateValue): Promise<void> {
    if (this.own === state && this.published === state) return;
    this.own = state;
    // The frontend may have changed meanwhile: look again. Not when the device is gone; whoever removed it stops us.
    if (await this.publish(state)) this.worker.wake();
  }

  /** Writes the state; false when the device is gone. */
  private async publish(state: XenbusStateValue): Promise<boolean> {
    const { domain, path } = this.parts;
    const there = await switchState(domain.store, path, state);
    if (there) this.report(state, this.reason);
    return there;
  }

  private report(state: XenbusStateValue, reason: string | null): void {
    if (this.published === state) return;
    this.published = state;
    this.parts.onState(state, reason);
  }

  /** Resolves when the frontend has closed or gone, or the time is over. */
  private frontendCloses(timeoutMs: number): Promise<void> {
    const open = () =>
      this.frontend === XenbusState.Connected ||
      this.frontend === XenbusState.Initialised ||
      this.frontend === XenbusState.Closing;
    return new Promise((resolve) => {
      const cancel = this.parts.domain.loop.after(timeoutMs, () => {
        this.wakeStop = null;
        resolve();
      });
      this.wakeStop = () => {
        if (open()) return;
        this.wakeStop = null;
        cancel();
        resolve();
      };
      this.wakeStop();
    });
  }

  /** The store may be gone by now, and then there is nobody to tell. */
  private async quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.parts.domain.log('debug', `vif ${this.parts.path}: ${message(error)}`);
    }
  }
}

/** What an error says. */
export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
