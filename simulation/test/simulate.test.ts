/** Whole labs by seed: a few of the thousands that `npm run simulate` runs, and what they say of themselves. */
import { describe, expect, test } from 'vitest';
import { run } from '../src/run.js';
import { scenarioOf } from '../src/scenario.js';

const STEPS = 600;
const SEEDS = 12;

describe('a simulated run', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))(
    'loses, doubles and reorders nothing without a name, and leaves nothing behind (seed %i)',
    async (seed) => {
      const { failure, sent, arrived, losses } = await run(scenarioOf(seed, STEPS));
      expect({ seed, failure }).toEqual({ seed, failure: null });
      expect(arrived).toBeGreaterThan(0);
      if (Object.keys(losses).length === 0) expect(arrived).toBe(sent);
    },
    60_000,
  );

  test('is the same run every time, whatever ran in its memory before', async () => {
    const scenario = scenarioOf(5, STEPS);
    const first = await run(scenario);
    const other = await run(scenarioOf(6, STEPS), { memory: first.memory });
    const again = await run(scenario, { memory: other.memory });
    expect(again.traceHash).toBe(first.traceHash);
    expect(again.losses).toEqual(first.losses);
    expect(other.traceHash).not.toBe(first.traceHash);
  }, 60_000);

  test('reaches both paths and every kind of action within a few hundred seeds', () => {
    const done = new Set<string>();
    for (let seed = 1; seed <= 300; seed++)
      for (const { do: what } of scenarioOf(seed, STEPS).actions) done.add(what);
    expect([...done].sort()).toEqual([
      'allow',
      'forbid',
      'groups',
      'hang',
      'headroom',
      'killDriver',
      'killGuest',
      'load',
      'migrate',
      'mtu',
      'pauseDriver',
      'pauseGuest',
      'quiet',
      'resetNic',
      'suspend',
      'throw',
      'unload',
      'unplug',
    ]);
  });
});
