/**
 * The Toeplitz hash that spreads received flows over a set of VIs (Microsoft RSS; netif.h hash algorithm 1).
 * A shift register of the key is XORed for each set bit of the input; here by table, one look-up a byte.
 */

/** Bytes of a key. */
export const TOEPLITZ_KEY_BYTES = 40;
/** Bytes of input at most: two IPv6 addresses and two ports. */
export const TOEPLITZ_INPUT_BYTES = 36;

/** The key that the published test vectors use. */
export const defaultToeplitzKey: Uint8Array = Uint8Array.from(
  '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g)!,
  (hex) => parseInt(hex, 16),
);

/** A key, made ready. */
export class Toeplitz {
  private readonly table = new Int32Array(TOEPLITZ_INPUT_BYTES * 256);

  /** @param key up to 40 bytes; missing ones are zero. */
  constructor(key: ArrayLike<number> = defaultToeplitzKey) {
    if (key.length > TOEPLITZ_KEY_BYTES)
      throw new RangeError(`key: at most ${TOEPLITZ_KEY_BYTES} bytes expected, ${key.length} seen`);
    for (let byte = 0; byte < TOEPLITZ_INPUT_BYTES; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const window = keyWindow(key, byte * 8 + bit);
        for (let value = 0; value < 256; value++)
          if ((value & (0x80 >>> bit)) !== 0) this.table[byte * 256 + value]! ^= window;
      }
    }
  }

  /**
   * The hash of `length` bytes of input (source address, destination address, source port, destination port, in
   * network order), unsigned.
   */
  hash(input: Uint8Array, length: number): number {
    const table = this.table;
    let hash = 0;
    for (let i = 0; i < length; i++) hash ^= table[(i << 8) | input[i]!]!;
    return hash >>> 0;
  }
}

/** 32 bits of the key from bit `from` on. */
function keyWindow(key: ArrayLike<number>, from: number): number {
  let window = 0;
  for (let i = from; i < from + 32; i++)
    window = (window << 1) | (((key[i >>> 3] ?? 0) >>> (7 - (i & 7))) & 1);
  return window;
}
