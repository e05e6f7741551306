/**
 * Event channel ports of all domains: the 2-level scheme of Xen (reference, 4.9) in shared memory.
 *
 * A send sets the pending bit; only if it was clear and the port is not masked does it set the selector bit and
 * signal the domain, so many sends merge into one event. Sender: set pending, then look at mask. Owner: clear
 * mask, then look at pending. One of the two always sees the other.
 */
import { MachineError } from '../machine.js';
import type { Lab } from './lab.js';
import {
  PORT_DOMID_SHIFT,
  PORT_REMOTE_SHIFT,
  PORT_SLOT_SHIFT,
  PORT_STATE,
  PortState,
  domainRecord,
} from './plan.js';

const { fields } = domainRecord;
const SELECTOR = fields.selector.offset >>> 2;
const PENDING = fields.pending.offset >>> 2;
const MASK = fields.mask.offset >>> 2;
const SELECTOR_WORDS = fields.selector.width >>> 2;

const SLOT_MASK = 0xff;

/** The word of a port that `peer` may bind. */
const unboundFor = (peer: number): number => (PortState.unbound | (peer << PORT_DOMID_SHIFT)) >>> 0;

/** The word of a port whose other end is `port` of the domain in `slot`. */
const boundTo = (slot: number, port: number): number =>
  (PortState.interdomain | (slot << PORT_SLOT_SHIFT) | (port << PORT_REMOTE_SHIFT)) >>> 0;

const slotOf = (word: number): number => (word >>> PORT_SLOT_SHIFT) & SLOT_MASK;
const remoteOf = (word: number): number => word >>> PORT_REMOTE_SHIFT;

/** The hypervisor's side of event channels. */
export class PortTables {
  /** Asked before each notification; true: it is dealt with, do not deliver it now. */
  intercept: ((slot: number, port: number) => boolean) | null = null;

  /** @param lab whose memory the tables are in. */
  constructor(private readonly lab: Lab) {}

  /** Opens `port` of a domain for `peer` to bind. */
  open(slot: number, port: number, peer: number): void {
    this.reset(slot, port);
    Atomics.store(this.lab.memory.words, this.at(slot, port), unboundFor(peer));
  }

  /**
   * Binds `port` of the domain `me` in `slot` to a port that `peer` opened for it: notes it at this end, then
   * takes the other in one step.
   * @throws MachineError `BAD_PORT`.
   */
  bind(slot: number, port: number, me: number, peerSlot: number, peer: number, remote: number): void {
    const { words } = this.lab.memory;
    let seen: number = PortState.closed;
    this.reset(slot, port);
    if (peerSlot >= 0 && remote < this.lab.plan.shape.ports) {
      Atomics.store(words, this.at(slot, port), boundTo(peerSlot, remote));
      const wanted = unboundFor(me);
      seen = Atomics.compareExchange(words, this.at(peerSlot, remote), wanted, boundTo(slot, port));
      if (seen === wanted) {
        this.send(slot, port);
        return;
      }
      Atomics.store(words, this.at(slot, port), PortState.closed);
    }
    throw new MachineError(
      'BAD_PORT',
      `port ${remote} of domain ${peer} cannot be bound by domain ${me}: expected one that it opened for ` +
        `${me}, seen ${peerSlot < 0 ? 'no such domain' : this.describe(seen)}`,
    );
  }

  /**
   * Closes a port; the other end becomes unbound, for this domain to bind again. The own end goes first, in one
   * step: a peer that binds it just now either came before, and is unbound here, or comes too late.
   */
  close(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const seen = Atomics.exchange(words, this.at(slot, port), PortState.closed);
    if ((seen & PORT_STATE) === PortState.interdomain)
      this.unbind(slotOf(seen), remoteOf(seen), boundTo(slot, port));
    this.reset(slot, port);
  }

  /** Closes all ports of a domain that died, and unbinds whatever is still bound to one of them. */
  closeAll(slot: number): void {
    const { domains, ports } = this.lab.plan.shape;
    for (let port = 0; port < ports; port++) this.close(slot, port);
    // It may have died between the two steps of a close.
    for (let other = 0; other < domains; other++)
      for (let port = 0; port < ports; port++) {
        const seen = Atomics.load(this.lab.memory.words, this.at(other, port));
        if ((seen & PORT_STATE) === PortState.interdomain && slotOf(seen) === slot)
          this.unbind(other, port, seen);
      }
  }

  /** Notifies the other end of a port; nothing happens when it has none. */
  notify(slot: number, port: number): void {
    const seen = Atomics.load(this.lab.memory.words, this.at(slot, port));
    if ((seen & PORT_STATE) !== PortState.interdomain) return;
    const peerSlot = slotOf(seen);
    const peerPort = remoteOf(seen);
    if (this.intercept?.(peerSlot, peerPort) !== true) this.send(peerSlot, peerPort);
  }

  /** Domain slot and port at the other end, or null. */
  target(slot: number, port: number): { slot: number; port: number } | null {
    const seen = Atomics.load(this.lab.memory.words, this.at(slot, port));
    if ((seen & PORT_STATE) !== PortState.interdomain) return null;
    return { slot: slotOf(seen), port: remoteOf(seen) };
  }

  /** Local port whose other end is `remote` of the domain in `peerSlot`, or 0. */
  boundTo(slot: number, peerSlot: number, remote: number): number {
    for (let port = 1; port < this.lab.plan.shape.ports; port++) {
      const target = this.target(slot, port);
      if (target !== null && target.slot === peerSlot && target.port === remote) return port;
    }
    return 0;
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

  /** Ports that are not closed. */
  count(slot: number): number {
    let open = 0;
    for (let port = 0; port < this.lab.plan.shape.ports; port++)
      if ((this.lab.memory.words[this.at(slot, port)]! & PORT_STATE) !== PortState.closed) open++;
    return open;
  }

  /** Whether {@link take} has anything to look at. */
  waiting(slot: number): boolean {
    const { words } = this.lab.memory;
    const at = (this.lab.plan.record(slot) >>> 2) + SELECTOR;
    for (let i = 0; i < SELECTOR_WORDS; i++) if (Atomics.load(words, at + i) !== 0) return true;
    return false;
  }

  private select(slot: number, word: number): void {
    const at = (this.lab.plan.record(slot) >>> 2) + SELECTOR + (word >>> 5);
    Atomics.or(this.lab.memory.words, at, 1 << (word & 31));
    this.lab.onSignal(slot);
  }

  /** Neither pending nor masked. Also when it opens: a notify that was under way at the close comes after it. */
  private reset(slot: number, port: number): void {
    const { words } = this.lab.memory;
    const record = this.lab.plan.record(slot) >>> 2;
    const bit = 1 << (port & 31);
    Atomics.and(words, record + PENDING + (port >>> 5), ~bit);
    Atomics.and(words, record + MASK + (port >>> 5), ~bit);
  }

  /** The port was bound, by that word, to one that closed: the domain at the closed end may bind it again. */
  private unbind(slot: number, port: number, seen: number): void {
    const { domid } = this.lab.identity(slotOf(seen));
    Atomics.compareExchange(this.lab.memory.words, this.at(slot, port), seen, unboundFor(domid));
  }

  private at(slot: number, port: number): number {
    return (this.lab.plan.ports(slot) >>> 2) + port;
  }

  private describe(word: number): string {
    switch (word & PORT_STATE) {
      case PortState.unbound:
        return `a port opened for domain ${word >>> PORT_DOMID_SHIFT}`;
      case PortState.interdomain:
        return `a port bound by domain ${this.lab.identity(slotOf(word)).domid}`;
      default:
        return 'a closed port';
    }
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
