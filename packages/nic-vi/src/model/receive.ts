/**
 * The receive side of one port: a frame from the wire finds its filter, its VI, its buffers; is copied once;
 * and becomes events. All of it under the port's lock, in the thread of whoever brought the frame.
 *
 * `enter`, `deliver` for each frame of a batch, `leave`. Between frames for the same VI the VI's indices are kept
 * here, and written back when the VI changes and at the end: a *run*.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import { Ev, Limit, Net, Page, RegisterWord, Rx } from '../bits.js';
import { DiscardReason } from '../layouts.js';
import { FrameHeaders } from '../headers.js';
import type { BufferTable } from './buffer-table.js';
import { verifyChecksum } from './checksum.js';
import type { DeviceMemory } from './device-memory.js';
import { EventWriter, type InterruptSink } from './event-writer.js';
import type { FilterTable } from './filter-table.js';
import { Flow } from './flow.js';
import type { Locks } from './lock.js';
import type { SetTable } from './sets.js';
import type { NicPlan } from './plan.js';
import {
  BufferWord,
  FilterWord,
  NicWord,
  PortCount,
  PortWord,
  SET_TARGET,
  ViCount,
  ViState,
  ViWord,
} from './state.js';
import { Transit, TransitChecksum } from './transit.js';

/** Runs of frames after which the NIC asks what time it is. */
const RUNS_PER_CLOCK = 16;

/** Parts of the NIC that the receive side uses. */
export interface ReceiveParts {
  readonly device: DeviceMemory;
  readonly plan: NicPlan;
  readonly locks: Locks;
  readonly buffers: BufferTable;
  readonly sets: SetTable;
  readonly interrupts: InterruptSink;
  /** Whether interrupts can be delayed. */
  readonly timers: boolean;
  /** The time in microseconds. */
  readonly clock: () => number;
}

/** One port's receive side. */
export class Receiver {
  /** Event queues of the port's VIs; open only between {@link enter} and {@link leave}. */
  readonly events: EventWriter;
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly port: number;
  private readonly viBase: number;
  private readonly table: number;
  private readonly tableEntries: number;
  private readonly maxFrameBytes: number;
  // The run: one VI, and what it has had so far.
  private vi = 0;
  private owner = 0;
  private mask = 0;
  private pages = 0;
  private consumed = 0;
  /** Index up to which there surely are descriptors: by the last look at the guest's. */
  private limit = 0;
  private runFrames = 0;
  private runBytes = 0;
  private now = 0;
  private runs = 0;
  private readonly told: number;
  private readonly clockState: number;
  // The last filter, and the flow that it was found for: frames of one flow come in bursts.
  private filter = 0;
  private filterId = 0;
  private readonly flow = new Flow();
  private filterHits = 0;
  // Where a frame over several buffers goes.
  private readonly target: Transit;
  private readonly bufferBytes = new Uint32Array(Limit.fragments);
  /** Of a frame that is asked for, and not received. */
  private readonly headers: FrameHeaders;

  constructor(
    private readonly parts: ReceiveParts,
    private readonly filters: FilterTable,
    port: number,
  ) {
    const { device, plan } = parts;
    const { words, doubles } = device;
    this.words = words;
    this.doubles = doubles;
    this.told = (plan.base + NicWord.now) >>> 1;
    this.clockState = plan.base + NicWord.clockState;
    this.port = plan.portBase + port * PortWord.size;
    this.viBase = plan.viBase;
    this.table = plan.bufferBase;
    this.tableEntries = plan.bufferPages;
    this.maxFrameBytes = words[plan.base + NicWord.maxFrameBytes]!;
    this.events = new EventWriter(device, parts.interrupts, parts.timers);
    this.target = new Transit(device.memory);
    this.headers = new FrameHeaders(device.memory);
  }

  /** Takes the port's lock. */
  enter(): void {
    this.parts.locks.acquire(this.port + PortWord.lock);
    this.now = this.doubles[this.told]!;
    this.filter = 0;
  }

  /** Counts frames that came from the wire: whoever delivered them counted them anyway. */
  arrived(frames: number, bytes: number): void {
    this.count(PortCount.rxFrames, frames);
    this.count(PortCount.rxBytes, bytes);
  }

  /** Publishes the last run and gives the lock back. Interrupts are owed, not raised yet. */
  leave(): void {
    this.endRun();
    this.parts.locks.release(this.port + PortWord.lock);
  }

  /** Opens the event queue of a VI, for events that no frame brings. Between enter and leave. */
  openEvents(vi: number): EventWriter {
    if (this.vi !== vi) this.beginRun(vi);
    return this.events;
  }

  /** One frame from the wire. */
  deliver(frame: Transit): void {
    const { total } = frame;
    const h = frame.headers;
    if (total > this.maxFrameBytes) {
      this.count(PortCount.rxTooLong, 1);
      return;
    }
    if (!frame.parsed && !this.parse(frame)) {
      this.count(PortCount.rxTooShort, 1);
      return;
    }
    if (this.filter === 0 || (!frame.sameFlow && !this.flow.is(h))) this.steer(h);
    const owner = this.owner;
    if (owner === 0) {
      this.count(this.filter === 0 ? PortCount.rxUnmatched : PortCount.rxNoVi, 1);
      return;
    }
    this.filterHits++;
    const { events, consumed } = this;
    if (consumed === this.limit && !this.look(0)) {
      this.countVi(ViCount.rxNoDescriptor, 1);
      return;
    }
    if (!events.hasRoom(1)) {
      this.countVi(ViCount.rxNoEventSpace, 1);
      return;
    }
    const { words } = this;
    const at = this.descriptor(consumed);
    const bus = words[at]!;
    const offset = bus & Page.offsetMask;
    const entry = bus >>> Page.shift;
    if (
      (words[at + 1]! & Rx.lengthMask) < total ||
      offset + total > Page.bytes ||
      entry >= this.tableEntries
    ) {
      this.fillMany(frame);
      return;
    }
    const row = this.table + entry * BufferWord.size;
    if (words[row + BufferWord.owner] !== owner) {
      this.discard(DiscardReason.rights, ViCount.rxRights, 1);
      return;
    }
    const to = (words[row]! & Page.addressMask) | offset;
    frame.read(to, 0, total);
    if (frame.shared && !frame.isUnchanged(to)) {
      this.discard(DiscardReason.changed, ViCount.rxChanged, 1);
      return;
    }
    if (frame.patchAt !== 0) frame.patch(to, 0, total);
    events.write(Ev.receive | Ev.start | h.flags | this.checksumFlag(frame), consumed, total, this.filterId);
    this.consumed = (consumed + 1) | 0;
    this.runFrames++;
    this.runBytes += total;
  }

  /**
   * The VI that the filters, as they are now, lead a frame to; -1 for none. Takes the port's lock; counts nothing.
   * @param address of its bytes, in one piece.
   */
  receiverOf(address: number, total: number): number {
    const { words, headers } = this;
    if (!headers.parse(address, total < Net.headerRoom ? total : Net.headerRoom, total)) return -1;
    this.parts.locks.acquire(this.port + PortWord.lock);
    try {
      const filter = this.filters.lookup(headers);
      if (filter === 0) return -1;
      const target = words[filter + FilterWord.target]!;
      return target < SET_TARGET ? target : this.parts.sets.choose(target & ~SET_TARGET, headers);
    } finally {
      this.parts.locks.release(this.port + PortWord.lock);
    }
  }

  private parse(frame: Transit): boolean {
    const first = frame.pieceLength(0);
    const wanted = frame.total < Net.headerRoom ? frame.total : Net.headerRoom;
    // A frame whose headers are in several pieces was gathered by its sender's engine.
    frame.parsed = frame.headers.parse(frame.address >>> 0, first < wanted ? first : wanted, frame.total);
    return frame.parsed;
  }

  /** Finds the frame's filter, and opens a run for its VI. */
  private steer(h: FrameHeaders): void {
    this.flow.set(h);
    this.countFilter();
    const filter = this.filters.lookup(h);
    this.filter = filter;
    if (filter === 0) {
      this.endRun();
      this.owner = 0;
      return;
    }
    this.filterId = this.words[filter + FilterWord.id]!;
    const target = this.words[filter + FilterWord.target]!;
    const index = target < SET_TARGET ? target : this.parts.sets.choose(target & ~SET_TARGET, h);
    const vi = this.viBase + index * ViWord.size;
    if (vi !== this.vi) this.beginRun(vi);
  }

  /** The rest of {@link deliver} for a frame that needs several buffers, or a buffer over several pages. */
  private fillMany(frame: Transit): void {
    const { words, bufferBytes, target } = this;
    let room = 0;
    let buffers = 0;
    target.reset();
    for (; room < frame.total; buffers++) {
      if (
        buffers === Limit.fragments ||
        (buffers >= ((this.limit - this.consumed) | 0) && !this.look(buffers))
      ) {
        this.countVi(ViCount.rxNoDescriptor, 1);
        return;
      }
      const at = this.descriptor((this.consumed + buffers) | 0);
      const bus = words[at]!;
      const length = words[at + 1]! & Rx.lengthMask;
      const left = frame.total - room;
      const part = length < left ? length : left;
      if (length < Rx.minBufferBytes || !this.parts.buffers.walk(bus, part, this.owner, target)) {
        this.discard(DiscardReason.rights, ViCount.rxRights, buffers + 1);
        return;
      }
      bufferBytes[buffers] = part;
      room += part;
    }
    if (!this.events.hasRoom(buffers)) {
      this.countVi(ViCount.rxNoEventSpace, 1);
      return;
    }
    let from = 0;
    for (let i = 0; i < target.count; i++) {
      const to = target.pieceAddress(i);
      const part = target.pieceLength(i);
      frame.read(to, from, part);
      if (i === 0 && part >= Net.ethernetBytes && frame.shared && !frame.isUnchanged(to)) {
        this.discard(DiscardReason.changed, ViCount.rxChanged, buffers);
        return;
      }
      frame.patch(to, from, part);
      from += part;
    }
    const flags = Ev.receive | frame.headers.flags | this.checksumFlag(frame);
    for (let i = 0; i < buffers; i++) {
      const place = (i === 0 ? Ev.start : 0) | (i === buffers - 1 ? 0 : Ev.continues);
      this.events.write(flags | place, this.consumed, bufferBytes[i]!, this.filterId);
      this.consumed = (this.consumed + 1) | 0;
    }
    this.runFrames++;
    this.runBytes += frame.total;
  }

  /** Consumes `buffers` descriptors without a frame. */
  private discard(reason: number, counter: number, buffers: number): void {
    this.countVi(counter, 1);
    for (let i = 0; i < buffers && this.events.hasRoom(1); i++) {
      this.events.write(Ev.receiveDiscard | (reason << Ev.reasonShift), this.consumed, 0, 0);
      this.consumed = (this.consumed + 1) | 0;
    }
  }

  private checksumFlag(frame: Transit): number {
    if (frame.checksum === TransitChecksum.good) return Ev.checksumGood;
    if (frame.checksum === TransitChecksum.blank) return Ev.checksumBlank;
    const verdict = verifyChecksum(frame, this.parts.device);
    if (verdict < 0) this.countVi(ViCount.rxChecksumBad, 1);
    return verdict === 0 ? 0 : verdict > 0 ? Ev.checksumGood : Ev.checksumBad;
  }

  /** Looks for receive descriptors beyond the first `have`; false when there are none. */
  private look(have = 0): boolean {
    const { words, vi } = this;
    const page = words[vi + ViWord.registerPage]! >>> 2;
    const available = (this.parts.device.load(page + RegisterWord.receiveProducer) - this.consumed) | 0;
    if (available < 0 || available > this.mask + 1) {
      this.countVi(ViCount.badDoorbells, 1);
      return false;
    }
    this.limit = (this.consumed + available) | 0;
    return available > have;
  }

  private descriptor(index: number): number {
    const slot = index & this.mask;
    const page = this.words[this.pages + (slot >>> Rx.pageShift)]!;
    return (page >>> 2) + ((slot & ((1 << Rx.pageShift) - 1)) << Rx.wordShift);
  }

  private beginRun(vi: number): void {
    this.endRun();
    const { words } = this;
    this.vi = vi;
    const state = words[vi + ViWord.state];
    if (state !== ViState.live && state !== ViState.draining) {
      this.owner = 0;
      return;
    }
    this.owner = words[vi + ViWord.owner]!;
    this.mask = words[vi + ViWord.rxMask]!;
    this.pages = vi + ViWord.receivePages;
    this.consumed = words[vi + ViWord.rxConsumed]!;
    this.limit = words[vi + ViWord.rxLimit]!;
    this.events.open(vi);
    // A run is what comes at one time.
    if (words[vi + ViWord.timestamps] !== 0) this.events.stamp(this.parts.clock(), words[this.clockState]!);
  }

  private endRun(): void {
    this.countFilter();
    const { words, vi } = this;
    this.vi = 0;
    if (vi === 0 || this.owner === 0) return;
    words[vi + ViWord.rxConsumed] = this.consumed;
    words[vi + ViWord.rxLimit] = this.limit;
    if (this.runFrames !== 0) {
      const counters = (vi + ViWord.counters) >>> 1;
      this.doubles[counters + ViCount.rxFrames]! += this.runFrames;
      this.doubles[counters + ViCount.rxBytes]! += this.runBytes;
      this.runFrames = this.runBytes = 0;
    }
    this.events.close(this.now);
  }

  private countFilter(): void {
    const { doubles, filter } = this;
    if (this.filterHits === 0) return;
    // Asking for the time costs as much as a frame: now and then is enough to know what is used least.
    if (this.runs++ % RUNS_PER_CLOCK === 0) doubles[this.told] = this.now = this.parts.clock();
    doubles[(filter + FilterWord.hits) >>> 1]! += this.filterHits;
    doubles[(filter + FilterWord.lastHit) >>> 1] = this.now;
    this.filterHits = 0;
  }

  private count(counter: number, by: number): void {
    this.doubles[((this.port + PortWord.counters) >>> 1) + counter]! += by;
  }

  private countVi(counter: number, by: number): void {
    this.doubles[((this.vi + ViWord.counters) >>> 1) + counter]! += by;
  }
}
