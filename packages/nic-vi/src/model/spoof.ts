/**
 * The source check on transmitted frames: a guest sends as itself only. The addresses were written at the VI's
 * allocation in the form that `FrameHeaders` has them.
 */
import type { FrameHeaders } from '../headers.js';
import { SPOOF_ADDRESS_WORDS, ViWord } from './state.js';

/** Whether a frame's source is not one of the VI's own. */
export function isSpoofed(words: Int32Array, vi: number, h: FrameHeaders): boolean {
  if (h.mac1 >>> 16 !== words[vi + ViWord.spoofMac1] || h.mac2 !== words[vi + ViWord.spoofMac2]) return true;
  const addresses = words[vi + ViWord.spoofAddresses]!;
  if (addresses === 0 || h.version === 0) return false;
  for (let i = 0; i < addresses; i++) {
    const at = vi + ViWord.spoofAddresses + 1 + i * SPOOF_ADDRESS_WORDS;
    if (
      words[at] === h.version &&
      words[at + 1] === h.source0 &&
      (h.version === 4 ||
        (words[at + 2] === h.source1 && words[at + 3] === h.source2 && words[at + 4] === h.source3))
    )
      return false;
  }
  return true;
}
