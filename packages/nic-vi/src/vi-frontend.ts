/**
 * The guest's half of a plugin over a VI: the hooks that netfront calls, all but the choice of which frames the NIC
 * can send, which is the plugin's {@link FrameChoice}.
 *
 * Nothing is copied: frames are sent from netfront's own memory and delivered in the device's receive buffers. The
 * hooks allocate nothing, await nothing and throw nothing: they run for each frame.
 */
import { PAGE_BYTES, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type {
  AcceleratorStatistics,
  Capabilities,
  Frame,
  FrontendAccelerator,
  FrontendServices,
} from '@netaccel/core-hooks';
import { Answers } from './answer.js';
import { mostPieces } from './bus-map.js';
import { FrameVi, Transmit } from './frame-vi.js';
import type { FrameViHandler } from './frame-vi.js';
import { ETHERNET_BYTES, FrameHeaders, isOrdinary } from './headers.js';
import { EventType } from './layouts.js';
import type { HandoverMessage } from './messages.js';
import { Neighbours } from './neighbours.js';
import { OwnAddresses } from './own-addresses.js';
import { ControlMessage, decodeAddress, decodeLink, decodeRate } from './protocol.js';
import { ask, setUpVi } from './set-up.js';
import type { ReadyVi } from './set-up.js';
import { ViReceive } from './vi-receive.js';

const inactive = declined('inactive');
const linkDown = declined('link-down');
const malformed = declined('malformed');
const broadcast = declined('broadcast');
const unknownDestination = declined('unknown-destination');
const spoofed = declined('spoofed');
const notRegistered = declined('not-registered');
const tooLong = declined('too-long');

/** How long the other half may take to stop the filter, and the NIC and the slow path to finish. */
const QUIESCE_MS = 1000;
const LOOKS = 50;
const LOOK_MS = 10;
/** How long frames may wait in the VI for their credit, and how many may in any case. */
const LONGEST_WAIT_S = 0.1;
const LEAST_IN_FLIGHT = 4;
const GROUP_BIT = 1;
const SOURCE_AT = 6;

/** Which frames the NIC sends, and whoever wants to see those that went. Called for each frame: allocates nothing. */
export interface FrameChoice {
  /**
   * Asked of each frame for somebody across the wire, from the guest's own address: `Verdict.sent` when the NIC can
   * send it, now or when there is room; else the reason to decline it.
   * @param headers of the frame, parsed.
   */
  of(frame: Frame, headers: FrameHeaders): Verdict;
  /**
   * Asked in place of `of`, where it is there, of a frame that {@link isOrdinary} and has not to be cut: nobody needs to
   * parse its headers, which is a good part of what a frame costs. Not for a choice that has `sent`.
   */
  ofOrdinary?(frame: Frame): Verdict;
  /** The NIC took the frame that was asked of last. `now` is the time in milliseconds, to within a poll. */
  sent?(frame: Frame, headers: FrameHeaders, now: number): void;
  /** A frame for the guest arrived. */
  received?(frame: Frame, now: number): void;
  /** For `explain`. */
  describe?(): Readonly<Record<string, unknown>>;
}

/** What makes one plugin's device another than the next one's. */
export interface ViFrontendPlan {
  /** What the plugin declares. TCP segments are joined on their way to the guest if it says `receiveMerging`. */
  readonly capabilities: Capabilities;
  /** Pages of receive buffers wanted; the quota of the vif may allow fewer. */
  readonly receivePages: number;
  /**
   * What the other half tells of: `'one'`, once, what comes before all that is led here (`ViBackend`); `'filters'`, of
   * each filter that comes and goes. `'one'` when left out.
   */
  readonly fences?: 'one' | 'filters';
  /** Makes the choice, once it is known what the VI can do. */
  choice(this: void, can: HandoverMessage): FrameChoice;
}

/** See the top of the file. */
export class ViFrontend implements FrontendAccelerator, FrameViHandler {
  private readonly view: DataView;
  private readonly headers: FrameHeaders;
  private readonly neighbours: Neighbours;
  /** The guest's own IP addresses; null when any will do. */
  private readonly sources: OwnAddresses | null;
  private readonly choice: FrameChoice;
  /** Whether the choice is asked of ordinary frames without their headers. */
  private readonly quick: boolean;
  private readonly answers: Answers;
  private readonly frames: FrameVi;
  private readonly receive: ViReceive;
  /** Both halves are ready, and nobody takes the device down. */
  private started = false;
  /** Frames are taken: it is started, and the gate is not shut. */
  private active = false;
  private linkUp: boolean;
  /** Descriptors that a frame answered `busy` needs; 0 when none waits. */
  private wanted = 0;
  /** Frames that the NIC refused: given back by polls, within their budget. */
  private readonly refused: Frame[] = [];
  /** An interrupt came, and is masked until the next arm. Binding raises one. */
  private interrupted = true;

  /**
   * Attaches; the hooks may be called when it resolves. Whatever fails, nothing stays acquired.
   * @throws when the other half refuses, does not answer, or answers what cannot be.
   */
  static async attach(services: FrontendServices, plan: ViFrontendPlan): Promise<ViFrontend> {
    const releases: (() => void)[] = [];
    let device: ViFrontend | null = null;
    try {
      const ready = await setUpVi(services, plan.receivePages, releases, () => {
        if (device !== null) device.interrupted = true;
        services.schedulePoll();
      });
      device = new ViFrontend(services, plan, ready, releases);
      await ask(services, ControlMessage.start);
      device.started = true;
      device.active = !device.receive.gate.isShut;
      return device;
    } catch (error) {
      if (device !== null) await device.remove();
      for (const release of releases.splice(0).reverse()) release();
      throw error;
    }
  }

  private constructor(
    private readonly services: FrontendServices,
    plan: ViFrontendPlan,
    private readonly ready: ReadyVi,
    private readonly releases: (() => void)[],
  ) {
    const { memory, vif, mailbox, clock } = services;
    const { handover } = ready;
    const { buffer, byteOffset, byteLength } = memory.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.headers = new FrameHeaders(memory);
    this.neighbours = new Neighbours(memory, vif.mac);
    this.neighbours.now = clock.now();
    this.linkUp = ready.vi.linkUp;
    const { addresses } = handover;
    this.sources = addresses === undefined ? null : new OwnAddresses(addresses);
    this.choice = plan.choice(handover);
    this.quick =
      this.choice.ofOrdinary !== undefined && this.choice.sent === undefined && this.sources === null;
    this.answers = new Answers(mailbox, (reason) => services.failed(reason));
    this.receive = new ViReceive(services, ready, plan, this.choice, this.neighbours, this.answers);
    this.frames = new FrameVi(ready.vi, ready.buses, ready.buffers, this);
    this.frames.replenish();
    this.answers.to(ControlMessage.remoteAddress, decodeAddress, (mac) => this.neighbours.across(mac));
    // All at once (a group) is forgotten only for a half that tells of all again; one that does not would leave a device
    // that sends nothing any more.
    const retold = plan.fences === 'filters';
    this.answers.to(ControlMessage.localAddress, decodeAddress, (mac) => {
      return (retold || (mac[0]! & GROUP_BIT) === 0) && this.neighbours.here(mac);
    });
    this.answers.to(ControlMessage.rate, decodeRate, (bytesPerSecond) => this.limit(bytesPerSecond));
    // The register says how it is by now, whatever a message or an event that was under way says.
    this.answers.to(ControlMessage.link, decodeLink, () => this.lookAtLink());
  }

  /** The hook `startTransmit` of the contract. */
  startTransmit(frame: Frame, more: boolean): Verdict {
    const whyNot = this.whyNot(frame);
    const verdict = whyNot === Verdict.sent ? this.transmit(frame) : whyNot;
    // Whatever became of this one, those before it wait no longer for the doorbell than for the last of the batch.
    if (!more || verdict !== Verdict.sent) this.frames.push();
    return verdict;
  }

  /** The hook `flush` of the contract. */
  flush(): void {
    this.frames.push();
  }

  /** The hook `poll` of the contract. */
  poll(budget: number): number {
    const { frames, receive, refused } = this;
    const { gate } = receive;
    this.neighbours.now = this.services.clock.now();
    let work = 0;
    for (; work < budget && refused.length > 0; work++) this.services.completed(refused.pop()!);
    work += gate.release(budget - work);
    this.active = this.started && !gate.isShut;
    if (gate.isShut) return work; // what is led here waits in the queue, behind the slow path
    if (work < budget) work += frames.poll(budget - work);
    receive.polled(work < budget, frames.statistics.rxFrames);
    if (this.wanted > 0 && this.checkReady()) {
      this.wanted = 0;
      this.services.wake();
    }
    return work;
  }

  /** The hook `startInterrupts` of the contract. */
  startInterrupts(): boolean {
    // No event tells of a fence that was passed: that is looked at here, when the slow path has nothing left.
    const { ready } = this;
    const { gate } = this.receive;
    if (gate.isDue || this.refused.length > 0) return true;
    if (gate.isShut) return false;
    if (ready.vi.prime()) return true;
    if (this.interrupted) {
      this.interrupted = false;
      ready.interrupt.unmask();
    }
    return false;
  }

  /** The hook `stopInterrupts` of the contract. */
  stopInterrupts(): void {
    this.ready.vi.disarm();
  }

  /** The hook `checkReady` of the contract. */
  checkReady(): boolean {
    const { vi } = this.ready;
    return this.frames.hasRoom && vi.transmitSpace > 0 && vi.transmitSpace >= this.wanted;
  }

  /** The hook `statistics` of the contract. */
  statistics(into: AcceleratorStatistics): void {
    const { statistics } = this.frames;
    const { counters } = this.receive;
    into.txFrames += statistics.txFrames;
    into.txBytes += statistics.txBytes;
    into.txErrors += statistics.txErrors;
    into.rxFrames += counters.rxFrames;
    into.rxBytes += counters.rxBytes;
    into.rxErrors += statistics.rxErrors + counters.strays + counters.dropped;
  }

  /** The hook `quiesce` of the contract. */
  async quiesce(): Promise<void> {
    this.started = this.active = false;
    this.frames.push();
    try {
      await ask(this.services, ControlMessage.quiesce, undefined, QUIESCE_MS);
    } catch (error) {
      this.services.log('warn', `the filters may still be there: ${String(error)}`);
      this.receive.giveUp();
    }
    this.services.schedulePoll();
    const { frames } = this;
    const { gate } = this.receive;
    await this.until(() => frames.transmitting === 0 && gate.held === 0 && !gate.isShut);
    gate.lift();
  }

  /** The hook `remove` of the contract. */
  async remove(): Promise<void> {
    this.started = this.active = false;
    this.answers.close();
    this.frames.abandon();
    this.receive.drop();
    // Received frames lie in the device's pages: the guest gets a while to be done with them.
    if (!(await this.until(() => this.frames.held === 0)))
      this.services.log('warn', `the guest still has ${this.frames.held} receive buffers; their pages go`);
    for (const release of this.releases.splice(0).reverse()) release();
  }

  /** The hook `describe` of the contract. */
  describe(): Readonly<Record<string, unknown>> {
    const { handover, vi, buffers } = this.ready;
    return {
      active: this.active,
      linkUp: this.linkUp,
      vi: { number: handover.vi, generation: handover.generation, ...vi.describe() },
      receiveBuffers: {
        count: buffers.count,
        pages: (buffers.count * buffers.bytes) / PAGE_BYTES,
        held: this.frames.held,
      },
      across: this.neighbours.describe(),
      ...this.receive.describe(),
      totals: { ...this.frames.statistics },
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
      ...this.choice.describe?.(),
    };
  }

  /** A frame from the NIC. */
  received(frame: Frame, filter: number, flags: number): void {
    this.receive.received(frame, filter, flags);
  }

  /** The NIC has sent a frame. */
  completed(frame: Frame): void {
    this.services.completed(frame);
  }

  /** The NIC refused a frame. After `remove` began netfront takes it back by itself. */
  failed(frame: Frame): void {
    this.refused.push(frame);
  }

  /** Link changes, reset, lost events. */
  event(type: number): void {
    if (type === EventType.link) this.lookAtLink();
    else if (type === EventType.reset) {
      this.receive.giveUp();
      this.services.failed('the NIC was reset, and this VI is gone');
    } else if (type === EventType.overflow)
      this.services.log('warn', 'the event queue was full; the NIC dropped frames');
  }

  /** Every reason to decline, before anybody asks whether there is room. */
  private whyNot(frame: Frame): Verdict {
    if (!this.active) return inactive;
    if (!this.linkUp) return linkDown;
    const { view, neighbours, headers } = this;
    const { address, length, totalBytes } = frame;
    if (length < ETHERNET_BYTES) return malformed;
    if (!neighbours.isUsual(address)) {
      if ((view.getUint8(address) & GROUP_BIT) !== 0) return broadcast;
      if (!neighbours.isAcross(address)) return unknownDestination;
      if (!neighbours.isOwn(address + SOURCE_AT)) return spoofed;
    }
    if (
      this.quick &&
      frame.segmentation === Segmentation.none &&
      isOrdinary(view, address, length, totalBytes)
    )
      return this.choice.ofOrdinary!(frame);
    headers.parse(address, length, totalBytes);
    // Of what has a list of addresses only IP goes: the bridge judges the rest.
    if (this.sources !== null && !this.sources.hasSource(headers)) return spoofed;
    return this.choice.of(frame, headers);
  }

  /** Room is asked for last: what would be declined is never answered busy. */
  private transmit(frame: Frame): Verdict {
    switch (this.frames.transmit(frame)) {
      case Transmit.taken:
        this.choice.sent?.(frame, this.headers, this.neighbours.now);
        return Verdict.sent;
      case Transmit.full:
        if (!this.ready.buses.has(frame)) return notRegistered;
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
    const frames = (bytesPerSecond * LONGEST_WAIT_S) / this.ready.handover.maxTransmitBytes;
    this.frames.limit(bytesPerSecond === 0 ? Infinity : Math.max(LEAST_IN_FLIGHT, frames | 0));
    this.services.schedulePoll();
    return true;
  }

  private lookAtLink(): boolean {
    this.linkUp = this.ready.vi.linkUp;
    return true;
  }

  /** Waits for a limited time; answers whether it came true. */
  private async until(done: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < LOOKS && !done(); looks++)
      await new Promise<void>((resolve) => void this.services.clock.after(LOOK_MS, resolve));
    return done();
  }
}
