/**
 * The transmit side of one port: a doorbell, then descriptors, then frames on the wire. All of it in the thread
 * that rang, under the VI's transmit lock; the lock of the port at the other end is held for one burst at
 * a time.
 *
 * What a guest wrote is fetched once and judged as fetched. A descriptor that is wrong stops the VI's queue with an
 * error event; a frame that may not leave is counted, dropped and completed.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import { Ev, Limit, Net, Page, RegisterWord, Tx } from '../bits.js';
import { TransmitError } from '../layouts.js';
import type { BufferTable } from './buffer-table.js';
import { pseudoSum, transportChecksum } from './checksum.js';
import type { DeviceMemory } from './device-memory.js';
import type { Locks } from './lock.js';
import type { Receiver } from './receive.js';
import { Segmenter } from './segment.js';
import { isSpoofed } from './spoof.js';
import type { NicPlan } from './plan.js';
import { BufferWord, NicWord, PortCount, PortWord, TxBlocked, ViCount, ViState, ViWord } from './state.js';
import { Transit, TransitChecksum } from './transit.js';
import type { WireEnd } from './wire-end.js';

/** Frames on the wire in one burst, about: how long the other end's lock is held. */
const BURST_FRAMES = 256;

/** What became of the frame at hand; above 0, it is done and had that many descriptors. */
const BLOCKED = 0;
/** Less a `TransmitError`. */
type Outcome = number;

/** Parts of the NIC that the transmit side uses. */
export interface TransmitParts {
  readonly device: DeviceMemory;
  readonly plan: NicPlan;
  readonly locks: Locks;
  readonly buffers: BufferTable;
  /** Whether guests run while the device does, and may change a frame that is being read. */
  readonly shared: boolean;
}

/** One port's transmit side. */
export class Transmitter {
  /** The wire, once there is one. */
  wire: WireEnd | null = null;
  private readonly words: Int32Array;
  private readonly port: number;
  private readonly table: number;
  private readonly tableEntries: number;
  private readonly maxFrameBytes: number;
  private readonly frame: Transit;
  private readonly segmenter: Segmenter;
  // The VI that is being served.
  private vi = 0;
  private owner = 0;
  private mask = 0;
  private pages = 0;
  private spoofMac = false;
  private paced = false;
  /** Infinity, or what is left of the VI's. */
  private credit = Infinity;
  private unpaid = false;
  private blank = false;
  private frames = 0;
  private bytes = 0;

  constructor(
    private readonly parts: TransmitParts,
    private readonly receiver: Receiver,
    port: number,
  ) {
    const { device, plan } = parts;
    this.words = device.words;
    this.port = plan.portBase + port * PortWord.size;
    this.table = plan.bufferBase;
    this.tableEntries = plan.bufferPages;
    this.maxFrameBytes = device.words[plan.base + NicWord.maxFrameBytes]!;
    this.frame = new Transit(device.memory);
    this.segmenter = new Segmenter(device.memory, this.frame);
  }

  /** Serves a VI's doorbell: sends what is there, reports what is done. Returns descriptors taken. */
  service(vi: number): number {
    const { words } = this;
    const { locks } = this.parts;
    locks.acquire(vi + ViWord.txLock);
    const state = words[vi + ViWord.state];
    let taken = 0;
    if (state === ViState.live && words[vi + ViWord.txHalted] === 0) taken = this.sendAll(vi);
    if (state === ViState.live || state === ViState.draining) this.report(vi);
    locks.release(vi + ViWord.txLock);
    return taken;
  }

  /** Starts a halted queue again, if its restart register was written since it halted. */
  restart(vi: number): void {
    const { words } = this;
    if (words[vi + ViWord.txHalted] === 0) return;
    const { locks } = this.parts;
    locks.acquire(vi + ViWord.txLock);
    const index = Atomics.load(
      words,
      (words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.transmitRestart,
    );
    const skipped = (index - words[vi + ViWord.txConsumed]!) | 0;
    if (skipped < 0 || skipped > words[vi + ViWord.txMask]! + 1) this.countVi(vi, ViCount.badDoorbells, 1);
    else if (skipped > 0) {
      words[vi + ViWord.txConsumed] = words[vi + ViWord.txReported] = index;
      words[vi + ViWord.txResume] = 0;
      words[vi + ViWord.txHalted] = 0;
    }
    locks.release(vi + ViWord.txLock);
  }

  private sendAll(vi: number): number {
    const { words } = this;
    const registers = words[vi + ViWord.registerPage]! >>> 2;
    const first = words[vi + ViWord.txConsumed]!;
    // Read once: what the guest writes here from now on is for the next doorbell.
    const end = this.parts.device.load(registers + RegisterWord.transmitProducer);
    let left = (end - first) | 0;
    this.mask = words[vi + ViWord.txMask]!;
    if (left < 0 || left > this.mask + 1) {
      this.countVi(vi, ViCount.badDoorbells, 1);
      return 0;
    }
    if (left === 0) return 0;
    this.vi = vi;
    this.owner = words[vi + ViWord.owner]!;
    this.pages = vi + ViWord.transmitPages;
    this.spoofMac = words[vi + ViWord.spoofMac] !== 0;
    this.credit = this.parts.device.doubles[(vi + ViWord.txCredit) >>> 1]!;
    this.paced = this.credit !== Infinity;
    this.unpaid = false;
    words[vi + ViWord.txBlocked] = TxBlocked.nothing;
    let consumed = first;
    let outcome: Outcome = 1;
    while (left > 0 && outcome > BLOCKED) {
      const before = consumed;
      outcome = this.burst(consumed, left);
      consumed = words[vi + ViWord.txConsumed]!;
      left -= (consumed - before) | 0;
      if (left > 0 && outcome > BLOCKED) this.report(vi);
    }
    this.countVi(vi, ViCount.txDoorbells, 1);
    if (this.paced) this.parts.device.doubles[(vi + ViWord.txCredit) >>> 1] = this.credit;
    if (this.unpaid) {
      words[vi + ViWord.txBlocked] = TxBlocked.credit;
      this.countVi(vi, ViCount.txCreditWaits, 1);
    }
    if (outcome < BLOCKED) {
      words[vi + ViWord.txHalted] = -outcome;
      words[vi + ViWord.txErrorReported] = 0;
      Atomics.store(words, registers + RegisterWord.transmitRestart, consumed);
      this.countVi(vi, ViCount.txErrors, 1);
    }
    return (consumed - first) | 0;
  }

  /** Sends up to a burst of frames under one hold of the other end's lock. */
  private burst(consumed: number, left: number): Outcome {
    const wire = this.words[this.port + PortWord.linkUp] === 0 ? null : this.wire;
    if (wire !== null) {
      wire.enter();
      wire.sender = (this.vi - this.parts.plan.viBase) / ViWord.size;
      this.blank = wire.blankChecksums;
    }
    const { vi, words } = this;
    const start = consumed;
    let outcome: Outcome = 1;
    while (left > 0) {
      outcome = this.send(consumed, left, wire);
      if (outcome <= BLOCKED) break;
      consumed = (consumed + outcome) | 0;
      left -= outcome;
      if (this.frames >= BURST_FRAMES || ((consumed - start) | 0) >= Limit.transmitBatch) break;
    }
    words[vi + ViWord.txConsumed] = consumed;
    if (wire === null) {
      if (this.frames !== 0) {
        this.countVi(vi, ViCount.txNoLink, this.frames);
        this.countPort(PortCount.txNoLink, this.frames);
      }
    } else {
      if (outcome === BLOCKED && !this.unpaid) {
        words[vi + ViWord.txBlocked] = TxBlocked.wire;
        wire.wait();
      }
      wire.leave(this.frames, this.bytes);
      if (this.frames !== 0) {
        this.countVi(vi, ViCount.txFrames, this.frames);
        this.countVi(vi, ViCount.txBytes, this.bytes);
        this.countPort(PortCount.txFrames, this.frames);
        this.countPort(PortCount.txBytes, this.bytes);
      }
    }
    this.frames = this.bytes = 0;
    return outcome;
  }

  /** Sends the frame whose first descriptor is at `index`. */
  private send(index: number, left: number, wire: WireEnd | null): Outcome {
    const { words, frame } = this;
    const at = this.descriptor(index);
    const bus = words[at]!;
    const second = words[at + 1]!;
    const length = second & Tx.lengthMask;
    if ((second & (Tx.continues | Tx.segment)) === 0) {
      if (length < Net.ethernetBytes) return -TransmitError.descriptor;
      if (length > this.maxFrameBytes) return -TransmitError.tooLong;
      const entry = bus >>> Page.shift;
      const offset = bus & Page.offsetMask;
      if (offset + length <= Page.bytes && entry < this.tableEntries) {
        const row = this.table + entry * BufferWord.size;
        if (words[row + BufferWord.owner] !== this.owner) return -TransmitError.rights;
        frame.single((words[row]! & Page.addressMask) | offset, length);
        frame.shared = this.parts.shared;
        if (this.spoofMac && !this.mayLeave()) return 1;
        if (this.paced && !this.pay(length)) return BLOCKED;
        if (wire !== null) {
          if ((second & Tx.checksum) !== 0) this.fillChecksum();
          if (!wire.carry(frame)) return this.blocked(length);
        }
        this.frames++;
        this.bytes += length;
        return 1;
      }
    }
    return this.sendChain(index, left, bus, second, wire);
  }

  /**
   * The same for a frame of several pieces, or one with offloads. `bus` and `second` are the first descriptor's,
   * fetched already.
   */
  private sendChain(index: number, left: number, bus: number, second: number, wire: WireEnd | null): Outcome {
    const { words, frame } = this;
    const flags = second;
    let count = 1;
    frame.reset();
    frame.shared = this.parts.shared;
    for (; ; count++) {
      const length = second & Tx.lengthMask;
      if (length === 0) return -TransmitError.descriptor;
      if (frame.total + length > Limit.transmitBytes) return -TransmitError.tooLong;
      if (!this.parts.buffers.walk(bus, length, this.owner, frame))
        return frame.count === Limit.fragments ? -TransmitError.descriptor : -TransmitError.rights;
      if ((second & Tx.continues) === 0) break;
      if (count === left || count === Limit.fragments) return -TransmitError.descriptor;
      const at = this.descriptor((index + count) | 0);
      bus = words[at]!;
      second = words[at + 1]!;
    }
    if (frame.total < Net.ethernetBytes) return -TransmitError.descriptor;
    if ((flags & Tx.segment) !== 0) {
      const mss = words[this.descriptor(index) + Tx.segmentBytesWord]! & Tx.segmentBytesMask;
      return this.sendSegments(mss, wire) ?? count;
    }
    if (frame.total > this.maxFrameBytes) return -TransmitError.tooLong;
    if (this.spoofMac && !this.mayLeave()) return count;
    if (this.paced && !this.pay(frame.total)) return BLOCKED;
    if (wire !== null) {
      if (!frame.parsed) this.parse();
      if ((flags & Tx.checksum) !== 0) this.fillChecksum();
      if (!wire.carry(frame)) return this.blocked(frame.total);
    }
    this.frames++;
    this.bytes += frame.total;
    return count;
  }

  /** Cuts the frame; undefined when all of it is sent. */
  private sendSegments(mss: number, wire: WireEnd | null): Outcome | undefined {
    const { words, vi, segmenter, frame } = this;
    if (!segmenter.begin((vi + ViWord.scratch) * 4, mss, this.maxFrameBytes, this.blank))
      return -TransmitError.segmentation;
    if (this.spoofMac && !this.mayLeave()) return undefined;
    const resume = words[vi + ViWord.txResume]!;
    // As the slow path counts: the frame before it was cut, once.
    if (this.paced && resume === 0 && !this.pay(frame.total)) return BLOCKED;
    if (wire !== null) {
      const sent = segmenter.send(wire, resume);
      this.frames += segmenter.frames;
      this.bytes += segmenter.bytes;
      words[vi + ViWord.txResume] = sent < segmenter.payloadBytes ? sent : 0;
      if (sent < segmenter.payloadBytes) return sent === 0 ? this.blocked(frame.total) : BLOCKED;
    } else {
      this.frames++;
      this.bytes += frame.total;
      words[vi + ViWord.txResume] = 0;
    }
    this.countVi(vi, ViCount.txSegmented, 1);
    return undefined;
  }

  /** Works out the frame's transport checksum, if it has one; it is written into the copy that arrives. */
  private fillChecksum(): void {
    const { frame } = this;
    if (!frame.parsed) this.parse();
    const h = frame.headers;
    if (h.payload === 0) return;
    frame.patchAt = h.checksumAt;
    if (this.blank) {
      frame.patchValue = pseudoSum(h, h.ipEnd - h.l4);
      frame.checksum = TransitChecksum.blank;
    } else {
      frame.patchValue = transportChecksum(frame);
      frame.checksum = TransitChecksum.good;
    }
  }

  /** Takes the credit for a frame; false when there is not enough: then the queue waits for it. */
  private pay(bytes: number): boolean {
    this.unpaid = bytes > this.credit;
    if (!this.unpaid) this.credit -= bytes;
    return !this.unpaid;
  }

  /** The wire has no room for a frame that was paid for. */
  private blocked(bytes: number): Outcome {
    this.credit += bytes;
    return BLOCKED;
  }

  /** Whether the frame's source is allowed; one that is not is counted, and dropped by the caller. */
  private mayLeave(): boolean {
    if (!this.frame.parsed) this.parse();
    if (!isSpoofed(this.words, this.vi, this.frame.headers)) return true;
    this.countVi(this.vi, ViCount.txSpoofed, 1);
    return false;
  }

  /** Finds the headers; where they are not in the first piece, in a copy of the frame's beginning. */
  private parse(): void {
    const { frame } = this;
    const wanted = frame.total < Net.headerRoom ? frame.total : Net.headerRoom;
    let at = frame.address;
    if (frame.pieceLength(0) < wanted) {
      at = (this.vi + ViWord.scratch) * 4;
      frame.read(at, 0, wanted);
    }
    frame.parsed = frame.headers.parse(at >>> 0, wanted, frame.total);
  }

  /** Tells the guest what is done, and of an error, as far as its event queue has room; the rest next time. */
  private report(vi: number): void {
    const { words, receiver } = this;
    const done = words[vi + ViWord.txConsumed]!;
    const error = words[vi + ViWord.txErrorReported] === 0 ? words[vi + ViWord.txHalted]! : 0;
    if (error === 0 && done === words[vi + ViWord.txReported]!) return;
    receiver.enter();
    const events = receiver.openEvents(vi);
    let reported = words[vi + ViWord.txReported]!;
    while (reported !== done && events.hasRoom(1)) {
      const count = (done - reported) | 0;
      reported = (reported + (count > Limit.transmitBatch ? Limit.transmitBatch : count)) | 0;
      events.write(Ev.transmit, reported, 0, 0);
    }
    words[vi + ViWord.txReported] = reported;
    if (error !== 0 && reported === done && events.hasRoom(1)) {
      events.write(Ev.transmitError | (error << Ev.reasonShift), done, 0, 0);
      words[vi + ViWord.txErrorReported] = 1;
    }
    receiver.leave();
  }

  private descriptor(index: number): number {
    const slot = index & this.mask;
    const page = this.words[this.pages + (slot >>> Tx.pageShift)]!;
    return (page >>> 2) + ((slot & ((1 << Tx.pageShift) - 1)) << Tx.wordShift);
  }

  private countVi(vi: number, counter: number, by: number): void {
    this.parts.device.doubles[((vi + ViWord.counters) >>> 1) + counter]! += by;
  }

  private countPort(counter: number, by: number): void {
    this.parts.device.doubles[((this.port + PortWord.counters) >>> 1) + counter]! += by;
  }
}
