/**
 * A plugin that does what a test says: a queue of sent frames and a queue of received ones, both moved by hand,
 * with the rules of the contract kept unless the test breaks one.
 */
import {
  CONTRACT_VERSION,
  FramePool,
  Verdict,
  declined,
  defineFrontendAccelerator,
} from '@netaccel/core-hooks';
import type {
  AcceleratorStatistics,
  Frame,
  FrontendAccelerator,
  FrontendAcceleratorDefinition,
  FrontendServices,
  SharedPages,
} from '@netaccel/core-hooks';
import { XenbusState, watchState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import type { Watch } from '@netaccel/xen/store';
import type { VifLab } from './lab.js';

export const PLUGIN = 'scripted-frontend';

const RX_PAGES = 64;

/** One attachment of the plugin. */
export class PluginDevice implements FrontendAccelerator {
  /** Frames answered `sent` and not completed. */
  readonly sent: Frame[] = [];
  /** Frames that wait to be completed, and received frames that wait to be delivered, at the next poll. */
  readonly toComplete: Frame[] = [];
  readonly toDeliver: Frame[] = [];
  /** Names of the hooks called, but for the frame hooks. */
  readonly calls: string[] = [];
  /** What the next frames are answered. */
  answer: (frame: Frame, more: boolean) => Verdict = () => Verdict.sent;
  room = Infinity;
  /** The interrupt is armed: the next event schedules a poll. */
  armed = false;
  polls = 0;
  offers = 0;
  offerMore: boolean[] = [];
  onPoll: ((budget: number) => number) | null = null;
  onQuiesce: () => Promise<void> = () => Promise.resolve();
  onRemove: () => Promise<void> = () => Promise.resolve();
  onCheckReady: (() => boolean) | null = null;
  onStartInterrupts: (() => boolean) | null = null;
  totals: AcceleratorStatistics = {
    txFrames: 0,
    txBytes: 0,
    rxFrames: 0,
    rxBytes: 0,
    txErrors: 0,
    rxErrors: 0,
  };
  removed = false;
  readonly pool: FramePool;
  private readonly shared: SharedPages;

  constructor(readonly services: FrontendServices) {
    this.shared = services.share(RX_PAGES, 'write');
    this.pool = new FramePool(RX_PAGES, this.shared.address, 4096);
  }

  startTransmit(frame: Frame, more: boolean): Verdict {
    this.alive('startTransmit');
    this.offers++;
    this.offerMore.push(more);
    const verdict =
      this.sent.length + this.toComplete.length >= this.room ? Verdict.busy : this.answer(frame, more);
    if (verdict === Verdict.sent) {
      this.sent.push(frame);
      this.totals.txFrames++;
      this.totals.txBytes += frame.totalBytes;
    }
    return verdict;
  }

  poll(budget: number): number {
    this.alive('poll');
    this.polls++;
    if (this.onPoll !== null) return this.onPoll(budget);
    let done = 0;
    for (; done < budget && this.toComplete.length > 0; done++)
      this.services.completed(this.toComplete.shift()!);
    if (done > 0 && this.room !== Infinity) this.services.wake();
    for (; done < budget && this.toDeliver.length > 0; done++) {
      const frame = this.toDeliver.shift()!;
      this.totals.rxFrames++;
      this.totals.rxBytes += frame.totalBytes;
      this.services.deliver(frame);
      frame.release();
    }
    return done;
  }

  startInterrupts(): boolean {
    this.alive('startInterrupts');
    if (this.onStartInterrupts !== null) return this.onStartInterrupts();
    if (this.toComplete.length + this.toDeliver.length > 0) return true;
    this.armed = true;
    return false;
  }

  stopInterrupts(): void {
    this.alive('stopInterrupts');
    this.armed = false;
  }

  checkReady(): boolean {
    this.alive('checkReady');
    if (this.onCheckReady !== null) return this.onCheckReady();
    return this.sent.length + this.toComplete.length < this.room;
  }

  statistics(into: AcceleratorStatistics): void {
    for (const key of Object.keys(into) as (keyof AcceleratorStatistics)[]) into[key] += this.totals[key];
  }

  quiesce(): Promise<void> {
    this.calls.push('quiesce');
    this.toComplete.push(...this.sent.splice(0));
    this.event();
    return this.onQuiesce();
  }

  async remove(): Promise<void> {
    this.calls.push('remove');
    this.removed = true;
    await this.onRemove();
    this.shared.release();
  }

  describe(): Readonly<Record<string, unknown>> {
    return { sent: this.sent.length };
  }

  /** The hardware is done with the oldest `count` frames. */
  complete(count = this.sent.length): void {
    this.toComplete.push(...this.sent.splice(0, count));
    this.event();
  }

  /** A frame arrives. */
  arrive(bytes: Uint8Array): void {
    const frame = this.pool.allocate();
    if (frame === null) throw new Error('the plugin has no buffer left');
    this.services.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    this.toDeliver.push(frame);
    this.event();
  }

  /** What an interrupt's handler does: nothing unless it was armed. */
  event(): void {
    if (!this.armed) return;
    this.armed = false;
    this.services.schedulePoll();
  }

  private alive(hook: string): void {
    if (this.removed) throw new Error(`${hook} was called after remove`);
  }
}

/** The definition, and the devices that it made. */
export class ScriptedPlugin {
  readonly devices: PluginDevice[] = [];
  onNewDevice: (services: FrontendServices) => Promise<PluginDevice> = (services) =>
    Promise.resolve(new PluginDevice(services));
  readonly definition: FrontendAcceleratorDefinition;

  constructor(name = PLUGIN, version = '1.0.0') {
    this.definition = defineFrontendAccelerator({
      name,
      version,
      contract: CONTRACT_VERSION,
      capabilities: {},
      declineReasons: ['first-own', 'second-own'],
      newDevice: async (services) => {
        const device = await this.onNewDevice(services);
        this.devices.push(device);
        return device;
      },
    });
  }

  get device(): PluginDevice {
    const device = this.devices.at(-1);
    if (device === undefined) throw new Error('no device was made');
    return device;
  }
}

/** The backend half of an accelerator, as far as its keys go. */
export class BackendHalf {
  readonly seen: XenbusStateValue[] = [];
  private watch: Watch | null = null;
  private work: Promise<void> = Promise.resolve();

  constructor(readonly lab: VifLab) {}

  /** Names a plugin, and follows the frontend half. */
  async offer(name = PLUGIN): Promise<void> {
    const { backend } = this.lab;
    await backend.write('accel/state', String(XenbusState.Initialising));
    await backend.write('accel-frontend', name);
    this.watch ??= await watchState(
      this.lab.back.store,
      `${this.lab.frontPath}/accel`,
      (state) => {
        this.seen.push(state);
        this.work = this.work.then(() => this.react(state));
      },
      () => undefined,
    );
  }

  /** Takes the offer away. */
  async withdraw(): Promise<void> {
    await this.lab.back.store.remove(`${this.lab.backend.path}/accel-frontend`);
  }

  set(state: XenbusStateValue): Promise<void> {
    return this.lab.backend.write('accel/state', String(state));
  }

  async stop(): Promise<void> {
    await this.work;
    await this.watch?.remove();
    this.watch = null;
  }

  private async react(state: XenbusStateValue): Promise<void> {
    if (state === XenbusState.Connected) await this.set(XenbusState.Connected);
    if (state === XenbusState.Closing) await this.set(XenbusState.Closing);
    if (state === XenbusState.Closed) {
      await this.set(XenbusState.Closed);
      await this.set(XenbusState.Initialising);
    }
  }
}

export const notIp = declined('not-ip');
