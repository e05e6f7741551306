/**
 * How either half of a plugin answers the other: one place where a peer's mistake becomes an error reply and a count.
 */
import type { Mailbox } from '@netaccel/core-hooks';

/** What a request is answered with: a payload, or only yes or no. */
export type Answer = Uint8Array | boolean;

/** Mistakes of a peer that are answered and counted; one more and it is not spoken to any longer. */
export const MAX_MISTAKES = 16;

/** Refuses a request with a payload that says more than no. */
export class Refusal extends Error {
  /**
   * @param message why, for the operator.
   * @param payload what the peer is told.
   */
  constructor(
    message: string,
    readonly payload: Uint8Array,
  ) {
    super(message);
    this.name = 'Refusal';
  }
}

/**
 * Answers a peer's requests.
 *
 * @example
 * ```ts
 * const answers = new Answers(services.mailbox, (reason) => services.failed(reason));
 * answers.to(ControlMessage.link, decodeLink, (up) => {
 *   linkUp = up;
 *   return true;
 * });
 * ```
 */
export class Answers {
  /** Messages that could not be, or asked for what may not be. */
  mistakes = 0;
  /** The last of them. */
  lastMistake: string | null = null;
  private closed = false;

  /**
   * @param mailbox where requests come from.
   * @param onTooMany told once, when the peer has made more than {@link MAX_MISTAKES}.
   */
  constructor(
    private readonly mailbox: Mailbox,
    private readonly onTooMany: (reason: string) => void,
  ) {}

  /**
   * Answers requests of one type. What `decode` and `act` throw is the peer's mistake; a plain no is not.
   * @param decode makes a value of the payload, every field bounded.
   */
  to<T>(type: number, decode: (bytes: Uint8Array) => T, act: (value: T) => Answer | Promise<Answer>): void {
    this.mailbox.handle(type, async (bytes) => {
      if (this.closed) return { ok: false, payload: new Uint8Array(0) };
      try {
        const said = await act(decode(bytes));
        return said instanceof Uint8Array
          ? { ok: true, payload: said }
          : { ok: said, payload: new Uint8Array(0) };
      } catch (error) {
        this.lastMistake = `message ${type}: ${error instanceof Error ? error.message : String(error)}`;
        if (++this.mistakes === MAX_MISTAKES + 1)
          this.onTooMany(
            `the other half made more than ${MAX_MISTAKES} mistakes, the last: ${this.lastMistake}`,
          );
        return { ok: false, payload: error instanceof Refusal ? error.payload : new Uint8Array(0) };
      }
    });
  }

  /** Everything is refused from here on. */
  close(): void {
    this.closed = true;
  }
}

/** Reads the payload of a message that has none. What a later version puts there is not for this one. */
export function decodeNothing(): void {
  return;
}
