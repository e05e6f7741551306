/** Gives promises their turn: resolves in a later macrotask, so that every microtask has run by then. */

// As much of the browser's MessageChannel as is needed; @types/node has it as a value only.
interface Channel {
  readonly port1: { onmessage: (() => void) | null };
  readonly port2: { postMessage(message: null): void };
}

/**
 * Turns of promises that are asked for at once. Node runs all immediates of a pass one after the other, each with its
 * microtasks, and asks the system for events between two passes: that costs more than a turn, so it is done once for
 * so many.
 */
const AHEAD = 32;

// Kept from load time: tests may replace the global with a fake.
const immediate = typeof setImmediate === 'function' ? setImmediate : undefined;
let resolvers: (() => void)[] = [];
let channel: Channel | undefined;
let waiting: (() => void)[] = [];
let ahead = 0;

/** Resolves when every microtask that is queued now, or that those queue, has run, after a pass of the event loop. */
export function turn(): Promise<void> {
  if (immediate !== undefined) return new Promise((resolve) => immediate(resolve));
  channel ??= openChannel();
  const { port2 } = channel;
  return new Promise((resolve) => {
    resolvers.push(resolve);
    port2.postMessage(null);
  });
}

/** As {@link turn}, but the event loop passes now and then only: for who waits for promises and not for events. */
export function promiseTurn(): Promise<void> {
  if (immediate === undefined) return turn();
  if (ahead === 0) for (; ahead < AHEAD; ahead++) immediate(passed);
  return new Promise((resolve) => waiting.push(resolve));
}

/** One of the turns that were asked for; nobody may be waiting any more. */
function passed(): void {
  ahead--;
  const now = waiting;
  waiting = [];
  for (const resolve of now) resolve();
}

/** A browser has no setImmediate, and its timers are slow: a message to ourselves is a macrotask too. */
function openChannel(): Channel {
  const made = new MessageChannel() as unknown as Channel;
  made.port1.onmessage = () => {
    const due = resolvers;
    resolvers = [];
    for (const resolve of due) resolve();
  };
  return made;
}
