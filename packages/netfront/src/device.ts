/**
 * The control side of one vif: follows its backend through the xenbus states and makes connections. How they close, what
 * accelerates them, and what may change meanwhile are its parts (closing.ts, device-accelerator.ts, while-connected.ts).
 *
 * One loop (`step`) compares the two halves' states and does what the xenbus table says, one thing after the
 * other; whatever happens leaves a mark and wakes it. The frame path never waits for anything in here, and
 * tells it of a breach only by a mark. Owned by Netfront.
 */
import type { AcceleratorStatistics } from '@netaccel/core-hooks';
import { Worker, XenbusState, frontendReaction, switchState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import { BackendWatch } from './backend-watch.js';
import { Closing } from './closing.js';
import { Connection } from './connection.js';
import type { Counters } from './counters.js';
import { DeviceAccelerator } from './device-accelerator.js';
import { ALL_FEATURES, agree } from './features.js';
import type { Agreement, NetfrontFeatures } from './features.js';
import { publishKeys, readDevice } from './handshake.js';
import type { DeviceKeys } from './handshake.js';
import { connectError, connectionOptions } from './netfront-options.js';
import type { NetfrontOptions, NetfrontState, StartOptions } from './netfront-options.js';
import { Pauses } from './pauses.js';
import type { TransmitPath } from './transmit.js';
import { UnreadRings } from './unread.js';
import { Waiters } from './waiters.js';
import { WhileConnected } from './while-connected.js';

/** One vif's control side. */
export class Device {
  /** Its directory in the store. */
  readonly path: string;
  /** What may change while it is connected. */
  readonly changes: WhileConnected;
  /** This half's state. */
  own: XenbusStateValue = XenbusState.Unknown;
  /** What the backend says of itself. */
  readonly backend: BackendWatch;
  /** Who the device is; null before it began. */
  keys: DeviceKeys | null = null;
  /** What both sides agreed on last. */
  agreement: Agreement | null = null;
  /** The connection, from the making of its rings to their end. */
  connection: Connection | null = null;
  /** Its transmit half, which the stack uses. */
  transmit: TransmitPath | null = null;
  /** Its accelerator, while it is connected. */
  readonly accelerator: DeviceAccelerator;
  /** Why it is not connected; null when there is nothing to say. */
  reason: string | null = null;
  /** The backend is there. */
  opened = false;
  /** What the backend did, found by the data path; the loop closes the connection. */
  private breach: string | null = null;
  /** When it looks at its backend again. */
  readonly pauses: Pauses;
  private readonly closing: Closing;
  /** The loop that follows the backend; null before start, and while suspended or stopping. */
  private worker: Worker | null = null;
  private beginning: Promise<void> = Promise.resolve();
  /** What past backends may still write to. */
  private readonly unread: UnreadRings;
  /** Told whenever something has changed. */
  readonly waiters = new Waiters();

  /**
   * @param options what the vif is made with.
   * @param counters its totals.
   * @param onTotals receives the last totals of a plugin that goes.
   */
  constructor(
    private readonly options: NetfrontOptions,
    readonly counters: Counters,
    readonly onTotals: (totals: AcceleratorStatistics) => void,
  ) {
    this.path = `device/vif/${options.handle}`;
    this.unread = new UnreadRings(counters);
    this.backend = new BackendWatch(options.domain, {
      onState: () => {
        this.changed();
        this.wake();
      },
      onLink: () => this.changed(),
      onMtu: (value) => this.changes.mtuSaid(value),
      onError: (message) => this.log('warn', message),
    });
    this.pauses = new Pauses(options.domain.loop, () => this.wake());
    this.accelerator = new DeviceAccelerator(this, options);
    this.closing = new Closing(this, options);
    this.changes = new WhileConnected(this, { ...ALL_FEATURES, ...options.features }, options);
  }

  /** Frames can go: a backend is connected and says that its link is up. */
  get carrier(): boolean {
    return this.opened && this.backend.linkUp;
  }

  /** Where it stands. */
  get state(): NetfrontState {
    const { own: frontend, carrier, accelerator } = this;
    const reason = this.reason ?? accelerator.reason;
    return { frontend, backend: this.backend.state, carrier, accelerator: accelerator.state, reason };
  }

  /** {@inheritDoc Netfront.start} */
  async start(wait: StartOptions): Promise<void> {
    if (this.worker === null) {
      this.pauses.fences = 0;
      this.beginning = this.follow();
      await this.beginning;
    }
    await this.connected(wait);
  }

  /** {@inheritDoc Netfront.stop} */
  async stop(): Promise<void> {
    await this.pauseLoop();
    await this.closing.inTurn(false);
    // A guest that stops may never see what its backend does afterwards.
    this.unread.settle();
    await this.endFollowing();
  }

  /** {@inheritDoc Netfront.suspend} */
  async suspend(): Promise<void> {
    await this.pauseLoop();
    await this.closing.drain();
    await this.closing.inTurn(true);
    await this.endFollowing();
  }

  /** Reads who the device is and begins to follow its backend. */
  private async follow(): Promise<void> {
    const { domain, handle } = this.options;
    this.keys = await readDevice(domain, this.path, handle);
    this.reason = null;
    this.worker = new Worker(
      domain.loop,
      () => this.step(),
      async (error) => {
        await this.closing.fail(error);
        return false;
      },
    );
    await this.write(XenbusState.Initialising);
    await this.backend.begin(this.path, this.keys.backendPath);
  }

  private async endFollowing(): Promise<void> {
    await this.backend.end();
    this.changed();
  }

  /** The loop does not touch the device any more. */
  private async pauseLoop(): Promise<void> {
    await this.beginning.catch(() => undefined);
    const { worker } = this;
    this.worker = null;
    this.breach = null;
    this.pauses.end();
    this.waiters.look();
    await worker?.stop();
  }

  /** The loop looks again. */
  wake(): void {
    this.worker?.wake();
  }

  private async step(): Promise<void> {
    // The state may have been seen from inside of the task: what follows happens outside of it.
    await Promise.resolve();
    const { breach } = this;
    this.breach = null;
    if (breach !== null) return this.closing.fence(breach);
    const renewal = this.changes.takeRenewal();
    if (renewal !== null) return this.renew(renewal);
    if (this.changes.takeRemeasured() && this.opened && this.connection !== null) {
      // A plugin knows one mtu for its life: it goes and comes again.
      await this.accelerator.stop();
      await this.accelerator.begin(this.connection, this.keys!);
    }
    const reaction = frontendReaction(this.own, this.backend.state);
    switch (reaction) {
      case 'none':
        return;
      case 'publish':
        return this.publish();
      case 'connect':
        return this.open();
      case 'resume':
        await this.write(XenbusState.Connected);
        break;
      case 'linger':
      case 'close':
        if (reaction === 'linger' && this.mayReturn()) return;
        await this.closing.atOnce();
        break;
      case 'closed':
        await this.write(XenbusState.Closed);
        break;
      case 'reconnect':
        if (this.pauses.active) return;
        await this.initialise();
        break;
      case 'remove':
        await this.closing.disconnect();
        return;
    }
    this.wake();
  }

  /** Closes, and starts over at once: what was changed holds for a connection from its beginning. */
  private async renew(reason: string): Promise<void> {
    this.log('info', `connects anew: ${reason}`);
    await this.closing.atOnce();
    await this.initialise();
    this.wake();
  }

  /** Whether a closing backend still has time to come back; the loop looks again when it has not. */
  private mayReturn(): boolean {
    const left = this.backend.timeToReturn;
    if (left > 0) this.pauses.begin(left);
    return left > 0;
  }

  /** The backend waits: rings, channels and keys are made, and shown at once. */
  private async publish(): Promise<void> {
    const { domain } = this.options;
    const keys = this.keys!;
    let features: NetfrontFeatures;
    do {
      // Something else may be wanted by the time that the backend's keys are read.
      ({ features } = this.changes);
      this.agreement = await agree(domain.store, keys.backendPath, features, keys.trusted);
    } while (features !== this.changes.features);
    this.closeConnection();
    // A backend that waits has let go of all that it had before.
    this.unread.settle();
    this.connection = new Connection({
      ...connectionOptions(this.options, this.agreement, keys.vif),
      counters: this.counters,
      unread: this.unread,
      wantedGroups: features.groups,
      onGroups: this.changes,
      onReady: () => this.options.onReady?.(),
      onBreach: (reason) => {
        this.breach = reason;
        this.wake();
      },
    });
    this.transmit = this.connection.transmit;
    const { keys: queues, instructions } = this.connection;
    const ring = instructions.control?.keys ?? null;
    if (await publishKeys(domain.store, this.path, queues, ring, features, this.agreement)) {
      this.own = XenbusState.Connected;
      this.connection.raise();
    } else {
      this.own = XenbusState.Unknown;
      this.closeConnection();
    }
    this.changed();
    this.wake();
  }

  /** The backend is there. */
  private async open(): Promise<void> {
    if (this.opened || this.connection === null) return;
    this.opened = true;
    this.reason = null;
    this.connection.open();
    const { vif } = this.keys!;
    this.log('info', `connected to domain ${vif.backend}`);
    this.changed();
    this.options.onConnected?.(vif);
    this.changes.catchUp();
    await this.accelerator.begin(this.connection, this.keys!);
  }

  /** No frame goes or comes from here on, but for what a plugin has to finish. */
  quiet(): void {
    this.opened = false;
    this.transmit?.disconnect();
    this.changed();
  }

  /** Ready for a backend, again. */
  private async initialise(): Promise<void> {
    this.keys = await readDevice(this.options.domain, this.path, this.options.handle);
    await this.write(XenbusState.Initialising);
  }

  /** Gives rings, channels and pages back. */
  closeConnection(): void {
    this.transmit = null;
    this.connection?.close(this.backend.isGone);
    this.connection = null;
    this.opened = false;
  }

  /** Writes this half's state; a device that is gone from the store is Unknown. */
  async write(state: XenbusStateValue): Promise<void> {
    if (this.own === state) return;
    const there = await switchState(this.options.domain.store, this.path, state);
    this.own = there ? state : XenbusState.Unknown;
    this.changed();
  }

  private async connected(wait: StartOptions): Promise<void> {
    const failed = (): boolean => this.reason !== null && this.own === XenbusState.Closed;
    const over = (): boolean => this.opened || this.worker === null || failed();
    const how = await this.waiters.untilOr(over, this.options.domain.loop, wait);
    if (!this.opened) throw connectError(how, this, wait.timeoutMs ?? 0, failed() ? this.reason : null);
  }

  /** What can be seen from outside is another than before. */
  changed(): void {
    this.waiters.look();
    this.options.onState?.(this.state);
  }

  /** One line for the operator. */
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string): void {
    this.options.domain.log(level, `vif ${this.options.handle}: ${message}`);
  }
}
