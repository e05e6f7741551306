/**
 * The driver's side of a virtual interface: what a guest's fast path, and the driver domain's NIC driver, hold.
 *
 * Verbs as in ef_vi: init writes descriptors, push rings the doorbell, poll fills the caller's batch, unbundle
 * turns a completion into the caller's own ids, prime arms the interrupt. Nothing here allocates after the
 * constructor. The rings are memory of the caller, zeroed, that the NIC was told of (`NicControl.allocateVi`);
 * one thread uses a VI.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import type { Memory, Registers } from '@netaccel/core-hooks';
import type { EventBatch } from './events.js';
import { Ev, Limit, Rx, Tx } from './bits.js';
import { Register } from './layouts.js';
import { ringMask, type ViRings } from './rings.js';

/** Registers, as the frame path names them; `Registers` takes byte offsets. */
enum At {
  transmitProducer = 0x00,
  receiveProducer = 0x04,
  eventConsumer = 0x08,
  eventProducer = 0x40,
  /** What is kept where a descriptor has no id; ids are integers from 0. */
  noId = -1,
}

/**
 * A virtual interface.
 *
 * @example
 * ```ts
 * vi.transmitInit(bus, 60, id);              // false: no space
 * vi.transmitPush();
 * const n = vi.poll(batch);
 * for (let i = 0; i < n; i++)
 *   if (batch.type[i] === EventType.transmit) {
 *     const done = vi.transmitUnbundle(batch.detail[i]!, ids);
 *     for (let k = 0; k < done; k++) free(ids[k]!);
 *   }
 * ```
 */
export class VirtualInterface {
  // Signed, so that a word always is a small integer to the engine.
  private readonly words: Int32Array;
  private readonly txBase: number;
  private readonly txMask: number;
  private readonly txIds: Int32Array;
  private readonly rxBase: number;
  private readonly rxMask: number;
  private readonly rxIds: Int32Array;
  private readonly eventBase: number;
  private readonly eventMask: number;
  // Free-running indices, kept as signed 32-bit integers so that they never become doubles.
  private txAdded: number;
  private txPushed: number;
  private txRemoved: number;
  private rxAdded: number;
  private rxPushed: number;
  private rxRemoved: number;
  private consumed: number;
  private released: number;
  private txHalted = false;
  private live = true;
  private overflowed = false;
  private bad = 0;

  /**
   * @param memory the memory that the rings are in.
   * @param registers the VI's register page.
   * @param rings as the NIC was told.
   */
  constructor(
    memory: Memory,
    private readonly registers: Registers,
    rings: ViRings,
  ) {
    const start = (rings.startIndex ?? 0) | 0;
    this.words = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.length >>> 2);
    this.txBase = rings.transmitRing >>> 2;
    this.txMask = ringMask('transmit', rings.transmitCapacity);
    this.rxBase = rings.receiveRing >>> 2;
    this.rxMask = ringMask('receive', rings.receiveCapacity);
    this.eventBase = rings.eventQueue >>> 2;
    this.eventMask = ringMask('event', rings.eventCapacity);
    this.txIds = new Int32Array(rings.transmitCapacity).fill(At.noId);
    this.rxIds = new Int32Array(rings.receiveCapacity).fill(At.noId);
    this.txAdded = this.txPushed = this.txRemoved = start;
    this.rxAdded = this.rxPushed = this.rxRemoved = start;
    this.consumed = this.released = start;
  }

  /** Transmit descriptors that the ring has. */
  get transmitCapacity(): number {
    return this.txMask + 1;
  }
  /** Transmit descriptors in use: written, and not unbundled yet. */
  get transmitFill(): number {
    return (this.txAdded - this.txRemoved) | 0;
  }
  /** Transmit descriptors that can be written now; 0 while the queue is halted or the VI is gone. */
  get transmitSpace(): number {
    return this.txHalted || !this.live ? 0 : this.txMask + 1 - this.transmitFill;
  }
  /** Receive descriptors that the ring has. */
  get receiveCapacity(): number {
    return this.rxMask + 1;
  }
  /** Receive buffers that the NIC has, or whose events were not polled yet. */
  get receiveFill(): number {
    return (this.rxAdded - this.rxRemoved) | 0;
  }
  /** Receive descriptors that can be written now. */
  get receiveSpace(): number {
    return this.live ? this.rxMask + 1 - this.receiveFill : 0;
  }
  /** True after a transmit error until {@link transmitReinitialise}. */
  get transmitHalted(): boolean {
    return this.txHalted;
  }
  /** False once the VI was stopped or the NIC was reset. */
  get isLive(): boolean {
    return this.live;
  }
  /** Events that made no sense: of an unknown type, or about a descriptor that the NIC does not have. */
  get badEvents(): number {
    return this.bad;
  }

  /**
   * Writes the descriptor of a frame in one piece.
   * @param address bus address of its first byte.
   * @param length its bytes.
   * @param id the caller's own, given back by {@link transmitUnbundle}.
   * @param flags `TransmitFlag.checksum`, `TransmitFlag.segment`, or both.
   * @param segmentBytes payload bytes of each segment, with `TransmitFlag.segment`.
   * @returns false when there is no space: nothing was written.
   */
  transmitInit(address: number, length: number, id: number, flags = 0, segmentBytes = 0): boolean {
    const added = this.txAdded;
    const mask = this.txMask;
    if (((added - this.txRemoved) | 0) > mask || this.txHalted || !this.live) return false;
    const words = this.words;
    const slot = this.txBase + ((added & mask) << Tx.wordShift);
    words[slot] = address;
    words[slot + 1] = length | (flags & (Tx.checksum | Tx.segment));
    words[slot + 2] = segmentBytes;
    this.txIds[added & mask] = id;
    this.txAdded = (added + 1) | 0;
    return true;
  }

  /**
   * Writes the descriptors of a frame in `count` pieces; the id comes back once, when all are done.
   * @returns false when there is not space for all: nothing was written.
   */
  transmitvInit(
    addresses: ArrayLike<number>,
    lengths: ArrayLike<number>,
    count: number,
    id: number,
    flags = 0,
    segmentBytes = 0,
  ): boolean {
    if (count < 1 || count > Limit.fragments || count > this.transmitSpace) return false;
    const { words, txBase, txMask, txIds } = this;
    let added = this.txAdded;
    for (let i = 0; i < count; i++) {
      const last = i === count - 1;
      const slot = txBase + ((added & txMask) << Tx.wordShift);
      words[slot] = addresses[i]!;
      words[slot + 1] =
        lengths[i]! | (i === 0 ? flags & (Tx.checksum | Tx.segment) : 0) | (last ? 0 : Tx.continues);
      words[slot + 2] = i === 0 ? segmentBytes : 0;
      txIds[added & txMask] = last ? id : At.noId;
      added = (added + 1) | 0;
    }
    this.txAdded = added;
    return true;
  }

  /** Takes back what was written since the last push, as if it had never been. */
  transmitUndo(): void {
    this.txAdded = this.txPushed;
  }

  /** Rings the transmit doorbell, if anything was written since it last rang. */
  transmitPush(): void {
    if (this.txAdded === this.txPushed) return;
    this.txPushed = this.txAdded;
    this.registers.write32(At.transmitProducer, this.txAdded >>> 0);
  }

  /**
   * Takes the ids of the frames that a transmit event says are done.
   * @param position the event's `detail`.
   * @param ids filled; `TRANSMIT_BATCH` long is enough for any event.
   * @returns how many ids. When it equals `ids.length`, call again with the same position.
   */
  transmitUnbundle(position: number, ids: Int32Array): number {
    const { txIds, txMask } = this;
    let removed = this.txRemoved;
    const done = (position - removed) | 0;
    if (done < 0 || done > ((this.txPushed - removed) | 0)) {
      this.bad++;
      return 0;
    }
    let n = 0;
    for (const end = position | 0; removed !== end && n < ids.length; removed = (removed + 1) | 0) {
      const id = txIds[removed & txMask]!;
      if (id !== At.noId) ids[n++] = id;
    }
    this.txRemoved = removed;
    return n;
  }

  /**
   * Starts the transmit queue again after a `transmitError` event, empty.
   * @param ids filled with the ids of the frames that were not sent, oldest first; as long as the ring.
   * @returns how many ids.
   */
  transmitReinitialise(ids: Int32Array): number {
    const { txIds, txMask } = this;
    let n = 0;
    for (let i = this.txRemoved; i !== this.txAdded; i = (i + 1) | 0) {
      const id = txIds[i & txMask]!;
      if (id !== At.noId) ids[n++] = id;
    }
    this.txRemoved = this.txPushed = this.txAdded;
    this.txHalted = false;
    this.registers.write32(At.transmitProducer, this.txAdded >>> 0);
    this.registers.write32(Register.transmitRestart, this.txAdded >>> 0);
    return n;
  }

  /**
   * Writes the descriptor of a receive buffer.
   * @param address bus address of its first byte.
   * @param length its bytes, 64 to 65535.
   * @param id the caller's own, given back with its event.
   * @returns false when there is no space: nothing was written.
   */
  receiveInit(address: number, length: number, id: number): boolean {
    const added = this.rxAdded;
    const mask = this.rxMask;
    if (((added - this.rxRemoved) | 0) > mask || length < Rx.minBufferBytes || !this.live) return false;
    const slot = this.rxBase + ((added & mask) << Rx.wordShift);
    this.words[slot] = address;
    this.words[slot + 1] = length;
    this.rxIds[added & mask] = id;
    this.rxAdded = (added + 1) | 0;
    return true;
  }

  /** Gives the NIC the receive buffers written since the last push. */
  receivePush(): void {
    if (this.rxAdded === this.rxPushed) return;
    this.rxPushed = this.rxAdded;
    this.registers.write32(At.receiveProducer, this.rxAdded >>> 0);
  }

  /** Whether an event waits. */
  hasEvents(): boolean {
    return (this.registers.read32(At.eventProducer) | 0) !== this.consumed;
  }

  /**
   * Fills the batch with events, oldest first, and consumes them.
   * @param max events at most; the batch's capacity when left out.
   * @returns how many entries are valid.
   */
  poll(batch: EventBatch, max: number = batch.capacity): number {
    // Reading the producer orders the reads of the events behind it.
    const produced = this.registers.read32(At.eventProducer) | 0;
    let consumed = this.consumed;
    if (produced === consumed) return 0;
    const { words, eventBase, eventMask } = this;
    let left = (produced - consumed) | 0;
    if (left < 0 || left > eventMask + 1) {
      this.bad++;
      return 0;
    }
    if (left > max) left = max;
    if (left > batch.capacity) left = batch.capacity;
    const { type, flags, id, bytes, detail } = batch;
    let n = 0;
    for (; left > 0; left--, consumed = (consumed + 1) | 0) {
      const slot = eventBase + ((consumed & eventMask) << Ev.wordShift);
      const word = words[slot]!;
      const kind = word & Ev.typeMask;
      if (kind === Ev.receive || kind === Ev.receiveDiscard) {
        const position = words[slot + Ev.positionWord]!;
        if (position !== this.rxRemoved || position === this.rxPushed) {
          this.bad++;
          continue;
        }
        id[n] = this.rxIds[position & this.rxMask]!;
        bytes[n] = words[slot + Ev.bytesWord]! & Ev.bytesMask;
        detail[n] = words[slot + Ev.detailWord]!;
        this.rxRemoved = (position + 1) | 0;
      } else if (kind === Ev.transmit) detail[n] = words[slot + Ev.positionWord]!;
      else if (!this.notice(kind)) continue;
      else {
        detail[n] = words[slot + (kind === Ev.transmitError ? Ev.positionWord : Ev.detailWord)]!;
        id[n] = words[slot + Ev.positionWord]!;
      }
      type[n] = kind;
      flags[n] = word;
      n++;
    }
    this.consumed = consumed;
    // The NIC only has to know in time: an eighth of the queue is never missed.
    if (((consumed - this.released) | 0) > eventMask >>> 3) this.release();
    if (this.overflowed) this.recover();
    return n;
  }

  /**
   * Arms the interrupt.
   * @returns true when events wait already: the interrupt is not armed, poll again.
   */
  prime(): boolean {
    if (this.consumed !== this.released) this.release();
    this.registers.write32(Register.interruptArm, 1);
    // Armed first, looked at after: an event written before the NIC saw the arm word is found here.
    if (!this.hasEvents()) return false;
    this.disarm();
    return true;
  }

  /** Disarms the interrupt: polling begins. */
  disarm(): void {
    this.registers.write32(Register.interruptArm, 0);
  }

  /** Least microseconds between an event and its interrupt, 0 to 65535. */
  moderate(us: number): void {
    this.registers.write32(Register.moderation, us);
  }

  /** Whether the port has link. */
  get linkUp(): boolean {
    return this.registers.read32(Register.link) !== 0;
  }

  /** No descriptor is written from here on; events can still be polled. The NIC's side is freed by control. */
  stop(): void {
    this.live = false;
    // The NIC counts what is left in the queue when the VI is freed.
    this.release();
    this.disarm();
  }

  /** Its state, for `explain`. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      live: this.live,
      transmit: { capacity: this.transmitCapacity, fill: this.transmitFill, halted: this.txHalted },
      receive: { capacity: this.receiveCapacity, fill: this.receiveFill },
      events: { capacity: this.eventMask + 1, waiting: this.hasEvents(), bad: this.bad },
    };
  }

  /** After an overflow: the NIC holds back what it could not report until there is room and it is asked again. */
  private recover(): void {
    this.overflowed = false;
    this.release();
    this.registers.write32(At.transmitProducer, this.txPushed >>> 0);
  }

  /** Tells the NIC that consumed events' slots are free. */
  private release(): void {
    this.released = this.consumed;
    this.registers.write32(At.eventConsumer, this.consumed >>> 0);
  }

  /** The rare events' effect on the VI itself; false for a type that is not known. */
  private notice(kind: number): boolean {
    switch (kind) {
      case Ev.transmitError:
        this.txHalted = true;
        return true;
      case Ev.reset:
        this.live = false;
        return true;
      case Ev.overflow:
        this.overflowed = true;
        return true;
      case Ev.software:
      case Ev.link:
      case Ev.time:
        return true;
      default:
        this.bad++;
        return false;
    }
  }
}
