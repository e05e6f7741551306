/**
 * The IP addresses that a guest may use, and whether a frame is from or to one of them: the frontend half's check of
 * what it sends, the backend half's of what it leads to the guest. (The NIC checks what is sent by itself.)
 */
import { pair, type FrameHeaders } from './headers.js';

/** Words of one address: version, and four of the address. */
const WORDS = 5;

/** A guest's addresses. Allocates nothing after the constructor. */
export class OwnAddresses {
  private readonly words: Int32Array;

  /** @param addresses 4 or 16 bytes each. */
  constructor(addresses: readonly ArrayLike<number>[]) {
    this.words = new Int32Array(addresses.length * WORDS);
    addresses.forEach((address, i) => {
      const at = i * WORDS;
      this.words[at] = address.length === 4 ? 4 : 6;
      for (let k = 0; k < address.length; k += 4) this.words[at + 1 + k / 4] = pair(address, k);
    });
  }

  /** Whether an IP packet is from one of them. */
  hasSource(h: FrameHeaders): boolean {
    return this.has(h.version, h.source0, h.source1, h.source2, h.source3);
  }

  /** Whether an IP packet is to one of them. */
  hasDestination(h: FrameHeaders): boolean {
    return this.has(h.version, h.destination0, h.destination1, h.destination2, h.destination3);
  }

  private has(version: number, first: number, second: number, third: number, fourth: number): boolean {
    const { words } = this;
    for (let at = 0; at < words.length; at += WORDS)
      if (
        words[at] === version &&
        words[at + 1] === first &&
        (version === 4 || (words[at + 2] === second && words[at + 3] === third && words[at + 4] === fourth))
      )
        return true;
    return false;
  }
}
