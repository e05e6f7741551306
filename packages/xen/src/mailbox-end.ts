/**
 * One end of the control mailbox between the two halves of a plugin: requests, replies, deadlines.
 *
 * A side has at most half a ring of requests without a reply, whether or not it still waits for them. So a ring
 * never holds more than half a ring of requests and half a ring of replies: a reply always fits, and a peer for
 * whom it does not fit broke the rule. A breach ends the mailbox; nothing is overwritten.
 */
import { MAILBOX_PAYLOAD_BYTES, MailboxError } from '@netaccel/core-hooks';
import type { Mailbox, MailboxHandler, MailboxReply } from '@netaccel/core-hooks';
import type { Domain, EventChannel, Task } from './machine.js';
import { MAILBOX_SLOTS, MAILBOX_START, MailboxKind } from './mailbox-ring.js';
import type { MailboxMessage, MailboxPages } from './mailbox-ring.js';

/** Requests that a side may have without a reply. */
export const MAILBOX_OUTSTANDING = MAILBOX_SLOTS / 2;
/** Requests that wait here for their turn to be sent. */
const MAX_WAITING = 64;
/** Replies to no request of ours that are only counted. */
const MAX_STRAY = 16;
const DEFAULT_TIMEOUT_MS = 1000;

/** How an end is made. */
export interface MailboxOptions {
  /**
   * The mailbox is over, for another reason than `close` here: the peer closed it, or broke its rules. What was
   * pending has been rejected. Call `close` to give pages and port back.
   */
  readonly onEnded?: (error: MailboxError) => void;
  /** How long a request that does not say waits for its answer; a second when left out. */
  readonly timeoutMs?: number;
}

/** What an end counted. */
export interface MailboxCounters {
  /** Requests sent. */
  sent: number;
  /** Replies that found their request waiting. */
  replies: number;
  /** Requests answered, errors included. */
  answered: number;
  /** Of those, requests of a type without a handler. */
  unknownTypes: number;
  /** Of those, requests whose handler threw or gave a reply that does not fit. */
  handlerErrors: number;
  /** Requests given up at their deadline. */
  timeouts: number;
  /** Replies to a request that was given up. */
  lateReplies: number;
  /** Replies to no request of ours. */
  strayReplies: number;
  /** Events that found nothing to do. */
  spurious: number;
}

interface Call {
  readonly id: number;
  readonly type: number;
  readonly payload: Uint8Array;
  readonly resolve: (reply: MailboxReply) => void;
  readonly reject: (error: MailboxError) => void;
  cancelDeadline: () => void;
}

/** One end of a mailbox. Made by {@link openMailbox} or {@link attachMailbox}; owned by the driver. */
export class MailboxEnd implements Mailbox {
  /** What it counted. */
  readonly counters: MailboxCounters = {
    sent: 0,
    replies: 0,
    answered: 0,
    unknownTypes: 0,
    handlerErrors: 0,
    timeouts: 0,
    lateReplies: 0,
    strayReplies: 0,
    spurious: 0,
  };
  private readonly handlers = new Map<number, MailboxHandler>();
  private readonly waiting: Call[] = [];
  private readonly pending = new Map<number, Call>();
  /** Given up here, not answered by the peer yet: they still count. */
  private readonly expired = new Set<number>();
  private readonly requests: MailboxMessage[] = [];
  private serving = false;
  private nextId = MAILBOX_START;
  private ended: MailboxError | null = null;
  private closed = false;
  private readonly task: Task;
  private channel: EventChannel | null = null;

  /**
   * @param domain whose end it is.
   * @param pages its hold on the rings.
   * @param giveBack ends the pages.
   * @param options how it is made.
   */
  constructor(
    private readonly domain: Domain,
    private readonly pages: MailboxPages,
    private readonly giveBack: () => void,
    private readonly options: MailboxOptions,
  ) {
    this.task = domain.loop.task((budget) => this.work(Math.min(budget, MAILBOX_SLOTS)));
  }

  /** Sends a request and waits for its answer, at most `timeoutMs`. Rejects with a `MailboxError`. */
  request(
    type: number,
    payload: Uint8Array,
    timeoutMs = this.options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
  ): Promise<MailboxReply> {
    return new Promise((resolve, reject) => {
      if (!Number.isInteger(type) || type < 0 || type > 255)
        throw new RangeError(`message type ${type}: 0 to 255 expected`);
      if (payload.length > MAILBOX_PAYLOAD_BYTES)
        throw new MailboxError(
          'TOO_LONG',
          `message of ${payload.length} bytes: at most ${MAILBOX_PAYLOAD_BYTES} fit; send it in parts`,
        );
      if (this.ended !== null) throw new MailboxError(this.ended.code, this.ended.message);
      if (this.waiting.length >= MAX_WAITING) throw this.full(type);
      const id = this.nextId;
      this.nextId = (id + 1) >>> 0;
      const call: Call = {
        id,
        type,
        payload: payload.slice(),
        resolve,
        reject,
        cancelDeadline: this.domain.loop.after(timeoutMs, () => this.giveUp(call, timeoutMs)),
      };
      this.waiting.push(call);
      this.send();
    });
  }

  /** Says who answers requests of `type`; without a handler they are answered with an error. */
  handle(type: number, handler: MailboxHandler): void {
    this.handlers.set(type, handler);
  }

  /** Ends it: tells the peer, rejects what is pending with `CLOSED`, gives pages and port back. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.end(new MailboxError('CLOSED', 'the mailbox was closed at this end'));
    this.task.cancel();
    this.pages.close();
    this.channel?.notify();
    this.channel?.close();
    this.giveBack();
  }

  /** Its state, for people. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      state: this.ended?.code ?? 'open',
      outstanding: this.outstanding,
      waiting: this.waiting.length,
      toAnswer: this.requests.length,
      ...this.counters,
    };
  }

  /** Sets the channel; called once, by who makes the mailbox. */
  connect(channel: EventChannel): void {
    this.channel = channel;
  }

  /** An event came. */
  readonly event = (): void => this.task.raise();

  private get outstanding(): number {
    return this.pending.size + this.expired.size;
  }

  /** Takes at most `budget` messages; true when more may be there. */
  private work(budget: number): boolean {
    if (this.ended !== null) return false;
    const waiting = this.pages.available();
    if (waiting < 0) {
      this.breach('it claims to have sent more messages than the ring holds');
      return false;
    }
    const taken = Math.min(waiting, budget);
    for (let i = 0; i < taken && this.isOpen(); i++) this.judge(this.pages.take());
    if (!this.isOpen()) return false;
    this.pages.acknowledge();
    this.send();
    if (this.requests.length > 0) void this.serve();
    if (waiting > taken) return true;
    if (this.pages.peerClosed) {
      // It may have sent something after our look and before it closed.
      if (this.pages.available() > 0) return true;
      this.end(new MailboxError('CLOSED', 'the peer closed the mailbox'), true);
      return false;
    }
    if (taken === 0) this.counters.spurious++;
    // What came since has set the channel pending again.
    this.channel?.unmask(taken === 0);
    return false;
  }

  private judge(message: MailboxMessage): void {
    if (!message.whole) this.breach('a message is longer than its slot');
    else if (message.kind === MailboxKind.request) {
      if (this.requests.length >= MAILBOX_OUTSTANDING)
        this.breach(`it has more than ${MAILBOX_OUTSTANDING} requests without a reply`);
      else this.requests.push(message);
    } else if (message.kind === MailboxKind.reply || message.kind === MailboxKind.error) this.settle(message);
    else this.breach(`a message is of kind ${message.kind}`);
  }

  private settle({ id, kind, payload }: MailboxMessage): void {
    const call = this.pending.get(id);
    if (call !== undefined) {
      this.counters.replies++;
      this.pending.delete(id);
      call.cancelDeadline();
      call.resolve({ ok: kind === MailboxKind.reply, payload });
    } else if (this.expired.delete(id)) this.counters.lateReplies++;
    else if (++this.counters.strayReplies > MAX_STRAY)
      this.breach(`it sent ${MAX_STRAY + 1} replies to no request`);
  }

  /** Answers requests one after the other, in the order sent. */
  private async serve(): Promise<void> {
    if (this.serving) return;
    this.serving = true;
    for (let request = this.requests[0]; request !== undefined; request = this.requests[0]) {
      const reply = await this.answer(request);
      if (!this.isOpen()) return;
      this.requests.shift();
      this.counters.answered++;
      const kind = reply.ok ? MailboxKind.reply : MailboxKind.error;
      this.put({ kind, type: request.type, id: request.id, payload: reply.payload });
    }
    this.serving = false;
  }

  private async answer({ type, payload }: MailboxMessage): Promise<MailboxReply> {
    const handler = this.handlers.get(type);
    if (handler === undefined) {
      this.counters.unknownTypes++;
      return { ok: false, payload: new Uint8Array() };
    }
    try {
      const reply = await handler(payload);
      if (reply.payload.length <= MAILBOX_PAYLOAD_BYTES) return reply;
      this.domain.log(
        'error',
        `a reply to message ${type} has ${reply.payload.length} bytes; an error was sent`,
      );
    } catch (error) {
      this.domain.log('error', `the handler of message ${type} threw; an error was sent: ${String(error)}`);
    }
    this.counters.handlerErrors++;
    return { ok: false, payload: new Uint8Array() };
  }

  /** Sends what waits, as far as the rule allows. */
  private send(): void {
    while (this.waiting.length > 0 && this.outstanding < MAILBOX_OUTSTANDING && this.isOpen()) {
      const call = this.waiting.shift()!;
      this.pending.set(call.id, call);
      this.counters.sent++;
      this.put({ kind: MailboxKind.request, type: call.type, id: call.id, payload: call.payload });
    }
  }

  private put(message: Omit<MailboxMessage, 'whole'>): void {
    const unconsumed = this.pages.unconsumed();
    if (unconsumed < 0) this.breach('it claims to have taken more messages than were sent');
    else if (unconsumed >= MAILBOX_SLOTS) this.breach('it left no room for a reply');
    else {
      this.pages.put(message);
      this.pages.publish();
      this.channel?.notify();
    }
  }

  private giveUp(call: Call, timeoutMs: number): void {
    this.counters.timeouts++;
    if (this.pending.delete(call.id)) {
      this.expired.add(call.id);
      call.reject(new MailboxError('TIMEOUT', `no reply to message ${call.type} within ${timeoutMs} ms`));
      return;
    }
    this.waiting.splice(this.waiting.indexOf(call), 1);
    call.reject(this.full(call.type));
  }

  private full(type: number): MailboxError {
    return new MailboxError(
      'FULL',
      `message ${type} could not be sent: ${this.outstanding} requests have no reply, ${this.waiting.length} wait`,
    );
  }

  private breach(what: string): void {
    this.end(new MailboxError('BREACH', `the peer broke the mailbox's rules: ${what}`), true);
  }

  private end(error: MailboxError, tell = false): void {
    if (this.ended !== null) return;
    this.ended = error;
    this.requests.length = 0;
    const calls = [...this.pending.values(), ...this.waiting.splice(0)];
    this.pending.clear();
    for (const call of calls) {
      call.cancelDeadline();
      call.reject(new MailboxError(error.code, error.message));
    }
    if (tell) this.options.onEnded?.(error);
  }

  private isOpen(): boolean {
    return this.ended === null;
  }
}
