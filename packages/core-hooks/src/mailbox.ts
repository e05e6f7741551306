/**
 * The control mailbox between the two halves of a plugin, as both halves see it.
 *
 * The drivers make it (two message rings in pages of the guest, private indices, one event channel) and
 * hand each half its end. It is for control: a few messages per attach, per filter, per learned address.
 * What the peer sends has been copied and bounded before a handler sees it; what it *means* is for the
 * handler to judge.
 */

/** Most payload bytes in one message: a 128-byte slot less its 16-byte header. */
export const MAILBOX_PAYLOAD_BYTES = 112;

/** What a request was answered with. */
export interface MailboxReply {
  /** False when the peer answered with an error. */
  readonly ok: boolean;
  /** The answer's payload: a copy, the caller's own. */
  readonly payload: Uint8Array;
}

/** Answers a request; its result travels back. Throwing, or `ok: false`, answers with an error. */
export type MailboxHandler = (payload: Uint8Array) => MailboxReply | Promise<MailboxReply>;

/** Why a mailbox call failed. */
export class MailboxError extends Error {
  /**
   * @param code `FULL` no room and the peer does not drain; `CLOSED` this end or the peer's is closed;
   * `TIMEOUT` no answer before the deadline; `TOO_LONG` payload over {@link MAILBOX_PAYLOAD_BYTES};
   * `BREACH` the peer broke the ring's rules.
   */
  constructor(
    readonly code: 'FULL' | 'CLOSED' | 'TIMEOUT' | 'TOO_LONG' | 'BREACH',
    message: string,
  ) {
    super(message);
    this.name = 'MailboxError';
  }
}

/** One end of the mailbox. */
export interface Mailbox {
  /**
   * Sends a request and waits for its answer.
   * @param type the plugin's own message number, 0 to 255.
   * @param payload at most {@link MAILBOX_PAYLOAD_BYTES}.
   * @param timeoutMs deadline for the answer; 1000 when left out.
   * @throws MailboxError
   */
  request(this: void, type: number, payload: Uint8Array, timeoutMs?: number): Promise<MailboxReply>;
  /**
   * Says who answers requests of `type`. A request of a type without a handler is answered with an error and
   * counted. Requests are handled one after the other, in the order sent.
   */
  handle(this: void, type: number, handler: MailboxHandler): void;
}
