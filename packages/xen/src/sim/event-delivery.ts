/**
 * How events reach a domain: the part of event channels that Xen has two forms of. The port table (port-tables.ts)
 * says who is at the other end; a form (two-level.ts, fifo.ts) says what becomes of an event that is sent there.
 */

/** Which form a domain uses. */
export type EventChannelForm = '2-level' | 'fifo';

/** The hypervisor's side of one form. */
export interface EventDelivery {
  /** Ports that a domain can have, counting port 0, which is none. */
  readonly limit: number;
  /** Makes a port pending. Any thread. */
  send(slot: number, port: number): void;
  /** Lets a port's events through again, and delivers one that came meanwhile. */
  unmask(slot: number, port: number): void;
  /** Whether the domain has events to look at. */
  waiting(slot: number): boolean;
  /** Neither pending nor masked: a port that opens, or closed. */
  reset(slot: number, port: number): void;
}
