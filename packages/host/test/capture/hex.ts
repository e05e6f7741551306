// Bytes of a test, written down as hex with spaces wherever they help: the vectors of the capture formats.

/** The bytes of `text`; anything between `(` and `)` is a remark. */
export function hex(text: string): Uint8Array {
  const digits = text.replace(/\([^)]*\)/g, '').replace(/\s+/g, '');
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new Error(`not hex: ${digits}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

/** Several byte strings one after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A pcapng section header, little-endian, without options. */
export const SECTION = hex('0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000');
/** An Ethernet interface without a limit and without options: microseconds. */
export const INTERFACE = hex('01000000 14000000 0100 0000 00000000 14000000');
/** An enhanced packet block: interface 0, time 0, 4 bytes. */
export const PACKET = hex('06000000 24000000 00000000 00000000 00000000 04000000 04000000 01020304 24000000');
