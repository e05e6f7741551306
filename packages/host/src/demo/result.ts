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
  /** Which way its frames went. */
  readonly path: Path;
  /** What was sent. */
  readonly traffic: 'tcp' | 'frames';
  /** Bytes of each frame; for TCP the largest frame on the wire. */
  readonly frameBytes: number;
  /** Seconds that its rounds took together. */
  readonly seconds: number;
  /** Frames received. */
  readonly frames: number;
  /** Bytes received. */
  readonly bytes: number;
  /** Payload throughput for TCP, frame bytes for frames; the median of the rounds. */
  readonly gbps: number;
  /** Million frames per second, the median of the rounds. */
  readonly mpps: number;
  /** In frames mode frames are counted; with TCP, bytes of payload. */
  readonly check: Check;
  /** What the plugins did meanwhile. */
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
  /** Throughput. */
  readonly gbps: number;
  /** Share of received frames that came by the fast path, 0 to 1. */
  readonly fastShare: number;
  /** Filters installed in the NICs. */
  readonly filters: number;
}

/** Something that happened during the switchover. */
export interface Moment {
  /** Seconds since the start of the switchover. */
  readonly t: number;
  /** What it was, for people. */
  readonly what: string;
}

/** What became of a replayed capture's frames, and what the plugins did meanwhile. */
export interface ReplayResult extends Check {
  /** What the plugins did. */
  readonly accelerated: Accelerated;
}

/** What `netaccel demo --json` prints. */
export interface DemoResult {
  /** Names this format. */
  readonly schema: 'netaccel.demo/1';
  /** Whether guests were real TCP/IP stacks, or frames were counted. */
  readonly mode: 'tap' | 'frames';
  /** Why it is frames when it is not by choice. */
  readonly modeReason?: string;
  /** A run for each path and frame size. */
  readonly runs: readonly Run[];
  /** Of the throughputs. */
  readonly ratios: {
    /** Of the slowest frame size, fast to slow. */
    readonly fastOverSlow: number;
    /** Likewise, fast to native. */
    readonly fastOverNative: number;
  };
  /** Frames mode: a capture file sent by the slow path alone, and with the plugin. */
  readonly replay?: { readonly slow: ReplayResult; readonly fast: ReplayResult };
  /** The plugin loaded and unloaded under traffic. */
  readonly switchover: {
    readonly attach: Check;
    readonly detach: Check;
    readonly samples: readonly Sample[];
    readonly moments: readonly Moment[];
  };
  /** Names and versions of both halves, and their contract. */
  readonly plugin: { readonly frontend: string; readonly backend: string; readonly contract: number };
  /** Where it ran. */
  readonly environment: { readonly node: string; readonly cpus: number; readonly platform: string };
}
