/**
 * The guest's half of a plugin over a VI: the hooks that netfront calls, all but the choice of which frames the NIC
 * can send, which is the plugin's {@link FrameChoice}. For backend halves that open with one fence: see `vi-backend.ts`.
 *
 * Nothing is copied: frames are sent from netfront's own memory and delivered in the device's receive buffers. The
 * hooks allocate nothing, await nothing and throw nothing: they run for each frame.
 */
import { Verdict, declined } from '@netaccel/core-hooks';
import type {
  AcceleratorStatistics,
  Capabilities,
  Frame,
  FrontendAccelerator,
  FrontendServices,
  ReceiveFence,
} from '@netaccel/core-hooks';
import { Answers } from './answer.js';
import { mostPieces } from './bus-map.js';
import { FrameVi, Transmit } from './frame-vi.js';
import type { FrameViHandler } from './frame-vi.js';
import { ETHERNET_BYTES, FrameHeaders } from './headers.js';
import { EventFlag, EventType } from './layouts.js';
import { ReceiveMerger } from './merge.js';
import type { HandoverMessage } from './messages.js';
import { Neighbours } from './neighbours.js';
import { OwnAddresses } from './own-addresses.js';
import { ControlMessage, decodeAddress, decodeFence } from './protocol.js';
import { ask, setUpVi } from './set-up.js';
import type { ReadyVi } from './set-up.js';

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
  /** Makes the choice, once it is known what the VI can do. */
  choice(this: void, can: HandoverMessage): FrameChoice;
}

/** See the top of the file. */
export class ViFrontend implements FrontendAccelerator, FrameViHandler {
  private readonly bytes: Uint8Array;
  private readonly headers: FrameHeaders;
  private readonly neighbours: Neighbours;
  /** The guest's own IP addresses; null when any will do. */
  private readonly sources: OwnAddresses | null;
  private readonly choice: FrameChoice;
  private readonly answers: Answers;
  private readonly frames: FrameVi;
  private readonly merger: ReceiveMerger | null;
  /** Frames are taken at all: the slow path's are delivered, and nobody takes the device down. */
  private active = false;
  private linkUp: boolean;
  /** What the slow path has to deliver first; null until the other half has said so. */
  private fence: ReceiveFence | null = null;
  /** It has: what the NIC has may be taken. */
  private open = false;
  private quiescing = false;
  /** Descriptors that a frame answered `busy` needs; 0 when none waits. */
  private wanted = 0;
  /** Frames that the NIC refused: given back by polls, within their budget. */
  private readonly refused: Frame[] = [];
  private readonly counters = { rxFrames: 0, rxBytes: 0, strays: 0 };
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
    this.bytes = memory.bytes;
    this.headers = new FrameHeaders(memory);
    this.neighbours = new Neighbours(memory, vif.mac);
    this.neighbours.now = clock.now();
    this.linkUp = ready.vi.linkUp;
    const { addresses } = ready.handover;
    this.sources = addresses === undefined ? null : new OwnAddresses(addresses);
    this.choice = plan.choice(ready.handover);
    this.merger =
      plan.capabilities.receiveMerging === true
        ? new ReceiveMerger(memory, { deliver: (frame) => this.deliver(frame), flush: () => undefined })
        : null;
    this.frames = new FrameVi(ready.vi, ready.buses, ready.buffers, this);
    this.frames.replenish();
    this.answers = new Answers(mailbox, (reason) => services.failed(reason));
    this.answers.to(ControlMessage.open, decodeFence, (fence) => {
      this.fence = fence;
      services.schedulePoll();
      return true;
    });
    this.answers.to(ControlMessage.remoteAddress, decodeAddress, (mac) => this.neighbours.across(mac));
    // One by one: what sends only would learn nothing anew once it had forgotten all.
    this.answers.to(ControlMessage.localAddress, decodeAddress, (mac) => {
      return (mac[0]! & GROUP_BIT) === 0 && this.neighbours.here(mac);
    });
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
    this.neighbours.now = this.services.clock.now();
    if (!this.isOpen()) return 0; // what is led here waits in the queue, behind the slow path
    let work = 0;
    for (; work < budget && this.refused.length > 0; work++) this.services.completed(this.refused.pop()!);
    if (work < budget) work += this.frames.poll(budget - work);
    this.merger?.flush();
    if (this.wanted > 0 && this.checkReady()) {
      this.wanted = 0;
      this.services.wake();
    }
    return work;
  }

  /** The hook `startInterrupts` of the contract. */
  startInterrupts(): boolean {
    // No event tells of a fence: it is looked at here, whenever the slow path has nothing left.
    const { open, ready } = this;
    if (!this.isOpen()) return false;
    if (!open || this.refused.length > 0 || ready.vi.prime()) return true;
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
    into.txFrames += statistics.txFrames;
    into.txBytes += statistics.txBytes;
    into.txErrors += statistics.txErrors;
    into.rxFrames += this.counters.rxFrames;
    into.rxBytes += this.counters.rxBytes;
    into.rxErrors += statistics.rxErrors + this.counters.strays;
  }

  /** The hook `quiesce` of the contract. */
  async quiesce(): Promise<void> {
    this.quiescing = true;
    this.active = false;
    this.frames.push();
    try {
      await ask(this.services, ControlMessage.quiesce, undefined, QUIESCE_MS);
    } catch (error) {
      this.services.log('warn', `the filters may still be there: ${String(error)}`);
    }
    this.services.schedulePoll();
    await this.until(() => this.frames.transmitting === 0 && this.isOpen());
    this.open = true; // what waits for a slow path that stands still is delivered by the last polls
  }

  /** The hook `remove` of the contract. */
  async remove(): Promise<void> {
    this.active = false;
    this.answers.close();
    this.frames.abandon();
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
      waitsForSlowPath: !this.open,
      vi: { number: handover.vi, generation: handover.generation, ...vi.describe() },
      receiveBuffers: { count: buffers.count, held: this.frames.held },
      across: this.neighbours.describe(),
      totals: { ...this.frames.statistics, ...this.counters },
      ...(this.merger !== null && { merging: { ...this.merger.statistics } }),
      peer: { mistakes: this.answers.mistakes, last: this.answers.lastMistake },
      ...this.choice.describe?.(),
    };
  }

  /** A frame from the NIC. */
  received(frame: Frame, _filter: number, flags: number): void {
    if (!this.neighbours.hear(frame)) {
      this.counters.strays++;
      return;
    }
    this.choice.received?.(frame, this.neighbours.now);
    if (this.merger === null || (flags & EventFlag.udp) !== 0) this.deliver(frame);
    else this.merger.push(frame);
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
    if (type === EventType.link) this.linkUp = this.ready.vi.linkUp;
    else if (type === EventType.reset) this.services.failed('the NIC was reset, and this VI is gone');
    else if (type === EventType.overflow)
      this.services.log('warn', 'the event queue was full; the NIC dropped frames');
  }

  /** To the stack: a frame, or several joined. */
  private deliver(frame: Frame): void {
    this.counters.rxFrames++;
    this.counters.rxBytes += frame.totalBytes;
    this.services.deliver(frame);
  }

  /** Every reason to decline, before anybody asks whether there is room. */
  private whyNot(frame: Frame): Verdict {
    if (!this.active) return inactive;
    if (!this.linkUp) return linkDown;
    const { neighbours, headers } = this;
    const { address, length } = frame;
    if (length < ETHERNET_BYTES) return malformed;
    if (!neighbours.isUsual(address)) {
      if ((this.bytes[address]! & GROUP_BIT) !== 0) return broadcast;
      if (!neighbours.isAcross(address)) return unknownDestination;
      if (!neighbours.isOwn(address + SOURCE_AT)) return spoofed;
    }
    headers.parse(address, length, frame.totalBytes);
    // Of what has a list of addresses only IP goes: the bridge judges the rest.
    if (this.sources !== null && !this.sources.hasSource(headers)) return spoofed;
    return this.choice.of(frame, headers);
  }

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

  /** Whether the slow path has delivered what it had before frames were led here. */
  private isOpen(): boolean {
    if (this.open || this.fence === null || !this.services.passed(this.fence)) return this.open;
    this.open = true;
    this.active = !this.quiescing;
    return true;
  }

  /** Waits for a limited time; answers whether it came true. */
  private async until(done: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < LOOKS && !done(); looks++)
      await new Promise<void>((resolve) => void this.services.clock.after(LOOK_MS, resolve));
    return done();
  }
}
