/** The parts of a native domain over a scripted kernel, without a store. */
import { Arena } from '../../src/native/arena.js';
import { zeroCounters } from '../../src/native/counters.js';
import { NativeEvents } from '../../src/native/events.js';
import { NativeForeign } from '../../src/native/foreign.js';
import { NativeGrants } from '../../src/native/grants.js';
import { DomainRounds } from '../../src/native/loop.js';
import { ScriptedLibc } from './scripted-libc.js';

export const ARENA = 64 * 65536;

export function makeParts() {
  const libc = new ScriptedLibc();
  const counters = zeroCounters();
  const loop = new DomainRounds(libc, counters);
  const arena = new Arena(libc, ARENA);
  const events = new NativeEvents(libc, arena, loop, counters);
  const foreign = new NativeForeign(libc, arena, events, counters);
  const grants = new NativeGrants(libc, arena, counters);
  loop.onRoundEnd = () => {
    events.flush();
  };
  return { libc, counters, loop, arena, events, foreign, grants };
}

/** Lets the rounds run that are due. */
export async function rounds(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
