/**
 * What a driver sees of the machine: one domain. Three machines implement it (one thread with a seed and a
 * virtual clock, workers over one shared memory, a real Xen host); the same driver code runs on each.
 *
 * Control (store, handshake) is asynchronous. The frame path is not: tasks, grants, copies and notifications
 * are plain calls, and a task runs to its end.
 */
import type {
  Address,
  Clock,
  LogLevel,
  MappedPages,
  Memory,
  Registers,
  SharedPages,
} from '@netaccel/core-hooks';
import type { GrantCopyBatch } from './grant-copy.js';
import type { Store } from './store/store.js';

declare const brand: unique symbol;
/** A domain's number (xen.h `domid_t`), 0 to 0x7FEF. */
export type DomainId = number & { readonly [brand]?: 'DomainId' };
/** A grant reference: an index into the granting domain's table. */
export type GrantRef = number & { readonly [brand]?: 'GrantRef' };
/** An event channel port: an index that means something in one domain only. */
export type Port = number & { readonly [brand]?: 'Port' };

/** Private pages of a domain. */
export interface PageAllocator {
  /** `pages` pages one after the other, zeroed. Throws {@link MachineError} `NO_MEMORY`. */
  allocate(pages: number): Address;
  /** Gives back what one `allocate` gave. */
  free(address: Address): void;
}

/** What a domain lets others use. */
export interface GrantTable {
  /**
   * Shares `pages` fresh, zeroed pages with `peer`. Pages that can be granted are allocated for it: a real
   * host's user space can do no other.
   * @throws MachineError `NO_MEMORY`, `NO_GRANTS`.
   */
  share(peer: DomainId, pages: number, access: 'read' | 'write'): SharedPages;
}

/** What a domain uses of others. */
export interface ForeignGrants {
  /**
   * Maps pages that `peer` granted. Each reference's status is checked; if one fails, none stays mapped.
   * @throws MachineError `BAD_GRANT` naming the first reference that failed and its status.
   */
  map(peer: DomainId, refs: ArrayLike<number>, access: 'read' | 'write'): MappedPages;
  /**
   * Carries out a batch of grant copies between this domain's memory and pages that `peer` granted; each
   * operation's status goes into the batch. Never throws for what the peer did.
   */
  copy(peer: DomainId, batch: GrantCopyBatch): void;
  /**
   * Maps a page of device registers that `peer` granted. A write reaches the device at once where the machine
   * can do that, and otherwise by notifying `doorbell`, a port of `peer` that is bound here.
   */
  mapRegisters(peer: DomainId, ref: GrantRef, doorbell: Port): Registers;
}

/** One bound port. */
export interface EventChannel {
  /** The local port. */
  readonly port: Port;
  /** Notifies the other end; edge-triggered, merged with what is pending. */
  notify(): void;
  /**
   * Lets events through again (late acknowledge, XSA-332): from an event until here the channel is masked.
   * @param spurious true when the handler found no work: a machine may slow such a channel down.
   */
  unmask(spurious?: boolean): void;
  /** Closes it. Idempotent. */
  close(): void;
}

/** Event channels of a domain. */
export interface EventChannels {
  /** A port that `peer` may bind. */
  allocateUnbound(peer: DomainId, handler: () => void): EventChannel;
  /**
   * Binds a port that `peer` allocated for this domain. The local side is pending at once: a first, spurious
   * event must do no harm.
   * @throws MachineError `BAD_PORT`.
   */
  bindInterdomain(peer: DomainId, remote: Port, handler: () => void): EventChannel;
  /** A number that a device model of this machine raises to notify the other end of `channel`. */
  vector(channel: EventChannel): number;
}

/** A piece of work that its domain runs when raised; NAPI's shape. */
export interface Task {
  /** Runs it soon, once, however often raised before that. Callable from anywhere in the domain. */
  raise(): void;
  /** It never runs again. Idempotent. */
  cancel(): void;
}

/** The loop of a domain: its only thread. */
export interface Loop extends Clock {
  /**
   * Makes a task. `run` gets a budget (64) and answers whether there is more to do; if so it is raised again,
   * after the other tasks had their turn.
   */
  task(run: (budget: number) => boolean): Task;
}

/** One domain. */
export interface Domain {
  /** Its number: another one after the domain was suspended and moved to another host. */
  readonly id: DomainId;
  /** The memory that all addresses point into. */
  readonly memory: Memory;
  /** Its private pages. */
  readonly pages: PageAllocator;
  /** What it grants. */
  readonly grants: GrantTable;
  /** What it was granted. */
  readonly foreign: ForeignGrants;
  /** Its event channels. */
  readonly events: EventChannels;
  /** Its connection to the store; relative paths are under `/local/domain/<id>/`. Another one after a move. */
  readonly store: Store;
  /** Its loop and clock. */
  readonly loop: Loop;
  /** One line for the operator, rate-limited. */
  log(level: LogLevel, message: string): void;
  /** What it holds now: all zero after a clean teardown. */
  ledger(): Ledger;
}

/** What a domain holds: the proof of a clean teardown. */
export interface Ledger {
  /** Private pages allocated. */
  readonly pages: number;
  /** Pages granted to others, also those kept because a peer still has them mapped. */
  readonly grants: number;
  /** Foreign pages mapped. */
  readonly mappings: number;
  /** Open event channel ports. */
  readonly ports: number;
  /** Watches on the store. */
  readonly watches: number;
  /** Timers not yet run. */
  readonly timers: number;
  /** Tasks not cancelled. */
  readonly tasks: number;
}

/** The machine could not do what a driver asked. */
export class MachineError extends Error {
  /**
   * @param code which limit or rule.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code:
      'NO_MEMORY' | 'NO_GRANTS' | 'NO_PORTS' | 'BAD_GRANT' | 'BAD_PAGE' | 'BAD_PORT' | 'IN_USE' | 'CLOSED',
    message: string,
  ) {
    super(message);
    this.name = 'MachineError';
  }
}
