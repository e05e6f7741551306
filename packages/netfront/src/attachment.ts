/**
 * One plugin's stay on one device: brought up, made live, and taken down again whatever it does. Each step has
 * a deadline, and what a plugin does not do by itself is done for it.
 *
 * Driven by the accelerator slot, one step at a time.
 */
import type {
  AcceleratorStatistics,
  FrontendAccelerator,
  FrontendAcceleratorDefinition,
  VifIdentity,
} from '@netaccel/core-hooks';
import { XenbusState, openMailbox } from '@netaccel/xen';
import type { Domain, DomainId, MailboxEnd, MailboxKeys, XenbusStateValue } from '@netaccel/xen';
import { publishHalf } from './accelerator-keys.js';
import type { Connection } from './connection.js';
import type { Counters } from './counters.js';
import { within } from './deadline.js';
import { readDevice } from './handshake.js';
import type { Outcome } from './deadline.js';
import { Hooks, messageOf } from './hooks.js';
import { FastShare, addTotals, zeroTotals } from './statistics.js';
import { PluginServices } from './plugin-services.js';

/** How long a plugin's asynchronous hooks may take. */
export interface AcceleratorDeadlines {
  /** `newDevice`. */
  readonly probeMs: number;
  /** A request to the other half that does not say how long; the first one waits until that half is there. */
  readonly requestMs: number;
  /** `quiesce`, and until every frame is completed after it. */
  readonly quiesceMs: number;
  /** `remove`. */
  readonly removeMs: number;
  /** How long a plugin may keep the queue stopped: by `busy`, or by frames that it does not complete. */
  readonly stallMs: number;
  /** The pause after a first failure; doubled for each further one. */
  readonly retryMs: number;
  /** The longest pause. */
  readonly longestRetryMs: number;
}

/** The defaults. */
export const ACCELERATOR_DEADLINES: AcceleratorDeadlines = {
  probeMs: 5000,
  requestMs: 1000,
  quiesceMs: 2000,
  removeMs: 2000,
  stallMs: 5000,
  retryMs: 1000,
  longestRetryMs: 60_000,
};

/** What a plugin is attached to. */
export interface AttachmentParts {
  readonly domain: Domain;
  readonly backend: DomainId;
  readonly connection: Connection;
  readonly counters: Counters;
  readonly vif: VifIdentity;
  /** The directories of the vif's two halves. */
  readonly frontendPath: string;
  readonly backendPath: string;
  readonly deadlines: AcceleratorDeadlines;
  /** Receives the final totals of a plugin that goes. */
  readonly onTotals: (totals: AcceleratorStatistics) => void;
  /** Takes a line for the operator. */
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/** A plugin on a device. */
export class Attachment {
  /** Live hooks, from {@link attach} on. */
  hooks: Hooks | null = null;
  /** Why it has to go: it gave up, or broke a rule; null while it may stay. */
  trouble: string | null = null;
  private plugin: FrontendAccelerator | null = null;
  private services: PluginServices | null = null;
  private mailbox: MailboxEnd | null = null;
  private share: FastShare | null = null;
  /** What is said of it while it goes: nothing once {@link AttachmentParts.onTotals} has all. */
  private told: AcceleratorStatistics | null = null;
  private endProbe: (() => void) | null = null;
  private cancelStall: (() => void) | null = null;

  /**
   * @param parts what it is attached to.
   * @param definition the plugin.
   * @param onTrouble told when {@link trouble} is set; from anywhere, also from inside a hook.
   */
  constructor(
    private readonly parts: AttachmentParts,
    readonly definition: FrontendAcceleratorDefinition,
    private readonly onTrouble: () => void,
  ) {}

  /** It broke a rule, which is worse than giving up: it is not tried again by itself. */
  get broken(): boolean {
    return this.hooks !== null && this.hooks.fault !== null;
  }

  /**
   * Opens the mailbox, tells the other half, and lets the plugin make its device; its hooks are live then.
   * @returns null, or why not: then everything is given back.
   */
  async attach(): Promise<string | null> {
    const { domain, backend, connection, counters, deadlines, frontendPath } = this.parts;
    let outcome: Outcome<FrontendAccelerator>;
    try {
      // The toolstack may have changed the MAC since the device connected; the other half is told, too.
      const { mac } = (await readDevice(domain, frontendPath, this.parts.vif.handle)).vif;
      const { mailbox, refs, port } = openMailbox(domain, backend, {
        timeoutMs: deadlines.requestMs,
        onEnded: (error) => this.inTrouble(`the mailbox: ${error.message}`),
      });
      this.mailbox = mailbox;
      this.services = new PluginServices({
        ...this.parts,
        vif: { ...this.parts.vif, mac },
        contract: this.definition.contract,
        plugin: this.definition.name,
        mailbox,
        onTrouble: (reason) => this.inTrouble(reason),
      });
      await this.publish(XenbusState.Connected, { refs, port });
      const { services } = this;
      outcome = await within(
        domain.loop,
        deadlines.probeMs,
        () => this.definition.newDevice(services),
        (late) => void this.remove(late),
        (end) => (this.endProbe = end),
      );
    } catch (error) {
      outcome = { how: 'failed', error };
    }
    if (outcome.how !== 'done' || this.trouble !== null) {
      const reason = this.trouble ?? said('newDevice', outcome, deadlines.probeMs);
      if (outcome.how === 'done') await this.remove(outcome.value);
      await this.leave();
      return reason;
    }
    this.endProbe = null;
    this.plugin = outcome.value;
    this.hooks = new Hooks(this.plugin, this.definition, (fault) => {
      // No frame is offered any more, from this very call on; the rest waits until the call is over.
      connection.transmit.quiesce();
      this.inTrouble(fault);
    });
    this.share = new FastShare(counters);
    this.services!.hooks = this.hooks;
    connection.transmit.onKept = () => this.watchStall();
    connection.attach(this.hooks);
    return null;
  }

  /** Adds its totals. */
  addTotals(into: AcceleratorStatistics): void {
    if (this.told !== null) addTotals(into, this.told);
    else if (this.hooks !== null) addTotals(into, this.share!.now(this.hooks));
  }

  /** Nobody wants it any more: {@link attach} does not wait for its probe. What that makes late is removed. */
  abandon(why: string): void {
    if (this.endProbe === null) return;
    this.trouble ??= why;
    this.endProbe();
  }

  /**
   * Takes it down: quiesce, the last totals, hooks off, remove, and what it left.
   * @param onStep told when the data path is quiet and `remove` begins.
   * @returns frames that it took and never completed.
   */
  async detach(onStep: () => void): Promise<number> {
    const { domain, connection, deadlines } = this.parts;
    const hooks = this.hooks!;
    const plugin = this.plugin!;
    this.cancelStall?.();
    this.cancelStall = null;
    connection.transmit.onKept = null;
    connection.transmit.quiesce();
    if (hooks.fault === null) {
      const outcome = await within(domain.loop, deadlines.quiesceMs, async () => {
        await plugin.quiesce();
        await connection.dry();
      });
      if (outcome.how !== 'done') this.warn(said('quiesce', outcome, deadlines.quiesceMs));
      // One that failed may send what it has all the same, until it is removed: the slow path waits for that.
      if (outcome.how === 'late') connection.transmit.giveUpOrder();
    }
    // Its word on what it moved; then no data hook any more.
    const told = (this.told = this.share!.now(hooks));
    connection.unhook();
    onStep();
    await this.publish(XenbusState.Closing);
    await this.remove(plugin);
    this.told = zeroTotals();
    this.parts.onTotals(this.share!.last(told, hooks));
    const missing = connection.transmit.detach();
    await this.leave();
    return missing;
  }

  private inTrouble(reason: string): void {
    if (this.trouble !== null) return;
    this.trouble = reason;
    this.onTrouble();
  }

  private async remove(plugin: FrontendAccelerator): Promise<void> {
    const { domain, deadlines } = this.parts;
    const outcome = await within(domain.loop, deadlines.removeMs, () => plugin.remove());
    if (outcome.how !== 'done') this.warn(said('remove', outcome, deadlines.removeMs));
  }

  /** What is left goes, by force where the plugin forgot it. */
  private async leave(): Promise<void> {
    const left = this.services?.revoke() ?? [];
    if (left.length > 0) this.warn(`left behind, and taken from it: ${left.join('; ')}`);
    this.mailbox?.close();
    await this.publish(XenbusState.Closed);
  }

  /** A plugin that keeps the queue stopped for too long would stop the device: it has to go. */
  private watchStall(): void {
    if (this.cancelStall !== null) return;
    const { domain, connection, deadlines } = this.parts;
    const { fast } = connection.transmit;
    const seen = fast.keptSerial;
    this.cancelStall = domain.loop.after(deadlines.stallMs, () => {
      this.cancelStall = null;
      if (fast.kept === null) return;
      if (fast.keptSerial === seen && fast.waitsForPlugin)
        this.hooks!.misbehaved(`it kept the queue stopped for ${deadlines.stallMs} ms`);
      else this.watchStall();
    });
  }

  private publish(state: XenbusStateValue, mailbox?: MailboxKeys): Promise<void> {
    return publishHalf(this.parts.domain.store, this.parts.frontendPath, state, mailbox, (reason) =>
      this.warn(reason),
    );
  }

  private warn(message: string): void {
    this.parts.log('warn', `${this.definition.name}: ${message}`);
  }
}

/** How a hook ended that did not end well. */
function said(hook: string, outcome: Outcome<unknown>, ms: number): string {
  if (outcome.how === 'failed') return `${hook} failed: ${messageOf(outcome.error)}`;
  return `${hook} took more than ${ms} ms`;
}
