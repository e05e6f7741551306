/**
 * How other threads send events to a domain whose event channels are FIFO.
 *
 * Only the domain's own thread puts ports into its queues, so no queue needs a lock, and no thread writes to pages
 * that its owner may be giving away. A sender posts: it sets a bit for the port, draws a ticket, and notes the port
 * under it. The bits say what was posted, the tickets in which order: where an order cannot be told (more tickets than
 * there is room for, a sender that is not done noting, or died before) the bits are gone through instead.
 *
 * A sender may end by force between the bit and the ticket: {@link FifoPosts.recount} makes up for it.
 */
import type { Lab } from './lab.js';
import { domainRecord } from './plan.js';
import { lowestBit } from './two-level.js';

const { fields } = domainRecord;
const TICKETS = fields.tickets.offset >>> 2;
const ADMITTED = fields.admitted.offset >>> 2;
const POSTS = fields.posts.offset >>> 2;
const ROOM = fields.posts.width >>> 2;
/** Bits of a post that are the port; those above are the ticket's. */
const PORT_BITS = 17;
const PORT_MASK = (1 << PORT_BITS) - 1;

const postOf = (ticket: number, port: number): number => ((ticket << PORT_BITS) | port) >>> 0;

/** Posted events of all domains. */
export class FifoPosts {
  /** @param lab whose memory they are in. */
  constructor(private readonly lab: Lab) {}

  /** Posts an event for a port. Any thread. */
  post(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const bit = 1 << (port & 31);
    if ((Atomics.or(words, this.bits(slot) + (port >>> 5), bit) & bit) !== 0) return;
    const record = this.lab.plan.record(slot) >>> 2;
    const ticket = Atomics.add(words, record + TICKETS, 1);
    if ((ticket - Atomics.load(words, record + ADMITTED)) >>> 0 < ROOM)
      Atomics.store(words, record + POSTS + (ticket & (ROOM - 1)), postOf(ticket, port));
    this.lab.onSignal(slot);
  }

  /** Keeps an event that cannot be in a queue yet: it is found when the bits are gone through. */
  keep(slot: number, port: number): void {
    Atomics.or(this.lab.memory.words, this.bits(slot) + (port >>> 5), 1 << (port & 31));
  }

  /** Whether something was posted that {@link admit} has not seen. */
  waiting(slot: number): boolean {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    return Atomics.load(words, record + TICKETS) !== Atomics.load(words, record + ADMITTED);
  }

  /** Hands each posted port to `each`, in the order in which they were posted. The domain's own thread. */
  admit(slot: number, each: (slot: number, port: number) => void): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const end = Atomics.load(words, record + TICKETS);
    let ticket = Atomics.load(words, record + ADMITTED);
    if (ticket === end) return;
    let told = (end - ticket) >>> 0 <= ROOM;
    for (; told && ticket !== end; ticket = (ticket + 1) >>> 0) {
      const post = Atomics.load(words, record + POSTS + (ticket & (ROOM - 1)));
      const port = post & PORT_MASK;
      told = port !== 0 && post === postOf(ticket, port) && this.clear(slot, port);
      if (told) each(slot, port);
    }
    Atomics.store(words, record + ADMITTED, end);
    if (!told) this.admitFrom(slot, 0, this.lab.plan.shape.ports, each);
  }

  /** Hands posted ports from `first` up to `end` to `each`, by number. */
  admitFrom(slot: number, first: number, end: number, each: (slot: number, port: number) => void): void {
    const { words } = this.lab.memory;
    for (let port = first; port < end; port += 32) {
      let posted = Atomics.exchange(words, this.bits(slot) + (port >>> 5), 0);
      for (; posted !== 0; posted &= posted - 1) each(slot, port + lowestBit(posted));
    }
  }

  /** Forgets what was posted for a port; whether there was something. */
  clear(slot: number, port: number): boolean {
    const bit = 1 << (port & 31);
    return (Atomics.and(this.lab.memory.words, this.bits(slot) + (port >>> 5), ~bit) & bit) !== 0;
  }

  /** A sender died, maybe while posting: a ticket that nobody noted a port under, so that the bits are gone through. */
  recount(slot: number): void {
    Atomics.add(this.lab.memory.words, (this.lab.plan.record(slot) >>> 2) + TICKETS, 1);
    this.lab.onSignal(slot);
  }

  private bits(slot: number): number {
    return this.lab.plan.posted(slot) >>> 2;
  }
}
