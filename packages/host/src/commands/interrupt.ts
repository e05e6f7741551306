/**
 * Ctrl-C and SIGTERM: the first asks politely, the second does not ask. Held by a command for as long as it has
 * something that must be taken down in order.
 */
import { ExitCode, note } from './output.js';

/** A process group may get one Ctrl-C twice, from the terminal and from a parent that passes it on. */
const SAME_KEY_MS = 300;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The user's wish to end. */
export class Interrupt {
  private readonly controller = new AbortController();
  private forced: () => void = () => undefined;
  private askedAt = 0;
  private readonly onSignal = (): void => {
    if (!this.controller.signal.aborted) {
      this.askedAt = performance.now();
      this.controller.abort(new InterruptedError());
    } else if (performance.now() - this.askedAt > SAME_KEY_MS) this.forced();
  };

  /** @param force what the second one does; by default the process ends at once. */
  constructor(force?: () => void) {
    this.forced =
      force ??
      (() => {
        note('netaccel: ended by force; the kernel removes what is left');
        process.exit(ExitCode.interrupted);
      });
    for (const signal of SIGNALS) process.on(signal, this.onSignal);
  }

  /** Aborted by the first one. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Resolves with the first one. */
  get asked(): Promise<void> {
    const { signal } = this;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
  }

  /** The usual meaning of the signals is back. */
  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.onSignal);
  }
}

/** The user ended the command. */
export class InterruptedError extends Error {
  /** Stable code. */
  readonly code = 'INTERRUPTED';
  constructor() {
    super('interrupted');
    this.name = 'InterruptedError';
  }
}
