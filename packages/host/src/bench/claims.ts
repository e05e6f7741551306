/** What is claimed, as data: which figures are divided, round by round, and what is wanted of the quotient. */
import { median } from '../demo/figures.js';
import type { Figures } from './case.js';

/** A case's figures, one for each round. */
export interface CaseResult {
  readonly name: string;
  readonly what: string;
  readonly figures: Figures[];
  /** Why it was not run. */
  unavailable?: string;
}

/** A figure over the rounds. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

interface Ratio {
  readonly claim: string;
  readonly over: readonly [name: string, figure: string];
  /** Left out: the figure itself is claimed. */
  readonly under?: readonly [name: string, figure: string];
  readonly atLeast?: number;
  readonly atMost?: number;
}

const RATIOS: readonly Ratio[] = [
  ...[64, 1514].flatMap((size): Ratio[] => [
    {
      claim: `fast / native, ${size} B`,
      over: [`wire-fast-${size}`, 'mpps'],
      under: [`wire-native-${size}`, 'mpps'],
      atLeast: 0.9,
    },
    {
      claim: `fast / slow, ${size} B`,
      over: [`wire-fast-${size}`, 'mpps'],
      under: [`wire-slow-${size}`, 'mpps'],
      atLeast: 2,
    },
    {
      claim: `slow path on one host / its two copies, ${size} B`,
      over: [`one-host-${size}`, 'nsPerFrame'],
      under: [`copy-${size}`, 'nsPerFrame'],
      atMost: size === 64 ? 8 : 3.5,
    },
    {
      claim: `slow path on one host / memif, ${size} B`,
      over: [`one-host-${size}`, 'mpps'],
      under: [`memif-${size}`, 'mpps'],
    },
  ]),
  { claim: 'TCP fast / native', over: ['tcp-fast', 'gbps'], under: ['tcp-native', 'gbps'], atLeast: 0.85 },
  { claim: 'TCP fast / slow', over: ['tcp-fast', 'gbps'], under: ['tcp-slow', 'gbps'], atLeast: 1.2 },
  {
    claim: 'TCP on one host / veth and bridge',
    over: ['tcp-one-host', 'gbps'],
    under: ['tcp-bridge', 'gbps'],
    atLeast: 0.5,
  },
  { claim: 'heap bytes a frame, slow path', over: ['allocation-slow', 'bytesPerFrame'], atMost: 0.5 },
  { claim: 'heap bytes a frame, fast path', over: ['allocation-fast', 'bytesPerFrame'], atMost: 0.5 },
  { claim: 'CPU of an idle lab, % of a core', over: ['idle', 'percentOfACore'], atMost: 1 },
];

/** A claim and how it stands. */
export interface Claim extends Spread {
  readonly claim: string;
  readonly wanted: string;
  /** Null: nothing is wanted, it is only told. */
  readonly holds: boolean | null;
}

/** The middle, the least and the most of some values. */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** Every claim whose cases were run. */
export function claims(results: ReadonlyMap<string, CaseResult>): Claim[] {
  return RATIOS.flatMap((ratio) => {
    const over = results.get(ratio.over[0])?.figures ?? [];
    const under = ratio.under === undefined ? null : (results.get(ratio.under[0])?.figures ?? []);
    const rounds = Math.min(over.length, under?.length ?? over.length);
    if (rounds === 0) return [];
    const values = Array.from(
      { length: rounds },
      (_, i) => over[i]![ratio.over[1]]! / (under === null ? 1 : under[i]![ratio.under![1]]!),
    );
    const seen = spread(values);
    const wanted =
      ratio.atLeast !== undefined
        ? `≥ ${ratio.atLeast}`
        : ratio.atMost !== undefined
          ? `≤ ${ratio.atMost}`
          : '';
    const holds =
      wanted === ''
        ? null
        : seen.median >= (ratio.atLeast ?? -Infinity) && seen.median <= (ratio.atMost ?? Infinity);
    return [{ claim: ratio.claim, wanted, ...seen, holds }];
  });
}
