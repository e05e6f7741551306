/** Runs that once failed, by what was seen. Each was mended at its root; the run is kept. */
import { expect, test } from 'vitest';
import { run } from '../src/run.js';
import { scenarioOf } from '../src/scenario.js';

/** Steps of the runs in which these were found. */
const STEPS = 1200;

test.each([
  [866, "frames that waited for a filter's fence came after later ones, when the NIC was reset meanwhile"],
  [
    1311,
    'frames that netback had put on the ring were lost when the guest suspended before their event came',
  ],
  [1552, "a plugin that was given up while it came up wrote into pages that were another's by then"],
  [376, 'a plugin wrote to registers that had been taken from it'],
  [1182, 'a port without memory for its new VI went round without a pause'],
  [28, 'a timer that was cancelled while its domain was paused ran all the same'],
  [8, 'a guest asked for ever for the plugin that a dead driver domain had offered'],
  [97, 'frames in the queue of a VI that was freed were counted nowhere'],
] as const)(
  'seed %i: %s',
  async (seed, _symptom) => {
    const { failure } = await run(scenarioOf(seed, STEPS));
    expect({ seed, failure }).toEqual({ seed, failure: null });
  },
  60_000,
);
