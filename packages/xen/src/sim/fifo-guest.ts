/**
 * The guest's side of FIFO event channels: gives its hypervisor a control block and event words, and takes ports out
 * of the queues, the most urgent first. fifo.ts is the hypervisor's side.
 *
 * The pages are the guest kernel's: they are not in its ledger, and go when it does.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { DomainContext } from './context.js';
import {
  FIFO_PRIORITIES,
  FIFO_WORDS_PER_PAGE,
  FIFO_WORD_BITS,
  FifoBit,
  fifoControlBlock,
} from './fifo-layout.js';
import { takeZeroed } from './pages.js';
import { lowestBit } from './two-level.js';

const READY = fifoControlBlock.fields.ready.offset >>> 2;
const HEADS = fifoControlBlock.fields.heads.offset >>> 2;
const WORD_MASK = FIFO_WORDS_PER_PAGE - 1;
const ALL_READY = (1 << FIFO_PRIORITIES) - 1;

/** Events taken in one go: then other work has its turn. */
const TAKE_BUDGET = 256;

/** A guest's queues. */
export class FifoGuest {
  private readonly control: number;
  private readonly array: number[] = [];
  /** Where it is in each queue; 0: the control block says where it begins. */
  private readonly heads = new Uint32Array(FIFO_PRIORITIES);
  private ready = 0;

  /** @throws MachineError `NO_MEMORY`; its event channels are 2-level then. */
  constructor(private readonly at: DomainContext) {
    const { lab, slot } = at;
    const block = takeZeroed(at, 1);
    let words;
    try {
      words = takeZeroed(at, 1);
    } catch (error) {
      lab.freePagesAt(block / PAGE_BYTES, 1);
      throw error;
    }
    this.control = block >>> 2;
    lab.ports.fifo.initControl(slot, block);
    this.expand(words);
  }

  /**
   * Sees to it that a port has an event word, before it is opened.
   * @throws MachineError `NO_MEMORY`.
   */
  prepare(port: number): void {
    while (port >= this.array.length * FIFO_WORDS_PER_PAGE) this.expand(takeZeroed(this.at, 1));
  }

  /**
   * Hands pending, unmasked ports to `each`: masked and not pending any more from just before that call (late
   * acknowledge, XSA-332). After each, the most urgent queue is looked at again.
   */
  take(each: (port: number) => void): void {
    const { lab, slot } = this.at;
    const { words } = lab.memory;
    for (let taken = 0; taken < TAKE_BUDGET; taken++) {
      this.ready |= Atomics.exchange(words, this.control + READY, 0) & ALL_READY;
      if (this.ready === 0) return;
      this.takeOne(lowestBit(this.ready), each);
    }
    Atomics.or(words, this.control + READY, this.ready);
    this.ready = 0;
    if (Atomics.load(words, this.control + READY) !== 0) lab.onSignal(slot);
  }

  private takeOne(priority: number, each: (port: number) => void): void {
    const { words } = this.at.lab.memory;
    const port = this.heads[priority]! || Atomics.load(words, this.control + HEADS + priority);
    const at = this.wordAt(port);
    // Out of the queue in one step: it is linked to before that, and seen here, or finds the queue empty.
    const word = at === 0 ? 0 : Atomics.and(words, at, ~(FifoBit.linked | FifoBit.link));
    const next = (word & FifoBit.linked) === 0 ? 0 : word & FifoBit.link;
    this.heads[priority] = next;
    if (next === 0) this.ready &= ~(1 << priority);
    if ((word & (FifoBit.pending | FifoBit.masked)) >>> 0 !== FifoBit.pending) return;
    Atomics.or(words, at, FifoBit.masked);
    Atomics.and(words, at, ~FifoBit.pending);
    each(port);
  }

  private wordAt(port: number): number {
    const page = this.array[port >>> FIFO_WORD_BITS];
    return page === undefined || port === 0 ? 0 : page + (port & WORD_MASK);
  }

  private expand(page: number): void {
    this.at.lab.ports.fifo.expandArray(this.at.slot, page / PAGE_BYTES);
    this.array.push(page >>> 2);
  }
}
