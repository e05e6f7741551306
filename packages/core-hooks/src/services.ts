/**
 * What both halves of a plugin are handed: interfaces only, so that a plugin never needs an object, a lock
 * or a private field of a driver (that is what killed the original). The drivers implement them; a plugin's
 * tests implement them with the fakes of `@netaccel/core-hooks/testing`.
 */
import type { Mailbox } from './mailbox.js';
import type { Address, Memory } from './memory.js';

/** Pages of this domain that one peer may use. */
export interface SharedPages {
  /** First byte; the pages lie one after the other. Zeroed when they were shared. */
  readonly address: Address;
  /** How many pages. */
  readonly pages: number;
  /** The grant reference of each page: what the peer is told. */
  readonly refs: Uint32Array;
  /**
   * Ends the grants and gives the pages back. A page that the peer still has mapped is kept, never reused,
   * and tried again later (XSA-396): the answer is then false.
   */
  release(): boolean;
}

/** A peer's pages, mapped here. */
export interface MappedPages {
  /** Address of each page, in the order of the references. They need not lie one after the other. */
  readonly addresses: Uint32Array;
  /** Unmaps them all. Nothing at these addresses may be touched afterwards. Idempotent. */
  unmap(): void;
}

/** A page of device registers. */
export interface Registers {
  /** Writes one register; `offset` in bytes, a multiple of 4. The device may act before the call returns. */
  write32(offset: number, value: number): void;
  /** Reads one register. */
  read32(offset: number): number;
  /** Unmaps the page. Idempotent. */
  unmap(): void;
}

/** One end of an event channel: a doorbell between two domains. Many notifies may arrive as one event. */
export interface EventEnd {
  /** The local port: what the peer binds to when this end was opened by `open`. */
  readonly port: number;
  /** Notifies the peer. */
  notify(): void;
  /** Lets events through again after the handler ran (they are held back from when one arrives). */
  unmask(): void;
  /** Closes this end. Idempotent. */
  close(): void;
}

/** Event channels, as a plugin may use them: with its own peer only. */
export interface PluginEvents {
  /** Opens a channel that the peer may bind, and handles its events. */
  open(this: void, handler: () => void): EventEnd;
  /** Binds the channel that the peer opened as `remotePort`. */
  bind(this: void, remotePort: number, handler: () => void): EventEnd;
  /**
   * A number that a device of this domain can raise to notify this channel's other end, as an
   * interrupt's message does. Valid until the end is closed.
   */
  vector(this: void, end: EventEnd): number;
}

/** A store scoped to the plugin's own keys: the `accel/` directory of its half of the vif. */
export interface PluginStore {
  /** The value of the plugin's own key `name`, or null. */
  read(this: void, name: string): Promise<string | null>;
  /** Writes the plugin's own key. */
  write(this: void, name: string, value: string): Promise<void>;
  /** The value of a key of the other half, or null. */
  readPeer(this: void, name: string): Promise<string | null>;
  /** Calls `handler` whenever a key of the other half may have changed; ends with the function returned. */
  watchPeer(this: void, name: string, handler: () => void): Promise<() => Promise<void>>;
}

/** Time, passed in: a lab's may be virtual. */
export interface Clock {
  /** Milliseconds since some fixed moment; never steps back. */
  now(this: void): number;
  /** Runs `fn` once after `ms`; cancel with the function returned. */
  after(this: void, ms: number, fn: () => void): () => void;
}

/** Severity of a log line. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Services that both halves have. Each function here, in what extends this, and in `events`, `mailbox`, `store`,
 * `clock` and `port` stands for itself, so a plugin may take it out: `const { completed, wake } = services`. What a
 * call answers (pages, registers, an event end) is an object whose methods want it.
 */
export interface CommonServices {
  /** The contract version that the host drives this plugin by. */
  readonly contract: number;
  /** This domain's memory. */
  readonly memory: Memory;
  /** Shares `pages` fresh, zeroed pages with the other half's domain. Throws when there is no memory. */
  share(this: void, pages: number, access: 'read' | 'write'): SharedPages;
  /** Event channels with the other half's domain. */
  readonly events: PluginEvents;
  /** Control messages to the other half. */
  readonly mailbox: Mailbox;
  /** The plugin's own keys. */
  readonly store: PluginStore;
  /** Time. */
  readonly clock: Clock;
  /** One line for the operator; rate-limited by the host. */
  log(this: void, level: LogLevel, message: string): void;
  /**
   * The plugin cannot go on: the host detaches it, the device goes on by the slow path, and the operator
   * reads `reason`. May be called from anywhere; takes effect after the current call.
   */
  failed(this: void, reason: string): void;
}
