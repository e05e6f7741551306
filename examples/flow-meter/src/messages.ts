/**
 * What the two halves say to each other, besides the messages of `@netaccel/nic-vi`: where a fence is.
 *
 * Bytes of the other half are judged here, before anybody uses them: the halves run on machines that do not trust
 * each other, and may be of different versions.
 */
import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import type { ReceiveFence } from '@netaccel/core-hooks';

/** Our own message numbers: those of `ControlMessage` are taken. */
export const OwnMessage = {
  /** Driver domain to guest: take what the card has, once this fence has passed. */
  open: 32,
} as const;

const WORD_BYTES = 4;

/** A fence as the payload of a message: one 32-bit word for each rx ring, little-endian. */
export function encodeFence(fence: ReceiveFence): Uint8Array {
  const bytes = new Uint8Array(fence.length * WORD_BYTES);
  const view = new DataView(bytes.buffer);
  fence.forEach((index, ring) => view.setUint32(ring * WORD_BYTES, index, true));
  return bytes;
}

/**
 * Reads it.
 * @throws RangeError when it cannot be one.
 */
export function decodeFence(bytes: Uint8Array): ReceiveFence {
  if (bytes.length % WORD_BYTES !== 0 || bytes.length > MAILBOX_PAYLOAD_BYTES)
    throw new RangeError(
      `a fence: whole words, at most ${MAILBOX_PAYLOAD_BYTES} bytes expected, ${bytes.length} seen`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / WORD_BYTES }, (_, ring) =>
    view.getUint32(ring * WORD_BYTES, true),
  );
}
