/**
 * Control of one port of the NIC: VIs, buffers, filters, sets. Called by the driver domain and by backend
 * plugins, from any thread, under the NIC's control lock; a refusal changes nothing.
 */
import { PAGE_BYTES, type Address } from '@netaccel/core-hooks';
import {
  NIC_CONTROL,
  NicError,
  type Counters,
  type FilterId,
  type FilterState,
  type NicCapabilities,
  type NicControl,
  type SetId,
  type ViId,
  type ViRequest,
} from '../control.js';
import type { FilterSpec } from '../filter.js';
import { EventType, MAX_FRAGMENTS, MAX_TRANSMIT_BYTES, Register } from '../layouts.js';
import { FilterControl } from './filter-control.js';
import type { NicCore, PortParts } from './core.js';
import {
  NicWord,
  PortCount,
  PortWord,
  SET_SIZE,
  SET_TARGET,
  TxBlocked,
  ViCount,
  ViState,
  ViWord,
  portCounters,
  viCounters,
} from './state.js';
import { NO_LIMIT, writeVi } from './vi-context.js';

/** Control of one port. */
export class PortControl implements NicControl {
  readonly kind = NIC_CONTROL;
  readonly mac: Uint8Array;
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly flows: FilterControl;

  constructor(
    private readonly nic: NicCore,
    readonly port: number,
  ) {
    const { memory } = nic;
    this.flows = new FilterControl(nic, port);
    this.words = nic.device.words;
    this.doubles = nic.device.doubles;
    const at = (nic.portWord(port) + PortWord.mac) * 4;
    this.mac = Uint8Array.from(memory.bytes.subarray(at, at + 6));
  }

  get generation(): number {
    return this.nic.generation;
  }

  get linkUp(): boolean {
    return this.nic.linkUp(this.port);
  }

  get capabilities(): NicCapabilities {
    const { plan } = this.nic;
    return {
      vis: plan.vis,
      filters: plan.filterSlots / 2,
      bufferPages: plan.bufferPages,
      setSize: plan.sets === 0 ? 0 : SET_SIZE,
      maxFrameBytes: this.words[plan.base + NicWord.maxFrameBytes]!,
      maxTransmitBytes: MAX_TRANSMIT_BYTES,
      maxFragments: MAX_FRAGMENTS,
      transmitChecksum: 1,
      segmentation: 1,
      receiveChecksum: 1,
      antiSpoof: 1,
      transmitRate: 1,
      interruptModeration: this.nic.timers ? 1 : 0,
      multicastReplication: 0,
      loopback: 0,
      timestamps: 1,
    };
  }

  allocateVi(request: ViRequest): ViId {
    return this.exclusively(() => {
      const { nic, words } = this;
      for (let id = 0; id < nic.plan.vis; id++) {
        const state = words[nic.viWord(id)];
        if (
          state !== ViState.free &&
          state !== ViState.stale &&
          words[nic.viWord(id) + ViWord.registerPage] === (request.registerPage | 0)
        )
          throw new NicError(
            'BAD_REQUEST',
            `registerPage: a page of its own expected, VI ${id} has this one`,
          );
      }
      for (let id = 0; id < nic.plan.vis; id++) {
        const vi = nic.viWord(id);
        if (words[vi] !== ViState.free && words[vi] !== ViState.stale) continue;
        this.quietly(vi, () => {
          writeVi(nic.memory, vi, this.port, request, this.linkUp, nic.generation);
          this.doubles[(vi + ViWord.txCredit) >>> 1] = Infinity;
          this.doubles[(vi + ViWord.toldTime) >>> 1] = -1;
        });
        return id;
      }
      throw new NicError('NO_VI', `a free VI expected, all ${nic.plan.vis} are in use; free one first`);
    });
  }

  /** {@inheritDoc NicControl.serviceVi} */
  serviceVi(vi: ViId): void {
    this.nic.serviceVi(vi);
  }

  flushVi(id: ViId): boolean {
    const vi = this.viOf(id);
    const { words, nic } = this;
    nic.locks.acquire(vi + ViWord.txLock);
    words[vi] = ViState.draining;
    nic.locks.release(vi + ViWord.txLock);
    this.parts.transmitter.service(vi);
    nic.settle();
    return words[vi + ViWord.txReported] === words[vi + ViWord.txConsumed];
  }

  addCredit(id: ViId, bytes: number, most: number): number {
    const vi = this.viOf(id);
    const { nic, words, doubles } = this;
    if (!(bytes >= 0) || !(most >= 0))
      throw new NicError('BAD_REQUEST', `credit: bytes from 0 expected, ${bytes} up to ${most} seen`);
    const at = (vi + ViWord.txCredit) >>> 1;
    nic.locks.acquire(vi + ViWord.txLock);
    const had = doubles[at]!;
    const before = had === Infinity ? 0 : had;
    const now = Math.min(before + bytes, most);
    doubles[at] = bytes === Infinity ? Infinity : now;
    const waits = words[vi + ViWord.txBlocked] === TxBlocked.credit;
    nic.locks.release(vi + ViWord.txLock);
    if (waits && bytes > 0) nic.serve(vi);
    return bytes === Infinity ? 0 : Math.min(before + bytes - now, bytes);
  }

  freeVi(id: ViId): void {
    this.exclusively(() => {
      const vi = this.viOf(id);
      const { words, nic } = this;
      this.flows.drop((target) =>
        target < SET_TARGET ? target === id : nic.sets.members(this.port, target & ~SET_TARGET).includes(id),
      );
      for (let set = 0; set < nic.plan.sets; set++)
        if (nic.sets.members(this.port, set).includes(id)) nic.sets.free(set);
      this.quietly(vi, () => {
        const registers = words[vi + ViWord.registerPage]! >>> 2;
        const left =
          (words[registers + (Register.transmitProducer >>> 2)]! - words[vi + ViWord.txConsumed]!) | 0;
        if (left > 0 && left <= words[vi + ViWord.txMask]! + 1) this.countVi(vi, ViCount.txDropped, left);
        this.doubles[((nic.portWord(this.port) + PortWord.counters) >>> 1) + PortCount.rxAbandoned]! +=
          nic.untakenFrames(vi);
        nic.buffers.unregisterAll(id);
        Atomics.store(words, registers + (Register.live >>> 2), 0);
        words[vi + ViWord.registerPage] = 0;
        words[vi] = ViState.free;
      });
    });
  }

  registerBuffers(id: ViId, pages: ArrayLike<Address>): number {
    return this.exclusively(() => {
      const vi = this.viOf(id);
      const { words, nic } = this;
      const count = pages.length;
      if (count < 1) throw new NicError('BAD_REQUEST', 'pages: at least one expected, none seen');
      for (let i = 0; i < count; i++)
        if (pages[i]! % PAGE_BYTES !== 0 || pages[i]! + PAGE_BYTES > nic.memory.bytes.length)
          throw new NicError('BAD_REQUEST', `pages[${i}]: a page of the memory expected, ${pages[i]!} seen`);
      const used = words[vi + ViWord.buffers]!;
      const quota = words[vi + ViWord.bufferQuota]!;
      if (used + count > quota)
        throw new NicError('BUFFER_QUOTA', `at most ${quota} pages expected, ${used} and ${count} more seen`);
      const bus = nic.buffers.register(id, words[vi + ViWord.owner]!, pages);
      words[vi + ViWord.buffers] = used + count;
      return bus;
    });
  }

  unregisterBuffers(id: ViId, bus: number, count: number): void {
    this.exclusively(() => {
      const vi = this.viOf(id);
      if (!this.quietly(vi, () => this.nic.buffers.unregister(id, bus, count)))
        throw new NicError('NO_SUCH_BUFFER', `${count} pages of VI ${id} expected at bus address ${bus}`);
      this.words[vi + ViWord.buffers]! -= count;
    });
  }

  addFilter(id: ViId, spec: FilterSpec): FilterId {
    return this.exclusively(() => this.flows.add(id, this.viOf(id), id, spec));
  }

  addSetFilter(set: SetId, spec: FilterSpec): FilterId {
    return this.exclusively(() => {
      const members = this.nic.sets.members(this.port, set);
      const [first] = members;
      if (first === undefined) throw this.noSet(set);
      for (const member of members) this.flows.checkOwner(member, this.viOf(member), spec);
      return this.flows.add(first, this.viOf(first), set | SET_TARGET, spec);
    });
  }

  retargetFilter(filter: FilterId, id: ViId): void {
    this.exclusively(() => {
      this.flows.retarget(filter, id, this.viOf(id));
    });
  }

  removeFilter(filter: FilterId): void {
    this.exclusively(() => {
      this.flows.remove(filter);
    });
  }

  filters(id: ViId): FilterState[] {
    return this.exclusively(() => {
      this.viOf(id);
      return this.flows.list(id);
    });
  }

  allocateSet(vis: readonly ViId[], key?: ArrayLike<number>): SetId {
    return this.exclusively(() => {
      for (const id of vis) this.viOf(id);
      const set = this.nic.sets.allocate(this.port, vis, key);
      if (set < 0) throw new NicError('NO_SET', `a free set expected, all ${this.nic.plan.sets} are in use`);
      return set;
    });
  }

  freeSet(set: SetId): void {
    this.exclusively(() => {
      if (this.nic.sets.members(this.port, set).length === 0) throw this.noSet(set);
      this.flows.drop((target) => target === (set | SET_TARGET));
      this.nic.sets.free(set);
    });
  }

  putEvent(id: ViId, value: number): boolean {
    const vi = this.viOf(id);
    const { receiver } = this.parts;
    receiver.enter();
    const put = this.nic.tell(receiver, vi, EventType.software, value);
    receiver.leave();
    this.nic.settle();
    return put;
  }

  viStatistics(id: ViId): Counters {
    const vi = this.viOf(id);
    return this.counters(viCounters, vi + ViWord.counters);
  }

  portStatistics(): Counters {
    return this.counters(portCounters, this.nic.portWord(this.port) + PortWord.counters);
  }

  describeVi(id: ViId): Readonly<Record<string, unknown>> {
    const vi = this.viOf(id);
    const { words } = this;
    const credit = this.doubles[(vi + ViWord.txCredit) >>> 1]!;
    return {
      id,
      owner: words[vi + ViWord.owner],
      draining: words[vi] === ViState.draining,
      transmitHalted: words[vi + ViWord.txHalted] !== 0,
      waitingForWire: words[vi + ViWord.txBlocked] === TxBlocked.wire,
      waitingForCredit: words[vi + ViWord.txBlocked] === TxBlocked.credit,
      credit: credit === Infinity ? null : credit,
      buffers: words[vi + ViWord.buffers],
      bufferQuota: limit(words[vi + ViWord.bufferQuota]!),
      filterQuota: limit(words[vi + ViWord.filterQuota]!),
      filters: this.filters(id),
      counters: this.viStatistics(id),
    };
  }

  private get parts(): PortParts {
    return this.nic.portParts(this.port);
  }

  private noSet(set: SetId): NicError {
    return new NicError('NO_SET', `a set of port ${this.port} expected, ${set} seen`);
  }

  private viOf(id: ViId): number {
    const { nic, words } = this;
    const vi = nic.viWord(id);
    const known = Number.isInteger(id) && id >= 0 && id < nic.plan.vis;
    const state = known ? words[vi] : ViState.free;
    if ((state !== ViState.live && state !== ViState.draining) || words[vi + ViWord.port] !== this.port)
      throw new NicError('NO_SUCH_VI', `a VI of port ${this.port} expected, ${id} seen; was the NIC reset?`);
    return vi;
  }

  private exclusively<T>(act: () => T): T {
    const lock = this.nic.plan.base + NicWord.controlLock;
    this.nic.locks.acquire(lock);
    try {
      return act();
    } finally {
      this.nic.locks.release(lock);
    }
  }

  /** Runs `act` while neither engine touches the VI. */
  private quietly<T>(vi: number, act: () => T): T {
    const { locks } = this.nic;
    const { receiver } = this.parts;
    locks.acquire(vi + ViWord.txLock);
    receiver.enter();
    try {
      return act();
    } finally {
      receiver.leave();
      locks.release(vi + ViWord.txLock);
    }
  }

  private countVi(vi: number, counter: number, by: number): void {
    this.doubles[((vi + ViWord.counters) >>> 1) + counter]! += by;
  }

  private counters(names: object, first: number): Counters {
    return Object.fromEntries(Object.keys(names).map((name, i) => [name, this.doubles[(first >>> 1) + i]!]));
  }
}

function limit(word: number): number | null {
  return word === NO_LIMIT ? null : word;
}
