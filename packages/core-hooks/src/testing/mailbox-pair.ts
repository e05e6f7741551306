/**
 * Two mailbox ends joined directly, for tests of a plugin's halves without a machine.
 */
import { MAILBOX_PAYLOAD_BYTES, MailboxError } from '../mailbox.js';
import type { Mailbox, MailboxHandler, MailboxReply } from '../mailbox.js';

/** One end; what crosses is recorded, and can be held back. */
export class FakeMailbox implements Mailbox {
  /** The end that answers. */
  peer: FakeMailbox | undefined;
  /** Requests sent by this end, in order. */
  readonly sent: { type: number; payload: Uint8Array }[] = [];
  /** Set it to answer nothing, as a dead peer does. */
  silent = false;
  private readonly handlers = new Map<number, MailboxHandler>();

  async request(type: number, payload: Uint8Array): Promise<MailboxReply> {
    if (payload.length > MAILBOX_PAYLOAD_BYTES)
      throw new MailboxError(
        'TOO_LONG',
        `a message has at most ${MAILBOX_PAYLOAD_BYTES} bytes; this has ${payload.length}`,
      );
    const copy = payload.slice();
    this.sent.push({ type, payload: copy });
    const { peer } = this;
    if (peer === undefined) throw new MailboxError('CLOSED', 'the other half is gone');
    if (peer.silent) throw new MailboxError('TIMEOUT', `no answer to message ${type}`);
    await Promise.resolve();
    const handler = peer.handlers.get(type);
    if (handler === undefined) return { ok: false, payload: new Uint8Array() };
    try {
      return await handler(copy);
    } catch {
      return { ok: false, payload: new Uint8Array() };
    }
  }

  handle(type: number, handler: MailboxHandler): void {
    this.handlers.set(type, handler);
  }

  /** Cuts the line. */
  close(): void {
    if (this.peer !== undefined) this.peer.peer = undefined;
    this.peer = undefined;
  }
}

/** Both ends of a fresh mailbox. */
export function mailboxPair(): [frontend: FakeMailbox, backend: FakeMailbox] {
  const frontend = new FakeMailbox();
  const backend = new FakeMailbox();
  frontend.peer = backend;
  backend.peer = frontend;
  return [frontend, backend];
}
