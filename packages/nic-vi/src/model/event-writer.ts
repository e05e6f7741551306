/**
 * The event queue of one VI at a time, under its port's lock: where the NIC writes events, whether there is room,
 * and when the guest is told. The producer index is published once for each run of events.
 */
import { Ev, RegisterWord } from '../bits.js';
import type { DeviceMemory } from './device-memory.js';
import { ViCount, ViWord } from './state.js';

/** Raises what the thread owes once it holds no lock. */
export interface InterruptSink {
  /** Remembers to raise a vector. */
  owe(vector: number): void;
}

/** Writes events. */
export class EventWriter {
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  /** First word of the VI whose queue is open, or 0. */
  private vi = 0;
  private produced = 0;
  private first = 0;
  /** Index up to which there surely is room: by the last look at the consumer's. */
  private limit = 0;
  private mask = 0;
  private pages = 0;
  private registers = 0;

  constructor(
    private readonly device: DeviceMemory,
    private readonly interrupts: InterruptSink,
    private readonly timers: boolean,
  ) {
    this.words = device.words;
    this.doubles = device.doubles;
  }

  /** Opens the queue of the VI at word `vi`. */
  open(vi: number): void {
    const { words } = this;
    const produced = words[vi + ViWord.eventProduced]!;
    this.vi = vi;
    this.produced = this.first = produced;
    this.limit = words[vi + ViWord.eventLimit]!;
    this.mask = words[vi + ViWord.eventMask]!;
    this.pages = vi + ViWord.eventPages;
    this.registers = words[vi + ViWord.registerPage]! >>> 2;
  }

  /** Publishes what was written, and owes an interrupt if the guest armed it. `now` in microseconds. */
  close(now: number): void {
    const { words, device, vi } = this;
    const written = (this.produced - this.first) | 0;
    this.vi = 0;
    if (written === 0) return;
    words[vi + ViWord.eventProduced] = this.produced;
    words[vi + ViWord.eventLimit] = this.limit;
    this.doubles[((vi + ViWord.counters) >>> 1) + ViCount.events]! += written;
    // The store orders the events before the index; the load after it cannot miss an arm that missed the index.
    device.store(this.registers + RegisterWord.eventProducer, this.produced);
    if (device.load(this.registers + RegisterWord.interruptArm) === 1) this.interrupt(vi, now);
  }

  /**
   * Whether `count` events can be written and the overflow event still fits behind them. When not, the queue is
   * marked as overflowed once, and stays so until the guest has made room.
   */
  hasRoom(count: number): boolean {
    return ((this.limit - this.produced) | 0) > count || this.look(count);
  }

  /** Says what time it is, if the guest does not know yet and there is room for an event behind it. */
  stamp(nowUs: number, clockState: number): void {
    const told = (this.vi + ViWord.toldTime) >>> 1;
    if (this.doubles[told] === nowUs || !this.hasRoom(2)) return;
    this.doubles[told] = nowUs;
    const seconds = Math.floor(nowUs / 1e6);
    const nanoseconds = Math.floor((nowUs - seconds * 1e6) * 1000);
    this.write(Ev.time | (clockState << Ev.reasonShift), nanoseconds, 0, seconds | 0);
  }

  /** Writes one event; {@link hasRoom} was asked. */
  write(first: number, position: number, bytes: number, detail: number): void {
    const { words, produced } = this;
    const index = produced & this.mask;
    const page = words[this.pages + (index >>> Ev.pageShift)]!;
    const at = (page >>> 2) + ((index & ((1 << Ev.pageShift) - 1)) << Ev.wordShift);
    words[at] = first;
    words[at + Ev.positionWord] = position;
    words[at + Ev.bytesWord] = bytes;
    words[at + Ev.detailWord] = detail;
    this.produced = (produced + 1) | 0;
  }

  private look(count: number): boolean {
    const { words, vi } = this;
    const consumed = this.device.load(this.registers + RegisterWord.eventConsumer);
    const held = (this.produced - consumed) | 0;
    // A consumer index that cannot be is a guest that gets no events: it harms itself only.
    const room = held < 0 || held > this.mask + 1 ? 0 : this.mask + 1 - held;
    this.limit = (this.produced + room) | 0;
    if (room > count) {
      words[vi + ViWord.overflowed] = 0;
      return true;
    }
    if (room !== 0 && words[vi + ViWord.overflowed] === 0) {
      words[vi + ViWord.overflowed] = 1;
      this.doubles[((vi + ViWord.counters) >>> 1) + ViCount.overflows]!++;
      this.write(Ev.overflow, 0, 0, 0);
    }
    return false;
  }

  private interrupt(vi: number, now: number): void {
    const { words, doubles, device } = this;
    const moderation = this.timers ? words[this.registers + RegisterWord.moderation]! & 0xffff : 0;
    const due = (vi + ViWord.interruptDue) >>> 1;
    if (moderation === 0) raise(device, vi, this.interrupts);
    else if (doubles[due] === 0) doubles[due] = now + moderation;
  }
}

/** Takes the arm away and owes the interrupt, if it is still armed. Under the port's lock. */
export function raise(device: DeviceMemory, vi: number, sink: InterruptSink): void {
  const { words, doubles } = device;
  doubles[(vi + ViWord.interruptDue) >>> 1] = 0;
  const arm = (words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.interruptArm;
  if (Atomics.compareExchange(words, arm, 1, 0) !== 1) return;
  doubles[((vi + ViWord.counters) >>> 1) + ViCount.interrupts]!++;
  sink.owe(words[vi + ViWord.vector]!);
}
