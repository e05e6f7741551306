/**
 * Transmit: one outgoing frame's way to the plugin or to a transmit ring, and when the queue stops and wakes.
 *
 * `startXmit` is called by the stack; `step` and `collect` by the poll task, never from inside a hook, so a
 * plugin is not re-entered when the stack answers a wake with more frames. What a frame needs to go slow is
 * made sure of before it is offered: whatever a plugin does, the slow path can take the frame.
 *
 * Stop and wake: the queue stops for a reason, each reason is looked at again after it was noted down, and the
 * stack is told only when no reason is left. So no wake is lost, and neither path is woken into the other's
 * wall.
 */
import { Checksum, Segmentation, releaseChain } from '@netaccel/core-hooks';
import type { Frame, Memory } from '@netaccel/core-hooks';
import { ETHERNET_HEADER_BYTES, MAX_PACKET_BYTES, MIN_SLOTS_PER_PACKET } from '@netaccel/xen/netif';
import { fillChecksum } from './checksum.js';
import type { Counters } from './counters.js';
import { FastTransmit, Offer } from './fast-transmit.js';
import { UNSORTED, flowBucket } from './flow.js';
import type { SlowFlows } from './flow.js';
import type { Hooks } from './hooks.js';
import { Place, isPlain } from './transmit-buffers.js';
import type { TransmitBuffers, TransmitFrame } from './transmit-buffers.js';
import { pagesOf } from './transmit-ring.js';
import type { TransmitRing } from './transmit-ring.js';

/** What the backend takes, as far as transmit must know. */
export interface TransmitFeatures {
  /** Packets in several pieces. */
  readonly scatterGather: boolean;
  /** Segments of TCP over IPv4 that are cut later. */
  readonly segmentationTcpv4: boolean;
  /** The same over IPv6. */
  readonly segmentationTcpv6: boolean;
  /** Blank checksums over IPv4. */
  readonly checksumIpv4: boolean;
  /** Blank checksums over IPv6. */
  readonly checksumIpv6: boolean;
}

/** Why the queue is stopped; several at once. */
export const Stop = {
  /** No backend is connected. */
  disconnected: 1,
  /** A transmit ring has no room for the largest packet. */
  ringFull: 2,
  /** A frame is kept for the plugin or for order. */
  frameKept: 4,
  /** The plugin is on its way out and has frames under way. */
  quiescing: 8,
  /** No buffer to copy a frame to. */
  noBuffer: 16,
  /** The guest is to be saved or moved: what was taken is sent, nothing more is taken. */
  suspending: 32,
} as const;

/** The stack handed in a frame that it had handed in already: its own mistake. */
export class FrameInUseError extends Error {
  /** Stable code for programs. */
  readonly code = 'FRAME_IN_USE';
  /** @param index the buffer's number. */
  constructor(index: number) {
    super(
      `startXmit was given buffer ${index} again before it came home; expected a frame from allocate(), ` +
        'or a held copy; after startXmit answers true the frame is not the caller’s any more',
    );
    this.name = 'FrameInUseError';
  }
}

/** The transmit half of a connection. */
export class TransmitPath {
  /** The plugin's side. */
  readonly fast: FastTransmit;
  /** {@link Stop} reasons that hold now. */
  stops: number = Stop.disconnected;
  /** Told when a frame is kept: somebody may watch that it does not stay for ever. */
  onKept: (() => void) | null = null;
  private refused = false;
  private readonly view: DataView;

  /**
   * @param memory the guest's memory.
   * @param buffers the transmit memory.
   * @param rings one per queue.
   * @param slow which flows have frames on the rings.
   * @param features what the backend takes.
   * @param counters the device's totals.
   * @param raise asks for a poll.
   * @param onReady tells the stack that a stopped queue goes again.
   */
  constructor(
    private readonly memory: Memory,
    private readonly buffers: TransmitBuffers,
    private readonly rings: readonly TransmitRing[],
    private readonly slow: SlowFlows,
    private readonly features: TransmitFeatures,
    private readonly counters: Counters,
    private readonly raise: () => void,
    private readonly onReady: () => void,
  ) {
    const { buffer, byteOffset, byteLength } = memory.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.fast = new FastTransmit(buffers, slow, counters);
  }

  /**
   * Sends one frame.
   * @param more another follows at once, or `flush` does: neither the backend nor the plugin need be notified yet.
   * @returns true when it was taken: sent, kept, or dropped and counted; false when the queue is stopped, the
   * frame is the caller's, and `onReady` will be called.
   */
  startXmit(frame: Frame, more: boolean): boolean {
    if (this.stops !== 0) return this.refuse();
    const head = this.sendable(frame) ? frame : this.prepare(frame);
    if (head === null) return this.isStopped() ? this.refuse() : true;
    // Flows are told apart for the plugin's sake and to choose a queue; with neither, nobody asks.
    const sorted = this.fast.offering || this.rings.length > 1;
    const bucket = sorted ? flowBucket(this.view, head.address, head.length) : UNSORTED;
    const ring = this.ringOf(bucket);
    head.bucket = bucket;
    if (this.fast.offering) {
      const offer = this.offer(ring, head, bucket, more);
      if (offer === Offer.sent) return this.held(more);
      if (offer === Offer.kept) return this.stop(Stop.frameKept);
    }
    this.sendSlow(ring, head);
    if (!ring.hasRoom() && !this.makeRoom(ring)) return this.stop(Stop.ringFull);
    return this.held(more);
  }

  /** Nothing follows what `more` held back: the backend and the plugin learn of it. */
  flush(): void {
    this.fast.flush();
    for (let i = 0; i < this.rings.length; i++) this.rings[i]!.publish();
  }

  /** The stack may send, and is told so. */
  open(): void {
    this.stops &= ~Stop.disconnected;
    this.refused = true;
    this.raise();
  }

  /** The backend is not believed any more: nothing goes to it. */
  disconnect(): void {
    this.stops |= Stop.disconnected;
  }

  /** Nothing more is taken; what was taken goes on its way. */
  suspend(): void {
    this.stops |= Stop.suspending;
    this.flush();
    this.raise();
  }

  /** Whether everything that was taken is sent and answered. */
  get drained(): boolean {
    if (this.fast.kept !== null || this.fast.inFlight > 0) return false;
    for (let i = 0; i < this.rings.length; i++) if (this.rings[i]!.outstanding > 0) return false;
    return true;
  }

  /** Takes the backend's answers, at most `budget` for each ring; whether more wait. */
  collect(budget: number): number {
    let done = 0;
    for (let i = 0; i < this.rings.length; i++) done += this.rings[i]!.collect(budget);
    return done;
  }

  /** Looks whether what stopped the queue is over, and tells the stack. From the poll task only. */
  step(): void {
    if ((this.stops & Stop.quiescing) !== 0 && this.fast.pending === 0) this.stops &= ~Stop.quiescing;
    if ((this.stops & Stop.ringFull) !== 0 && this.room()) this.stops &= ~Stop.ringFull;
    // The kept frame is older than any that the stack has: it goes first, and only when all else is clear.
    if ((this.stops & ~Stop.suspending) === Stop.frameKept) this.sendKept();
    if (this.stops !== 0 || !this.refused) return;
    this.refused = false;
    this.onReady();
  }

  /** Hooks are live from here on. */
  attach(hooks: Hooks): void {
    this.fast.attach(hooks);
  }

  /** The plugin is on its way out: nothing is sent until it has completed what it has. */
  quiesce(): void {
    this.fast.stopOffering();
    if (this.fast.inFlight > 0) this.stops |= Stop.quiescing;
    this.raise();
  }

  /** The plugin did not complete what it has in its time: the slow path goes on. */
  giveUpOrder(): void {
    this.fast.giveUpOrder();
    this.raise();
  }

  /** The plugin is gone: what it never completed comes back. Answers how many frames. */
  detach(): number {
    const missing = this.fast.detach();
    this.stops &= ~Stop.quiescing;
    this.raise();
    return missing;
  }

  /** A buffer came home to somebody who waited for one. */
  bufferReturned(): void {
    this.stops &= ~Stop.noBuffer;
    this.refused = true;
    this.raise();
  }

  /** Asks each ring for an event; true when one has answers already. */
  arm(): boolean {
    let waiting = false;
    for (let i = 0; i < this.rings.length; i++) if (this.rings[i]!.arm()) waiting = true;
    return waiting;
  }

  /** The connection is over: everything under way comes back. */
  close(): void {
    this.disconnect();
    this.fast.detach();
    if (this.fast.abandon()) this.counters.txUnanswered++;
    for (const ring of this.rings) ring.abandon();
  }

  /** Names of the reasons for which the queue is stopped. */
  describeStops(): string[] {
    return Object.entries(Stop)
      .filter(([, bit]) => (this.stops & bit) !== 0)
      .map(([name]) => name);
  }

  /** Whether a frame can go slow as it is: the common case, of one piece in its own buffer. */
  private sendable(frame: Frame): frame is TransmitFrame {
    return (
      this.buffers.owns(frame) &&
      frame.place === Place.stack &&
      isPlain(frame) &&
      frame.totalBytes === frame.length &&
      frame.length >= ETHERNET_HEADER_BYTES
    );
  }

  /**
   * Makes a frame fit for the slow path, by a copy where that helps.
   * @returns null when it was dropped and counted, or when a buffer is missing: then the queue is stopped.
   */
  private prepare(frame: Frame): TransmitFrame | null {
    const { buffers, features } = this;
    if (buffers.owns(frame) && frame.place !== Place.stack) throw new FrameInUseError(frame.index);
    let bytes = 0;
    let slots = 0;
    for (let f: Frame | null = frame; f !== null; f = f.next) {
      bytes += f.length;
      slots += pagesOf(f.address, f.length);
    }
    if (bytes < ETHERNET_HEADER_BYTES || bytes > MAX_PACKET_BYTES || bytes !== frame.totalBytes) {
      this.counters.txBadLength++;
      return this.drop(frame);
    }
    const { segmentation } = frame;
    if (
      (segmentation === Segmentation.tcpv4 && !features.segmentationTcpv4) ||
      (segmentation === Segmentation.tcpv6 && !features.segmentationTcpv6) ||
      (!features.scatterGather && bytes > buffers.pieceBytes)
    ) {
      this.counters.txUnsupported++;
      return this.drop(frame);
    }
    const most = features.scatterGather ? MIN_SLOTS_PER_PACKET : 1;
    const fits = frame.length > 0 && slots <= most;
    if (fits && buffers.owns(frame) && buffers.holdsChain(frame)) return frame;
    const copy = buffers.gather(frame);
    if (copy === null) {
      this.stops |= Stop.noBuffer;
      return null;
    }
    this.counters.txCopied++;
    releaseChain(frame);
    return copy;
  }

  /** Offers a frame; what the backend has answered by now is collected first, if it is in the frame's way. */
  private offer(ring: TransmitRing, head: TransmitFrame, bucket: number, more: boolean): Offer {
    if (this.slow.busy(bucket)) ring.collect(ring.outstanding);
    return this.fast.offer(head, bucket, more);
  }

  private sendSlow(ring: TransmitRing, head: TransmitFrame): void {
    if (head.checksum === Checksum.blank && !(this.features.checksumIpv4 && this.features.checksumIpv6))
      if (fillChecksum(this.memory, head, this.features)) this.counters.txChecksummed++;
    ring.send(head);
  }

  private sendKept(): void {
    const frame = this.fast.kept!;
    const serial = this.fast.keptSerial;
    const offer = this.fast.retry();
    if (offer === Offer.kept) {
      if (this.fast.keptSerial !== serial) this.onKept?.();
      return;
    }
    this.stops &= ~Stop.frameKept;
    if (offer === Offer.sent) return;
    const ring = this.ringOf(frame.bucket);
    this.sendSlow(ring, frame);
    ring.publish();
    if (!ring.hasRoom()) this.stop(Stop.ringFull);
  }

  private drop(frame: Frame): null {
    releaseChain(frame);
    return null;
  }

  private held(more: boolean): true {
    if (!more) this.flush();
    return true;
  }

  /** Notes why, shows what was held back (nothing may follow it now), and has the reason looked at again. */
  private stop(reason: number): true {
    this.stops |= reason;
    this.counters.txStops++;
    this.flush();
    if (reason === Stop.frameKept) {
      this.onKept?.();
      this.raise();
    } else if (this.arm()) this.raise();
    return true;
  }

  private isStopped(): boolean {
    return this.stops !== 0;
  }

  /** What the backend has answered by now may be enough. */
  private makeRoom(ring: TransmitRing): boolean {
    return ring.collect(ring.outstanding) > 0 && ring.hasRoom();
  }

  private refuse(): false {
    this.refused = true;
    return false;
  }

  private ringOf(bucket: number): TransmitRing {
    const { rings } = this;
    return rings.length === 1 ? rings[0]! : rings[bucket % rings.length]!;
  }

  private room(): boolean {
    for (let i = 0; i < this.rings.length; i++) if (!this.rings[i]!.hasRoom()) return false;
    return true;
  }
}
