/**
 * What a device does with the frames that the NIC brings: whose they are, whether they may be delivered yet, TCP
 * segments joined. Owned by `ViFrontend`; runs for each frame, within its polls.
 */
import type { Frame, FrontendServices } from '@netaccel/core-hooks';
import type { Answers } from './answer.js';
import { FilterFences } from './filter-fences.js';
import { EventFlag } from './layouts.js';
import { ReceiveMerger } from './merge.js';
import { decodeFilter } from './messages.js';
import type { Neighbours } from './neighbours.js';
import { ControlMessage, decodeFence, encodeStray } from './protocol.js';
import { OneFence } from './receive-gate.js';
import type { ReceiveGate } from './receive-gate.js';
import type { ReadyVi } from './set-up.js';
import type { FrameChoice, ViFrontendPlan } from './vi-frontend.js';

/** The receive half of one device. */
export class ViReceive {
  /** Delivered; for somebody else; let go of because no fence came. */
  readonly counters = { rxFrames: 0, rxBytes: 0, strays: 0, dropped: 0 };
  /** When frames may be delivered. */
  readonly gate: ReceiveGate;
  private readonly merger: ReceiveMerger | null;
  /** Whether the other half knows its filters, and one of strays is under way to it. */
  private readonly hints: boolean;
  private hinting = false;

  /**
   * @param services what netfront handed over.
   * @param ready the device's VI.
   * @param plan of the device.
   * @param choice is shown each frame.
   * @param neighbours learn who is across the wire.
   * @param answers to the other half, which tells of fences.
   */
  constructor(
    private readonly services: FrontendServices,
    ready: ReadyVi,
    plan: ViFrontendPlan,
    private readonly choice: FrameChoice,
    private readonly neighbours: Neighbours,
    answers: Answers,
  ) {
    this.merger =
      plan.capabilities.receiveMerging === true
        ? new ReceiveMerger(services.memory, {
            deliver: (frame) => this.deliver(frame),
            flush: () => undefined,
          })
        : null;
    this.hints = plan.fences === 'filters';
    this.gate = this.hints ? this.filterFences(ready, answers) : this.oneFence(answers);
  }

  /** A frame from the NIC. */
  received(frame: Frame, filter: number, flags: number): void {
    if (!this.neighbours.hear(frame)) this.stray(filter);
    else if (this.gate.isOpen(filter)) this.take(frame, flags);
    else if (!this.gate.hold(filter, frame)) this.counters.dropped++;
  }

  /** A poll is over: see {@link ReceiveGate.polled}. */
  polled(empty: boolean, received: number): void {
    this.merger?.flush();
    this.gate.polled(empty, received);
  }

  /** No fence will come any more: from here on flows arrive by the slow path, past whatever waits. */
  giveUp(): void {
    this.counters.dropped += this.gate.giveUp();
  }

  /** Lets go of what waits. */
  drop(): void {
    this.counters.dropped += this.gate.drop();
  }

  /** For `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      ...this.gate.describe(),
      ...(this.merger !== null && { merging: { ...this.merger.statistics } }),
      received: { ...this.counters },
    };
  }

  /** A frame whose turn it is. UDP is never joined. */
  private take(frame: Frame, flags: number): void {
    this.choice.received?.(frame, this.neighbours.now);
    if (this.merger === null || (flags & EventFlag.udp) !== 0) this.deliver(frame);
    else this.merger.push(frame);
  }

  /** To the stack: a frame, or several joined. */
  private deliver(frame: Frame): void {
    this.counters.rxFrames++;
    this.counters.rxBytes += frame.totalBytes;
    this.services.deliver(frame);
  }

  private oneFence(answers: Answers): ReceiveGate {
    const { services } = this;
    const gate = new OneFence((fence) => services.passed(fence));
    answers.to(ControlMessage.open, decodeFence, (fence) => {
      gate.add(fence);
      services.schedulePoll();
      return true;
    });
    return gate;
  }

  private filterFences({ handover, buffers, eventCapacity }: ReadyVi, answers: Answers): ReceiveGate {
    const { services } = this;
    const gate = new FilterFences(
      handover.maxFilters,
      buffers.count,
      eventCapacity,
      (fence) => services.passed(fence),
      (frame) => this.take(frame, 0),
    );
    answers.to(ControlMessage.filter, decodeFilter, ({ added, filter, fence }) => {
      services.schedulePoll();
      return added ? gate.add(filter, fence) : gate.remove(filter);
    });
    return gate;
  }

  /** A filter brings what is not for this guest: the other half is told which, one hint at a time. */
  private stray(filter: number): void {
    this.counters.strays++;
    if (this.hints && !this.hinting) void this.hint(filter);
  }

  private async hint(filter: number): Promise<void> {
    this.hinting = true;
    try {
      await this.services.mailbox.request(ControlMessage.stray, encodeStray(filter >>> 0));
    } catch {
      // Only a hint: the next stray gives another.
    }
    this.hinting = false;
  }
}
