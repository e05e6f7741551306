/** What all messages between two plugin halves share: their version, and how the bytes of a peer are judged. */
import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import { field, type Layout } from './layout.js';

/** Version of all messages here; a peer of another one is refused. */
export const MESSAGE_VERSION = 1;

/** A message of a peer cannot be: protocol error, detach. */
export class MessageError extends Error {
  /** Stable code for programs. */
  readonly code = 'BAD_MESSAGE';
  /** @param message the field, what was expected and what was seen. */
  constructor(message: string) {
    super(message);
    this.name = 'MessageError';
  }
}

/** @throws MessageError when a message is too short, too long or of another version. */
export function checkSize(of: Layout, bytes: Uint8Array): void {
  if (bytes.length < of.size || bytes.length > MAILBOX_PAYLOAD_BYTES)
    throw new MessageError(`${of.name}: ${of.size} bytes expected, ${bytes.length} seen`);
  const seen = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint16(0, true);
  if (seen !== MESSAGE_VERSION)
    throw new MessageError(
      `${of.name}: version ${MESSAGE_VERSION} expected, ${seen} seen; install one version of @netaccel/nic-vi in both halves`,
    );
}

/** A field that a peer wrote, held against its limits. @throws MessageError */
export function bounded<Name extends string>(
  of: Layout<Name>,
  bytes: Uint8Array,
  name: Name,
  least: number,
  most: number,
): number {
  const value = field(of, bytes, name);
  if (value < least || value > most)
    throw new MessageError(`${of.name}.${name}: ${least} to ${most} expected, ${value} seen`);
  return value;
}

/** Writes 32-bit numbers behind a message. @throws RangeError when they are more than `most`. */
export function writeWords(
  bytes: Uint8Array,
  at: number,
  words: ArrayLike<number>,
  most: number,
): Uint8Array {
  if (words.length > most) throw new RangeError(`at most ${most} numbers expected, ${words.length} seen`);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) view.setUint32(at + 4 * i, words[i]!, true);
  return bytes;
}

/** Reads them back. */
export function readWords(bytes: Uint8Array, at: number, count: number): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + 4 * i, true));
}
