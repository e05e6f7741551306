/**
 * The NIC, as one thread has it. It has no thread of its own: whoever writes a register executes it, under the
 * locks in its state. Made once in each thread that may write a register, over the same memory.
 */
import type { Address, Memory } from '@netaccel/core-hooks';
import type { Counters, NicControl } from '../control.js';
import { Ev, Page, RegisterWord } from '../bits.js';
import { BufferTable } from './buffer-table.js';
import { raise, type InterruptSink } from './event-writer.js';
import { FilterTable } from './filter-table.js';
import { DeviceMemory } from './device-memory.js';
import { Locks } from './lock.js';
import { PortControl } from './port-control.js';
import { Receiver } from './receive.js';
import { RegisterPages } from './register-pages.js';
import { SetTable } from './sets.js';
import { attachNicState, initialiseNicState, type NicConfig, type NicPlan } from './plan.js';
import { NicCount, NicWord, PortWord, ViCount, ViState, ViWord, nicCounters, portCounters } from './state.js';
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
   * True when the machine calls {@link Nic.advance} often enough for interrupts to be moderated; without it they
   * are raised at once, whatever a VI asks for.
   */
  readonly timers?: boolean;
  /** After how long the holder of a lock counts as dead (its thread was terminated); 2000 when left out. */
  readonly lockPatienceMs?: number;
  /** The time in microseconds; left out, the time that `advance` was last told. */
  readonly clock?: () => number;
}

/** What `describe` says. */
export interface NicModelDescription {
  readonly generation: number;
  readonly vis: { readonly live: number; readonly most: number };
  readonly counters: Counters;
  readonly ports: readonly {
    readonly mac: string;
    readonly link: boolean;
    readonly wire: Readonly<Record<string, unknown>> | null;
    readonly counters: Counters;
  }[];
}

/** One port's parts, as this thread has them. */
export interface PortParts {
  readonly receiver: Receiver;
  readonly transmitter: Transmitter;
  readonly filters: FilterTable;
  readonly control: PortControl;
}

/** The NIC. */
export class Nic implements InterruptSink {
  /** Where its state is. */
  readonly plan: NicPlan;
  /** @internal */
  readonly locks: Locks;
  /** @internal */
  readonly buffers: BufferTable;
  /** @internal */
  readonly sets: SetTable;
  /** @internal */
  readonly device: DeviceMemory;
  /** Whether interrupts can be delayed. @internal */
  readonly timers: boolean;
  /** The time in microseconds. @internal */
  readonly clock: () => number;
  private readonly doubles: Float64Array;
  private readonly words: Int32Array;
  private readonly ports: readonly PortParts[];
  private readonly wires: (Wire | null)[];
  private readonly owed: Int32Array;
  private owes = 0;
  private readonly pages: RegisterPages;

  private constructor(
    readonly memory: Memory,
    plan: NicPlan,
    private readonly options: NicOptions,
  ) {
    this.plan = plan;
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
    this.pages = new RegisterPages(words, plan);
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

  /** Makes a NIC at `address`, `nicStateBytes(config)` long. */
  static create(memory: Memory, address: Address, options: NicOptions, config: NicConfig = {}): Nic {
    return new Nic(memory, initialiseNicState(memory, address, config), options);
  }

  /** The NIC that another thread made at `address`, for this thread. */
  static attach(memory: Memory, address: Address, options: NicOptions): Nic {
    return new Nic(memory, attachNicState(memory, address), options);
  }

  /** Control of a port: what a plugin finds as `port.device`. */
  control(port: number): NicControl {
    return this.portParts(port).control;
  }

  /**
   * A register was written: the machine has stored the value in the page and calls this. Only some
   * registers make the device act; the others are read when they matter.
   * @param address the register's.
   * @returns false when no VI has this register page: the write was counted and ignored.
   */
  registerWritten(address: Address): boolean {
    const offset = address & Page.offsetMask;
    const isDoorbell = offset === RegisterWord.transmitProducer * 4;
    if (!isDoorbell && offset !== RegisterWord.transmitRestart * 4) return true;
    const vi = this.pages.find((address - offset) | 0);
    if (vi < 0) {
      this.countStale();
      return false;
    }
    if (isDoorbell) this.serve(vi);
    else {
      this.transmitterOf(vi).restart(vi);
      this.settle();
    }
    return true;
  }

  /** Whether a live VI has this register page: whose writes to handle, for a machine that maps it. */
  hasRegisterPage(page: Address): boolean {
    return this.pages.find(page | 0) >= 0;
  }

  /**
   * Does whatever a VI's registers ask for: for machines where a write is not noticed by itself, when its doorbell
   * channel rang.
   */
  serviceVi(id: number): void {
    const vi = this.viWord(id);
    const state = this.words[vi + ViWord.state];
    if (state !== ViState.live && state !== ViState.draining) {
      this.countStale();
      return;
    }
    this.transmitterOf(vi).restart(vi);
    this.serve(vi);
  }

  /**
   * Tells the NIC the time, in microseconds: what is due on its wires arrives, delayed interrupts are raised.
   * @returns when to call again; Infinity when nothing is due at a known time.
   */
  advance(nowUs: number): number {
    const { words, doubles, plan } = this;
    doubles[(plan.base + NicWord.now) >>> 1] = nowUs;
    let next = Infinity;
    for (const wire of this.wires) if (wire !== null) next = Math.min(next, wire.advance(nowUs));
    for (let id = 0; id < plan.vis; id++) {
      const vi = this.viWord(id);
      const due = doubles[(vi + ViWord.interruptDue) >>> 1]!;
      if (due === 0 || words[vi + ViWord.state] === ViState.free) continue;
      if (due > nowUs) next = Math.min(next, due);
      else {
        const { receiver } = this.partsOf(vi);
        receiver.enter();
        raise(this.device, vi, this);
        receiver.leave();
      }
    }
    this.settle();
    return next;
  }

  /** Sets a port's link; its VIs get an event when it changes. */
  setLink(port: number, up: boolean): void {
    const { receiver } = this.portParts(port);
    const at = this.portWord(port) + PortWord.linkUp;
    receiver.enter();
    if ((this.words[at] !== 0) !== up) {
      this.words[at] = up ? 1 : 0;
      this.eachVi(port, (vi) => {
        this.words[(this.words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.link] = up ? 1 : 0;
        this.tell(receiver, vi, Ev.link | (up ? 1 << Ev.reasonShift : 0));
      });
    }
    receiver.leave();
    this.settle();
  }

  /** Filters of a port, those of its driver domain included. */
  filterCount(port: number): number {
    return this.words[this.portWord(port) + PortWord.filters]!;
  }

  /** Whether a port has link. */
  linkUp(port: number): boolean {
    return this.words[this.portWord(port) + PortWord.linkUp] !== 0;
  }

  /** Resets the NIC: every VI gets its last event; VIs, filters, buffers and sets are gone; a new generation begins. */
  reset(): void {
    const { words, plan, locks } = this;
    locks.acquire(plan.base + NicWord.controlLock);
    for (let port = 0; port < plan.ports; port++) {
      const { receiver, filters } = this.portParts(port);
      this.eachVi(port, (vi) => {
        locks.acquire(vi + ViWord.txLock);
        receiver.enter();
        this.tell(receiver, vi, Ev.reset);
        receiver.leave();
        // From here on nothing of this VI is touched but its counters.
        receiver.enter();
        words[vi + ViWord.state] = ViState.stale;
        Atomics.store(words, (words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.live, 0);
        this.buffers.unregisterAll(this.viId(vi));
        receiver.leave();
        locks.release(vi + ViWord.txLock);
      });
      receiver.enter();
      filters.clear();
      receiver.leave();
    }
    this.sets.clear();
    words[plan.base + NicWord.generation]!++;
    this.count(NicCount.resets);
    locks.release(plan.base + NicWord.controlLock);
    this.settle();
  }

  /** Counts resets, from 1. */
  get generation(): number {
    return Atomics.load(this.words, this.plan.base + NicWord.generation);
  }

  /** Its state, for `explain`. */
  describe(): NicModelDescription {
    const { plan, words, doubles } = this;
    let live = 0;
    for (let id = 0; id < plan.vis; id++) if (words[this.viWord(id)] === ViState.live) live++;
    const counters = (names: object, first: number) =>
      Object.fromEntries(Object.keys(names).map((name, i) => [name, doubles[(first >>> 1) + i]!]));
    return {
      generation: this.generation,
      vis: { live, most: plan.vis },
      counters: counters(nicCounters, plan.base + NicWord.counters),
      ports: this.ports.map((parts, port) => ({
        mac: Array.from(parts.control.mac, (b) => b.toString(16).padStart(2, '0')).join(':'),
        link: this.linkUp(port),
        wire: this.wires[port]?.describe() ?? null,
        counters: counters(portCounters, this.portWord(port) + PortWord.counters),
      })),
    };
  }

  /** @internal */
  owe(vector: number): void {
    // A VI that was armed again meanwhile owes the same one: each is here once, so there is room for all.
    for (let i = 0; i < this.owes; i++) if (this.owed[i] === vector) return;
    this.owed[this.owes++] = vector;
  }

  /** Raises what is owed, here and at the other ends; no lock is held. @internal */
  settle(): void {
    this.raiseOwed();
    for (let port = 0; port < this.wires.length; port++) this.wires[port]?.settle();
  }

  /** @internal */
  raiseOwed(): void {
    while (this.owes > 0) this.options.interrupt(this.owed[--this.owes]!);
  }

  /** @internal */
  portParts(port: number): PortParts {
    const parts = this.ports[port];
    if (parts === undefined)
      throw new RangeError(`port: 0 to ${this.ports.length - 1} expected, ${port} seen`);
    return parts;
  }

  /** @internal */
  plug(port: number, wire: Wire, end: WireEnd): void {
    const { transmitter } = this.portParts(port);
    if (transmitter.wire !== null) throw new RangeError(`port ${port}: no wire expected, one is plugged in`);
    transmitter.wire = end;
    this.wires[port] = wire;
  }

  /** @internal */
  resumeBlocked(port: number): void {
    this.eachVi(port, (vi) => {
      if (this.words[vi + ViWord.txBlocked] !== 0) this.portParts(port).transmitter.service(vi);
    });
    this.settle();
  }

  /** @internal */
  portWord(port: number): number {
    return this.plan.portBase + port * PortWord.size;
  }

  /** @internal */
  viWord(id: number): number {
    return this.plan.viBase + id * ViWord.size;
  }

  /** @internal */
  viId(vi: number): number {
    return (vi - this.plan.viBase) / ViWord.size;
  }

  /** Calls `visit` with each VI of a port that is not free. @internal */
  eachVi(port: number, visit: (vi: number) => void): void {
    for (let id = 0; id < this.plan.vis; id++) {
      const vi = this.viWord(id);
      const state = this.words[vi + ViWord.state];
      if ((state === ViState.live || state === ViState.draining) && this.words[vi + ViWord.port] === port)
        visit(vi);
    }
  }

  /** Writes an event that no frame brings, or counts that there was no room. Under the port's lock. @internal */
  tell(receiver: Receiver, vi: number, first: number, detail = 0): boolean {
    const events = receiver.openEvents(vi);
    if (events.hasRoom(1)) {
      events.write(first, 0, 0, detail);
      return true;
    }
    this.doubles[((vi + ViWord.counters) >>> 1) + ViCount.eventsLost]!++;
    return false;
  }

  private serve(vi: number): void {
    this.transmitterOf(vi).service(vi);
    this.settle();
  }

  private partsOf(vi: number): PortParts {
    return this.ports[this.words[vi + ViWord.port]!]!;
  }

  private transmitterOf(vi: number): Transmitter {
    return this.partsOf(vi).transmitter;
  }

  private countStale(): void {
    this.count(NicCount.staleDoorbells);
  }

  private count(counter: number): void {
    this.doubles[((this.plan.base + NicWord.counters) >>> 1) + counter]!++;
  }
}
