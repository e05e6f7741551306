/** Gives promises their turn: resolves in a later macrotask, so that every microtask has run by then. */

// As much of the browser's MessageChannel as is needed; @types/node has it as a value only.
interface Channel {
  readonly port1: { onmessage: (() => void) | null };
  readonly port2: { postMessage(message: null): void };
}

// Kept from load time: tests may replace the global with a fake.
const immediate = typeof setImmediate === 'function' ? setImmediate : undefined;
let resolvers: (() => void)[] = [];
let channel: Channel | undefined;

/** Resolves when every microtask that is queued now, or that those queue, has run. */
export function turn(): Promise<void> {
  if (immediate !== undefined) return new Promise((resolve) => immediate(resolve));
  channel ??= openChannel();
  const { port2 } = channel;
  return new Promise((resolve) => {
    resolvers.push(resolve);
    port2.postMessage(null);
  });
}

/** A browser has no setImmediate, and its timers are slow: a message to ourselves is a macrotask too. */
function openChannel(): Channel {
  const made = new MessageChannel() as unknown as Channel;
  made.port1.onmessage = () => {
    const waiting = resolvers;
    resolvers = [];
    for (const resolve of waiting) resolve();
  };
  return made;
}
