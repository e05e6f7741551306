/**
 * What `openNativeDomain` takes and gives: a domain of a real Xen host, which drivers see as any other `Domain`,
 * with what a daemon needs besides: descriptors in the domain's loop, counters of system calls, and an end.
 */
import type { LogLevel } from '@netaccel/core-hooks';
import type { Domain, Loop } from '../machine.js';
import type { NativeForeign } from './foreign.js';
import type { NativeGrants } from './grants.js';
import type { NativeLibc } from './libc.js';

/** How a domain of a real host is opened; what is left out is found out. */
export interface NativeDomainOptions {
  /**
   * Where the store is: a path of xenstored's Unix socket, or of the xenbus device. Left out: in domain 0 the socket
   * (`XENSTORED_PATH`, `/run/xenstored/socket`, `/var/run/xenstored/socket`) if there is one, else
   * `/dev/xen/xenbus`.
   */
  readonly store?: string;
  /**
   * Bytes of address space for everything that the domain's addresses name: private pages, shared pages and mapped
   * pages; a multiple of 64 KiB below 4 GiB, 1 GiB when left out. Only what is touched takes memory.
   */
  readonly arenaBytes?: number;
  /** Takes the lines that drivers write with `domain.log`: 50 at once, then 10 a second. Left out: nowhere. */
  readonly log?: (level: LogLevel, message: string) => void;
  /** Told when the connection to the store is lost, with the reason, and when it is back, with null. */
  readonly onStore?: (lost: string | null) => void;
  /**
   * Told once, when a guest finds that it was restored from a file or moved to another host: its number may be another
   * one, and its grants, ports and watches are void. By then the store is closed and the kernel is asked nothing about
   * the old ports any more. Stop the drivers, close the domain, and open it anew. Never called in domain 0.
   */
  readonly onRestored?: () => void;
  /** The C library; the process's own, by koffi, when left out. Tests pass a scripted one. */
  readonly libc?: NativeLibc;
}

/** A descriptor that the loop looks after. */
export interface Interest {
  /** Stops calling the handler until {@link Interest.resume}; what is readable stays so. Idempotent. */
  pause(): void;
  /** Calls the handler again when there is something to read. Idempotent. */
  resume(): void;
  /** Ends it, before the descriptor is closed. Idempotent. */
  close(): void;
}

/** The loop of a domain on a real host: rounds of tasks inside of Node's own event loop. */
export interface NativeLoop extends Loop {
  /**
   * Calls `handler` in a round of the loop while `descriptor` can be read (level-triggered: it should read until
   * there is nothing left), or has failed. An idle descriptor costs nothing.
   * @param descriptor a pollable, non-blocking descriptor: a TAP, a device, a socket.
   */
  whenReadable(descriptor: number, handler: () => void): Interest;
}

/** What a domain did, since it was opened: the proof that it works in batches. Only ever grows. */
export interface NativeCounters {
  /** Grant copy calls, each a batch. */
  grantCopyCalls: number;
  /** Copies in them. */
  grantCopies: number;
  /** Copies that the hypervisor refused. */
  grantCopiesFailed: number;
  /** Map and unmap calls. */
  grantMapCalls: number;
  /** Pages mapped. */
  grantMaps: number;
  /** Calls that share pages or end it. */
  grantShareCalls: number;
  /** Notifications sent: a call each. */
  notifications: number;
  /** Reads of the event device: a call each. */
  eventReads: number;
  /** Events in them. */
  events: number;
  /** Writes that let events through again: a call each, of one or many ports. */
  eventUnmasks: number;
  /** Rounds of the loop. */
  rounds: number;
  /** Times that Node's event loop was entered between rounds: one system call each. */
  turns: number;
}

/** A domain of a real Xen host. */
export interface NativeDomain extends Domain {
  /** Its loop and clock. */
  readonly loop: NativeLoop;
  /** What it did. */
  readonly counters: Readonly<NativeCounters>;
  /** How the store is reached: a path. */
  readonly storePath: string;
  /** What it grants; its pages can say what happens when they go. */
  readonly grants: NativeGrants;
  /** What it was granted; likewise. */
  readonly foreign: NativeForeign;
  /** Notifies the other end of a channel, by the number that `events.vector` gave: what a device model's interrupt does. */
  raise(vector: number): void;
  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>>;
  /**
   * Closes the devices and the store connection: what is still mapped, shared or bound ends with them. Stop the
   * drivers first. Idempotent; the process may also just exit, at any moment.
   */
  close(): void;
}
