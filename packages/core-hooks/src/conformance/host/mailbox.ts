/**
 * The mailbox between the two halves on the scripted host: requests of one direction are answered one after the
 * other, wait until the other half is there, and run out of time when it is dead. What crosses is recorded.
 */
import { MAILBOX_PAYLOAD_BYTES, MailboxError } from '../../mailbox.js';
import type { Mailbox, MailboxHandler, MailboxReply } from '../../mailbox.js';
import type { Clock } from '../../services.js';
import type { Half } from './half.js';

const DEFAULT_TIMEOUT_MS = 1000;

/** A message that was sent. */
export interface Message {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** One end. */
export class MailEnd implements Mailbox {
  peer!: MailEnd;
  /** Requests that this end sent. */
  readonly sent: Message[] = [];
  /** It answers: a half is there, and alive. */
  answering = false;
  /** It answers nothing any more, as a half that hangs. */
  dead = false;
  /** Changes what this end sends, and what it answers: a half that lies. */
  tamper: ((message: Message, n: number) => Message) | null = null;
  tamperReply: ((payload: Uint8Array) => Uint8Array) | null = null;
  private readonly handlers = new Map<number, MailboxHandler>();
  private queue: Promise<unknown> = Promise.resolve();
  private arrived: (() => void)[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly half: Half | null,
  ) {}

  /** Types that are answered. */
  get types(): number[] {
    return [...this.handlers.keys()];
  }

  /** The half is there: what waited is answered. */
  start(): void {
    this.answering = true;
    for (const go of this.arrived.splice(0)) go();
  }

  /** {@inheritDoc Mailbox.handle} */
  readonly handle = (type: number, handler: MailboxHandler): void => {
    this.half?.alive('mailbox.handle');
    this.handlers.set(type, handler);
  };

  /** {@inheritDoc Mailbox.request} */
  readonly request = async (
    type: number,
    payload: Uint8Array,
    timeoutMs: number = DEFAULT_TIMEOUT_MS,
  ): Promise<MailboxReply> => {
    this.half?.enter('mailbox.request');
    if (payload.length > MAILBOX_PAYLOAD_BYTES)
      throw new MailboxError('TOO_LONG', `${MAILBOX_PAYLOAD_BYTES} bytes at most, ${payload.length} seen`);
    // One that hangs does not close its end; one that is gone does.
    if (this.peer.half?.over === true && !this.peer.dead)
      throw new MailboxError('CLOSED', 'the other half is gone');
    const said = { type, payload: payload.slice() };
    this.sent.push(said);
    const message = this.tamper?.(said, this.sent.length - 1) ?? said;
    const answer = this.peer.serve(message.type, message.payload.slice(0, MAILBOX_PAYLOAD_BYTES));
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(timeoutMs, () =>
        reject(new MailboxError('TIMEOUT', `no answer to message ${type} within ${timeoutMs} ms`)),
      );
      void answer.then((reply) => {
        cancel();
        resolve(reply);
      });
    });
  };

  /** Sends a message besides what the half says; nobody waits for its answer. */
  add({ type, payload }: Message): void {
    void this.peer.serve(type, payload.slice());
  }

  private serve(type: number, asked: Uint8Array): Promise<MailboxReply> {
    const answer = this.queue.then(async () => {
      if (!this.answering) await new Promise<void>((resolve) => this.arrived.push(resolve));
      if (this.dead) return new Promise<MailboxReply>(() => undefined);
      const handler = this.handlers.get(type);
      if (handler === undefined || this.half?.over === true) return refused;
      try {
        const { ok, payload: said } = await handler(asked);
        const payload = said.slice(0, MAILBOX_PAYLOAD_BYTES);
        return { ok, payload: this.tamperReply?.(payload) ?? payload };
      } catch {
        return refused;
      }
    });
    // One that is never answered holds up the next, as it does in the drivers, until its asker gives up on it.
    this.queue = Promise.race([
      answer,
      new Promise<void>((resolve) => void this.clock.after(DEFAULT_TIMEOUT_MS, resolve)),
    ]);
    return answer;
  }
}

const refused: MailboxReply = { ok: false, payload: new Uint8Array(0) };

/** Both ends of a mailbox. */
export function mailboxOf(
  clock: Clock,
  front: Half | null,
  back: Half | null,
): { front: MailEnd; back: MailEnd } {
  const ends = { front: new MailEnd(clock, front), back: new MailEnd(clock, back) };
  ends.front.peer = ends.back;
  ends.back.peer = ends.front;
  return ends;
}
