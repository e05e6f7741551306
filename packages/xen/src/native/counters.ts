/** What a domain counts, made once and shared by its parts. */
import type { NativeCounters } from './types.js';

/** All zero. */
export function zeroCounters(): NativeCounters {
  return {
    grantCopyCalls: 0,
    grantCopies: 0,
    grantCopiesFailed: 0,
    grantMapCalls: 0,
    grantMaps: 0,
    grantShareCalls: 0,
    notifications: 0,
    eventReads: 0,
    events: 0,
    eventUnmasks: 0,
    rounds: 0,
    turns: 0,
  };
}
