/**
 * What a NIC is made of in one thread: its views, locks, tables and ports, and how interrupts leave it. The public
 * `Nic` acts on it; wires and port control know it. Internal.
 */
import type { Memory } from '@netaccel/core-hooks';
import { Ev, RegisterWord } from '../bits.js';
import type { ViId } from '../control.js';
import { BufferTable } from './buffer-table.js';
import { DeviceMemory } from './device-memory.js';
import type { InterruptSink } from './event-writer.js';
import { FilterTable } from './filter-table.js';
import { Locks } from './lock.js';
import type { NicPlan } from './plan.js';
import { PortControl } from './port-control.js';
import { Receiver } from './receive.js';
import { SetTable } from './sets.js';
import { NicCount, NicWord, PortWord, TxBlocked, ViCount, ViState, ViWord } from './state.js';
import { Transmitter } from './transmit.js';
import type { WireEnd } from './wire-end.js';
import type { Wire } from './wire.js';

/** How a thread drives the NIC. */
export interface NicOptions {
  /**
   * Raises an interrupt. Called by whichever thread executed the device, after it gave back every lock; it may write
   * registers itself.
   */
  readonly interrupt: (vector: number) => void;
  /** False when this is the only thread: locks are not taken. True when left out. */
  readonly concurrent?: boolean;
  /**
   * True when the machine calls `Nic.advance` often enough for interrupts to be moderated; without it they
   * are raised at once, whatever a VI asks for.
   */
  readonly timers?: boolean;
  /** After how long the holder of a lock counts as dead (its thread was terminated); 2000 when left out. */
  readonly lockPatienceMs?: number;
  /** The time in microseconds; left out, the time that `advance` was last told. */
  readonly clock?: () => number;
}

/** One port's parts, as this thread has them. */
export interface PortParts {
  readonly receiver: Receiver;
  readonly transmitter: Transmitter;
  readonly filters: FilterTable;
  readonly control: PortControl;
}

/** The NIC, inside. */
export class NicCore implements InterruptSink {
  /** Its locks. */
  readonly locks: Locks;
  /** Its buffer table. */
  readonly buffers: BufferTable;
  /** Its sets of VIs. */
  readonly sets: SetTable;
  /** The memory as it works on it. */
  readonly device: DeviceMemory;
  /** Whether interrupts can be delayed. */
  readonly timers: boolean;
  /** The time in microseconds. */
  readonly clock: () => number;
  /** The wire in each port. */
  readonly wires: (Wire | null)[];
  private readonly doubles: Float64Array;
  private readonly words: Int32Array;
  private readonly ports: readonly PortParts[];
  private readonly owed: Int32Array;
  private owes = 0;

  /**
   * @param memory the memory that its state, rings and buffers are in.
   * @param plan where its state is.
   * @param options how this thread drives it.
   */
  constructor(
    readonly memory: Memory,
    readonly plan: NicPlan,
    private readonly options: NicOptions,
  ) {
    this.device = new DeviceMemory(memory, options.concurrent ?? true);
    const { words, doubles } = this.device;
    this.words = words;
    this.doubles = doubles;
    this.locks = new Locks(words, {
      concurrent: options.concurrent ?? true,
      patienceMs: options.lockPatienceMs ?? 2000,
      broken: () => this.count(NicCount.brokenLocks),
    });
    this.buffers = new BufferTable(words, plan);
    this.sets = new SetTable(words, plan);
    this.owed = new Int32Array(plan.vis);
    this.timers = options.timers ?? false;
    this.wires = Array.from({ length: plan.ports }, () => null);
    const told = (plan.base + NicWord.now) >>> 1;
    this.clock = options.clock ?? (() => doubles[told]!);
    const parts = {
      device: this.device,
      plan,
      locks: this.locks,
      buffers: this.buffers,
      sets: this.sets,
      interrupts: this,
      timers: this.timers,
      shared: options.concurrent ?? true,
      clock: this.clock,
    };
    this.ports = Array.from({ length: plan.ports }, (_, port) => {
      const filters = new FilterTable(words, plan, port);
      const receiver = new Receiver(parts, filters, port);
      const transmitter = new Transmitter(parts, receiver, port);
      return { receiver, transmitter, filters, control: new PortControl(this, port) };
    });
  }

  /** Counts resets, from 1. */
  get generation(): number {
    return Atomics.load(this.words, this.plan.base + NicWord.generation);
  }

  /** Whether a port has link. */
  linkUp(port: number): boolean {
    return this.words[this.portWord(port) + PortWord.linkUp] !== 0;
  }

  /** Filters of a port. */
  filterCount(port: number): number {
    return this.words[this.portWord(port) + PortWord.filters]!;
  }

  /** The parts of a port. */
  portParts(port: number): PortParts {
    const parts = this.ports[port];
    if (parts === undefined)
      throw new RangeError(`port: 0 to ${this.ports.length - 1} expected, ${port} seen`);
    return parts;
  }

  /** First word of a port. */
  portWord(port: number): number {
    return this.plan.portBase + port * PortWord.size;
  }

  /** First word of a VI. */
  viWord(id: number): number {
    return this.plan.viBase + id * ViWord.size;
  }

  /** Number of the VI whose first word is `vi`. */
  viId(vi: number): number {
    return (vi - this.plan.viBase) / ViWord.size;
  }

  /** Calls `visit` with each VI of a port that is not free. */
  eachVi(port: number, visit: (vi: number) => void): void {
    for (let id = 0; id < this.plan.vis; id++) {
      const vi = this.viWord(id);
      const state = this.words[vi + ViWord.state];
      if ((state === ViState.live || state === ViState.draining) && this.words[vi + ViWord.port] === port)
        visit(vi);
    }
  }

  /** Frames in a VI's event queue that its driver has not taken, as far as it has said. Under the port's lock. */
  untakenFrames(vi: number): number {
    const { words } = this;
    const produced = words[vi + ViWord.eventProduced]!;
    const mask = words[vi + ViWord.eventMask]!;
    let at = words[(words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.eventConsumer]!;
    const held = (produced - at) | 0;
    if (held < 0 || held > mask + 1) return 0; // a driver that lies is not counted for
    let frames = 0;
    for (; at !== produced; at = (at + 1) | 0) {
      const index = at & mask;
      const page = words[vi + ViWord.eventPages + (index >>> Ev.pageShift)]! >>> 2;
      const event = words[page + ((index & ((1 << Ev.pageShift) - 1)) << Ev.wordShift)]!;
      if ((event & (Ev.typeMask | Ev.start)) === (Ev.receive | Ev.start)) frames++;
    }
    return frames;
  }

  /** Plugs a wire into a port. */
  plug(port: number, wire: Wire, end: WireEnd): void {
    const { transmitter } = this.portParts(port);
    if (transmitter.wire !== null) throw new RangeError(`port ${port}: no wire expected, one is plugged in`);
    transmitter.wire = end;
    this.wires[port] = wire;
  }

  /** Serves the VIs of a port that waited for room on the wire. */
  resumeBlocked(port: number): void {
    this.eachVi(port, (vi) => {
      if (this.words[vi + ViWord.txBlocked] === TxBlocked.wire) this.portParts(port).transmitter.service(vi);
    });
    this.settle();
  }

  /** Writes an event that no frame brings, or counts that there was no room. Under the port's lock. */
  tell(receiver: Receiver, vi: number, first: number, detail = 0): boolean {
    const events = receiver.openEvents(vi);
    if (events.hasRoom(1)) {
      events.write(first, 0, 0, detail);
      return true;
    }
    this.doubles[((vi + ViWord.counters) >>> 1) + ViCount.eventsLost]!++;
    return false;
  }

  /** Remembers an interrupt until no lock is held. */
  owe(vector: number): void {
    // A VI that was armed again meanwhile owes the same one: each is here once, so there is room for all.
    for (let i = 0; i < this.owes; i++) if (this.owed[i] === vector) return;
    this.owed[this.owes++] = vector;
  }

  /** Raises what is owed, here and at the other ends; no lock is held. */
  settle(): void {
    this.raiseOwed();
    for (let port = 0; port < this.wires.length; port++) this.wires[port]?.settle();
  }

  /** Raises what this NIC owes in this thread; no lock is held. */
  raiseOwed(): void {
    while (this.owes > 0) this.options.interrupt(this.owed[--this.owes]!);
  }

  /** Serves a VI's transmit doorbell. */
  serve(vi: number): void {
    this.partsOf(vi).transmitter.service(vi);
    this.settle();
  }

  /** Lets a VI's halted queue go on, if it was asked to. */
  restart(vi: number): void {
    this.partsOf(vi).transmitter.restart(vi);
  }

  /** Does what a VI's registers ask for. */
  serviceVi(id: ViId): void {
    const vi = this.viWord(id);
    const state = id >= 0 && id < this.plan.vis ? this.words[vi + ViWord.state] : ViState.free;
    if (state !== ViState.live && state !== ViState.draining) {
      this.count(NicCount.staleDoorbells);
      return;
    }
    this.restart(vi);
    this.serve(vi);
  }

  /** The parts of a VI's port. */
  partsOf(vi: number): PortParts {
    return this.ports[this.words[vi + ViWord.port]!]!;
  }

  /** Counts something of the whole. */
  count(counter: number): void {
    this.doubles[((this.plan.base + NicWord.counters) >>> 1) + counter]!++;
  }
}
