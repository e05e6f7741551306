/**
 * What a VI's own addresses are good for: a guest sends as itself only, and is led only what is addressed to it. The
 * addresses were written at the VI's allocation in the form that `FrameHeaders` has them.
 */
import type { FilterSpec } from '../filter.js';
import { pair, type FrameHeaders } from '../headers.js';
import { SPOOF_ADDRESS_WORDS, ViWord } from './state.js';

/** Whether a frame's source is not one of the VI's own. */
export function isSpoofed(words: Int32Array, vi: number, h: FrameHeaders): boolean {
  if (h.mac1 >>> 16 !== words[vi + ViWord.spoofMac1] || h.mac2 !== words[vi + ViWord.spoofMac2]) return true;
  if (words[vi + ViWord.spoofAddresses] === 0 || h.version === 0) return false;
  return !isOwnAddress(words, vi, h.version, h.source0, h.source1, h.source2, h.source3);
}

/**
 * Whether a filter leads only what is addressed to the VI: a VI that may send as itself only gets nothing else either.
 * Groups are anybody's.
 */
export function isOwnTraffic(words: Int32Array, vi: number, spec: FilterSpec): boolean {
  if (words[vi + ViWord.spoofMac] === 0) return true;
  if (spec.kind === 'unmatchedMulticast' || spec.kind === 'unmatchedUnicast') return false;
  const { mac } = spec;
  if ((mac[0]! & 1) !== 0) return true;
  const [first, last] = [pair([0, 0, mac[0]!, mac[1]!], 0) >>> 16, pair(mac, 2)];
  if (first !== words[vi + ViWord.spoofMac1] || last !== words[vi + ViWord.spoofMac2]) return false;
  if ((spec.kind !== 'full' && spec.kind !== 'local') || words[vi + ViWord.spoofAddresses] === 0) return true;
  const word = (i: number) => (i < spec.localAddress.length ? pair(spec.localAddress, i) : 0);
  return isOwnAddress(words, vi, spec.localAddress.length === 4 ? 4 : 6, word(0), word(4), word(8), word(12));
}

function isOwnAddress(
  words: Int32Array,
  vi: number,
  version: number,
  first: number,
  second: number,
  third: number,
  fourth: number,
): boolean {
  for (let i = words[vi + ViWord.spoofAddresses]!; i > 0; i--) {
    const at = vi + ViWord.spoofAddresses + 1 + (i - 1) * SPOOF_ADDRESS_WORDS;
    if (
      words[at] === version &&
      words[at + 1] === first &&
      (version === 4 || (words[at + 2] === second && words[at + 3] === third && words[at + 4] === fourth))
    )
      return true;
  }
  return false;
}
