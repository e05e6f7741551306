/**
 * The 2-level form of event delivery (reference, 4.9): a pending and a mask bit for each port, and a selector bit for
 * each word of these.
 *
 * A send sets the pending bit; only if it was clear and the port is not masked does it set the selector bit and
 * signal the domain, so many sends merge into one event. Sender: set pending, then look at mask. Owner: clear
 * mask, then look at pending. One of the two always sees the other.
 */
import type { EventDelivery } from './event-delivery.js';
import type { Lab } from './lab.js';
import { TWO_LEVEL_PORTS, domainRecord } from './plan.js';

const { fields } = domainRecord;
const SELECTOR = fields.selector.offset >>> 2;
const PENDING = fields.pending.offset >>> 2;
const MASK = fields.mask.offset >>> 2;
const SELECTOR_WORDS = fields.selector.width >>> 2;

/** 2-level delivery, the hypervisor's side and the guest's. */
export class TwoLevelDelivery implements EventDelivery {
  /** Ports that a domain can have. */
  readonly limit: number;

  /** @param lab whose memory the bits are in. */
  constructor(private readonly lab: Lab) {
    this.limit = Math.min(lab.plan.shape.ports, TWO_LEVEL_PORTS);
  }

  /** Makes a port pending. */
  send(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    if ((Atomics.or(words, record + PENDING + word, bit) & bit) !== 0) return;
    if ((Atomics.load(words, record + MASK + word) & bit) === 0) this.select(slot, word);
  }

  /** Lets a port's events through again, and delivers one that came meanwhile. */
  unmask(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    Atomics.and(words, record + MASK + word, ~bit);
    if ((Atomics.load(words, record + PENDING + word) & bit) !== 0) this.select(slot, word);
  }

  /**
   * Hands each pending, unmasked port of a domain to `each`: masked and not pending any more from just before
   * that call (late acknowledge, XSA-332).
   */
  take(slot: number, each: (port: number) => void): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    for (let i = 0; i < SELECTOR_WORDS; i++) {
      let chosen = Atomics.exchange(words, record + SELECTOR + i, 0);
      while (chosen !== 0) {
        const word = i * 32 + lowestBit(chosen);
        chosen &= chosen - 1;
        let ready = Atomics.load(words, record + PENDING + word) & ~Atomics.load(words, record + MASK + word);
        while (ready !== 0) {
          const index = lowestBit(ready);
          ready &= ready - 1;
          Atomics.or(words, record + MASK + word, 1 << index);
          Atomics.and(words, record + PENDING + word, ~(1 << index));
          each(word * 32 + index);
        }
      }
    }
  }

  /** Whether {@link take} has anything to look at. */
  waiting(slot: number): boolean {
    const { words } = this.lab.memory;
    const at = (this.lab.plan.record(slot) >>> 2) + SELECTOR;
    for (let i = 0; i < SELECTOR_WORDS; i++) if (Atomics.load(words, at + i) !== 0) return true;
    return false;
  }

  /** Neither pending nor masked. Also when it opens: a notify that was under way at the close comes after it. */
  reset(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const bit = 1 << (port & 31);
    Atomics.and(words, record + PENDING + (port >>> 5), ~bit);
    Atomics.and(words, record + MASK + (port >>> 5), ~bit);
  }

  private select(slot: number, word: number): void {
    const at = (this.lab.plan.record(slot) >>> 2) + SELECTOR + (word >>> 5);
    Atomics.or(this.lab.memory.words, at, 1 << (word & 31));
    this.lab.onSignal(slot);
  }
}

/** The lowest bit that is set. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
