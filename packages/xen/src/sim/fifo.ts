/**
 * The FIFO form of event delivery (reference, 4.9), the hypervisor's side; fifo-guest.ts is the guest's.
 *
 * A queue of ports for each priority. Each port has an event word; the words of a queue are linked from one to the
 * next, and a queue that was empty is told by its head in the control block and a bit of its ready word. Words and
 * control block are in pages of the guest, which may write anything there: what is read from them is judged, one
 * word at a time and never a chain, and what the hypervisor goes by (tails, priorities, which pages these are) is in
 * its own tables. A page that the guest has given away meanwhile is not touched.
 *
 * Ports are put into queues by the domain's own thread only; what others send is posted (fifo-posts.ts). In a lab of
 * one thread every thread is the domain's own.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { EventDelivery } from './event-delivery.js';
import {
  FIFO_CONTROL_ALIGN,
  FIFO_DEFAULT_PRIORITY,
  FIFO_PRIORITIES,
  FIFO_WORDS_PER_PAGE,
  FIFO_WORD_BITS,
  FifoBit,
  fifoControlBlock,
} from './fifo-layout.js';
import { FifoPosts } from './fifo-posts.js';
import type { Lab } from './lab.js';
import { domainRecord } from './plan.js';

const { fields } = domainRecord;
const CONTROL = fields.control.offset >>> 2;
const ARRAY_PAGES = fields.arrayPages.offset >>> 2;
const TAILS = fields.tails.offset >>> 2;
const ARRAY = fields.array.offset >>> 2;
const READY = fifoControlBlock.fields.ready.offset >>> 2;
const HEADS = fifoControlBlock.fields.heads.offset >>> 2;

const WORD_MASK = FIFO_WORDS_PER_PAGE - 1;
const PAGE_BITS = 31 - Math.clz32(PAGE_BYTES);
const LAST_SHIFT = 4;
const PRIORITY_MASK = FIFO_PRIORITIES - 1;

/** FIFO delivery. */
export class FifoDelivery implements EventDelivery {
  /** Ports that a domain can have. */
  readonly limit: number;
  private readonly posts: FifoPosts;
  private readonly admit = (slot: number, port: number): void => {
    if (this.isOpen(slot, port)) this.enqueue(slot, port);
  };

  /**
   * @param lab whose memory the tables are in.
   * @param isOpen whether a port is in use.
   */
  constructor(
    private readonly lab: Lab,
    private readonly isOpen: (slot: number, port: number) => boolean,
  ) {
    this.limit = lab.plan.shape.ports;
    this.posts = new FifoPosts(lab);
  }

  /**
   * The domain's event channels are FIFO from here on (`EVTCHNOP_init_control`): there is no FIFO without a control
   * block (XSA-107).
   * @param address of the control block, in a page of the domain.
   * @throws MachineError `IN_USE`, `BAD_PAGE`.
   */
  initControl(slot: number, address: Address): void {
    const { bytes, words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const open = this.lab.ports.count(slot);
    if (words[record + CONTROL] !== 0 || open > 0)
      throw new MachineError(
        'IN_USE',
        `init_control: expected a domain without control block and ports, saw ${words[record + CONTROL] === 0 ? open : 'a control block'}` +
          '; it comes once, before the first port is opened',
      );
    const within = address % PAGE_BYTES;
    if (
      !this.owns(slot, Math.floor(address / PAGE_BYTES)) ||
      within % FIFO_CONTROL_ALIGN !== 0 ||
      within > PAGE_BYTES - fifoControlBlock.size
    )
      throw new MachineError(
        'BAD_PAGE',
        `init_control: expected an address in a page of the domain, a multiple of ${FIFO_CONTROL_ALIGN} with ` +
          `${fifoControlBlock.size} bytes behind it in that page, saw ${address}; use the beginning of an own page`,
      );
    this.retire(slot);
    const priorities = this.lab.plan.priorities(slot);
    bytes.fill(
      FIFO_DEFAULT_PRIORITY | (FIFO_DEFAULT_PRIORITY << LAST_SHIFT),
      priorities,
      priorities + this.limit,
    );
    Atomics.store(words, record + CONTROL, address);
  }

  /**
   * The domain gives a page for the event words of its next 1024 ports (`EVTCHNOP_expand_array`). Events that came
   * for one of them before are delivered now.
   * @throws MachineError `CLOSED`, `BAD_PAGE`, `NO_PORTS`.
   */
  expandArray(slot: number, page: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    this.checkControl(slot, 'expand_array');
    const pages = words[record + ARRAY_PAGES]!;
    const first = pages * FIFO_WORDS_PER_PAGE;
    if (first >= this.limit)
      throw new MachineError(
        'NO_PORTS',
        `expand_array: expected at most ${pages} pages for the ${this.limit} ports that a domain can have, ` +
          'saw one more; raise shape.ports',
      );
    if (!this.owns(slot, page))
      throw new MachineError(
        'BAD_PAGE',
        `expand_array: expected a page of the domain, saw page ${page}; allocate one`,
      );
    words[record + ARRAY + pages] = page;
    words[record + ARRAY_PAGES] = pages + 1;
    this.posts.admitFrom(slot, first, Math.min(first + FIFO_WORDS_PER_PAGE, this.limit), this.admit);
  }

  /**
   * From its next event on a port is in another queue (`EVTCHNOP_set_priority`).
   * @param priority 0 goes first, 15 last.
   * @throws MachineError `CLOSED`, `BAD_PORT`; RangeError for a priority that there is not.
   */
  setPriority(slot: number, port: number, priority: number): void {
    this.checkControl(slot, 'set_priority');
    if (!Number.isInteger(priority) || priority < 0 || priority >= FIFO_PRIORITIES)
      throw new RangeError(`priority: 0 to ${FIFO_PRIORITIES - 1} expected, ${priority} seen`);
    if (port >= this.limit || !this.isOpen(slot, port))
      throw new MachineError('BAD_PORT', `set_priority: expected an open port, saw ${port}; open it first`);
    const at = this.lab.plan.priorities(slot) + port;
    this.lab.memory.bytes[at] = (this.lab.memory.bytes[at]! & ~PRIORITY_MASK) | priority;
  }

  /** Its event channels are 2-level again: a reset, or its end. All ports are closed. */
  retire(slot: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    Atomics.store(words, record + CONTROL, 0);
    words[record + ARRAY_PAGES] = 0;
    words.fill(0, record + TAILS, record + TAILS + FIFO_PRIORITIES);
  }

  /** Makes a port pending. Any thread. */
  send(slot: number, port: number): void {
    if (this.lab.concurrent) this.posts.post(slot, port);
    else this.enqueue(slot, port);
  }

  /** What other threads sent goes into the queues: before the domain looks at these, in its own thread. */
  enter(slot: number): void {
    this.posts.admit(slot, this.admit);
  }

  /** A domain died that may have been sending to this one. */
  recount(slot: number): void {
    if (this.lab.concurrent) this.posts.recount(slot);
  }

  /** Lets a port's events through again, and delivers one that came meanwhile. The domain's own thread. */
  unmask(slot: number, port: number): void {
    const at = this.wordAt(slot, port);
    if (at === 0) return;
    const word = Atomics.and(this.lab.memory.words, at, ~FifoBit.masked);
    if ((word & FifoBit.pending) !== 0) this.link(slot, port, at);
  }

  /** Whether the domain has events to look at. */
  waiting(slot: number): boolean {
    const { words } = this.lab.memory;
    const control = words[(this.lab.plan.record(slot) >>> 2) + CONTROL]! >>> 2;
    return Atomics.load(words, control + READY) !== 0 || this.posts.waiting(slot);
  }

  /**
   * Neither pending nor masked, and of the usual priority. A port that is in a queue stays in it, and its next event
   * finds it there.
   */
  reset(slot: number, port: number): void {
    const { bytes, words } = this.lab.memory;
    this.posts.clear(slot, port);
    const priority = this.lab.plan.priorities(slot) + port;
    bytes[priority] = (bytes[priority]! & ~PRIORITY_MASK) | FIFO_DEFAULT_PRIORITY;
    const at = this.wordAt(slot, port);
    if (at !== 0) Atomics.and(words, at, ~(FifoBit.pending | FifoBit.masked));
  }

  /** A port is pending, and in its queue unless it is masked, or in one already. */
  private enqueue(slot: number, port: number): void {
    const at = this.wordAt(slot, port);
    if (at === 0) {
      this.posts.keep(slot, port); // until the guest gives the page of its word
      return;
    }
    const word = Atomics.or(this.lab.memory.words, at, FifoBit.pending);
    if ((word & (FifoBit.masked | FifoBit.linked)) === 0) this.link(slot, port, at);
  }

  private link(slot: number, port: number, at: number): void {
    const { bytes, words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const control = words[record + CONTROL]!;
    if (!this.owns(slot, control >>> PAGE_BITS)) return; // it gave its control block away: it hears nothing
    if ((Atomics.or(words, at, FifoBit.linked) & FifoBit.linked) !== 0) return;
    const note = this.lab.plan.priorities(slot) + port;
    const priority = bytes[note]! & PRIORITY_MASK;
    const last = bytes[note]! >>> LAST_SHIFT;
    // It was the last of a queue that is empty now, and is about to be in another, or in this one again.
    if (words[record + TAILS + last] === port) words[record + TAILS + last] = 0;
    bytes[note] = priority | (priority << LAST_SHIFT);
    const tail = words[record + TAILS + priority]!;
    words[record + TAILS + priority] = port;
    if (tail !== 0 && this.follows(slot, port, tail)) return;
    Atomics.store(words, (control >>> 2) + HEADS + priority, port);
    const bit = 1 << priority;
    if ((Atomics.or(words, (control >>> 2) + READY, bit) & bit) === 0) this.lab.onSignal(slot);
  }

  /** Links a port behind the one that was last in its queue. False: the queue is empty. */
  private follows(slot: number, port: number, tail: number): boolean {
    const { words } = this.lab.memory;
    const at = this.wordAt(slot, tail);
    if (at === 0) return false;
    const word = Atomics.load(words, at);
    if ((word & FifoBit.linked) === 0) return false; // the guest has taken it
    if ((word & FifoBit.link) !== 0) return false; // nobody but the guest can have written that
    return Atomics.compareExchange(words, at, word, (word | port) >>> 0) === word;
  }

  /** Index of a port's event word; 0: the guest gave no page for it, or has given that page away. */
  private wordAt(slot: number, port: number): number {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const which = port >>> FIFO_WORD_BITS;
    if (which >= words[record + ARRAY_PAGES]!) return 0;
    const page = words[record + ARRAY + which]!;
    return this.owns(slot, page) ? page * FIFO_WORDS_PER_PAGE + (port & WORD_MASK) : 0;
  }

  private owns(slot: number, page: number): boolean {
    return this.lab.ownerOf(page) === slot;
  }

  private checkControl(slot: number, what: string): void {
    if (this.lab.memory.words[(this.lab.plan.record(slot) >>> 2) + CONTROL] === 0)
      throw new MachineError(
        'CLOSED',
        `${what}: expected a domain with a control block, saw one whose event channels are 2-level; ` +
          'init_control comes first',
      );
  }
}
