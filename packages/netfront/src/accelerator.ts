/**
 * The accelerator slot of one connection: which plugin the device has, from the key that names it to the last
 * of it gone.
 *
 * One loop (`reconcile`) does everything, one step after the other, and only for this device: no lock is shared
 * with another, and each wait has an end. What anybody says (the key, the registry, the other half's state, the
 * plugin) changes what is wanted and wakes the loop; the loop compares what is wanted with what is there.
 *
 *     detached -> probing -> live -> quiescing -> removing -> detached
 *
 * A failed probe, and a plugin that gave up (`failed`), are tried again with growing pauses, and at once when a
 * key changes. A plugin that broke a rule (threw, answered nonsense) is not tried again until a key changes or
 * it is loaded anew.
 */
import type {
  AcceleratorRegistry,
  AcceleratorStatistics,
  Candidate,
  FrontendAcceleratorDefinition,
} from '@netaccel/core-hooks';
import { XenbusState, stateName, watchState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import type { Watch } from '@netaccel/xen/store';
import { publishHalf } from './accelerator-keys.js';
import { Attachment } from './attachment.js';
import type { AttachmentParts } from './attachment.js';
import { messageOf } from './hooks.js';
import { watchValue } from './watch-value.js';

/** States of a slot. */
export const SLOT_STATES = ['detached', 'probing', 'live', 'quiescing', 'removing'] as const;
/** One of {@link SLOT_STATES}. */
export type SlotState = (typeof SLOT_STATES)[number];

/** What a slot is made with. */
export interface AcceleratorParts extends AttachmentParts {
  readonly registry: AcceleratorRegistry<FrontendAcceleratorDefinition>;
  /** The slot's state changed. */
  readonly onState: (state: SlotState, reason: string | null) => void;
}

/** The plugin of one device. */
export class AcceleratorSlot implements Candidate<FrontendAcceleratorDefinition> {
  /** Where it stands. */
  state: SlotState = 'detached';
  /** Why the device has no plugin, or lost the last one; null when there is nothing to say. */
  reason: string | null = null;
  /** The plugin that the backend names, or null. */
  named: string | null = null;
  private wanted: FrontendAcceleratorDefinition | null = null;
  private attachment: Attachment | null = null;
  /** The one whose probe is being waited for. */
  private probing: Attachment | null = null;
  /** A plugin that broke a rule: not tried again. */
  private barred: FrontendAcceleratorDefinition | null = null;
  private peer: XenbusStateValue = XenbusState.Unknown;
  private restarted = false;
  private failures = 0;
  private attachedAt = 0;
  private cancelRetry: (() => void) | null = null;
  private cancelSoon: (() => void) | null = null;
  private stopped = false;
  private running = false;
  private readonly resting: (() => void)[] = [];
  private unwant: () => void = () => undefined;
  private watches: Watch[] = [];

  constructor(private readonly parts: AcceleratorParts) {}

  /** Begins: from here on the device has the plugin that the backend names. */
  async start(): Promise<void> {
    const { domain, frontendPath, backendPath } = this.parts;
    const complain = (error: unknown): void =>
      this.parts.log('warn', `reading the backend's accelerator keys failed: ${messageOf(error)}`);
    await publishHalf(domain.store, frontendPath, XenbusState.Initialising, undefined, complain);
    const state = await watchState(
      domain.store,
      `${backendPath}/accel`,
      (peer) => this.peerChanged(peer),
      complain,
    );
    this.watches.push(state);
    const key = `${backendPath}/accel-frontend`;
    this.watches.push(await watchValue(domain.store, key, (name) => this.keyChanged(name), complain));
    if (this.stopped) await this.unwatch();
  }

  /** Ends: resolves when no plugin is on the device and nothing is watched. Bounded by the deadlines. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.name(null);
    this.probing?.abandon('the device is closing');
    this.pauseOver();
    await Promise.all([this.settled(), this.unwatch()]);
    this.cancelSoon?.();
    this.cancelSoon = null;
  }

  /** {@inheritDoc Candidate.available} */
  available(definition: FrontendAcceleratorDefinition): void {
    this.wanted = definition;
    this.tryAgain();
  }

  /** {@inheritDoc Candidate.unavailable} */
  unavailable(definition: FrontendAcceleratorDefinition): Promise<void> {
    if (this.wanted === definition) this.wanted = null;
    if (this.probing?.definition === definition) this.probing.abandon('it was unloaded');
    this.pauseOver();
    return this.settled();
  }

  /** Adds the live plugin's totals. */
  addTotals(into: AcceleratorStatistics): void {
    this.attachment?.addTotals(into);
  }

  /** Frames that the present plugin declined, by reason. */
  get declines(): Record<string, number> {
    return this.attachment?.hooks?.declinesByReason() ?? {};
  }

  /** Its state, for `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const hooks = this.attachment?.hooks ?? null;
    return {
      state: this.state,
      named: this.named,
      loaded: this.wanted === null ? null : `${this.wanted.name} ${this.wanted.version}`,
      backendHalf: stateName(this.peer),
      reason: this.reason,
      ...(hooks !== null && {
        plugin: hooks.describe(),
        declines: this.declines,
        inFlight: this.parts.connection.transmit.fast.inFlight,
      }),
    };
  }

  private keyChanged(value: string | null): void {
    if (this.stopped) return;
    const name = value === '' ? null : value;
    // Compared whole: the original compared a prefix.
    if (name === this.named) return;
    this.name(name);
    this.tryAgain();
  }

  private peerChanged(state: XenbusStateValue): void {
    // A backend half that begins anew has forgotten this attachment.
    const began = state === XenbusState.Initialising || state === XenbusState.InitWait;
    if (began && this.peer === XenbusState.Connected && this.attachment !== null) this.restarted = true;
    this.peer = state;
    void this.reconcile();
  }

  private name(name: string | null): void {
    this.unwant();
    this.unwant = () => undefined;
    this.named = name;
    this.wanted = null;
    this.probing?.abandon('the backend does not name it any more');
    if (this.attachment === null) this.reason = null;
    if (name !== null) this.unwant = this.parts.registry.want(name, this);
  }

  /** Something changed, perhaps for the better: earlier failures do not count any more. */
  private tryAgain(): void {
    this.failures = 0;
    this.barred = null;
    this.pauseOver();
    void this.reconcile();
  }

  private pauseOver(): void {
    this.cancelRetry?.();
    this.cancelRetry = null;
  }

  /** Resolves when the loop rests. */
  private settled(): Promise<void> {
    return new Promise((resolve) => {
      this.resting.push(resolve);
      void this.reconcile();
    });
  }

  private async unwatch(): Promise<void> {
    await Promise.all(this.watches.splice(0).map((watch) => watch.remove()));
  }

  /** Wakes the loop from inside a hook: after the call that is going on. */
  private soon(): void {
    this.cancelSoon ??= this.parts.domain.loop.after(0, () => {
      this.cancelSoon = null;
      void this.reconcile();
    });
  }

  /** The loop. It rests when what is there is what is wanted, or nothing can be done about it now. */
  private async reconcile(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      for (;;) {
        const { attachment } = this;
        const why = attachment === null ? null : this.whyDetach(attachment);
        const next = attachment === null ? this.attachable() : null;
        if (attachment !== null && why !== null) await this.detach(attachment, why);
        else if (next !== null) await this.attach(next);
        else break;
      }
    } finally {
      this.running = false;
      for (const resolve of this.resting.splice(0)) resolve();
    }
  }

  private whyDetach(attachment: Attachment): string | null {
    const { wanted, peer } = this;
    const { definition, trouble } = attachment;
    if (trouble !== null) return trouble;
    if (this.stopped) return 'the device is closing';
    if (this.named === null) return 'the backend does not name a plugin any more';
    if (this.named !== definition.name) return `the backend names ${this.named} now`;
    if (wanted === null) return 'it was unloaded';
    if (wanted !== definition) return `${wanted.version} was loaded in its place`;
    if (this.restarted) return 'its backend half was restarted';
    const gone = peer === XenbusState.Closing || peer === XenbusState.Closed || peer === XenbusState.Unknown;
    return gone ? `its backend half is ${stateName(peer)}` : null;
  }

  /** The plugin to attach now, or null. The other half must be ready for a new one. */
  private attachable(): FrontendAcceleratorDefinition | null {
    const { wanted, peer } = this;
    if (this.stopped || wanted === null) {
      if (this.named !== null) this.reason ??= `${this.named} is not loaded`;
      return null;
    }
    if (this.cancelRetry !== null || wanted === this.barred) return null;
    if (peer === XenbusState.Initialising || peer === XenbusState.InitWait) return wanted;
    this.reason ??= `${wanted.name} waits for its backend half, which is ${stateName(peer)}`;
    return null;
  }

  private async attach(definition: FrontendAcceleratorDefinition): Promise<void> {
    this.enter('probing', null);
    const attachment = new Attachment(this.parts, definition, () => this.soon());
    this.probing = attachment;
    const reason = await attachment.attach();
    this.probing = null;
    const plugin = `${definition.name} ${definition.version}`;
    if (reason === null) {
      this.attachment = attachment;
      this.attachedAt = this.parts.domain.loop.now();
      this.parts.log('info', `${plugin} is attached`);
      this.enter('live', null);
    } else if (this.wanted !== definition) this.enter('detached', `${plugin} was not attached: ${reason}`);
    else this.pause(`${plugin} could not be attached: ${reason}`);
  }

  private async detach(attachment: Attachment, why: string): Promise<void> {
    const plugin = `${attachment.definition.name} ${attachment.definition.version}`;
    this.enter('quiescing', why);
    const missing = await attachment.detach(() => this.enter('removing', why));
    this.attachment = null;
    this.restarted = false;
    // A plugin that was well for long enough begins anew with short pauses.
    const { domain, deadlines } = this.parts;
    if (domain.loop.now() - this.attachedAt >= deadlines.longestRetryMs) this.failures = 0;
    let reason = `${plugin} was detached: ${why}`;
    if (missing > 0) reason += `; frames that it never completed: ${missing}`;
    if (attachment.broken) {
      this.barred = attachment.definition;
      this.parts.log('error', reason);
      this.enter('detached', reason);
    } else if (attachment.trouble !== null) this.pause(reason);
    else {
      this.parts.log('info', reason);
      this.enter('detached', reason);
    }
  }

  /** A failure that may pass: another try after a pause. */
  private pause(reason: string): void {
    const { retryMs, longestRetryMs } = this.parts.deadlines;
    const pauseMs = Math.min(longestRetryMs, retryMs * 2 ** this.failures++);
    this.parts.log('warn', `${reason}; next try in ${pauseMs} ms`);
    if (!this.stopped)
      this.cancelRetry = this.parts.domain.loop.after(pauseMs, () => {
        this.cancelRetry = null;
        void this.reconcile();
      });
    this.enter('detached', reason);
  }

  private enter(state: SlotState, reason: string | null): void {
    this.state = state;
    this.reason = reason;
    this.parts.onState(state, reason);
  }
}
