/**
 * xenstore's messages as bytes: header, types, limits, and an incremental decoder (xs_wire.h, xenstore.txt).
 *
 * Server and client both use it, whatever carries the bytes. A payload that is handed out belongs to the receiver.
 * Payloads are copied rather than viewed: they are short, and a short copy costs less than a view.
 *
 * Text is one character per byte, both ways (ISO 8859-1): every value survives reading and writing, also one
 * that a hostile guest wrote. Names and nearly all values are ASCII; who stores other text encodes it first.
 */
import { layout } from '../layout.js';
import { StoreError } from './error.js';

/** The header, `struct xsd_sockmsg`; little-endian, as on x86 and Arm. */
export const MESSAGE_HEADER = layout('xsd_sockmsg', 16, 'xen/include/public/io/xs_wire.h', {
  type: [0, 4, 'u', 'what is asked, and in a reply what was asked, or ERROR'],
  req_id: [4, 4, 'u', "the client's number for a request, echoed in its reply; 0 in a watch event"],
  tx_id: [8, 4, 'u', 'transaction, 0 for none; echoed'],
  len: [12, 4, 'u', 'bytes of payload that follow'],
});

/** Bytes of a header. */
export const HEADER_BYTES = MESSAGE_HEADER.size;
/** The largest payload either way (`XENSTORE_PAYLOAD_MAX`); a client that sends more is disconnected. */
export const MAX_PAYLOAD_BYTES = 4096;

/** Message types: what a request carries, and after a semicolon what its reply does other than `OK`. 20 was RESTRICT. */
export const MessageType = {
  /** Domain 0: a command to the server itself; text. */
  CONTROL: 0,
  /** Path; the children's names. */
  DIRECTORY: 1,
  /** Path; the value. */
  READ: 2,
  /** Path; the permissions, as strings. */
  GET_PERMS: 3,
  /** Path, token, perhaps a depth. */
  WATCH: 4,
  /** Path and token of a watch. */
  UNWATCH: 5,
  /** Nothing; the transaction's number in decimal. */
  TRANSACTION_START: 6,
  /** `T` to commit, `F` to abort; the header names the transaction. */
  TRANSACTION_END: 7,
  /** Domain 0: domain, frame of its ring page, event channel port. */
  INTRODUCE: 8,
  /** Domain 0: a domain that is gone. */
  RELEASE: 9,
  /** Domain; the path of its own directory. */
  GET_DOMAIN_PATH: 10,
  /** Path, then the value without a NUL after it. */
  WRITE: 11,
  /** Path. */
  MKDIR: 12,
  /** Path. */
  RM: 13,
  /** Path, then permissions, owner first. */
  SET_PERMS: 14,
  /** From the server only, unasked for: path and token. */
  WATCH_EVENT: 15,
  /** From the server only: an error's name. */
  ERROR: 16,
  /** Domain 0: domain; `T` or `F`. */
  IS_DOMAIN_INTRODUCED: 17,
  /** Domain 0: a domain that had shut down runs again. */
  RESUME: 18,
  /** Domain 0: a domain, and the one whose rights it gets besides. */
  SET_TARGET: 19,
  /** Nothing: drops all watches and transactions of the connection. */
  RESET_WATCHES: 21,
  /** Path and offset; generation, names from there on, an empty string at the end. */
  DIRECTORY_PART: 22,
  /** Nothing, or from domain 0 a domain; feature bits in decimal. */
  GET_FEATURE: 23,
  /** Domain 0: a domain that is not introduced yet, and its feature bits. */
  SET_FEATURE: 24,
  /** Domain 0: nothing for the names; perhaps a domain, and a name for the limit. */
  GET_QUOTA: 25,
  /** Domain 0: perhaps a domain, a name, the limit. */
  SET_QUOTA: 26,
  /** Never a type. */
  INVALID: 65535,
} as const;

/** Name of a message type. */
export type MessageTypeName = keyof typeof MessageType;

const typeNames = new Map<number, MessageTypeName>(
  (Object.keys(MessageType) as MessageTypeName[]).map((name) => [MessageType[name], name]),
);

/** The name of a type for logs and errors; an unknown number is kept. */
export function messageTypeName(type: number): string {
  return typeNames.get(type) ?? `type ${type}`;
}

/** One message, either way. */
export interface Message {
  /** A value of {@link MessageType}, or a number that is not known. */
  readonly type: number;
  /** The client's number for the request; 0 in a watch event. */
  readonly requestId: number;
  /** Transaction, 0 for none. */
  readonly transactionId: number;
  /** At most {@link MAX_PAYLOAD_BYTES}. */
  readonly payload: Uint8Array;
}

interface Header {
  readonly type: number;
  readonly requestId: number;
  readonly transactionId: number;
  readonly payloadBytes: number;
}

const { type: TYPE, req_id: REQ_ID, tx_id: TX_ID, len: LEN } = MESSAGE_HEADER.fields;

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function readHeader(bytes: Uint8Array): Header {
  return {
    type: wordAt(bytes, TYPE.offset),
    requestId: wordAt(bytes, REQ_ID.offset),
    transactionId: wordAt(bytes, TX_ID.offset),
    payloadBytes: wordAt(bytes, LEN.offset),
  };
}

/**
 * Header and payload in one new array.
 * @throws StoreError `E2BIG` for a payload over {@link MAX_PAYLOAD_BYTES}: it would cost the connection.
 */
export function encodeMessage(message: Message): Uint8Array {
  const { payload } = message;
  if (payload.length > MAX_PAYLOAD_BYTES)
    throw new StoreError(
      'E2BIG',
      `${messageTypeName(message.type)}: a payload of ${payload.length} bytes; the protocol carries at most ` +
        `${MAX_PAYLOAD_BYTES}: shorten the path or the value`,
    );
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  setWord(bytes, TYPE.offset, message.type);
  setWord(bytes, REQ_ID.offset, message.requestId);
  setWord(bytes, TX_ID.offset, message.transactionId);
  setWord(bytes, LEN.offset, payload.length);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The message that `bytes` are exactly, or undefined. */
export function decodeMessage(bytes: Uint8Array): Message | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const { payloadBytes, type, requestId, transactionId } = readHeader(bytes);
  if (payloadBytes > MAX_PAYLOAD_BYTES || bytes.length !== HEADER_BYTES + payloadBytes) return undefined;
  return { type, requestId, transactionId, payload: bytes.slice(HEADER_BYTES) };
}

/**
 * Cuts a stream of bytes into messages, whatever the pieces it arrives in. Holds at most one message; once it
 * saw a payload over the limit it is broken for good, because nothing after that can be told apart (XSA-420).
 */
export class MessageDecoder {
  readonly #headerBytes = new Uint8Array(HEADER_BYTES);
  #header: Header | undefined;
  #payload = new Uint8Array(0);
  #used = 0;
  #broken = false;

  /**
   * Takes the next bytes and calls `onMessage` for each message they complete.
   * @returns false after a breach of the protocol: the connection must be closed.
   */
  push(chunk: Uint8Array, onMessage: (message: Message) => void): boolean {
    if (this.#header === undefined && this.#used === 0 && !this.#broken) {
      // Nearly always one whole message comes.
      const message = decodeMessage(chunk);
      if (message !== undefined) {
        onMessage(message);
        return true;
      }
    }
    let at = 0;
    while (!this.#broken) {
      const target = this.#header === undefined ? this.#headerBytes : this.#payload;
      const piece = chunk.subarray(at, at + target.length - this.#used);
      target.set(piece, this.#used);
      this.#used += piece.length;
      at += piece.length;
      if (this.#used < target.length) break;
      this.#used = 0;
      if (this.#header === undefined) {
        const header = readHeader(this.#headerBytes);
        this.#broken = header.payloadBytes > MAX_PAYLOAD_BYTES;
        if (this.#broken) break;
        this.#header = header;
        this.#payload = new Uint8Array(header.payloadBytes);
      } else {
        const { type, requestId, transactionId } = this.#header;
        this.#header = undefined;
        onMessage({ type, requestId, transactionId, payload: this.#payload });
      }
    }
    return !this.#broken;
  }
}

// Node's own conversion, where there is one, is several times as fast for long values; it needs a view, which costs
// more than a short value does.
const hasBuffer = typeof Buffer === 'function';
const SHORT_BYTES = 128;

/** One character per byte. */
export function bytesToString(bytes: Uint8Array): string {
  // As arguments, not spread: that would make an object of each byte.
  if (bytes.length <= SHORT_BYTES) return Reflect.apply(String.fromCharCode, null, bytes) as string;
  if (hasBuffer) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  let text = '';
  for (let at = 0; at < bytes.length; at += MAX_PAYLOAD_BYTES)
    text += String.fromCharCode(...bytes.subarray(at, at + MAX_PAYLOAD_BYTES));
  return text;
}

/** Writes one byte per character, and answers where the next one goes. */
function writeText(into: Uint8Array, start: number, text: string): number {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0xff)
      throw new StoreError(
        'EINVAL',
        `a store value holds bytes, one per character, and "${text.charAt(at)}" at ${at} is no byte: ` +
          'encode the text first, for instance as UTF-8',
      );
    into[start + at] = code;
  }
  return start + text.length;
}

/**
 * One byte per character.
 * @throws StoreError `EINVAL` for a character above U+00FF, which has no byte.
 */
export function stringToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  writeText(bytes, 0, text);
  return bytes;
}

/**
 * A payload of strings with a NUL after each, and a value without one after them.
 * @throws StoreError `EINVAL` for a string with a NUL, which would end early, or a character that is no byte.
 */
export function joinStrings(strings: readonly string[], value = ''): Uint8Array {
  let length = value.length;
  for (const text of strings) {
    if (text.includes('\0'))
      throw new StoreError('EINVAL', `${JSON.stringify(text)} holds a NUL, which ends a string on the wire`);
    length += text.length + 1;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const text of strings) at = writeText(bytes, at, text) + 1;
  writeText(bytes, at, value);
  return bytes;
}

/** What a payload splits into. */
export interface SplitPayload {
  /** The strings that have a NUL after them. */
  readonly strings: string[];
  /** The bytes after the last NUL. */
  readonly rest: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Splits a payload at its NULs. */
export function splitStrings(payload: Uint8Array): SplitPayload {
  const strings = bytesToString(payload).split('\0');
  const rest = strings.pop()!;
  return { strings, rest: rest === '' ? NOTHING : payload.subarray(payload.length - rest.length) };
}
