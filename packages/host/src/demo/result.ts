/**
 * What a demo found: the object that `netaccel demo --json` prints (architecture: the first contract that scripts
 * rely on), and what the report page shows besides.
 */
import type { Check } from '../traffic/frame-check.js';

/** Which way frames went. */
export type Path = 'native' | 'slow' | 'fast';

/** What a plugin did during a run, both guests together. */
export interface Accelerated {
  /** Frames that the plugin sent. */
  txSent: number;
  /** Frames that it declined. */
  txDeclined: number;
  /** Frames that it delivered. */
  rxFast: number;
  /** Frames that came by the slow path. */
  rxSlow: number;
  /** Declined frames by reason. */
  declines: Record<string, number>;
}

/** One path, one traffic, one frame size: all its rounds together. */
export interface Run {
  readonly path: Path;
  readonly traffic: 'tcp' | 'frames';
  /** Bytes of each frame; for TCP the largest frame on the wire. */
  readonly frameBytes: number;
  readonly seconds: number;
  readonly frames: number;
  readonly bytes: number;
  /** Payload throughput for TCP, frame bytes for frames; the median of the rounds. */
  readonly gbps: number;
  /** Million frames per second, the median of the rounds. */
  readonly mpps: number;
  /** In frames mode frames are counted; with TCP, bytes of payload. */
  readonly check: Check;
  readonly accelerated: Accelerated;
  /** CPU time by stage, in nanoseconds a frame. */
  readonly stages: readonly Stage[];
  /** Throughput of each round in Gb/s, in order. */
  readonly rounds: readonly number[];
}

/** CPU time that one domain spent. */
export interface Stage {
  /** Which domain: `guest alpha`, `driver domain beta`. */
  readonly name: string;
  /** Nanoseconds a frame. */
  readonly nsPerFrame: number;
}

/** One moment of the switchover. */
export interface Sample {
  /** Seconds since its start. */
  readonly t: number;
  readonly gbps: number;
  /** Share of received frames that came by the fast path, 0 to 1. */
  readonly fastShare: number;
  /** Filters installed in the NICs. */
  readonly filters: number;
}

/** Something that happened during the switchover. */
export interface Moment {
  readonly t: number;
  readonly what: string;
}

/** What `netaccel demo --json` prints. */
export interface DemoResult {
  readonly schema: 'netaccel.demo/1';
  readonly mode: 'tap' | 'frames';
  /** Why it is frames when it is not by choice. */
  readonly modeReason?: string;
  readonly runs: readonly Run[];
  readonly ratios: {
    /** Of the slowest frame size, fast to slow. */
    readonly fastOverSlow: number;
    /** Likewise, fast to native. */
    readonly fastOverNative: number;
  };
  /** Frames mode: a capture file sent by the slow path alone, and with the plugin. */
  readonly replay?: { readonly slow: Check; readonly fast: Check };
  readonly switchover: {
    readonly attach: Check;
    readonly detach: Check;
    readonly samples: readonly Sample[];
    readonly moments: readonly Moment[];
  };
  readonly plugin: { readonly frontend: string; readonly backend: string; readonly contract: number };
  readonly environment: { readonly node: string; readonly cpus: number; readonly platform: string };
}
