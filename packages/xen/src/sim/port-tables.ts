/**
 * Event channel ports of all domains, in shared memory: who is at the other end of each. What becomes of an event
 * that is sent to a port is up to the form of delivery that its domain chose: two-level.ts, fifo.ts.
 */
import { MachineError } from '../machine.js';
import type { EventChannelForm } from './event-delivery.js';
import { FifoDelivery } from './fifo.js';
import type { Lab } from './lab.js';
import {
  PORT_DOMID_SHIFT,
  PORT_REMOTE_SHIFT,
  PORT_SLOT_SHIFT,
  PORT_STATE,
  PortState,
  domainRecord,
} from './plan.js';
import { TwoLevelDelivery } from './two-level.js';

const CONTROL = domainRecord.fields.control.offset >>> 2;

const SLOT_MASK = 0xff;
/** Bits of a vector that are the port; those above are the slot. */
const VECTOR_PORT_BITS = 17;

/** The word of a port that `peer` may bind. */
const unboundFor = (peer: number): number => (PortState.unbound | (peer << PORT_DOMID_SHIFT)) >>> 0;

/** The word of a port whose other end is `port` of the domain in `slot`. */
const boundTo = (slot: number, port: number): number =>
  (PortState.interdomain | (slot << PORT_SLOT_SHIFT) | (port << PORT_REMOTE_SHIFT)) >>> 0;

const slotOf = (word: number): number => (word >>> PORT_SLOT_SHIFT) & SLOT_MASK;
const remoteOf = (word: number): number => word >>> PORT_REMOTE_SHIFT;

/** The number by which a device names a port. */
export const vectorOf = (slot: number, port: number): number => (slot << VECTOR_PORT_BITS) | port;

/** The number that {@link vectorOf} made, taken apart. */
const parseVector = (vector: number): { slot: number; port: number } => ({
  slot: vector >>> VECTOR_PORT_BITS,
  port: vector & ((1 << VECTOR_PORT_BITS) - 1),
});

/** The hypervisor's side of event channels. */
export class PortTables {
  /** Asked before each notification; true: it is dealt with, do not deliver it now. */
  intercept: ((slot: number, port: number) => boolean) | null = null;

  /** 2-level delivery. */
  readonly twoLevel: TwoLevelDelivery;
  /** FIFO delivery. */
  readonly fifo: FifoDelivery;

  /** @param lab whose memory the tables are in. */
  constructor(private readonly lab: Lab) {
    this.twoLevel = new TwoLevelDelivery(lab);
    this.fifo = new FifoDelivery(lab, (slot, port) => this.isOpen(slot, port));
  }

  /**
   * Opens `port` of a domain for `peer` to bind.
   * @throws MachineError `NO_PORTS` for one beyond what its form of delivery has.
   */
  open(slot: number, port: number, peer: number): void {
    this.checkLimit(slot, port);
    this.reset(slot, port);
    Atomics.store(this.lab.memory.words, this.at(slot, port), unboundFor(peer));
  }

  /**
   * Binds `port` of the domain `me` in `slot` to a port that `peer` opened for it: notes it at this end, then
   * takes the other in one step.
   * @throws MachineError `BAD_PORT`, `NO_PORTS`.
   */
  bind(slot: number, port: number, me: number, peerSlot: number, peer: number, remote: number): void {
    const { words } = this.lab.memory;
    let seen: number = PortState.closed;
    this.checkLimit(slot, port);
    this.reset(slot, port);
    if (peerSlot >= 0 && remote < this.limit(peerSlot)) {
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

  /**
   * Closes all ports of a domain that died, and unbinds whatever is still bound to one of them: a reset. Its slot's
   * delivery is 2-level from here on, until somebody chooses again. Nothing of it runs meanwhile (XSA-343, 505).
   */
  closeAll(slot: number): void {
    const { domains } = this.lab.plan.shape;
    const ports = this.limit(slot);
    for (let port = 0; port < ports; port++) this.close(slot, port);
    this.fifo.retire(slot);
    for (let other = 0; other < domains; other++) {
      const most = this.limit(other);
      // It may have died between the two steps of a close, or of a send.
      for (let port = 0; port < most; port++) {
        const seen = Atomics.load(this.lab.memory.words, this.at(other, port));
        if ((seen & PORT_STATE) === PortState.interdomain && slotOf(seen) === slot)
          this.unbind(other, port, seen);
      }
      if (this.isFifo(other)) this.fifo.recount(other);
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

  /** {@link notify} of the port that a vector names; nothing happens when it names none. */
  raise(vector: number): void {
    const { slot, port } = parseVector(vector);
    const { domains, ports } = this.lab.plan.shape;
    if (slot < domains && port < ports) this.notify(slot, port);
  }

  /** Domain slot and port at the other end, or null. */
  target(slot: number, port: number): { slot: number; port: number } | null {
    const seen = Atomics.load(this.lab.memory.words, this.at(slot, port));
    if ((seen & PORT_STATE) !== PortState.interdomain) return null;
    return { slot: slotOf(seen), port: remoteOf(seen) };
  }

  /** Local port whose other end is `remote` of the domain in `peerSlot`, or 0. */
  boundTo(slot: number, peerSlot: number, remote: number): number {
    const most = this.limit(slot);
    for (let port = 1; port < most; port++) {
      const target = this.target(slot, port);
      if (target !== null && target.slot === peerSlot && target.port === remote) return port;
    }
    return 0;
  }

  /** Makes a port pending. */
  send(slot: number, port: number): void {
    if (this.isFifo(slot)) this.fifo.send(slot, port);
    else this.twoLevel.send(slot, port);
  }

  /** Lets a port's events through again, and delivers one that came meanwhile. */
  unmask(slot: number, port: number): void {
    if (this.isFifo(slot)) this.fifo.unmask(slot, port);
    else this.twoLevel.unmask(slot, port);
  }

  /** Ports that are not closed. */
  count(slot: number): number {
    let open = 0;
    const most = this.limit(slot);
    for (let port = 0; port < most; port++) if (this.isOpen(slot, port)) open++;
    return open;
  }

  /** Whether a domain has events to look at. */
  waiting(slot: number): boolean {
    return this.isFifo(slot) ? this.fifo.waiting(slot) : this.twoLevel.waiting(slot);
  }

  /** The form of delivery that a domain uses. */
  form(slot: number): EventChannelForm {
    return this.isFifo(slot) ? 'fifo' : '2-level';
  }

  /** Ports that a domain can have by its form of delivery, counting port 0, which is none (XSA-342). */
  limit(slot: number): number {
    return this.isFifo(slot) ? this.fifo.limit : this.twoLevel.limit;
  }

  private isOpen(slot: number, port: number): boolean {
    return (this.lab.memory.words[this.at(slot, port)]! & PORT_STATE) !== PortState.closed;
  }

  private checkLimit(slot: number, port: number): void {
    const most = this.limit(slot);
    if (port >= most)
      throw new MachineError(
        'NO_PORTS',
        `expected a port below ${most}, as ${this.form(slot)} event channels have in this ` +
          `lab, saw ${port}; close some, raise shape.ports, or choose FIFO`,
      );
  }

  private isFifo(slot: number): boolean {
    // Written before the domain's first port is opened, and after its last is closed.
    return this.lab.memory.words[(this.lab.plan.record(slot) >>> 2) + CONTROL] !== 0;
  }

  private reset(slot: number, port: number): void {
    if (this.isFifo(slot)) this.fifo.reset(slot, port);
    else this.twoLevel.reset(slot, port);
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
