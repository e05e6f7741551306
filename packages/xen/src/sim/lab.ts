/**
 * A lab: one memory, its pages and the domains that live in it, whichever host they are on.
 *
 * The hypervisor's part of the machine. All of its state is in the shared memory, so that each thread has a
 * `Lab` of its own over the same bytes. Nothing in it is locked: see plan.ts for why, grant-tables.ts and
 * port-tables.ts for how. Domains are made and destroyed by one thread.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import { GrantTables } from './grant-tables.js';
import { SharedMemory } from './memory.js';
import { DomainState, OWNER_MACHINE, Plan, domainRecord, labHeader } from './plan.js';
import type { LabShape } from './plan.js';
import { PortTables } from './port-tables.js';

const { fields } = domainRecord;
const STATE = fields.state.offset >>> 2;
const HOST = fields.host.offset >>> 2;
const DOMID = fields.domid.offset >>> 2;
const GENERATION = fields.generation.offset >>> 2;
const EPOCH = fields.epoch.offset >>> 2;
const CURSOR = labHeader.fields.cursor.offset >>> 2;

/** What a domain holds, as far as the machine itself knows. */
export interface Holdings {
  /** Pages it owns, granted ones included. */
  readonly pages: number;
  /** Entries of its grant table in use. */
  readonly grants: number;
  /** Foreign pages it has mapped. */
  readonly mappings: number;
  /** Ports that are not closed. */
  readonly ports: number;
}

/** Turns of a spinning wait for another thread's batch of copies: a few milliseconds at most. */
const COPY_SPINS = 200_000;

/** Byte that fills a freed page when freed pages are checked, and a word of them. */
const POISON = 0xdb;
const POISON_WORD = 0xdbdb_dbdb;
const PAGE_WORDS = PAGE_BYTES >>> 2;

/** One thread's hold on a lab. */
export class Lab {
  /** Grants of all domains. */
  readonly grants: GrantTables;
  /** Event channel ports of all domains. */
  readonly ports: PortTables;
  /** Where things lie. */
  readonly plan: Plan;
  /** Called when a domain has an event that it did not have before. */
  onSignal: (slot: number) => void = () => undefined;
  /** Set by an audit: freed pages are poisoned, and one that was written after that is reported. */
  onWrittenAfterFree: ((page: number) => void) | null = null;

  /**
   * @param memory the lab's memory: all zero when it is new, else set up by another thread's `Lab`.
   * @param shape its sizes.
   * @param concurrent whether other threads use it at the same time.
   */
  constructor(
    readonly memory: SharedMemory,
    shape: LabShape,
    readonly concurrent: boolean,
  ) {
    this.plan = new Plan(shape);
    this.grants = new GrantTables(this);
    this.ports = new PortTables(this);
  }

  /**
   * A new lab.
   * @param used memory of a lab that is over, to save the system the work of a new one; it is wiped here.
   */
  static create(shape: LabShape, concurrent: boolean, used?: SharedMemory): Lab {
    const reused = used !== undefined && used.bytes.length >= shape.pages * PAGE_BYTES;
    const lab = new Lab(reused ? used : SharedMemory.ofPages(shape.pages), shape, concurrent);
    const { plan, memory } = lab;
    if (reused) {
      const kept = plan.firstFree * PAGE_BYTES;
      memory.clear(0, kept);
      memory.fill(kept, POISON, shape.pages * PAGE_BYTES - kept);
    }
    memory.fill(plan.owners, OWNER_MACHINE, plan.firstFree);
    memory.words[CURSOR] = plan.firstFree;
    return lab;
  }

  /** Pages that nobody owns. */
  get freePages(): number {
    return this.pagesOf(-1).length;
  }

  /** `count` pages one after the other for the domain in `slot`, or -1. Their bytes are what they were. */
  takePages(slot: number, count: number): number {
    const { words, bytes } = this.memory;
    const { owners, firstFree, shape } = this.plan;
    const total = shape.pages;
    const owner = slot + 1;
    let page = words[CURSOR]!;
    let run = 0;
    // Next fit: once round, and `count` pages over where it began; a run never passes the end.
    for (let looked = 0; looked < total - firstFree + count && count > 0; looked++, page++) {
      if (page >= total) {
        page = firstFree;
        this.giveBack(total - run, run);
        run = 0;
      }
      if (Atomics.compareExchange(bytes, owners + page, 0, owner) !== 0) {
        this.giveBack(page - run, run);
        run = 0;
        continue;
      }
      if (++run < count) continue;
      words[CURSOR] = page + 1;
      this.checkPoison(page + 1 - count, count);
      return page + 1 - count;
    }
    this.giveBack(page - run, run);
    return -1;
  }

  /**
   * Pages for a device model, zeroed; nobody frees them while the lab lives.
   * @throws MachineError `NO_MEMORY`.
   */
  takeDevicePages(count: number): number {
    const first = this.takePages(OWNER_MACHINE - 1, count);
    if (first < 0)
      throw new MachineError(
        'NO_MEMORY',
        `a device asked for ${count} pages in a row; ${this.freePages} are free; make the lab with a larger shape.pages`,
      );
    this.memory.clear(first * PAGE_BYTES, count * PAGE_BYTES);
    return first;
  }

  /** Gives pages back to nobody. */
  freePagesAt(first: number, count: number): void {
    if (this.onWrittenAfterFree !== null) this.memory.fill(first * PAGE_BYTES, POISON, count * PAGE_BYTES);
    this.giveBack(first, count);
  }

  /** Slot of the domain that owns a page, -1 when nobody does, 254 for the machine. */
  ownerOf(page: number): number {
    return page < this.plan.shape.pages ? this.memory.bytes[this.plan.owners + page]! - 1 : -1;
  }

  /** Makes a domain and answers its slot. */
  createDomain(host: number, domid: number): number {
    if (this.find(host, domid) >= 0)
      throw new MachineError('CLOSED', `domain ${domid} exists on host ${host}; destroy it first`);
    this.reap();
    const { words } = this.memory;
    for (let slot = 0; slot < this.plan.shape.domains; slot++) {
      const record = this.plan.record(slot) >>> 2;
      if (this.state(slot) !== DomainState.free) continue;
      const generation = words[record + GENERATION]!;
      this.memory.clear(this.plan.record(slot), this.plan.record(slot + 1) - this.plan.record(slot));
      words[record + GENERATION] = generation + 1;
      words[record + HOST] = host;
      words[record + DOMID] = domid;
      Atomics.store(words, record + STATE, DomainState.alive);
      return slot;
    }
    throw new MachineError(
      'NO_MEMORY',
      `all ${this.plan.shape.domains} domain slots are taken; make the lab with a larger shape.domains`,
    );
  }

  /**
   * Ends a domain whatever it was doing: its ports close, its mappings end, its grants vanish, its pages are
   * freed. A page that another domain still maps, or may be copying, stays until that is over, and the slot
   * with it: {@link reap}. The domain's thread has stopped.
   */
  destroyDomain(slot: number): void {
    const { words } = this.memory;
    const record = this.plan.record(slot) >>> 2;
    // First: whoever maps or copies from it looks at this after it has made that known.
    Atomics.store(words, record + STATE, DomainState.dying);
    Atomics.store(words, record + EPOCH, 0);
    this.ports.closeAll(slot);
    this.grants.unmapAll(slot);
    this.grants.endAll(slot);
    this.reap();
  }

  /**
   * Gives a domain another number on another host: all that a move is, as its memory stays where it is. Nobody
   * that knew it by the old number reaches it any more.
   * @throws MachineError `CLOSED` when the number is taken there; `IN_USE` when it still has ports, mappings or
   * grants, which mean something on the old host only. Nothing has changed then.
   */
  moveDomain(slot: number, host: number, domid: number): void {
    if (this.find(host, domid) >= 0)
      throw new MachineError('CLOSED', `domain ${domid} exists on host ${host}; choose another number`);
    const { grants, mappings, ports } = this.holdings(slot);
    if (grants + mappings + ports > 0)
      throw new MachineError(
        'IN_USE',
        `expected a suspended domain, without grants, mappings and ports; saw ${grants}, ${mappings} and ${ports}; ` +
          'suspend its devices first; a grant that a backend still maps ends when that unmaps it',
      );
    const { words } = this.memory;
    const record = this.plan.record(slot) >>> 2;
    words[record + HOST] = host;
    words[record + DOMID] = domid;
    words[record + GENERATION]!++;
  }

  /** Frees what dead domains left and nobody uses any more; true when nothing is left of any. */
  reap(): boolean {
    const { words } = this.memory;
    let clean = true;
    for (let slot = 0; slot < this.plan.shape.domains; slot++) {
      if (this.state(slot) !== DomainState.dying) continue;
      const kept = this.copiesOver() ? this.grants.mappedPages(slot) : null;
      if (kept !== null)
        for (const page of this.pagesOf(slot)) if (!kept.has(page)) this.freePagesAt(page, 1);
      if (kept?.size === 0) Atomics.store(words, (this.plan.record(slot) >>> 2) + STATE, DomainState.free);
      else clean = false;
    }
    return clean;
  }

  /** Slot of a live domain, or -1. */
  find(host: number, domid: number): number {
    const { words } = this.memory;
    for (let slot = 0; slot < this.plan.shape.domains; slot++) {
      const record = this.plan.record(slot) >>> 2;
      if (
        words[record + DOMID] === domid &&
        words[record + HOST] === host &&
        this.state(slot) === DomainState.alive
      )
        return slot;
    }
    return -1;
  }

  /** One of {@link DomainState}. */
  state(slot: number): number {
    return Atomics.load(this.memory.words, (this.plan.record(slot) >>> 2) + STATE);
  }

  /** Which of the domains that had this slot it is. */
  generation(slot: number): number {
    return this.memory.words[(this.plan.record(slot) >>> 2) + GENERATION]!;
  }

  /** What the domain in a slot holds, from the shared tables: also of one whose thread is elsewhere. */
  holdings(slot: number): Holdings {
    return { pages: this.pagesOf(slot).length, ...this.grants.count(slot), ports: this.ports.count(slot) };
  }

  /** The host and number of the domain in a slot. */
  identity(slot: number): { host: number; domid: number } {
    const record = this.plan.record(slot) >>> 2;
    const { words } = this.memory;
    return { host: words[record + HOST]!, domid: words[record + DOMID]! };
  }

  /**
   * Waits, for a few milliseconds at most, until no batch of grant copies is under way that began before this
   * call. False: one still is; what it may touch must not be reused yet.
   */
  copiesOver(): boolean {
    if (!this.concurrent) return true;
    const { words } = this.memory;
    let spins = COPY_SPINS;
    for (let slot = 0; slot < this.plan.shape.domains; slot++) {
      const at = (this.plan.record(slot) >>> 2) + EPOCH;
      const epoch = Atomics.load(words, at);
      if ((epoch & 1) === 0) continue;
      while (Atomics.load(words, at) === epoch) if (--spins < 0) return false;
    }
    return true;
  }

  /** Pages that the domain in `slot` owns; -1 for those that nobody does. */
  private pagesOf(slot: number): number[] {
    const { bytes } = this.memory;
    const { owners, firstFree, shape } = this.plan;
    const pages: number[] = [];
    for (let page = firstFree; page < shape.pages; page++)
      if (bytes[owners + page] === slot + 1) pages.push(page);
    return pages;
  }

  private giveBack(first: number, count: number): void {
    const { owners } = this.plan;
    for (let page = first; page < first + count; page++) Atomics.store(this.memory.bytes, owners + page, 0);
  }

  /** Looks at every free page now, and not only when it is taken again. */
  checkFreePages(): void {
    for (const page of this.pagesOf(-1)) this.checkPoison(page, 1);
  }

  private checkPoison(first: number, count: number): void {
    if (this.onWrittenAfterFree === null) return;
    for (let page = first; page < first + count; page++) {
      const expected = this.memory.words[page * PAGE_WORDS] === 0 ? 0 : POISON_WORD; // never used before: all zero
      if (!this.memory.same(page * PAGE_BYTES, expected, PAGE_BYTES)) this.onWrittenAfterFree(page);
    }
  }
}
