/** The group addresses of a lab: `01:00:5e:00:00:01` and on, those of 224.0.0.1 and on. */

const MOST_GROUPS = 8;
const all = Array.from({ length: MOST_GROUPS }, (_, i) => Uint8Array.of(1, 0, 0x5e, 0, 0, i + 1));

/** The group with that number, from 0. */
export function groupOf(number: number): Uint8Array {
  return all[number]!;
}

/** The first so many; null for all that there are anywhere. */
export function firstGroups(count: number | null): readonly Uint8Array[] | null {
  return count === null ? null : all.slice(0, count);
}
