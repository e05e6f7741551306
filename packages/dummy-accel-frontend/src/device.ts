/**
 * One device: the hooks that netfront calls, over a VI.
 *
 * Both ways nothing is copied: frames are sent from netfront's own memory, and delivered in the device's receive
 * buffers. What goes by the fast path is decided in choice.ts; frames of a new filter
 * wait for the slow path in the VI's fences.
 */
import { PAGE_BYTES, Verdict, declined } from '@netaccel/core-hooks';
import type {
  AcceleratorStatistics,
  Frame,
  FrontendAccelerator,
  FrontendServices,
} from '@netaccel/core-hooks';
import {
  Answers,
  ControlMessage,
  EventFlag,
  EventType,
  FilterFences,
  FrameVi,
  ReceiveMerger,
  Transmit,
  ask,
  decodeAddress,
  decodeFilter,
  decodeLink,
  decodeRate,
  encodeStray,
  mostPieces,
  setUpVi,
} from '@netaccel/nic-vi';
import type { FrameViHandler, ReadyVi } from '@netaccel/nic-vi';
import { Choice } from './choice.js';

const notRegistered = declined('not-registered');
const tooLong = declined('too-long');

/** Pages of receive buffers wanted, as in history; the quota may allow fewer. */
const RECEIVE_PAGES = 384;
/** How long the other half may take to end the filters, and the NIC to send what it has. */
const QUIESCE_MS = 1000;
const LAST_LOOKS = 50;
const LOOK_MS = 10;

/** How long frames may wait in the VI for their credit, and how many may in any case. */
const LONGEST_WAIT_S = 0.1;
const LEAST_IN_FLIGHT = 4;

/** A guest's device. */
export class Device implements FrontendAccelerator, FrameViHandler {
  private readonly answers: Answers;
  private readonly choice: Choice;
  private readonly fences: FilterFences;
  private readonly frames: FrameVi;
  private readonly merger: ReceiveMerger;
  /** Descriptors that a frame answered `busy` needs; 0 when none waits. */
  private wanted = 0;
  /** Frames that the NIC refused: given back by polls, within their budget. */
  private readonly refused: Frame[] = [];
  private deliveredFrames = 0;
  private deliveredBytes = 0;
  /** Frames that were for somebody else, and frames that were dropped with the device. */
  private strays = 0;
  private dropped = 0;
  private hinting = false;
  /** An interrupt came, and is masked until the next arm. Binding raises one. */
  private interrupted = true;

  /** Attaches; resolves when the hooks may be called. Whatever fails, nothing stays acquired. */
  static async attach(services: FrontendServices): Promise<Device> {
    const releases: (() => void)[] = [];
    let device: Device | null = null;
    try {
      const vi = await setUpVi(services, RECEIVE_PAGES, releases, () => {
        if (device !== null) device.interrupted = true;
        services.schedulePoll();
      });
      device = new Device(services, vi, releases);
      await ask(services, ControlMessage.start);
      device.choice.active = true;
      return device;
    } catch (error) {
      if (device !== null) await device.remove();
      for (const release of releases.splice(0).reverse()) release();
      throw error;
    }
  }

  private constructor(
    private readonly services: FrontendServices,
    private readonly vi: ReadyVi,
    private readonly releases: (() => void)[],
  ) {
    const { memory, vif, mailbox } = services;
    const { handover, buffers } = vi;
    this.choice = new Choice(memory, vif.mac, handover);
    this.choice.neighbours.now = services.clock.now();
    this.choice.linkUp = vi.vi.linkUp;
    this.merger = new ReceiveMerger(memory, {
      deliver: (frame) => this.deliver(frame),
      flush: () => undefined,
    });
    this.fences = new FilterFences(
      handover.maxFilters,
      buffers.count,
      vi.eventCapacity,
      (fence) => services.passed(fence),
      (frame) => this.merger.push(frame),
    );
    this.frames = new FrameVi(vi.vi, vi.buses, buffers, this);
    this.frames.replenish();
    this.answers = new Answers(mailbox, (reason) => services.failed(reason));
    this.answers.to(ControlMessage.filter, decodeFilter, ({ added, filter, fence }) => {
      services.schedulePoll();
      return added ? this.fences.add(filter, fence) : this.fences.remove(filter);
    });
    this.answers.to(ControlMessage.remoteAddress, decodeAddress, (mac) => this.choice.neighbours.across(mac));
    this.answers.to(ControlMessage.localAddress, decodeAddress, (mac) => this.choice.neighbours.here(mac));
    this.answers.to(ControlMessage.rate, decodeRate, (bytesPerSecond) => this.limit(bytesPerSecond));
    // The register says how it is by now, whatever a message or an event that was under way says.
    this.answers.to(ControlMessage.link, decodeLink, () => this.lookAtLink());
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.startTransmit} */
  startTransmit(frame: Frame, more: boolean): Verdict {
    const choice = this.choice.of(frame);
    const verdict = choice === Verdict.sent ? this.transmit(frame) : choice;
    // Whatever became of this one, those before it wait for the doorbell no longer than for the last of the batch.
    if (!more || verdict !== Verdict.sent) this.frames.push();
    return verdict;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.flush} */
  flush(): void {
    this.frames.push();
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.poll} */
  poll(budget: number): number {
    const { frames, fences, refused } = this;
    this.choice.neighbours.now = this.services.clock.now();
    let work = 0;
    for (; work < budget && refused.length > 0; work++) this.services.completed(refused.pop()!);
    work += fences.release(budget - work);
    if (work < budget) work += frames.poll(budget - work);
    this.merger.flush();
    fences.polled(work < budget, frames.statistics.rxFrames);
    if (this.wanted > 0 && this.checkReady()) {
      this.wanted = 0;
      this.services.wake();
    }
    return work;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.startInterrupts} */
  startInterrupts(): boolean {
    // No event tells of a fence that was passed: that is looked at here, when the slow path has nothing left.
    if (this.fences.isDue || this.refused.length > 0 || this.vi.vi.prime()) return true;
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
    return this.frames.hasRoom && vi.transmitSpace > 0 && vi.transmitSpace >= this.wanted;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.statistics} */
  statistics(into: AcceleratorStatistics): void {
    const { statistics } = this.frames;
    into.txFrames += statistics.txFrames;
    into.txBytes += statistics.txBytes;
    into.txErrors += statistics.txErrors;
    into.rxFrames += this.deliveredFrames;
    into.rxBytes += this.deliveredBytes;
    into.rxErrors += statistics.rxErrors + this.strays + this.dropped;
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.quiesce} */
  async quiesce(): Promise<void> {
    this.choice.active = false;
    this.frames.push();
    try {
      await ask(this.services, ControlMessage.quiesce, undefined, QUIESCE_MS);
    } catch (error) {
      this.services.log('warn', `the filters may still be there: ${String(error)}`);
      this.dropped += this.fences.giveUp();
    }
    this.services.schedulePoll();
    await this.until(() => this.frames.transmitting === 0 && this.fences.held === 0);
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.remove} */
  async remove(): Promise<void> {
    this.choice.active = false;
    this.answers.close();
    this.frames.abandon();
    this.dropped += this.fences.drop();
    // Received frames lie in the device's pages: the stack gets a while to be done with them.
    if (!(await this.until(() => this.frames.held === 0)))
      this.services.log(
        'warn',
        `the stack still has ${this.frames.held} receive buffers; their pages go all the same`,
      );
    for (const release of this.releases.splice(0).reverse()) release();
  }

  /** {@inheritDoc @netaccel/core-hooks!FrontendAccelerator.describe} */
  describe(): Readonly<Record<string, unknown>> {
    const { handover, vi, buffers } = this.vi;
    return {
      active: this.choice.active,
      linkUp: this.choice.linkUp,
      vi: { number: handover.vi, generation: handover.generation, ...vi.describe() },
      receiveBuffers: {
        count: buffers.count,
        pages: (buffers.count * buffers.bytes) / PAGE_BYTES,
        held: this.frames.held,
      },
      across: this.choice.neighbours.describe(),
      filters: this.fences.describe(),
      strays: this.strays,
      droppedAtRemove: this.dropped,
      merging: { ...this.merger.statistics },
      totals: { ...this.frames.statistics },
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
    };
  }

  /** A frame from the NIC. */
  received(frame: Frame, filter: number, flags: number): void {
    if (!this.choice.neighbours.hear(frame)) {
      this.strays++;
      if (!this.hinting) void this.hint(filter);
    } else if (!this.fences.isOpen(filter)) {
      if (!this.fences.hold(filter, frame)) this.dropped++;
    } else if ((flags & EventFlag.udp) !== 0) this.deliver(frame);
    else this.merger.push(frame);
  }

  /** The NIC has sent a frame. */
  completed(frame: Frame): void {
    this.services.completed(frame);
  }

  /** The NIC refused a frame: counted, and given back by the next poll. After `remove` began netfront takes it back. */
  failed(frame: Frame): void {
    this.refused.push(frame);
  }

  /** Link changes, reset, lost events. */
  event(type: number): void {
    if (type === EventType.link) this.lookAtLink();
    else if (type === EventType.reset) {
      // From here on flows arrive by the slow path, past whatever waits for a fence.
      this.dropped += this.fences.giveUp();
      this.services.failed('the NIC was reset, and this VI is gone');
    } else if (type === EventType.overflow)
      this.services.log('warn', 'the event queue was full; the NIC dropped frames');
  }

  /** To the stack: a frame, or several joined. */
  private deliver(frame: Frame): void {
    this.deliveredFrames++;
    this.deliveredBytes += frame.totalBytes;
    this.services.deliver(frame);
  }

  /** Room is asked for last: what would be declined is never answered busy. */
  private transmit(frame: Frame): Verdict {
    switch (this.frames.transmit(frame)) {
      case Transmit.taken:
        return Verdict.sent;
      case Transmit.full:
        if (!this.vi.buses.has(frame)) return notRegistered;
        this.wanted = mostPieces(frame);
        return Verdict.busy;
      case Transmit.notRegistered:
        return notRegistered;
      default:
        return tooLong;
    }
  }

  /** The device keeps to the rate by itself; what waits there would be lost if this ended, so it is never much. */
  private limit(bytesPerSecond: number): boolean {
    const frames = (bytesPerSecond * LONGEST_WAIT_S) / this.vi.handover.maxTransmitBytes;
    this.frames.limit(bytesPerSecond === 0 ? Infinity : Math.max(LEAST_IN_FLIGHT, frames | 0));
    this.services.schedulePoll();
    return true;
  }

  private lookAtLink(): boolean {
    this.choice.linkUp = this.vi.vi.linkUp;
    return true;
  }

  /** Tells the other half of a filter that brings what is not for this guest; one hint at a time. */
  private async hint(filter: number): Promise<void> {
    this.hinting = true;
    try {
      await this.services.mailbox.request(ControlMessage.stray, encodeStray(filter >>> 0));
    } catch {
      // Only a hint: the next stray gives another.
    }
    this.hinting = false;
  }

  /** Waits for a limited time; answers whether it came true. */
  private async until(done: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < LAST_LOOKS && !done(); looks++)
      await new Promise<void>((resolve) => void this.services.clock.after(LOOK_MS, resolve));
    return done();
  }
}
