/**
 * One queue of a connected vif: its two rings, its channels, and the task that serves them.
 *
 * Events only raise the task. A channel stays masked from its event until the task has found nothing more to do
 * (XSA-332): a guest that floods costs one run, and one that sends without need is let through ever later by
 * the machine. Made and closed by `Connection`, which owns the pages.
 */
import type { BackRing, Domain, EventChannel, Task } from '@netaccel/xen';
import type { Backlog } from './backlog.js';
import type { GuestReceive } from './receive.js';
import type { StallWatch } from './stall.js';
import type { Counters } from './statistics.js';
import type { GuestTransmit } from './transmit.js';

/** A channel and whether it waits to be unmasked. */
interface Doorbell {
  readonly channel: EventChannel;
  rang: boolean;
}

/** What a queue is put together from. */
export interface QueueParts {
  readonly txRing: BackRing;
  readonly transmit: GuestTransmit;
  readonly receive: GuestReceive;
  readonly backlog: Backlog;
  readonly stall: StallWatch;
  readonly counters: Counters;
  /** Packets that one run handles. */
  readonly budget: number;
  /** The guest broke the ring's rules. */
  breach(what: string): void;
}

/** One queue. */
export class Queue {
  /** Its receive half. */
  readonly receive: GuestReceive;
  /** Frames that wait for receive buffers. */
  readonly backlog: Backlog;
  private readonly task: Task;
  private readonly doorbells: Doorbell[] = [];
  private fenced = false;
  /** Something was done since events were last let through. */
  private worked = false;

  constructor(
    domain: Domain,
    private readonly parts: QueueParts,
  ) {
    this.receive = parts.receive;
    this.backlog = parts.backlog;
    this.task = domain.loop.task((budget) => this.run(Math.min(budget, parts.budget)));
  }

  /** Binds a channel whose events raise this queue's task. */
  bind(open: (handler: () => void) => EventChannel): EventChannel {
    const channel = open(() => {
      doorbell.rang = true;
      this.task.raise();
    });
    const doorbell: Doorbell = { channel, rang: false };
    this.doorbells.push(doorbell);
    return channel;
  }

  /** Looks at the rings soon: buffers or credit came back, or the queue begins. */
  raise(): void {
    this.parts.transmit.resume();
    this.task.raise();
  }

  /** The rings are not read any more. */
  fence(): void {
    this.fenced = true;
  }

  /** Ends the task, the channels and the timer, and lets go of every frame. */
  close(): void {
    this.fenced = true;
    this.task.cancel();
    for (const { channel } of this.doorbells) channel.close();
    this.parts.stall.stop();
    this.receive.close();
    this.backlog.close();
  }

  /** One run: what waits for the guest first, then what the guest sends; true when there is more. */
  private run(budget: number): boolean {
    if (this.isFenced()) return false;
    const { stall, backlog } = this.parts;
    const waiting = backlog.length;
    stall.look();
    if (waiting > 0) this.receive.drain();
    if (backlog.length < waiting) this.worked = true;
    const more = this.send(budget);
    if (!more) this.listen();
    return more;
  }

  /** Takes what the guest sends, up to `budget` packets; whether more waits, now that a notification is asked for. */
  private send(budget: number): boolean {
    const { txRing, transmit } = this.parts;
    if (this.isFenced() || transmit.isWaiting()) return false;
    const sent = transmit.poll(budget);
    if (sent > 0) this.worked = true;
    if (sent >= budget) return true;
    if (this.isFenced() || transmit.isWaiting()) return false;
    const more = txRing.arm();
    if (more < 0) this.parts.breach('tx request index');
    return more > 0;
  }

  /** A breach may be found anywhere below. */
  private isFenced(): boolean {
    return this.fenced;
  }

  /** Nothing more to do: events may come again. */
  private listen(): void {
    if (this.fenced) return;
    for (const doorbell of this.doorbells) {
      if (!doorbell.rang) continue;
      doorbell.rang = false;
      if (!this.worked) this.parts.counters.spuriousEvents++;
      doorbell.channel.unmask(!this.worked);
    }
    this.worked = false;
  }
}
