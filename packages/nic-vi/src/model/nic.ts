/**
 * The NIC, as one thread has it. It has no thread of its own: whoever writes a register executes it, under the
 * locks in its state. Made once in each thread that may write a register, over the same memory.
 */
import type { Address, Memory } from '@netaccel/core-hooks';
import { Ev, Page, RegisterWord } from '../bits.js';
import type { Counters, NicControl, ViId } from '../control.js';
import { ClockState } from '../layouts.js';
import { NicCore, type NicOptions } from './core.js';
import { raise } from './event-writer.js';
import { attachNicState, initialiseNicState, type NicConfig, type NicPlan } from './plan.js';
import { RegisterPages } from './register-pages.js';
import { NicCount, NicWord, PortWord, ViState, ViWord, nicCounters, portCounters } from './state.js';

/** One port, as {@link Nic.describe} says it. */
export interface NicPortDescription {
  /** Its factory MAC as text. */
  readonly mac: string;
  /** Whether it has link. */
  readonly link: boolean;
  /** The wire that is plugged in. */
  readonly wire: Readonly<Record<string, unknown>> | null;
  /** Its counters. */
  readonly counters: Counters;
}

/** What {@link Nic.describe} says. */
export interface NicModelDescription {
  /** Counts resets, from 1. */
  readonly generation: number;
  /** VIs that are live. */
  readonly liveVis: number;
  /** VIs that there can be. */
  readonly maxVis: number;
  /** Counters of the whole. */
  readonly counters: Counters;
  /** Its ports. */
  readonly ports: readonly NicPortDescription[];
}

/** The inside of a NIC, for the files of the model only. */
export let coreOf: (nic: Nic) => NicCore;

/**
 * The NIC.
 *
 * @example
 * ```ts
 * const nic = Nic.create(memory, address, { interrupt: (vector) => raise(vector) });
 * const other = Nic.attach(memory, address, options);   // the same NIC in another thread
 * nic.registerWritten(page + offset);                   // what the machine calls at a register write
 * ```
 */
export class Nic {
  /** The memory that its state, rings and buffers are in. */
  readonly memory: Memory;
  readonly #core: NicCore;
  readonly #pages: RegisterPages;

  static {
    coreOf = (nic) => nic.#core;
  }

  private constructor(memory: Memory, plan: NicPlan, options: NicOptions) {
    this.memory = memory;
    this.#core = new NicCore(memory, plan, options);
    this.#pages = new RegisterPages(this.#core.device.words, plan);
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
    return this.#core.portParts(port).control;
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
    const core = this.#core;
    const vi = this.#pages.find((address - offset) | 0);
    if (vi < 0) {
      core.count(NicCount.staleDoorbells);
      return false;
    }
    if (isDoorbell) core.serve(vi);
    else core.restart(vi);
    return true;
  }

  /** Whether a live VI has this register page: whose writes to handle, for a machine that maps it. */
  hasRegisterPage(page: Address): boolean {
    return this.#pages.find(page | 0) >= 0;
  }

  /**
   * Does whatever a VI's registers ask for: for machines where a write is not noticed by itself, when its doorbell
   * channel rang.
   */
  serviceVi(id: ViId): void {
    this.#core.serviceVi(id);
  }

  /**
   * Tells the NIC the time, in microseconds: what is due on its wires arrives, delayed interrupts are raised.
   * @returns when to call again; Infinity when nothing is due at a known time.
   */
  advance(nowUs: number): number {
    const core = this.#core;
    const { device, plan } = core;
    const { words, doubles } = device;
    doubles[(plan.base + NicWord.now) >>> 1] = nowUs;
    let next = Infinity;
    for (const wire of core.wires) if (wire !== null) next = Math.min(next, wire.advance(nowUs));
    for (let id = 0; id < plan.vis; id++) {
      const vi = core.viWord(id);
      const due = doubles[(vi + ViWord.interruptDue) >>> 1]!;
      if (due === 0 || words[vi + ViWord.state] === ViState.free) continue;
      if (due > nowUs) {
        next = Math.min(next, due);
        continue;
      }
      const { receiver } = core.partsOf(vi);
      receiver.enter();
      raise(device, vi, core);
      receiver.leave();
    }
    core.settle();
    return next;
  }

  /** Sets a port's link; its VIs get an event when it changes. */
  setLink(port: number, up: boolean): void {
    const core = this.#core;
    const { words } = core.device;
    const { receiver } = core.portParts(port);
    const at = core.portWord(port) + PortWord.linkUp;
    receiver.enter();
    if ((words[at] !== 0) !== up) {
      words[at] = up ? 1 : 0;
      core.eachVi(port, (vi) => {
        words[(words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.link] = up ? 1 : 0;
        core.tell(receiver, vi, Ev.link | (up ? 1 << Ev.reasonShift : 0));
      });
    }
    receiver.leave();
    core.settle();
  }

  /** Says what the NIC's clock is worth: bits of `ClockState`, 0 until then. A driver domain that disciplines it does. */
  setClockState(state: number): void {
    const core = this.#core;
    core.device.words[core.plan.base + NicWord.clockState] = state & (ClockState.set | ClockState.inSync);
  }

  /** The VIs of a port that are live, or come to their end. */
  visOf(port: number): ViId[] {
    const ids: ViId[] = [];
    this.#core.eachVi(port, (vi) => void ids.push(this.#core.viId(vi)));
    return ids;
  }

  /**
   * The VI that a port's filters, as they are now, lead a frame to; null for none. For captures and tests: nothing is
   * delivered or counted.
   * @param address of the frame's bytes in the NIC's memory, in one piece, `length` long.
   */
  receiverOf(port: number, address: Address, length: number): ViId | null {
    const id = this.#core.portParts(port).receiver.receiverOf(address, length);
    return id < 0 ? null : id;
  }

  /** Filters of a port, those of its driver domain included. */
  filterCount(port: number): number {
    return this.#core.filterCount(port);
  }

  /** Whether a port has link. */
  linkUp(port: number): boolean {
    return this.#core.linkUp(port);
  }

  /** Resets the NIC: every VI gets its last event; VIs, filters, buffers and sets are gone; a new generation begins. */
  reset(): void {
    const core = this.#core;
    const { plan, locks, device, sets } = core;
    locks.acquire(plan.base + NicWord.controlLock);
    for (let port = 0; port < plan.ports; port++) {
      const { receiver, filters } = core.portParts(port);
      core.eachVi(port, (vi) => {
        locks.acquire(vi + ViWord.txLock);
        receiver.enter();
        core.tell(receiver, vi, Ev.reset);
        receiver.leave();
        this.#forget(vi);
        locks.release(vi + ViWord.txLock);
      });
      receiver.enter();
      filters.clear();
      receiver.leave();
    }
    sets.clear();
    device.words[plan.base + NicWord.generation]!++;
    core.count(NicCount.resets);
    locks.release(plan.base + NicWord.controlLock);
    core.settle();
  }

  /** Counts resets, from 1. */
  get generation(): number {
    return this.#core.generation;
  }

  /** Its state, for `explain`. */
  describe(): NicModelDescription {
    const core = this.#core;
    const { plan, device } = core;
    let live = 0;
    for (let id = 0; id < plan.vis; id++) if (device.words[core.viWord(id)] === ViState.live) live++;
    const counters = (names: object, first: number) =>
      Object.fromEntries(Object.keys(names).map((name, i) => [name, device.doubles[(first >>> 1) + i]!]));
    return {
      generation: core.generation,
      liveVis: live,
      maxVis: plan.vis,
      counters: counters(nicCounters, plan.base + NicWord.counters),
      ports: Array.from({ length: plan.ports }, (_, port) => ({
        mac: Array.from(core.portParts(port).control.mac, (b) => b.toString(16).padStart(2, '0')).join(':'),
        link: core.linkUp(port),
        wire: core.wires[port]?.describe() ?? null,
        counters: counters(portCounters, core.portWord(port) + PortWord.counters),
      })),
    };
  }

  /** A VI is no more: nothing of it but its counters is touched from here on. Its transmit lock is held. */
  #forget(vi: number): void {
    const core = this.#core;
    const { words } = core.device;
    const { receiver } = core.partsOf(vi);
    receiver.enter();
    words[vi + ViWord.state] = ViState.stale;
    Atomics.store(words, (words[vi + ViWord.registerPage]! >>> 2) + RegisterWord.live, 0);
    core.buffers.unregisterAll(core.viId(vi));
    receiver.leave();
  }
}
