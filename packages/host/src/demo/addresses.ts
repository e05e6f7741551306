/** Addresses as people write them. */

/** Six bytes of `02:00:00:00:00:0a`. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (byte) => parseInt(byte, 16));
}
