// scripts/check-demo.mjs decides whether the demo passed, so it must refuse each kind of damage.
import { expect, test } from 'vitest';
import { demoProblems } from '../scripts/check-demo.mjs';

const clean = { sent: 10, received: 10, lost: 0, duplicated: 0, reordered: 0, corrupted: 0 };

const accelerated = (fast: number) => ({
  txSent: fast,
  txDeclined: 0,
  rxFast: fast,
  rxSlow: 10 - fast,
  declines: { 'no-route': 1 },
});
const replayed = (fast: number) => ({ accelerated: accelerated(fast) });

function report(mode: 'tap' | 'frames' = 'frames') {
  const run = (path: string, fast: number) => ({
    path,
    traffic: mode === 'tap' ? 'tcp' : 'frames',
    ...{ frameBytes: 1514, seconds: 1, frames: 10, bytes: 15140, gbps: 1, mpps: 1 },
    check: { ...clean },
    accelerated: accelerated(fast),
  });
  const replay = { slow: { ...clean, ...replayed(0) }, fast: { ...clean, ...replayed(9) } };
  return {
    schema: 'netaccel.demo/1',
    mode,
    runs: [run('native', 0), run('slow', 0), run('fast', 10)],
    ratios: { fastOverSlow: 2, fastOverNative: 1 },
    ...(mode === 'frames' ? { replay } : {}),
    switchover: { attach: { ...clean }, detach: { ...clean } },
    plugin: { frontend: 'a', backend: 'b', contract: '1' },
  };
}

test('a clean report passes in both modes', () => {
  expect(demoProblems(report('frames'))).toEqual([]);
  expect(demoProblems(report('tap'))).toEqual([]);
});

test.each(['lost', 'duplicated', 'reordered', 'corrupted'] as const)('a frame %s is refused', (field) => {
  const inRun = report();
  inRun.runs[1]!.check[field] = 1;
  expect(demoProblems(inRun)).toEqual([`runs[1].check.${field} is 1, not 0`]);
  const inSwitch = report();
  inSwitch.switchover.detach[field] = 1;
  expect(demoProblems(inSwitch)).toEqual([`switchover.detach.${field} is 1, not 0`]);
});

test('kernel TCP may repeat a segment but not corrupt one', () => {
  const tap = report('tap');
  tap.runs[2]!.check.duplicated = 1;
  expect(demoProblems(tap)).toEqual([]);
  tap.runs[2]!.check.corrupted = 1;
  expect(demoProblems(tap)).not.toEqual([]);
});

test('a fast run that was not accelerated, a missing path and a missing field are refused', () => {
  const idle = report();
  idle.runs[2]!.accelerated.txSent = 0;
  expect(demoProblems(idle)).toEqual(['runs[2]: the fast path carried nothing one way']);
  const short = report();
  short.runs.pop();
  expect(demoProblems(short)).toEqual(['runs: none for the fast path']);
  const swapped = report();
  swapped.replay = { slow: { ...clean, ...replayed(1) }, fast: { ...clean, reordered: 1, ...replayed(0) } };
  expect(demoProblems(swapped)).toEqual([
    'replay.slow: 1 frames came the fast way',
    'replay.fast.reordered is 1, not 0',
    'replay.fast: 0 frames came the fast way',
  ]);
  expect(demoProblems({ ...report(), ratios: {} })).toHaveLength(2);
  expect(demoProblems(null)).not.toEqual([]);
});
