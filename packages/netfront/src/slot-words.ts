/**
 * Two 16-bit fields of a slot as the one 32-bit word that they share: half as many accesses of the ring, and a
 * response's fields are fetched at one moment. The layout tables say which fields share a word; the order of
 * bytes is the machine's, as it is in netif.h.
 */
import type { Field } from '@netaccel/xen';

const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Shifts of the half that lies first, and of the second, within a word. */
export const FIRST_SHIFT = LITTLE ? 0 : 16;
/** See {@link FIRST_SHIFT}. */
export const SECOND_SHIFT = 16 - FIRST_SHIFT;

/**
 * The index of the word that two fields are, counted from the slot's start.
 * @throws RangeError when they are not the two halves of one: the table has changed.
 */
export function sharedWord(first: Field, second: Field): number {
  if (first.width !== 2 || second.width !== 2 || first.offset % 4 !== 0 || second.offset !== first.offset + 2)
    throw new RangeError(`${first.name} and ${second.name} are not the halves of one word`);
  return first.offset >>> 2;
}

/**
 * The index of the 16-bit field that two kinds of slot have at the same place, counted from the slot's start.
 * @throws RangeError when they are apart: the table has changed.
 */
export function sameHalf(one: Field, other: Field): number {
  if (one.width !== 2 || other.width !== 2 || one.offset !== other.offset)
    throw new RangeError(`${one.name} and ${other.name} are not at the same place`);
  return one.offset >>> 1;
}

/** The word of two halves. */
export function join(first: number, second: number): number {
  return (first << FIRST_SHIFT) | (second << SECOND_SHIFT);
}

/** The half that lies first, unsigned. */
export function firstHalf(word: number): number {
  return (word >>> FIRST_SHIFT) & 0xffff;
}

/** The half that lies second, unsigned. */
export function secondHalf(word: number): number {
  return (word >>> SECOND_SHIFT) & 0xffff;
}
