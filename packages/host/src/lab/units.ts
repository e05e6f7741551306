/**
 * Numbers with their units, as people write them: `10Gb/s`, `20us`, `4 MiB`.
 *
 * Used by lab files and by options of the command. A text that is none gives null; the caller says what was
 * expected, with {@link RATE_EXAMPLE} and its like.
 */

const NUMBER = String.raw`(\d{1,15}(?:\.\d{1,9})?)`;

/** What a rate looks like. */
export const RATE_PATTERN = new RegExp(`^${NUMBER} ?([kMGT]?)(?:b/s|bit/s|bps)$`);
/** What a duration looks like. */
export const DURATION_PATTERN = new RegExp(`^${NUMBER} ?(ns|us|µs|ms|s|min|h)$`);
/** What a size looks like. */
export const SIZE_PATTERN = new RegExp(`^${NUMBER} ?(B|kB|MB|GB|KiB|MiB|GiB)$`);

/** For messages: what was expected where a rate stands. */
export const RATE_EXAMPLE = 'a rate in bits per second such as 10Gb/s';
/** For messages: what was expected where a duration stands. */
export const DURATION_EXAMPLE = 'a duration such as 20us or 300s';
/** For messages: what was expected where a size stands. */
export const SIZE_EXAMPLE = 'a size such as 1500B or 4MiB';

const RATE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  min: 60e9,
  h: 3600e9,
};
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

function parse(text: string, pattern: RegExp, units: Readonly<Record<string, number>>): number | null {
  const match = pattern.exec(text);
  if (match === null) return null;
  const value = Math.round(Number(match[1]) * units[match[2]!]!);
  return Number.isSafeInteger(value) ? value : null;
}

/**
 * A rate in bits per second, or null. Units are decimal: `10Gb/s` is 10,000,000,000.
 * @param text a number and `b/s`, `bit/s` or `bps`, with k, M, G or T before it.
 */
export function parseRate(text: string): number | null {
  return parse(text, RATE_PATTERN, RATE_UNITS);
}

/**
 * A duration in nanoseconds, or null.
 * @param text a number and ns, us, µs, ms, s, min or h.
 */
export function parseDuration(text: string): number | null {
  return parse(text, DURATION_PATTERN, DURATION_UNITS);
}

/**
 * A size in bytes, or null.
 * @param text a number and B, a decimal unit (kB, MB, GB) or a binary one (KiB, MiB, GiB).
 */
export function parseSize(text: string): number | null {
  return parse(text, SIZE_PATTERN, SIZE_UNITS);
}
