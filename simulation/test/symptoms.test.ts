/** Runs that once failed, by what was seen. Each was mended at its root; the run is kept. */
import { expect, test } from 'vitest';
import { run } from '../src/run.js';
import { scenarioOf } from '../src/scenario.js';
import type { Scenario, Timed } from '../src/scenario.js';

/** Steps of the runs in which these were found. */
const STEPS = 1200;
const MOVING_STEPS = 400;

/** As seeds were drawn before guests asked for anything beyond the usual, or changed their minds. */
function plain(seed: number, steps: number): Scenario {
  const scenario = scenarioOf(seed, steps);
  const actions = scenario.actions.filter(({ do: what }) => !['headroom', 'groups', 'mtu'].includes(what));
  const wishes = { staticGrants: false, hash: false, headroom: 0, groups: null, trusted: true };
  return { ...scenario, actions, wishes, groupFlows: 0 };
}

/** As they were drawn before that: nobody moved, wires had no rate, the plugin took all that it could. */
function earlier(seed: number): Scenario {
  const scenario = plain(seed, STEPS);
  const actions = scenario.actions.filter(({ do: what }) => what !== 'migrate' && what !== 'hang');
  return {
    ...scenario,
    actions,
    bitsPerSecond: 0,
    abrupt: false,
    mood: { declines: 0, busy: 0, lazy: false },
  };
}

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
    const { failure } = await run(earlier(seed));
    expect({ seed, failure }).toEqual({ seed, failure: null });
  },
  60_000,
);

test.each([
  [50, 'frames that had come to the new host were lost without a count when a move was called off'],
  [182, 'slow frames waited at the old host while fast ones of the same flow had gone to the new one'],
  [5449, 'what had waited for a guest stayed where it was when there was no memory at that moment'],
  [673, 'a guest that moved in got the number of a dead one, and died when that booted'],
] as const)(
  'seed %i: %s',
  async (seed, _symptom) => {
    const { failure, moves } = await run(plain(seed, MOVING_STEPS));
    expect({ seed, failure }).toEqual({ seed, failure: null });
    expect(moves.done).toBeGreaterThan(0);
  },
  60_000,
);

test.each([
  [674, 'groups that were wanted while the device connected were forgotten'],
  [2281, 'a frame was held to have been overtaken whose guest was having its flows spread anew'],
  [151, 'a guest that changed something while its driver domain was dead was refused by the next one'],
  [4124, 'what a host that hung put on the rings of a guest that had given it up was lost without a count'],
  [13112, 'a guest could not move, since two guests with copies of their pages had left it no room'],
  [
    20428,
    'a guest waited at the end for a driver domain that had had no memory to boot, and nobody booted it',
  ],
  [50701, 'a guest that booted when there was no port for its device was waited for and not booted again'],
  [50002, 'a guest whose driver domain had no memory for its vif when it booted took itself for connected'],
  [51870, 'a frame whose number the wire had changed was held to have arrived twice'],
  [64535, 'frames that waited for a fence were counted nowhere when their plugin had broken a rule'],
  [
    32844,
    'frames in the queue of a VI that a reset had ended were counted nowhere when its plugin was at fault',
  ],
  [
    72723,
    'a guest that could go on on neither host never got another frame, also when it was connected again',
  ],
  [32311, 'a port whose first VI found no memory was polled all the same'],
  [75332, 'a frame was held to have been overtaken whose backend had died and not been asked to hash anew'],
  [41305, 'slow frames overtook fast ones of a plugin whose quiesce threw, and which sent them all the same'],
  [29432, 'a guest that booted sent on while somebody was waited for, and that was taken for no rest'],
  [125431, 'a guest that could not go on on its new host got a group frame of both hosts'],
] as const)(
  'seed %i: %s',
  async (seed, _symptom) => {
    const { failure } = await run(scenarioOf(seed, MOVING_STEPS));
    expect({ seed, failure }).toEqual({ seed, failure: null });
  },
  60_000,
);

test('what waits for a guest that has moved is not more at once than its new netback lets wait', async () => {
  const none = { declines: 0, busy: 0, lazy: false };
  const calm = { rates: {}, wire: {}, mood: none, abrupt: false, bitsPerSecond: 0, queues: 1 };
  const moves: Timed[] = [20, 60].map((step) => ({ step, do: 'migrate', side: 1 }));
  const { failure, losses, sent, arrived } = await run({
    ...plain(1, MOVING_STEPS),
    ...calm,
    actions: moves,
  });
  expect({ failure, losses }).toEqual({ failure: null, losses: {} });
  expect(sent).toBeGreaterThan(300);
  expect(arrived).toBe(sent);
}, 60_000);
