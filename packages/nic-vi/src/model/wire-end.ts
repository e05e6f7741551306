/**
 * One direction of a wire, as the sending port uses it. A wire without rate, delay, faults and capture is
 * transparent: a frame goes on into the peer's receive side in the same call, and is copied once. Else it is
 * copied into a slot with the time it is due, and `drain` delivers it.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import { Net } from '../bits.js';
import type { ViId } from '../control.js';
import type { DeviceMemory } from './device-memory.js';
import type { Receiver } from './receive.js';
import { Transit } from './transit.js';
import { DirectionWord, SlotWord, WireChecksums, WireCount, type WirePlan } from './wire-state.js';

/** Bytes that a frame takes on the line besides its own: preamble, check sequence, gap (IEEE 802.3). */
const LINE_OVERHEAD_BYTES = 24;

/** Faults that a script names. */
export const Fault = { drop: 1, corrupt: 2, duplicate: 3 } as const;

/** One direction. */
export class WireEnd {
  /** The VI that sends; set by its transmit side with each batch. */
  sender: ViId = 0;
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly at: number;
  private readonly queue: number;
  private readonly captures: number;
  private readonly counters: number;
  private readonly arrived: Transit;
  private readonly maxFrameBytes: number;
  private transparent = false;
  private now = 0;
  /** Frames that entered in this batch, when they do not pass through. */
  private entered = 0;

  /**
   * @param device the memory.
   * @param plan the wire.
   * @param direction 0 or 1.
   * @param receiver the receive side that it leads to; its lock guards the direction.
   * @param clock the time in microseconds.
   */
  constructor(
    private readonly device: DeviceMemory,
    private readonly plan: WirePlan,
    direction: 0 | 1,
    readonly receiver: Receiver,
    private readonly clock: () => number,
  ) {
    this.words = device.words;
    this.doubles = device.doubles;
    this.at = plan.directions[direction];
    this.queue = plan.queues[direction];
    this.captures = plan.captures[direction];
    this.counters = (this.at + DirectionWord.counters) >>> 1;
    this.arrived = new Transit(device.memory);
    this.maxFrameBytes = plan.maxFrameBytes;
  }

  /** Begins a batch: takes the lock of the port at the other end. */
  enter(): void {
    this.receiver.enter();
    const { words, at } = this;
    this.transparent =
      words[at + DirectionWord.slow] === 0 &&
      words[at + DirectionWord.head] === words[at + DirectionWord.tail];
    if (!this.transparent) this.now = this.clock();
  }

  /** The same at a time that is known, in microseconds. */
  enterAt(nowUs: number): void {
    this.enter();
    this.now = nowUs;
  }

  /** Ends it; `frames` of `bytes` in all entered. */
  leave(frames: number, bytes: number): void {
    if (frames !== 0) {
      this.doubles[this.counters + WireCount.frames]! += frames;
      this.doubles[this.counters + WireCount.bytes]! += bytes;
      if (this.transparent) this.receiver.arrived(frames, bytes);
    }
    if (!this.transparent) this.drain();
    this.entered = 0;
    this.receiver.leave();
  }

  /** Whether a NIC that is asked to fill in a checksum may leave the pseudo header's sum and a mark. */
  get blankChecksums(): boolean {
    return this.transparent && this.words[this.at + DirectionWord.checksums] === WireChecksums.blank;
  }

  /** One frame. False when there is no room for it now: nothing happened, offer it again later. */
  carry(frame: Transit): boolean {
    if (frame.total > this.maxFrameBytes) this.count(WireCount.tooLong);
    else if (this.transparent) this.receiver.deliver(frame);
    else return this.carrySlowly(frame);
    return true;
  }

  /** When the next frame under way is due, in microseconds; Infinity when there is none. */
  nextDue(): number {
    const { words, at } = this;
    const head = words[at + DirectionWord.head]!;
    return head === words[at + DirectionWord.tail]
      ? Infinity
      : this.doubles[(this.slot(this.queue, head, this.plan.slots) + SlotWord.time) >>> 1]!;
  }

  /** A VI at the sending end waits until a frame leaves the queue. */
  wait(): void {
    this.words[this.at + DirectionWord.waiting] = 1;
  }

  /** Whether one waited; not any more. */
  takeWaiting(): boolean {
    const waited = this.words[this.at + DirectionWord.waiting] === 1;
    this.words[this.at + DirectionWord.waiting] = 0;
    return waited;
  }

  /** When the oldest captured frame was sent; Infinity when there is none. */
  nextCaptured(): number {
    const { words, at } = this;
    const head = words[at + DirectionWord.captureHead]!;
    if (head === Atomics.load(words, at + DirectionWord.captureTail)) return Infinity;
    return this.doubles[this.slot(this.captures, head, this.plan.captureSlots) >>> 1]!;
  }

  /** Takes the oldest captured frame, which there must be: calls `visit` with its time, address, length and sender. */
  takeCaptured(visit: (timeUs: number, address: number, length: number, sender: ViId) => void): void {
    const { words, at } = this;
    const head = words[at + DirectionWord.captureHead]!;
    const slot = this.slot(this.captures, head, this.plan.captureSlots);
    const sender = words[slot + SlotWord.checksum]!;
    visit(this.doubles[slot >>> 1]!, (slot + SlotWord.size) * 4, words[slot + SlotWord.length]!, sender);
    Atomics.store(words, at + DirectionWord.captureHead, head + 1);
  }

  private carrySlowly(frame: Transit): boolean {
    const { words, at, plan } = this;
    const fill = (words[at + DirectionWord.tail]! - words[at + DirectionWord.head]!) >>> 0;
    if (fill + 1 >= plan.slots) {
      this.drain();
      if (((words[at + DirectionWord.tail]! - words[at + DirectionWord.head]!) >>> 0) + 1 >= plan.slots)
        return false;
    }
    this.entered++;
    if (words[at + DirectionWord.capture] !== 0) this.captureFrame(frame);
    const fault = this.fault();
    const due = this.dueTime(frame.total);
    if (fault === Fault.drop) {
      this.count(WireCount.dropped);
      return true;
    }
    const slot = this.enqueue(frame, due);
    if (slot === 0) {
      this.count(WireCount.changed);
      return true;
    }
    if (fault === Fault.corrupt) {
      const first = frame.total > Net.ethernetBytes ? Net.ethernetBytes : 0;
      const byte = first + (this.random() % (frame.total - first));
      this.device.bytes[(slot + SlotWord.size) * 4 + byte]! ^= 1 << (this.random() & 7);
      words[slot + SlotWord.checksum] = 0;
      this.count(WireCount.corrupted);
    } else if (fault === Fault.duplicate) {
      this.enqueue(frame, due);
      this.count(WireCount.duplicated);
    }
    return true;
  }

  /** Delivers what is due. */
  private drain(): void {
    const { words, doubles, at, arrived } = this;
    const tail = words[at + DirectionWord.tail]!;
    let head = words[at + DirectionWord.head]!;
    let frames = 0;
    let bytes = 0;
    while (head !== tail) {
      const slot = this.slot(this.queue, head, this.plan.slots);
      if (doubles[(slot + SlotWord.time) >>> 1]! > this.now) break;
      arrived.single((slot + SlotWord.size) * 4, words[slot + SlotWord.length]!);
      arrived.checksum = words[slot + SlotWord.checksum]!;
      this.receiver.deliver(arrived);
      frames++;
      bytes += arrived.total;
      head = (head + 1) | 0;
    }
    words[at + DirectionWord.head] = head;
    this.receiver.arrived(frames, bytes);
  }

  /** Copies the frame into the queue: its slot, or 0 when it changed meanwhile. */
  private enqueue(frame: Transit, due: number): number {
    const { words, at } = this;
    const tail = words[at + DirectionWord.tail]!;
    const slot = this.slot(this.queue, tail, this.plan.slots);
    this.store(frame, slot, due);
    if (frame.shared && frame.parsed && !frame.isUnchanged((slot + SlotWord.size) * 4)) return 0;
    words[at + DirectionWord.tail] = (tail + 1) | 0;
    return slot;
  }

  private store(frame: Transit, slot: number, time: number): void {
    const to = (slot + SlotWord.size) * 4;
    frame.read(to, 0, frame.total);
    frame.patch(to, 0, frame.total);
    this.doubles[(slot + SlotWord.time) >>> 1] = time;
    this.words[slot + SlotWord.length] = frame.total;
    this.words[slot + SlotWord.checksum] = frame.checksum;
  }

  private captureFrame(frame: Transit): void {
    const { words, at, plan } = this;
    const tail = words[at + DirectionWord.captureTail]!;
    if ((tail - Atomics.load(words, at + DirectionWord.captureHead)) >>> 0 >= plan.captureSlots) {
      this.count(WireCount.captureLost);
      return;
    }
    const slot = this.slot(this.captures, tail, plan.captureSlots);
    this.store(frame, slot, this.now);
    words[slot + SlotWord.checksum] = this.sender;
    Atomics.store(words, at + DirectionWord.captureTail, tail + 1);
    this.count(WireCount.captured);
  }

  /** When a frame of `length` bytes that is sent now arrives; the line is busy until then, less the delay. */
  private dueTime(length: number): number {
    const { doubles, at } = this;
    const rate = doubles[(at + DirectionWord.bitsPerSecond) >>> 1]!;
    const lineFree = (at + DirectionWord.lineFreeUs) >>> 1;
    const free = doubles[lineFree]!;
    let sent = free > this.now ? free : this.now;
    if (rate > 0) sent += ((length + LINE_OVERHEAD_BYTES) * 8e6) / rate;
    doubles[lineFree] = sent;
    return sent + doubles[(at + DirectionWord.delayUs) >>> 1]!;
  }

  private fault(): number {
    const { words, at } = this;
    const number = this.doubles[this.counters + WireCount.frames]! + this.entered;
    const scripted = words[at + DirectionWord.scripted]!;
    for (let i = 0; i < scripted; i++) {
      const row = at + DirectionWord.script + 2 * i;
      if (words[row] === number) return words[row + 1]!;
    }
    const drop = words[at + DirectionWord.drop]! >>> 0;
    const corrupt = words[at + DirectionWord.corrupt]! >>> 0;
    const duplicate = words[at + DirectionWord.duplicate]! >>> 0;
    if ((drop | corrupt | duplicate) === 0) return 0;
    if (this.random() < drop) return Fault.drop;
    if (this.random() < corrupt) return Fault.corrupt;
    return this.random() < duplicate ? Fault.duplicate : 0;
  }

  /** 32 random bits (xorshift32, Marsaglia 2003). */
  private random(): number {
    const at = this.at + DirectionWord.random;
    let x = this.words[at]!;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.words[at] = x;
    return x >>> 0;
  }

  private count(counter: number): void {
    this.doubles[this.counters + counter]!++;
  }

  private slot(first: number, index: number, slots: number): number {
    return first + (index & (slots - 1)) * this.plan.slotWords;
  }
}
