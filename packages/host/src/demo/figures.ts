/** Sums and ratios of a demo's figures. */
import type { Check } from '../traffic/frame-check.js';
import type { DemoResult, Run } from './result.js';

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Checks of several stretches as one. */
export function addChecks(checks: readonly Check[]): Check {
  const total: Check = { sent: 0, received: 0, lost: 0, duplicated: 0, reordered: 0, corrupted: 0 };
  for (const check of checks)
    for (const key of Object.keys(total) as (keyof Check)[]) total[key] += check[key];
  return total;
}

/** What a later outcome of the same check adds to an earlier one. */
export function since(before: Check, after: Check): Check {
  const difference = { ...after };
  for (const key of Object.keys(before) as (keyof Check)[]) difference[key] -= before[key];
  return difference;
}

/** Ratios round by round, the median of each frame size, and of those the least. */
export function ratiosOf(runs: readonly Run[]): DemoResult['ratios'] {
  const least = (over: 'slow' | 'native'): number => {
    const ratios = runs
      .filter((run) => run.path === 'fast')
      .map((fast) => {
        const other = runs.find((run) => run.path === over && run.frameBytes === fast.frameBytes)!;
        return median(fast.rounds.map((gbps, round) => gbps / (other.rounds[round] ?? Infinity)));
      });
    return Math.min(...ratios);
  };
  return { fastOverSlow: least('slow'), fastOverNative: least('native') };
}
