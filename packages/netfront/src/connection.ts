/**
 * One connection with a backend: its rings, pages, channels and the task that works on them, from the moment
 * they are made until all of it is given back.
 *
 * Made by Netfront when the backend waits (InitWait), before the keys are written; closed when either side
 * leaves. A breach of the backend only marks it and tells Netfront, which closes it from outside of the task
 * (XSA-90). `run` is the device's poll: NAPI's shape, one budget for all of the device's work.
 */
import type { FrameSink, SharedPages } from '@netaccel/core-hooks';
import { initialiseRing } from '@netaccel/xen';
import type { EventChannel, Task } from '@netaccel/xen';
import { RX_RING_SLOTS, TX_RING_SLOTS } from '@netaccel/xen/netif';
import { BouncePages } from './bounce.js';
import type { Counters } from './counters.js';
import { SlowFlows } from './flow.js';
import type { Hooks } from './hooks.js';
import { Instructions } from './instructions.js';
import type { InstructionParts } from './instructions.js';
import { ReceivePath } from './receive.js';
import { FillTarget } from './receive-fill.js';
import type { FillOptions } from './receive-fill.js';
import { ReceiveRing } from './receive-ring.js';
import { TransmitPath } from './transmit.js';
import { TransmitBuffers } from './transmit-buffers.js';
import type { TransmitBufferOptions } from './transmit-buffers.js';
import { TransmitRing } from './transmit-ring.js';
import type { UnreadRings } from './unread.js';

/** Frames that are taken at once when a connection ends. */
const REST_BATCH = 64;

/** What a connection is made with. */
export interface ConnectionParts extends InstructionParts {
  readonly stack: FrameSink;
  readonly counters: Counters;
  readonly transmitBuffers: TransmitBufferOptions;
  /** Pages that each receive ring has. */
  readonly receivePages: number;
  readonly fill: FillOptions;
  /** The most that a plugin's queue holds. */
  readonly queueUnits: number;
  /** Takes over receive rings that the backend may still write to. */
  readonly unread: UnreadRings;
  /** A stopped queue goes again. */
  readonly onReady: () => void;
  /** The backend is not believed any more: close this connection. */
  readonly onBreach: (reason: string) => void;
}

/** One queue, as the handshake tells the backend of it. */
export interface QueueKeys {
  readonly txRingRef: number;
  readonly rxRingRef: number;
  readonly txPort: number;
  /** The same as `txPort` when one channel serves both. */
  readonly rxPort: number;
}

/** A channel, and what was consumed when its events were last let through. */
interface Line {
  readonly channel: EventChannel;
  fired: boolean;
  consumed: number;
  /** What its ring, or both, consumed. */
  readonly progress: () => number;
}

/** Everything that exists between a frontend and one backend. */
export class Connection {
  readonly buffers: TransmitBuffers;
  readonly transmit: TransmitPath;
  readonly receive: ReceivePath;
  /** What the backend is told besides frames. */
  readonly instructions: Instructions;
  /** What the backend must know to map and bind. */
  readonly keys: readonly QueueKeys[];
  /** Times that the task ran. */
  polls = 0;
  private readonly task: Task;
  private readonly lines: Line[] = [];
  private readonly rxChannels: EventChannel[] = [];
  private readonly transmitRings: TransmitRing[] = [];
  private readonly receiveRings: ReceiveRing[] = [];
  /** Gives back everything that was got, last first. */
  private readonly releases: (() => void)[] = [];
  private hooks: Hooks | null = null;
  private pluginArmed = false;
  private whenDry: (() => void) | null = null;
  private whenDrained: (() => void) | null = null;
  private closed = false;
  private broken = false;
  /** The backend may still put packets on the rings that are given back. */
  private mayWrite = false;

  /** @throws MachineError when memory, grants or ports are not to be had; nothing is held then. */
  constructor(private readonly parts: ConnectionParts) {
    const { domain, backend, agreement, counters } = parts;
    this.task = domain.loop.task((budget) => this.run(budget));
    this.releases.push(() => this.task.cancel());
    const raise = (): void => this.task.raise();
    try {
      const buffers = new TransmitBuffers(domain, backend, parts.transmitBuffers, !agreement.trusted, () =>
        this.transmit.bufferReturned(),
      );
      this.buffers = buffers;
      this.releases.push(() => buffers.retire());
      const slow = new SlowFlows();
      this.keys = Array.from({ length: agreement.queues }, () => this.openQueue(slow, raise));
      this.transmit = new TransmitPath(
        domain.memory,
        buffers,
        this.transmitRings,
        slow,
        agreement.transmit,
        counters,
        raise,
        parts.onReady,
      );
      this.receive = new ReceivePath(this.receiveRings, parts.stack, parts.queueUnits, counters);
      this.instructions = new Instructions(parts, this.transmitRings[0]!, this.releases, raise, (reason) =>
        this.fence(reason),
      );
    } catch (error) {
      this.giveBack();
      throw error;
    }
  }

  /** The backend is there: frames may go, and the backend gets pages to fill. */
  open(): void {
    this.transmit.open();
    const readable = this.buffers.shared.refs;
    void this.instructions.start(this.receiveRings.map(({ refs }) => ({ writable: refs, readable })));
  }

  /** Asks for a poll. */
  raise(): void {
    this.task.raise();
  }

  /** A plugin's hooks go live: from here on the task polls it, and transmit offers it frames. */
  attach(hooks: Hooks): void {
    this.hooks = hooks;
    this.pluginArmed = false;
    this.transmit.attach(hooks);
    this.receive.attach(hooks);
    this.task.raise();
  }

  /** Resolves when a poll of the plugin, begun after this, left nothing behind, and it has completed every frame. */
  dry(): Promise<void> {
    return new Promise((resolve) => {
      this.whenDry = resolve;
      this.task.raise();
    });
  }

  /** Takes no more frames of the stack; resolves when every one that was taken is sent and answered. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.whenDrained = resolve;
      this.transmit.suspend();
    });
  }

  /** The backend has let go of the rings: what it had put there is delivered. */
  collectRest(): void {
    if (this.closed || this.broken) return;
    let frames = 0;
    for (let n = this.receive.poll(REST_BATCH); n > 0; n = this.receive.poll(REST_BATCH)) frames += n;
    if (frames > 0) this.parts.stack.flush();
  }

  /** No data hook is called from here on. Frames that the plugin has are still its own. */
  unhook(): void {
    if (this.hooks !== null && this.pluginArmed) this.hooks.stopInterrupts();
    this.hooks = null;
    this.whenDry = null;
    this.pluginArmed = false;
    this.receive.detach();
    this.task.raise();
  }

  /**
   * Gives everything back. What the stack still holds keeps its pages until it lets go. Idempotent.
   * @param backendGone it has let go of the rings. Otherwise receive rings go to `parts.unread`, unless it is not believed.
   */
  close(backendGone: boolean): void {
    if (this.closed) return;
    this.closed = true;
    this.mayWrite = !backendGone && !this.broken;
    this.unhook();
    this.lastLook();
    this.transmit.close();
    if (this.receive.deliverBatch() > 0) this.parts.stack.flush();
    this.giveBack();
  }

  /** What the backend had put on the rings before it went is answered for: an event for it may never be handled. */
  private lastLook(): void {
    if (this.broken) return;
    this.transmit.collect(TX_RING_SLOTS);
    let received = 0;
    for (let left = this.receiveRings.length * RX_RING_SLOTS; left > 0;) {
      const more = this.receive.poll(left);
      if (more === 0) break;
      received += more;
      left -= more;
    }
    if (received > 0) this.parts.stack.flush();
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      polls: this.polls,
      stops: this.transmit.describeStops(),
      fast: this.transmit.fast.describe(),
      freeBuffers: this.buffers.free,
      ...this.instructions.describe(),
      queues: this.keys.map((keys, i) => ({
        ...keys,
        transmit: this.transmitRings[i]!.describe(),
        receive: this.receiveRings[i]!.describe(),
      })),
    };
  }

  /** Makes one queue's rings and channels. What was got is in `releases`, whatever fails. */
  private openQueue(slow: SlowFlows, raise: () => void): QueueKeys {
    const { domain, backend, agreement, counters, firstIndex } = this.parts;
    const index = this.receiveRings.length;
    const shareRing = (release: (page: SharedPages) => void): { address: number; ref: number } => {
      const page = domain.grants.share(backend, 1, 'write');
      this.releases.push(() => release(page));
      initialiseRing(domain.memory, page.address, firstIndex);
      return { address: page.address, ref: page.refs[0]! };
    };
    const tx = shareRing((page) => page.release());
    const rx = shareRing((page) => {
      if (this.mayWrite) this.parts.unread.keep(this.receiveRings[index]!, page);
      else page.release();
    });
    const transmitRing = new TransmitRing(
      domain.memory,
      tx.address,
      this.transmitRings.length,
      this.buffers,
      slow,
      counters,
      () => txLine.channel.notify(),
      firstIndex,
    );
    let bounce: BouncePages | null = null;
    if (!agreement.trusted) {
      bounce = new BouncePages(domain, this.parts.receivePages);
      this.releases.push(() => bounce!.retire());
    }
    const receiveRing = new ReceiveRing(
      domain,
      backend,
      rx.address,
      this.parts.receivePages,
      new FillTarget(this.parts.fill, agreement.receive.scatterGather, agreement.headroom !== null),
      agreement.receive,
      counters,
      bounce === null ? null : (head) => bounce.copy(head),
      raise,
      firstIndex,
    );
    this.releases.push(() => receiveRing.retire());
    this.transmitRings.push(transmitRing);
    this.receiveRings.push(receiveRing);
    const consumed = { tx: () => transmitRing.consumed, rx: () => receiveRing.consumed };
    const txLine = agreement.splitChannels
      ? this.listen(consumed.tx)
      : this.listen(() => consumed.tx() + consumed.rx());
    const rxLine = agreement.splitChannels ? this.listen(consumed.rx) : txLine;
    this.rxChannels.push(rxLine.channel);
    return {
      txRingRef: tx.ref,
      rxRingRef: rx.ref,
      txPort: txLine.channel.port,
      rxPort: rxLine.channel.port,
    };
  }

  private listen(progress: () => number): Line {
    const { domain, backend } = this.parts;
    const channel = domain.events.allocateUnbound(backend, () => {
      line.fired = true;
      this.task.raise();
    });
    const line: Line = { channel, fired: false, consumed: progress(), progress };
    this.releases.push(() => channel.close());
    this.lines.push(line);
    return line;
  }

  /** The poll: all of the device's work, at most `budget` of it; answers whether there is more. */
  private run(budget: number): boolean {
    if (this.closed) return false;
    this.polls++;
    if (this.pluginArmed) {
      this.pluginArmed = false;
      this.hooks?.stopInterrupts();
    }
    const { transmit, receive } = this;
    const misplaced = receive.deliverBatch();
    const collected = transmit.collect(budget);
    const received = receive.poll(budget);
    if (received + misplaced > 0) this.parts.stack.flush();
    this.post();
    transmit.step();
    if (!this.broken) this.instructions.groups?.pump();
    if (!this.broken) this.fence(this.breach());
    if (this.whenDry !== null && !receive.fastMore && transmit.fast.inFlight === 0) {
      this.whenDry();
      this.whenDry = null;
    }
    if (this.whenDrained !== null && transmit.drained) {
      this.whenDrained();
      this.whenDrained = null;
    }
    return collected >= budget || receive.more || !this.sleep();
  }

  private post(): void {
    const { receiveRings } = this;
    for (let i = 0; i < receiveRings.length; i++)
      if (receiveRings[i]!.post()) {
        this.parts.counters.notifications++;
        this.rxChannels[i]!.notify();
      }
  }

  /** Arms everything and looks again; false when there is work after all. Only then are events let through. */
  private sleep(): boolean {
    if (!this.broken && this.armRings()) return false;
    if (this.hooks !== null) {
      if (this.hooks.startInterrupts()) return false;
      this.pluginArmed = true;
    }
    for (let i = 0; i < this.lines.length; i++) {
      const line = this.lines[i]!;
      if (!line.fired || this.broken) continue;
      line.fired = false;
      const consumed = line.progress();
      const spurious = consumed === line.consumed;
      line.consumed = consumed;
      if (spurious) this.parts.counters.spuriousEvents++;
      line.channel.unmask(spurious);
    }
    return true;
  }

  private armRings(): boolean {
    let work = this.transmit.arm();
    for (let i = 0; i < this.receiveRings.length; i++) {
      const ring = this.receiveRings[i]!;
      ring.drained();
      if (ring.arm()) work = true;
    }
    return work;
  }

  /** After a breach no ring is touched any more; a plugin may still finish what it has. */
  private fence(reason: string | null): void {
    if (reason === null || this.broken) return;
    this.broken = true;
    this.transmit.disconnect();
    for (let i = 0; i < this.transmitRings.length; i++) {
      this.transmitRings[i]!.breach ??= reason;
      this.receiveRings[i]!.breach ??= reason;
    }
    this.parts.onBreach(reason);
  }

  private breach(): string | null {
    for (let i = 0; i < this.transmitRings.length; i++) {
      const reason = this.transmitRings[i]!.breach ?? this.receiveRings[i]!.breach;
      if (reason !== null) return reason;
    }
    return null;
  }

  private giveBack(): void {
    for (let release = this.releases.pop(); release !== undefined; release = this.releases.pop()) release();
  }
}
