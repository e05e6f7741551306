/**
 * A vif's accelerator slot: which plugin is offered to the guest, attached, and taken off again, and why not.
 *
 * A serial worker of its own, as the handshake is: whatever happens leaves a mark and wakes it, and it takes the
 * next step towards what is wanted. The steps of an attachment:
 *
 *   offer    a plugin drives the port that `accel` names: `accel-frontend`, and `accel/state` Initialising
 *   attach   the guest's half says Connected: its mailbox is attached, `probe` called; `accel/state` Connected
 *   detach   `accel/state` Closing; the guest's half gets a limited time to close first; then the plugin is
 *            removed, in limited time too, and what it still holds is taken from it; Closed
 *
 * Nothing here waits for a guest or a plugin without a limit, and no vif waits for another.
 */
import type {
  BackendAccelerator,
  BackendAcceleratorDefinition,
  Candidate,
  CreditHandler,
  ReceiveFence,
  VifIdentity,
} from '@netaccel/core-hooks';
import { Worker, XenbusState, readState, stateName, watchState } from '@netaccel/xen';
import type { Domain, DomainId, XenbusStateValue } from '@netaccel/xen';
import { StoreError } from '@netaccel/xen/store';
import type { Watch } from '@netaccel/xen/store';
import { attachPlugin } from './attach.js';
import { whyDetach } from './attachment.js';
import type { Attachment } from './attachment.js';
import { Backoff } from './backoff.js';
import { choosePlugin } from './candidates.js';
import type { Accelerators, Choice } from './candidates.js';
import { Waits } from './deadline.js';
import { writeDeviceKeys } from './device-keys.js';
import { message } from './handshake.js';
import { PluginScope } from './scope.js';

/** What a slot needs of its vif. */
export interface SlotParts {
  readonly accelerators: Accelerators;
  readonly domain: Domain;
  readonly guest: DomainId;
  /** The backend directory. */
  readonly path: string;
  /** Limit of each wait of a detach. */
  readonly teardownTimeoutMs: number;
  /** Limit of `probe`. */
  readonly probeTimeoutMs: number;
  /** Limit of a plugin's request that does not say. */
  readonly requestTimeoutMs: number;
  fence(): Promise<ReceiveFence>;
  rateBytesPerSecond(): number;
  shareCredit(fast: CreditHandler): () => void;
}

/** After this long without trouble earlier failures are forgotten. */
const GOOD_AFTER_MS = 60_000;
/** Times that a guest's half may come and go sooner than that; beyond, each further time has to wait as for a failure. */
const QUICK_ENDS = 8;

/** The plugin of one vif. */
export class AcceleratorSlot implements Candidate<BackendAcceleratorDefinition> {
  /** Why the vif has no plugin, or why it lost the last one; null while one is attached. */
  reason: string | null = 'not started';
  private vif: VifIdentity | null = null;
  private frontendPath = '';
  private portName: string | null = null;
  private half: XenbusStateValue = XenbusState.Unknown;
  /** The guest's half said Connected for an attachment that is over: it has to say something else first. */
  private stale = false;
  private current: Attachment | null = null;
  private up = false;
  private closing = false;
  private quickEnds = 0;
  private keyMayHaveChanged = true;
  private readonly worker: Worker;
  private readonly waits: Waits;
  private readonly backoff: Backoff;
  private keyWatch: Watch | null = null;
  private halfWatch: Watch | null = null;
  private unfollow: () => void = () => undefined;

  constructor(private readonly parts: SlotParts) {
    this.waits = new Waits(parts.domain.loop);
    this.worker = new Worker(
      parts.domain.loop,
      () => this.step(),
      (error) => this.failed(error),
    );
    this.backoff = new Backoff(parts.domain.loop, () => {
      this.wake();
    });
  }

  /** Begins to follow the key `accel` and the plugins. Nothing is offered before {@link rise}. */
  async start(): Promise<void> {
    const { domain, path, accelerators } = this.parts;
    // A driver domain that died left its offer behind; a guest would go on asking for a plugin that is not there.
    if (await domain.store.exists(`${path}/accel-frontend`))
      await this.write(XenbusState.Closed, { 'accel-frontend': null });
    this.unfollow = accelerators.registry.follow(this);
    this.keyWatch = await domain.store.watch(
      `${path}/accel`,
      () => {
        this.keyMayHaveChanged = true;
        this.wake();
      },
      { depth: 0 },
    );
  }

  /** The vif begins a handshake: resolves when what can be offered has been. */
  async rise(vif: VifIdentity, frontendPath: string): Promise<void> {
    const { store } = this.parts.domain;
    this.vif = vif;
    await this.halfWatch?.remove();
    this.frontendPath = frontendPath;
    this.half = await readState(store, `${frontendPath}/accel`);
    this.halfWatch = await watchState(
      store,
      `${frontendPath}/accel`,
      (state) => {
        this.half = state;
        if (state !== XenbusState.Connected) this.stale = false;
        this.wake();
      },
      (error) => {
        this.log('warn', `the state of the guest's half cannot be read: ${message(error)}`);
      },
    );
    this.up = true;
    await this.worker.pass();
  }

  /** The vif is about to stop: no plugin comes any more; one that is attached stays until its guest half closes. */
  close(): void {
    this.closing = true;
    this.wake();
  }

  /** The vif disconnects: resolves when no plugin is attached. Bounded. */
  async sink(): Promise<void> {
    this.up = false;
    this.wake();
    await this.worker.rest();
  }

  /** Ends: as {@link sink}, then nothing is watched. */
  async stop(): Promise<void> {
    await this.sink();
    await this.worker.stop();
    this.unfollow();
    this.backoff.forgive();
    await this.keyWatch?.remove();
    await this.halfWatch?.remove();
  }

  /** A plugin was registered. */
  available(definition: BackendAcceleratorDefinition): void {
    this.backoff.forgive(definition.name);
    this.wake();
  }

  /** A plugin goes: resolves when this vif does not use it any more. Bounded. */
  async unavailable(definition: BackendAcceleratorDefinition): Promise<void> {
    this.wake();
    if (this.current?.definition === definition) await this.worker.rest();
  }

  /** The toolstack changed who the vif is: a plugin that was told otherwise goes, and comes again. */
  identify(vif: VifIdentity): void {
    this.vif = vif;
    this.backoff.forgive();
    this.wake();
  }

  /** The guest may carry another mtu: as {@link identify}, but one that changes it without end has to wait. */
  remeasure(vif: VifIdentity): void {
    this.vif = vif;
    this.wake();
  }

  /** The rate limit came, went or changed. */
  rateChanged(): void {
    this.wake();
  }

  /** A NIC port came or went. */
  portsChanged(): void {
    this.backoff.forgive();
    this.wake();
  }

  /** The slot's state, for people and `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const { current } = this;
    return {
      port: this.portName,
      plugin: current?.definition.name ?? null,
      version: current?.definition.version ?? null,
      state: current === null ? 'none' : current.plugin === null ? 'offered' : 'attached',
      frontendHalf: stateName(this.half),
      holds: current?.scope?.size ?? 0,
      reason: this.reason,
      detail: this.describePlugin(),
    };
  }

  private describePlugin(): Readonly<Record<string, unknown>> | null {
    try {
      return this.current?.plugin?.describe() ?? null;
    } catch (error) {
      return { error: `describe threw: ${message(error)}` };
    }
  }

  private wake(): void {
    this.waits.look();
    this.worker.wake();
  }

  /** Without the store nobody can be told; what is attached goes all the same. */
  private async failed(error: unknown): Promise<boolean> {
    if (this.current !== null && this.whyDetach(this.current) !== null) await this.tearDown(this.current);
    if (error instanceof StoreError && error.code === 'ECLOSED') return false;
    this.log('warn', `accelerator: ${message(error)}`);
    return true;
  }

  private async step(): Promise<void> {
    if (this.keyMayHaveChanged) await this.readKey();
    const { current } = this;
    if (current !== null) {
      const why = this.whyDetach(current);
      if (why !== null) await this.detach(current, why);
      else if (current.scope === null && this.half === XenbusState.Connected && !this.stale)
        await this.attach(current);
    } else if (this.up && !this.closing) {
      const choice = this.choose();
      if (choice !== null) await this.offer(choice);
    }
  }

  private async readKey(): Promise<void> {
    this.keyMayHaveChanged = false;
    const name = await this.parts.domain.store.readOptional(`${this.parts.path}/accel`);
    const port = name === '' ? null : name;
    if (port === this.portName) return;
    this.portName = port;
    this.backoff.forgive();
  }

  /** The plugin to offer now, or null with the reason on record. */
  private choose(): Choice | null {
    const { accelerators } = this.parts;
    const { choice, reason } = choosePlugin(
      accelerators,
      this.portName,
      this.parts.rateBytesPerSecond(),
      (name) => this.backoff.paused(name),
    );
    if (reason !== null) this.reason = reason;
    return choice;
  }

  /** Why the present attachment has to end, or null. */
  private whyDetach(current: Attachment): string | null {
    const { up, closing, portName, half, vif, parts } = this;
    const { accelerators } = parts;
    const rateBytesPerSecond = parts.rateBytesPerSecond();
    return whyDetach(current, { accelerators, up, closing, portName, half, vif, rateBytesPerSecond });
  }

  private async offer({ definition, hold }: Choice): Promise<void> {
    const there = await this.write(XenbusState.Initialising, { 'accel-frontend': definition.frontend });
    if (!there) return;
    this.reason = `${definition.name} waits for ${definition.frontend} in the guest`;
    this.current = { definition, hold, vif: null, scope: null, plugin: null, attachedAt: 0, failed: null };
    this.worker.wake();
  }

  private async attach(current: Attachment): Promise<void> {
    const { domain, guest, path, probeTimeoutMs } = this.parts;
    const { definition, hold } = current;
    const fail = (reason: string) => {
      current.failed ??= reason;
      this.wake();
    };
    const scope = new PluginScope(fail, (what) => {
      this.log('error', what);
    });
    current.scope = scope;
    current.vif = this.vif;
    const outcome = await this.waits.within(
      probeTimeoutMs,
      () =>
        attachPlugin({
          domain,
          guest,
          definition,
          hold,
          vif: this.vif!,
          path,
          frontendPath: this.frontendPath,
          requestTimeoutMs: this.parts.requestTimeoutMs,
          scope,
          fence: () => this.parts.fence(),
          rateBytesPerSecond: () => this.parts.rateBytesPerSecond(),
          shareCredit: (fast) => this.parts.shareCredit(fast),
          failed: fail,
        }),
      () => this.whyDetach(current) !== null,
      // What comes of a probe that was given up goes at once, and hears nothing any more.
      (late) => void this.remove(definition, late).then(() => scope.close()),
    );
    this.worker.wake();
    if (outcome.how === 'done') {
      current.plugin = outcome.value;
      current.attachedAt = domain.loop.now();
      if (this.whyDetach(current) !== null) return;
      this.reason = null;
      await this.write(XenbusState.Connected, {});
      this.log('info', `${definition.name} ${definition.version} is attached`);
    } else if (outcome.how !== 'given-up') {
      const what = outcome.how === 'failed' ? outcome.reason : `probe took longer than ${probeTimeoutMs} ms`;
      current.failed ??= `${definition.name} could not attach: ${what}`;
    }
  }

  private async detach(current: Attachment, why: string): Promise<void> {
    const { teardownTimeoutMs, domain } = this.parts;
    const { definition } = current;
    this.reason = why;
    // A guest whose own half closes keeps the offer: it may come back. Otherwise the offer goes first.
    const stays =
      current.failed === null &&
      this.up &&
      !this.closing &&
      current.scope !== null &&
      this.half !== XenbusState.Connected;
    const remeasured = current.vif !== null && current.vif.mtu !== this.vif?.mtu;
    const offer = stays ? {} : { 'accel-frontend': null };
    if (current.scope !== null) {
      this.log('info', `${definition.name} is detached: ${why}`);
      // The guest's half goes first: it stops drawing traffic while the hardware still serves it.
      if (await this.write(XenbusState.Closing, offer))
        await this.waits.within(
          teardownTimeoutMs,
          () => new Promise<never>(() => undefined),
          () => this.half === XenbusState.Closed || this.half === XenbusState.Unknown,
        );
    }
    const good = current.plugin !== null && domain.loop.now() - current.attachedAt >= GOOD_AFTER_MS;
    if (good) {
      this.backoff.forgive(definition.name);
      this.quickEnds = 0;
    } else if ((stays || remeasured) && ++this.quickEnds > QUICK_ENDS)
      current.failed = `the guest's half came and went ${this.quickEnds} times`;
    await this.tearDown(current);
    this.stale = this.half === XenbusState.Connected;
    if (current.failed !== null && this.up && !this.closing) {
      const pause = this.backoff.failed(definition.name);
      this.reason = `${current.failed}; next try in ${pause} ms or when a key changes`;
    }
    this.worker.wake();
    await this.write(XenbusState.Closed, offer);
  }

  /** The plugin's end, without anybody's help: asks it to leave in limited time, then takes what it holds. */
  private async tearDown(current: Attachment): Promise<void> {
    if (current.plugin !== null) await this.remove(current.definition, current.plugin);
    const left = current.scope?.size ?? 0;
    // The mailbox is in the scope too, and the plugin does not own that.
    if (left > 1)
      this.log('warn', `${current.definition.name} left ${left - 1} things behind; they are taken back`);
    current.scope?.close();
    this.current = null;
  }

  private async remove(definition: BackendAcceleratorDefinition, plugin: BackendAccelerator): Promise<void> {
    const { teardownTimeoutMs } = this.parts;
    const outcome = await this.waits.within(teardownTimeoutMs, async () => plugin.remove());
    if (outcome.how === 'failed') this.log('error', `${definition.name}: remove failed: ${outcome.reason}`);
    else if (outcome.how === 'late')
      this.log(
        'error',
        `${definition.name}: remove took longer than ${teardownTimeoutMs} ms; it is left alone`,
      );
  }

  /** Writes the state of the plugin's half; false when the device is gone. */
  private write(state: XenbusStateValue, keys: Record<string, string | null>): Promise<boolean> {
    const { domain, path } = this.parts;
    return writeDeviceKeys(domain.store, path, { ...keys, 'accel/state': String(state) });
  }

  private log(level: 'info' | 'warn' | 'error', text: string): void {
    this.parts.domain.log(level, `vif ${this.parts.path}: ${text}`);
  }
}
