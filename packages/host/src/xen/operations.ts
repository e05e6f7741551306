/**
 * What a frame costs in system calls and grant operations, where these are dear: two readings of the counters, and
 * what lies between them for each frame.
 */
import type { NativeCounters } from '@netaccel/xen/native';
import type { Traffic } from './network.js';

/** A reading. */
export interface OperationsReading {
  readonly atMs: number;
  readonly traffic: Readonly<Traffic>;
  readonly counters: Readonly<NativeCounters>;
}

/** The load between two readings. */
export interface Load {
  readonly event: 'load';
  readonly seconds: number;
  readonly frames: number;
  /** A large segment counted as the frames that it is cut into. */
  readonly wireFrames: number;
  readonly gbps: number;
  /** For each frame on a wire. */
  readonly systemCallsPerFrame: number;
  /** Calls that copy, map or unmap grants, for each frame on a wire. */
  readonly grantOperationsPerFrame: number;
  /** Copies within these calls, for each frame on a wire. */
  readonly grantCopiesPerFrame: number;
  /** The same as the drivers see frames: a large segment is one. */
  readonly perSegment: {
    readonly systemCalls: number;
    readonly grantOperations: number;
    readonly notifications: number;
    readonly turns: number;
  };
}

/** Copies a reading's live counters. */
export function reading(
  atMs: number,
  traffic: Readonly<Traffic>,
  counters: Readonly<NativeCounters>,
): OperationsReading {
  return { atMs, traffic: { ...traffic }, counters: { ...counters } };
}

/** What lies between two readings; null when fewer than `least` frames passed. */
export function loadBetween(from: OperationsReading, to: OperationsReading, least: number): Load | null {
  const frames = to.traffic.frames - from.traffic.frames;
  if (frames < least) return null;
  const wire = to.traffic.wireFrames - from.traffic.wireFrames;
  const seconds = (to.atMs - from.atMs) / 1000;
  const grown = (name: keyof NativeCounters): number => to.counters[name] - from.counters[name];
  const grants = grown('grantCopyCalls') + grown('grantMapCalls') + grown('grantShareCalls');
  const turns = grown('turns');
  const calls =
    grants +
    grown('notifications') +
    grown('eventReads') +
    grown('eventUnmasks') +
    turns +
    (to.traffic.systemCalls - from.traffic.systemCalls);
  return {
    event: 'load',
    seconds: rounded(seconds),
    frames,
    wireFrames: wire,
    gbps: rounded(((to.traffic.bytes - from.traffic.bytes) * 8) / seconds / 1e9),
    systemCallsPerFrame: rounded(calls / wire),
    grantOperationsPerFrame: rounded(grants / wire),
    grantCopiesPerFrame: rounded(grown('grantCopies') / wire),
    perSegment: {
      systemCalls: rounded(calls / frames),
      grantOperations: rounded(grants / frames),
      notifications: rounded(grown('notifications') / frames),
      turns: rounded(turns / frames),
    },
  };
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
