/** Rates: what changed between two readings of the same lab, and how figures are written for people. */
import type { GuestReport, LabReport, PathTotals } from '../up/report.js';

/** Of one guest; tx is what it sent. */
export interface GuestRates {
  readonly txBitsPerSecond: number;
  readonly rxBitsPerSecond: number;
  readonly txFramesPerSecond: number;
  readonly rxFramesPerSecond: number;
  /** Share of frames, both ways, that went the fast path: 0 to 1; null without frames. */
  readonly fastShare: number | null;
}

/** Rates of every guest, by full name. */
export function ratesBetween(before: LabReport, after: LabReport): Record<string, GuestRates> {
  const seconds = (after.atUs - before.atUs) / 1e6;
  const earlier = new Map(
    before.hosts.flatMap(({ guests }) => guests).map((guest) => [nameOf(guest), guest]),
  );
  const rates: Record<string, GuestRates> = {};
  for (const guest of after.hosts.flatMap(({ guests }) => guests)) {
    const first = earlier.get(nameOf(guest));
    if (first !== undefined && seconds > 0) rates[nameOf(guest)] = guestRates(first, guest, seconds);
  }
  return rates;
}

/** A guest's full name. */
export function nameOf({ host, name }: GuestReport): string {
  return `${host}.${name}`;
}

function guestRates(first: GuestReport, last: GuestReport, seconds: number): GuestRates {
  const fast = difference(first.fast, last.fast);
  const slow = difference(first.slow, last.slow);
  const fastFrames = fast.txFrames + fast.rxFrames;
  const frames = fastFrames + slow.txFrames + slow.rxFrames;
  return {
    txBitsPerSecond: ((fast.txBytes + slow.txBytes) * 8) / seconds,
    rxBitsPerSecond: ((fast.rxBytes + slow.rxBytes) * 8) / seconds,
    txFramesPerSecond: (fast.txFrames + slow.txFrames) / seconds,
    rxFramesPerSecond: (fast.rxFrames + slow.rxFrames) / seconds,
    fastShare: frames === 0 ? null : fastFrames / frames,
  };
}

/** Totals never fall, but a plugin's last word may come between two readings: less than nothing is nothing. */
function difference(first: PathTotals, last: PathTotals): PathTotals {
  const of = (key: keyof PathTotals): number => Math.max(0, last[key] - first[key]);
  return {
    txFrames: of('txFrames'),
    txBytes: of('txBytes'),
    rxFrames: of('rxFrames'),
    rxBytes: of('rxBytes'),
  };
}

const PREFIXES = ['', 'k', 'M', 'G', 'T'] as const;

/** A number with a decimal prefix: `12.3 Gb/s`, `0 b/s`. */
export function scaled(value: number, unit: string): string {
  let step = 0;
  while (value >= 1000 && step < PREFIXES.length - 1) {
    value /= 1000;
    step++;
  }
  const digits =
    value === 0 || value >= 100 || (step === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${PREFIXES[step]!}${unit}`;
}

/** A share in percent. */
export function percent(share: number | null): string {
  return share === null ? '-' : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}
