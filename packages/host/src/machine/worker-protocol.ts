/** What a lab and its workers say to each other: plain data over the worker's own port. */
import type { DomainSeat } from '@netaccel/xen/sim/workers';
import type { FrameBatch } from '../ports/bridge-watch.js';
import type { Replay } from '../ports/file-port.js';
import type { TapDescription } from '../tap/index.js';
import type { HardwarePlan } from './hardware.js';

/** What a worker is to run. */
export type WorkerRole =
  | {
      readonly kind: 'guest';
      readonly queues: number;
      /** Npm name or path of the frontend plugin that stands in for the one that a backend names, or null. */
      readonly frontend: string | null;
      /** The capture file behind the interface, or null. */
      readonly replay: Replay | null;
      /** Payload bytes of a frame. */
      readonly mtu: number;
    }
  | {
      readonly kind: 'driver';
      readonly host: string;
      readonly bridged: readonly string[];
      readonly ageingMs: number;
      readonly merging: boolean;
    };

/** A worker's start: its `workerData`. */
export interface WorkerOrder {
  readonly seat: DomainSeat;
  readonly hardware: HardwarePlan;
  readonly role: WorkerRole;
  /** The TAP that the domain's network stack is on, or null. */
  readonly tap: TapDescription | null;
  /** Whether some domain of the lab has a TAP, and so has to be woken through its eventfd. */
  readonly kicks: boolean;
  readonly pluginsFrom: string;
}

/** A question of the lab. */
export interface Question {
  readonly id: number;
  readonly method:
    | 'start'
    | 'stop'
    | 'ledger'
    | 'describe'
    | 'load'
    | 'unload'
    | 'watch'
    | 'suspend'
    | 'resume'
    | 'rehome'
    | 'desk';
  readonly args: readonly unknown[];
}

/** What a worker says. */
export type WorkerWord =
  | { readonly kind: 'ready'; readonly thread: number }
  | { readonly kind: 'log'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string }
  | { readonly kind: 'frames'; readonly batch: FrameBatch }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly result?: unknown;
      readonly error?: { message: string; code?: string };
    };
