/**
 * One device: the hooks that netfront calls, over a VI. Nothing is copied: frames are sent from netfront's own memory
 * and delivered in the device's receive buffers.
 *
 * The hooks allocate nothing, await nothing and throw nothing: they run for each frame.
 */
import { PAGE_BYTES, Verdict, declined } from '@netaccel/core-hooks';
import type {
  AcceleratorStatistics,
  Frame,
  FrontendAccelerator,
  FrontendServices,
  ReceiveFence,
} from '@netaccel/core-hooks';
import {
  Answers,
  ControlMessage,
  EventType,
  FrameHeaders,
  FrameVi,
  NOT_REGISTERED,
  Transmit,
  decodeAddress,
} from '@netaccel/nic-vi';
import type { FrameViHandler } from '@netaccel/nic-vi';
import { OwnMessage, decodeFence } from '../messages.js';
import { Choice, mostPieces } from './choice.js';
import { FlowMeter, Way } from './meter.js';
import { ask, setUp } from './setup.js';
import type { Vi } from './setup.js';

const notRegistered = declined('not-registered');
const tooLong = declined('too-long');

/** How long the other half may take to stop the filter, and the card and the slow path to finish. */
const QUIESCE_MS = 1000;
const LOOKS = 50;
/** Flows that `describe` tells of. */
const TOP_FLOWS = 10;
const LOOK_MS = 10;

/** A guest's device. */
export class Device implements FrontendAccelerator, FrameViHandler {
  private readonly choice: Choice;
  private readonly answers: Answers;
  private readonly frames: FrameVi;
  private readonly meter = new FlowMeter();
  /** Of the frame that arrives. */
  private readonly headers: FrameHeaders;
  /** What the slow path has to deliver first; null until the other half has said so. */
  private fence: ReceiveFence | null = null;
  /** It has: what the card has may be taken. */
  private open = false;
  private quiescing = false;
  /** Descriptors that a frame answered `busy` needs; 0 when none waits. */
  private wanted = 0;
  /** Frames that the card refused: given back by polls, within their budget. */
  private readonly refused: Frame[] = [];
  private readonly counters = { rxFrames: 0, rxBytes: 0, strays: 0 };
  /** An interrupt came, and is masked until the next arm. Binding raises one. */
  private interrupted = true;

  /** Attaches; the hooks may be called when it resolves. Whatever fails, nothing stays acquired. */
  static async attach(services: FrontendServices): Promise<Device> {
    const releases: (() => void)[] = [];
    let device: Device | null = null;
    try {
      const vi = await setUp(services, releases, () => {
        if (device !== null) device.interrupted = true;
        services.schedulePoll();
      });
      device = new Device(services, vi, releases);
      await ask(services, ControlMessage.start);
      return device;
    } catch (error) {
      if (device !== null) await device.remove();
      for (const release of releases.splice(0).reverse()) release();
      throw error;
    }
  }

  private constructor(
    private readonly services: FrontendServices,
    private readonly vi: Vi,
    private readonly releases: (() => void)[],
  ) {
    this.choice = new Choice(services.memory, services.vif.mac, vi.handover);
    this.headers = new FrameHeaders(services.memory);
    this.choice.now = services.clock.now();
    this.choice.linkUp = vi.vi.linkUp;
    this.frames = new FrameVi(vi.vi, vi.buses, vi.buffers, this);
    this.frames.replenish();
    this.answers = new Answers(services.mailbox, (reason) => services.failed(reason));
    this.answers.to(OwnMessage.open, decodeFence, (fence) => {
      this.fence = fence;
      services.schedulePoll();
      return true;
    });
    this.answers.to(ControlMessage.remoteAddress, decodeAddress, (mac) => this.choice.across(mac));
    this.answers.to(ControlMessage.localAddress, decodeAddress, (mac) => this.choice.here(mac));
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.startTransmit} */
  startTransmit(frame: Frame, more: boolean): Verdict {
    const choice = this.choice.of(frame);
    const verdict = choice === Verdict.sent ? this.transmit(frame) : choice;
    // Whatever became of this one, those before it wait no longer for the doorbell than for the last of the batch.
    if (!more || verdict !== Verdict.sent) this.frames.push();
    return verdict;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.flush} */
  flush(): void {
    this.frames.push();
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.poll} */
  poll(budget: number): number {
    this.choice.now = this.services.clock.now();
    if (!this.isOpen()) return 0; // what the filter leads here waits in the queue, behind the slow path
    let work = 0;
    for (; work < budget && this.refused.length > 0; work++) this.services.completed(this.refused.pop()!);
    if (work < budget) work += this.frames.poll(budget - work);
    if (this.wanted > 0 && this.checkReady()) {
      this.wanted = 0;
      this.services.wake();
    }
    return work;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.startInterrupts} */
  startInterrupts(): boolean {
    // No event tells of a fence: it is looked at here, whenever the slow path has nothing left.
    const { open } = this;
    if (!this.isOpen()) return false;
    if (!open || this.refused.length > 0 || this.vi.vi.prime()) return true;
    if (this.interrupted) {
      this.interrupted = false;
      this.vi.interrupt.unmask();
    }
    return false;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.stopInterrupts} */
  stopInterrupts(): void {
    this.vi.vi.disarm();
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.checkReady} */
  checkReady(): boolean {
    const { vi } = this.vi;
    return (
      this.frames.transmitting < vi.transmitCapacity &&
      vi.transmitSpace > 0 &&
      vi.transmitSpace >= this.wanted
    );
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.statistics} */
  statistics(into: AcceleratorStatistics): void {
    const { statistics } = this.frames;
    into.txFrames += statistics.txFrames;
    into.txBytes += statistics.txBytes;
    into.txErrors += statistics.txErrors;
    into.rxFrames += this.counters.rxFrames;
    into.rxBytes += this.counters.rxBytes;
    into.rxErrors += statistics.rxErrors + this.counters.strays;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.quiesce} */
  async quiesce(): Promise<void> {
    this.quiescing = true;
    this.choice.active = false;
    this.frames.push();
    try {
      await ask(this.services, ControlMessage.quiesce, undefined, QUIESCE_MS);
    } catch (error) {
      this.services.log('warn', `the filter may still be there: ${String(error)}`);
    }
    this.services.schedulePoll();
    await this.until(() => this.frames.transmitting === 0 && this.isOpen());
    this.open = true; // what waits for a slow path that stands still is delivered by the last polls
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.remove} */
  async remove(): Promise<void> {
    this.choice.active = false;
    this.answers.close();
    this.frames.abandon();
    // Received frames lie in the device's pages: the guest gets a while to be done with them.
    if (!(await this.until(() => this.frames.held === 0)))
      this.services.log('warn', `the guest still has ${this.frames.held} receive buffers; their pages go`);
    for (const release of this.releases.splice(0).reverse()) release();
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    const { handover, vi, buffers } = this.vi;
    return {
      active: this.choice.active,
      linkUp: this.choice.linkUp,
      waitsForSlowPath: !this.open,
      vi: { number: handover.vi, generation: handover.generation, ...vi.describe() },
      receiveBuffers: { count: buffers.count, held: this.frames.held },
      flows: this.meter.top(TOP_FLOWS, this.services.clock.now()),
      flowsDisplaced: this.meter.displaced,
      across: this.choice.describe(),
      totals: { ...this.frames.statistics, ...this.counters },
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
    };
  }

  /** A frame from the card. */
  received(frame: Frame): void {
    if (!this.choice.isOwn(frame)) {
      this.counters.strays++;
      return;
    }
    this.choice.hear(frame);
    this.headers.parse(frame.address, frame.length, frame.totalBytes);
    this.meter.count(this.headers, Way.received, frame.totalBytes, this.choice.now);
    this.counters.rxFrames++;
    this.counters.rxBytes += frame.totalBytes;
    this.services.deliver(frame);
  }

  /** The card has sent a frame. */
  completed(frame: Frame): void {
    this.services.completed(frame);
  }

  /** The card refused a frame. After `remove` began netfront takes it back by itself. */
  failed(frame: Frame): void {
    this.refused.push(frame);
  }

  /** Link changes, reset, lost events. */
  event(type: number): void {
    if (type === EventType.link) this.choice.linkUp = this.vi.vi.linkUp;
    else if (type === EventType.reset) this.services.failed('the card was reset, and this VI is gone');
    else if (type === EventType.overflow)
      this.services.log('warn', 'the event queue was full; the card dropped frames');
  }

  /** Whether the slow path has delivered what it had before the filter was there. */
  private isOpen(): boolean {
    if (this.open || this.fence === null || !this.services.passed(this.fence)) return this.open;
    this.open = true;
    this.choice.active = !this.quiescing;
    return true;
  }

  /** Room is asked for last: what would be declined is never answered busy. */
  private transmit(frame: Frame): Verdict {
    switch (this.frames.transmit(frame)) {
      case Transmit.taken:
        this.meter.count(this.choice.headers, Way.sent, frame.totalBytes, this.choice.now);
        return Verdict.sent;
      case Transmit.full:
        if (!this.isRegistered(frame)) return notRegistered;
        this.wanted = mostPieces(frame);
        return Verdict.busy;
      case Transmit.notRegistered:
        return notRegistered;
      default:
        return tooLong;
    }
  }

  private isRegistered(frame: Frame): boolean {
    for (let f: Frame | null = frame; f !== null; f = f.next)
      for (let at = f.address; at < f.address + f.length; at = (at | (PAGE_BYTES - 1)) + 1)
        if (this.vi.buses.find(at, 1) === NOT_REGISTERED) return false;
    return true;
  }

  /** Waits for a limited time; answers whether it came true. */
  private async until(done: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < LOOKS && !done(); looks++)
      await new Promise<void>((resolve) => void this.services.clock.after(LOOK_MS, resolve));
    return done();
  }
}
