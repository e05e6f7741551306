/**
 * The two message rings of a mailbox: pages that the guest shares, fixed slots, private indices.
 *
 * Page 0 holds the indices, page 1 the slots: the first half for messages to the guest, the second for messages
 * to the backend. Each index has one writer. The peer's are bounded before use; a slot is copied out whole, then
 * judged. Used by mailbox.ts, which keeps the rule by which a reply always fits.
 */
import { MAILBOX_PAYLOAD_BYTES, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory } from '@netaccel/core-hooks';
import { layout } from './layout.js';

const source = 'packages/xen/src/mailbox-ring.ts';

/** Page 0. Words that different sides write are in different cache lines. */
export const mailboxControl = layout('mailbox control page', PAGE_BYTES, source, {
  magic: [0, 4, 'u', 'MAILBOX_MAGIC, written by the guest before it tells the backend'],
  version: [4, 4, 'u', 'MAILBOX_VERSION'],
  guest_produced: [64, 4, 'u', 'messages that the guest has put into the ring to the backend'],
  guest_consumed: [68, 4, 'u', 'messages that the guest has taken out of the ring to the guest'],
  guest_closed: [72, 4, 'u', 'not 0: the guest closed its end'],
  backend_produced: [128, 4, 'u', 'messages that the backend has put into the ring to the guest'],
  backend_consumed: [132, 4, 'u', 'messages that the backend has taken out of the ring to the backend'],
  backend_closed: [136, 4, 'u', 'not 0: the backend closed its end'],
});

/** One message. What is not said is zero. */
export const mailboxSlot = layout('mailbox slot', 128, source, {
  kind: [0, 1, 'u', 'MailboxKind'],
  type: [1, 1, 'u', "the plugin's message number"],
  length: [2, 2, 'u', 'bytes of payload'],
  id: [4, 4, 'u', "the request's number, echoed in its reply"],
  pad: [8, 8, 'b', 'zero'],
  payload: [16, MAILBOX_PAYLOAD_BYTES, 'b', 'zero after its length'],
});

/** Kinds of message. */
export const MailboxKind = {
  /** Wants a reply. */
  request: 1,
  /** Answers a request. */
  reply: 2,
  /** Answers it with an error. */
  error: 3,
} as const;
/** "nam1": says that the page is a mailbox. */
export const MAILBOX_MAGIC = 0x316d616e;
/** Of this layout. */
export const MAILBOX_VERSION = 1;
/** Pages of a mailbox. */
export const MAILBOX_PAGES = 2;
/** Slots of each ring. */
export const MAILBOX_SLOTS = PAGE_BYTES / 2 / mailboxSlot.size;
/** Where indices begin: they wrap early, so that a mistake with that shows early. */
export const MAILBOX_START = 0xffff_fff0;

/** A message, copied out. */
export interface MailboxMessage {
  /** One of {@link MailboxKind}, or anything that a peer wrote. */
  readonly kind: number;
  /** 0 to 255. */
  readonly type: number;
  /** The request's number. */
  readonly id: number;
  /** As many bytes as the peer claims, up to what a slot holds; see {@link MailboxMessage.whole}. */
  readonly payload: Uint8Array;
  /** False when the claimed length does not fit a slot. */
  readonly whole: boolean;
}

const { fields } = mailboxControl;
const { kind, type, length, id, payload } = mailboxSlot.fields;

/** Writes what a new mailbox's pages hold, all else being zero. */
export function initialiseMailbox(memory: Memory, control: Address): void {
  const { words } = memory;
  const at = (field: { readonly offset: number }): number => (control + field.offset) >>> 2;
  for (const index of [
    fields.guest_produced,
    fields.guest_consumed,
    fields.backend_produced,
    fields.backend_consumed,
  ])
    Atomics.store(words, at(index), MAILBOX_START);
  Atomics.store(words, at(fields.version), MAILBOX_VERSION);
  Atomics.store(words, at(fields.magic), MAILBOX_MAGIC);
}

/** One side's hold on the pages. */
export class MailboxPages {
  private produced = MAILBOX_START;
  private consumed = MAILBOX_START;
  private readonly words: Uint32Array;
  private readonly copy = new Uint8Array(mailboxSlot.size);
  private readonly view = new DataView(this.copy.buffer);
  private readonly at: Readonly<Record<keyof typeof fields, number>>;
  private readonly mine: 'guest' | 'backend';
  private readonly theirs: 'guest' | 'backend';

  /**
   * @param memory the domain's.
   * @param control address of page 0 here.
   * @param slots address of page 1 here.
   * @param side whose hold it is.
   */
  constructor(
    private readonly memory: Memory,
    control: Address,
    private readonly slots: Address,
    side: 'guest' | 'backend',
  ) {
    this.words = memory.words;
    this.mine = side;
    this.theirs = side === 'guest' ? 'backend' : 'guest';
    this.at = Object.fromEntries(
      Object.values(fields).map(({ name, offset }) => [name, (control + offset) >>> 2]),
    ) as Record<keyof typeof fields, number>;
  }

  /** What the pages say they are. */
  identity(): { readonly magic: number; readonly version: number } {
    return { magic: this.load('magic'), version: this.load('version') };
  }

  /** Messages of ours that the peer has not taken; -1 when it claims to have taken more than there were. */
  unconsumed(): number {
    const waiting = (this.produced - this.load(`${this.theirs}_consumed`)) >>> 0;
    return waiting > MAILBOX_SLOTS ? -1 : waiting;
  }

  /** Messages that wait to be taken; -1 when the peer claims more than the ring holds. */
  available(): number {
    const waiting = (this.load(`${this.theirs}_produced`) - this.consumed) >>> 0;
    return waiting > MAILBOX_SLOTS ? -1 : waiting;
  }

  /** Puts a message into the ring. The caller has seen that it fits, and publishes. */
  put(message: Omit<MailboxMessage, 'whole'>): void {
    const { bytes } = this.memory;
    const slot = this.slot(this.theirs, this.produced);
    this.memory.clear(slot, mailboxSlot.size);
    bytes[slot + kind.offset] = message.kind;
    bytes[slot + type.offset] = message.type;
    this.memory.halves[(slot + length.offset) >>> 1] = message.payload.length;
    this.words[(slot + id.offset) >>> 2] = message.id;
    bytes.set(message.payload, slot + payload.offset);
    this.produced = (this.produced + 1) >>> 0;
  }

  /** Shows the peer what was put. */
  publish(): void {
    Atomics.store(this.words, this.at[`${this.mine}_produced`], this.produced);
  }

  /** Takes the next message: copied first. The caller has seen that there is one. */
  take(): MailboxMessage {
    const { copy, view } = this;
    const slot = this.slot(this.mine, this.consumed);
    copy.set(this.memory.bytes.subarray(slot, slot + mailboxSlot.size));
    this.consumed = (this.consumed + 1) >>> 0;
    const claimed = view.getUint16(length.offset, true);
    return {
      kind: copy[kind.offset]!,
      type: copy[type.offset]!,
      id: view.getUint32(id.offset, true),
      payload: copy.slice(payload.offset, payload.offset + Math.min(claimed, payload.width)),
      whole: claimed <= payload.width,
    };
  }

  /** Gives the slots of what was taken back to the peer. */
  acknowledge(): void {
    Atomics.store(this.words, this.at[`${this.mine}_consumed`], this.consumed);
  }

  /** Says that this side is closed. */
  close(): void {
    Atomics.store(this.words, this.at[`${this.mine}_closed`], 1);
  }

  /** Whether the peer said that it is closed. */
  get peerClosed(): boolean {
    return this.load(`${this.theirs}_closed`) !== 0;
  }

  private slot(reader: 'guest' | 'backend', index: number): Address {
    const first = reader === 'guest' ? 0 : MAILBOX_SLOTS;
    return this.slots + (first + (index & (MAILBOX_SLOTS - 1))) * mailboxSlot.size;
  }

  private load(field: keyof typeof fields): number {
    return Atomics.load(this.words, this.at[field]);
  }
}
