/**
 * Frames over a VI: what a NIC's driver and a frontend plugin have in common.
 *
 * Outgoing frames are held until the NIC is done with them; receive buffers are frames of a pool that go back to
 * the NIC when their last holder releases them. Nothing is copied. The owner is told through a
 * {@link FrameViHandler}; one thread uses it; nothing is allocated after the constructor.
 */
import { Checksum, Frame, FreeFrames, Segmentation, holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { NOT_REGISTERED } from './bus-map.js';
import type { BusMap } from './bus-map.js';
import { EventBatch } from './events.js';
import { EventFlag, EventType, MAX_FRAGMENTS, TRANSMIT_BATCH, TransmitFlag } from './layouts.js';
import type { VirtualInterface } from './vi.js';

/** Who is told. */
export interface FrameViHandler {
  /**
   * A frame arrived. The call's reader holds it to keep it. `filter` is the id of the filter it came by, 0 for none;
   * `flags` are {@link EventFlag}s: what the NIC saw in its headers.
   */
  received(frame: Frame, filter: number, flags: number): void;
  /** The NIC is done with a frame; it is no longer held for it. */
  completed(frame: Frame): void;
  /** A frame was not sent: the transmit queue stopped at it and has been started again. Called instead of `completed`. */
  failed(frame: Frame): void;
  /** Any other event: link, reset, overflow, software. `detail` is the value put, `reason` 1 for link up. */
  event(type: number, detail: number, reason: number): void;
}

/** What {@link FrameVi.transmit} answers. */
export const Transmit = {
  /** The frame is held until `completed` or `failed`. */
  taken: 0,
  /** No descriptors are free; try again after a completion. */
  full: 1,
  /** Part of it lies in memory that the NIC was not told of. */
  notRegistered: 2,
  /** It has more fragments than one transmit can name. */
  tooLong: 3,
} as const;
/** One of {@link Transmit}. */
export type Transmit = (typeof Transmit)[keyof typeof Transmit];

/** Receive buffers given to the NIC at once, at least; fewer only while it is short of them. */
const REPOST_BATCH = 16;

/**
 * Receive buffers a power of two apart share a few sets of the cache, and their headers would push each other out:
 * each begins a few lines later than its neighbour, where buffers have that much to spare over an ordinary frame.
 */
const COLOURS = 8;
const CACHE_LINE_BYTES = 64;
const COLOURED_BYTES = 2048;

/** Counters of a {@link FrameVi}; exact to 2^53. */
export interface FrameViStatistics {
  /** Frames given to the NIC. */
  txFrames: number;
  /** Bytes of them. */
  txBytes: number;
  /** Frames that the NIC refused or never completed. */
  txErrors: number;
  /** Frames received. */
  rxFrames: number;
  /** Bytes of them. */
  rxBytes: number;
  /** Buffers that the NIC consumed without a frame, and pieces of frames whose head or tail is missing. */
  rxErrors: number;
}

/** A VI that speaks in frames. */
export class FrameVi {
  /** Totals since it was made. */
  readonly statistics: FrameViStatistics = {
    txFrames: 0,
    txBytes: 0,
    txErrors: 0,
    rxFrames: 0,
    rxBytes: 0,
    rxErrors: 0,
  };
  private readonly batch: EventBatch;
  // Transmit: frames by id; ids that are done and not reported yet.
  private readonly inFlight: (Frame | null)[];
  private readonly freeIds: Int32Array;
  private freeTop: number;
  /** Free ids that stay free: see {@link limit}. */
  private spare = 0;
  private readonly unbundled = new Int32Array(TRANSMIT_BATCH);
  private readonly done: Int32Array;
  private readonly lost: Int32Array;
  private doneHead = 0;
  private doneTail = 0;
  private readonly addresses = new Uint32Array(MAX_FRAGMENTS);
  private readonly lengths = new Uint32Array(MAX_FRAGMENTS);
  // Receive: one frame for each buffer; those that the NIC does not have are free.
  private readonly buffers: Frame[];
  private readonly buses: Uint32Array;
  private readonly freeBuffers = new FreeFrames();
  /**
   * When what the handler is being told of happened: of a VI that was allocated with `timestamps`, until then 0.
   * Seconds and nanoseconds of the NIC's clock, and what that is worth: bits of `ClockState`.
   */
  readonly time = { seconds: 0, nanoseconds: 0, state: 0 };
  private head: Frame | null = null;
  private tail: Frame | null = null;
  private headFlags = 0;
  private stopped = false;

  /**
   * @param vi the VI; nothing else polls it.
   * @param map where memory is on the bus; receive buffers are registered in it already.
   * @param receive start, number and size of the receive buffers.
   * @param handler who is told.
   * @param pollBatch events that are taken from the queue at once.
   */
  constructor(
    readonly vi: VirtualInterface,
    private readonly map: BusMap,
    receive: { readonly address: Address; readonly count: number; readonly bytes: number },
    private readonly handler: FrameViHandler,
    pollBatch = 64,
  ) {
    this.batch = new EventBatch(pollBatch);
    const ids = vi.transmitCapacity;
    this.inFlight = new Array<Frame | null>(ids).fill(null);
    this.freeIds = Int32Array.from({ length: ids }, (_, i) => i);
    this.freeTop = ids;
    this.done = new Int32Array(ids);
    this.lost = new Int32Array(ids);
    const colours = receive.bytes >= COLOURED_BYTES ? COLOURS : 1;
    const capacity = receive.bytes - (colours - 1) * CACHE_LINE_BYTES;
    this.buffers = Array.from({ length: receive.count }, (_, i) => {
      const home = receive.address + i * receive.bytes + (i % colours) * CACHE_LINE_BYTES;
      return new Frame(this.freeBuffers, i, home, capacity);
    });
    this.buses = Uint32Array.from(this.buffers, (frame) => {
      const bus = map.find(frame.home, frame.capacity);
      if (bus === NOT_REGISTERED)
        throw new RangeError(
          `receive buffer ${frame.index} is not registered with the NIC; register its pages first`,
        );
      return bus;
    });
    for (let i = receive.count - 1; i >= 0; i--) this.freeBuffers.put(this.buffers[i]!);
  }

  /** Frames given to the NIC and not completed yet. */
  get transmitting(): number {
    return this.inFlight.length - this.freeTop;
  }

  /** Whether the next frame may be taken, if there are descriptors for it. */
  get hasRoom(): boolean {
    return this.freeTop > this.spare;
  }

  /** Has at most that many frames with the NIC, 1 at least: what waits there for long is better kept by its owner. */
  limit(frames: number): void {
    this.spare = this.inFlight.length - Math.max(1, Math.min(frames, this.inFlight.length));
  }

  /** Receive buffers that neither the NIC nor this has: somebody holds their frames. */
  get held(): number {
    return this.buffers.length - this.freeBuffers.count - this.vi.receiveFill;
  }

  /** Writes a frame's descriptors; {@link push} rings the doorbell. */
  transmit(frame: Frame): Transmit {
    if (this.freeTop <= this.spare) return Transmit.full;
    const id = this.freeIds[this.freeTop - 1]!;
    let flags = frame.checksum === Checksum.blank ? TransmitFlag.checksum : 0;
    if (frame.segmentation !== Segmentation.none) flags |= TransmitFlag.segment;
    const bus = frame.next === null ? this.map.find(frame.address, frame.length) : NOT_REGISTERED;
    if (bus !== NOT_REGISTERED) {
      if (!this.vi.transmitInit(bus, frame.length, id, flags, frame.segmentBytes)) return Transmit.full;
    } else {
      const n = this.gather(frame);
      if (n <= 0) return n === 0 ? Transmit.notRegistered : Transmit.tooLong;
      if (!this.vi.transmitvInit(this.addresses, this.lengths, n, id, flags, frame.segmentBytes))
        return Transmit.full;
    }
    this.freeTop--;
    this.inFlight[id] = frame;
    holdChain(frame);
    this.statistics.txFrames++;
    this.statistics.txBytes += frame.totalBytes;
    return Transmit.taken;
  }

  /** Rings the doorbell for what {@link transmit} wrote. */
  push(): void {
    this.vi.transmitPush();
  }

  /** Gives the NIC every free receive buffer, if there are enough of them or it is short. */
  replenish(): void {
    const { vi, freeBuffers, buses } = this;
    if (freeBuffers.count < REPOST_BATCH && vi.receiveFill > REPOST_BATCH) return;
    if (this.stopped) return;
    for (let buffer = freeBuffers.take(); buffer !== null; buffer = freeBuffers.take())
      if (!vi.receiveInit(buses[buffer.index]!, buffer.capacity, buffer.index)) {
        freeBuffers.put(buffer);
        break;
      }
    vi.receivePush();
  }

  /**
   * Takes events and tells the handler.
   * @param budget frames received and completed at most.
   * @returns how many; fewer than the budget says that nothing is left.
   */
  poll(budget: number): number {
    let work = this.reportDone(budget);
    while (work < budget) {
      const n = this.vi.poll(this.batch, Math.min(budget - work, this.batch.capacity));
      if (n === 0) break;
      work += this.takeEvents(n);
      if (work < budget) work += this.reportDone(budget - work);
    }
    this.replenish();
    return work;
  }

  /** No frame is taken and no buffer posted from here on; events can still be polled. */
  stop(): void {
    this.stopped = true;
    this.vi.stop();
  }

  /**
   * Gives up every frame that the NIC never completed: each is reported as failed. Frames that lie in the queue go to
   * nobody any more and count as errors: of a VI that went with a reset no one else counts them.
   */
  abandon(): void {
    this.dropUntaken();
    this.stop();
    this.reportDone(this.inFlight.length);
    for (let id = 0; id < this.inFlight.length; id++) this.finish(id, false);
    if (this.head !== null) this.statistics.rxErrors++; // its tail is not taken any more
    this.dropPartial();
  }

  /** Fragments of a chain as the bus has them; 0 when part of it is not registered, -1 when they are too many. */
  private gather(head: Frame): number {
    let n = 0;
    for (let f: Frame | null = head; f !== null; f = f.next) {
      n = this.map.gather(f.address, f.length, this.addresses, this.lengths, n);
      if (n <= 0) return n;
    }
    return n;
  }

  private takeEvents(n: number): number {
    const { type, flags, id, bytes, detail } = this.batch;
    let work = 0;
    for (let i = 0; i < n; i++) {
      switch (type[i]) {
        case EventType.receive:
          work++;
          this.receive(this.buffers[id[i]!]!, bytes[i]!, flags[i]!, detail[i]!);
          break;
        case EventType.transmit:
          this.unbundle(detail[i]!);
          break;
        case EventType.receiveDiscard:
          work++;
          this.statistics.rxErrors++;
          this.dropPartial();
          this.discard(this.buffers[id[i]!]!);
          break;
        case EventType.transmitError:
          this.restart(detail[i]!);
          break;
        case EventType.time:
          this.time.seconds = detail[i]! >>> 0;
          this.time.nanoseconds = id[i]!;
          this.time.state = this.batch.reason(i);
          break;
        default:
          this.handler.event(type[i]!, detail[i]!, this.batch.reason(i));
      }
    }
    return work;
  }

  /** Takes what both rings can have put into the queue, and tells nobody. */
  private dropUntaken(): void {
    const { vi, batch, buffers, statistics } = this;
    const { type, flags, id, detail } = batch;
    for (let left = vi.transmitCapacity + vi.receiveCapacity, n = 1; left > 0 && n > 0; left -= n) {
      n = vi.poll(batch);
      for (let i = 0; i < n; i++)
        if (type[i] === EventType.transmit) this.unbundle(detail[i]!);
        else if (type[i] === EventType.receive || type[i] === EventType.receiveDiscard) {
          if (type[i] === EventType.receiveDiscard || (flags[i]! & EventFlag.start) !== 0)
            statistics.rxErrors++;
          this.discard(buffers[id[i]!]!);
        }
    }
  }

  private receive(buffer: Frame, length: number, flags: number, filter: number): void {
    buffer.holders = 1;
    buffer.describe(buffer.home, length);
    if ((flags & (EventFlag.start | EventFlag.continues)) === EventFlag.start && this.head === null) {
      this.hand(buffer, flags, filter);
      return;
    }
    this.join(buffer, flags, filter);
  }

  /** A frame over several buffers: start, continues, and a last one without continues. */
  private join(buffer: Frame, flags: number, filter: number): void {
    const { head } = this;
    if ((flags & EventFlag.start) !== 0) {
      if (head !== null) {
        this.statistics.rxErrors++; // its tail never came
        this.dropPartial();
      }
      this.head = this.tail = buffer;
      this.headFlags = flags;
    } else if (head === null) {
      this.statistics.rxErrors++; // its head never came
      buffer.release();
      return;
    } else {
      this.tail!.next = buffer;
      this.tail = buffer;
      head.totalBytes += buffer.length;
    }
    if ((flags & EventFlag.continues) !== 0) return;
    const whole = this.head!;
    this.head = this.tail = null;
    this.hand(whole, this.headFlags | (flags & ~EventFlag.start), filter);
  }

  private hand(frame: Frame, flags: number, filter: number): void {
    if ((flags & EventFlag.checksumGood) !== 0) frame.checksum = Checksum.good;
    else if ((flags & EventFlag.checksumBlank) !== 0) frame.checksum = Checksum.blank;
    else if ((flags & EventFlag.checksumBad) !== 0) frame.checksum = Checksum.bad;
    this.statistics.rxFrames++;
    this.statistics.rxBytes += frame.totalBytes;
    this.handler.received(frame, filter, flags);
    releaseChain(frame);
  }

  private discard(buffer: Frame): void {
    buffer.holders = 1;
    buffer.release();
  }

  private dropPartial(): void {
    if (this.head !== null) releaseChain(this.head);
    this.head = this.tail = null;
  }

  private unbundle(position: number): void {
    const { unbundled, done } = this;
    const mask = done.length - 1;
    for (;;) {
      const n = this.vi.transmitUnbundle(position, unbundled);
      for (let k = 0; k < n; k++) done[this.doneTail++ & mask] = unbundled[k]!;
      if (n < unbundled.length) return;
    }
  }

  private reportDone(budget: number): number {
    const { done } = this;
    const mask = done.length - 1;
    let work = 0;
    for (; this.doneHead !== this.doneTail && work < budget; work++)
      this.finish(done[this.doneHead++ & mask]!, true);
    if (this.doneHead === this.doneTail) this.doneHead = this.doneTail = 0;
    return work;
  }

  private finish(id: number, sent: boolean): void {
    const frame = this.inFlight[id] ?? null;
    if (frame === null) return;
    this.inFlight[id] = null;
    this.freeIds[this.freeTop++] = id;
    if (sent) this.handler.completed(frame);
    else {
      this.statistics.txErrors++;
      this.handler.failed(frame);
    }
    releaseChain(frame);
  }

  private restart(position: number): void {
    this.unbundle(position);
    const { lost } = this;
    const n = this.vi.transmitReinitialise(lost);
    for (let k = 0; k < n; k++) this.finish(lost[k]!, false);
  }
}
