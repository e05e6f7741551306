/** `npm run simulate`: whole labs, one for each seed. See `--help`. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { SharedMemory } from '@netaccel/xen/sim';
import { run } from './run.js';
import type { Outcome } from './run.js';
import { scenarioOf } from './scenario.js';

const HELP = `npm run simulate -- [options]

Runs a whole lab for each seed: two hosts on a wire, guests, plugins; attach, detach, suspend, migration, crashes,
resets and faults under traffic; and checks after every step that nothing is lost without a name, doubled, reordered, leaked,
touched without a grant, or going round for ever.

  --seeds N     how many seeds; 100
  --first S     the first one; 1
  --steps N     steps with traffic and faults in each run; 800
  --trace FILE  writes the trace of the first failing seed, or of the last seed, for a timeline viewer
                (chrome://tracing, Perfetto)
  --stop        stops at the first failing seed
  --planted     runs against copies of the code with a fault planted in each, until the checks find it
  --json        prints one object
  --help        this

Exit codes: 0 all is well, 1 a check failed (or a planted fault was not found), 2 a wrong option.`;

const PROGRESS_MS = 2000;

/** A whole number of an option. */
function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  console.error(`--${name}: expected a whole number from 1 on, saw ${JSON.stringify(text)}; see --help`);
  process.exit(2);
}

function options() {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string', default: '100' },
        first: { type: 'string', default: '1' },
        steps: { type: 'string', default: '800' },
        trace: { type: 'string' },
        stop: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}; see --help`);
    process.exit(2);
  }
}

/** The command that runs one seed again. */
const replay = (seed: number, steps: number): string =>
  `npm run simulate -- --first ${seed} --seeds 1 --steps ${steps} --trace trace.json`;

async function main(): Promise<void> {
  const given = options();
  if (given.help) {
    console.log(HELP);
    return;
  }
  const seeds = numberOf('seeds', given.seeds);
  const first = numberOf('first', given.first);
  const steps = numberOf('steps', given.steps);
  let memory: SharedMemory | undefined;
  const failures: Outcome[] = [];
  const total = { steps: 0, sent: 0, arrived: 0, fast: 0, moves: 0, failedMoves: 0 };
  const counted: Record<string, number> = {};
  const start = performance.now();
  let told = start;
  let done = 0;
  const { stackTraceLimit } = Error;
  const one = async (seed: number, trace: boolean): Promise<Outcome> => {
    // The store's refusals are errors: thousands of them, whose stacks nobody reads.
    Error.stackTraceLimit = trace ? stackTraceLimit : 0;
    const outcome = await run(scenarioOf(seed, steps), {
      trace,
      ...(memory === undefined ? {} : { memory }),
    });
    memory = outcome.memory;
    return outcome;
  };
  const seconds = (): number => (performance.now() - start) / 1000;
  const progress = (): string =>
    `${done} seeds, ${(done / seconds()).toFixed(1)} seeds/s, ${Math.round(total.steps / seconds())} steps/s, ` +
    `${failures.length} failed`;
  process.once('SIGINT', () => {
    console.error(`\nstopped: ${progress()}`);
    process.exit(130);
  });
  for (let seed = first; seed < first + seeds; seed++) {
    const outcome = await one(seed, false);
    done++;
    total.steps += outcome.steps;
    total.sent += outcome.sent;
    total.arrived += outcome.arrived;
    total.fast += outcome.fast;
    total.moves += outcome.moves.done;
    total.failedMoves += outcome.moves.failed;
    for (const [name, n] of Object.entries(outcome.losses)) counted[name] = (counted[name] ?? 0) + n;
    if (outcome.failure !== null) {
      // Once more, for the stack.
      const failed = await one(seed, true);
      failures.push(failed);
      console.error(
        `seed ${seed}, step ${failed.atStep}: ${failed.failure}\n  again: ${replay(seed, steps)}`,
      );
    }
    if (given.stop && failures.length > 0) break;
    // Signals.
    await new Promise((resolve) => setImmediate(resolve));
    if (performance.now() - told > PROGRESS_MS && !given.json) {
      told = performance.now();
      console.error(progress());
    }
  }
  if (given.trace !== undefined) {
    const { trace } = await one(failures[0]?.seed ?? first + seeds - 1, true);
    writeFileSync(given.trace, JSON.stringify(trace));
  }
  const took = seconds();
  if (given.json)
    console.log(
      JSON.stringify({
        schema: 'netaccel.simulate/1',
        seeds: done,
        first,
        stepsPerRun: steps,
        seconds: took,
        ...total,
        seedsPerSecond: done / took,
        stepsPerSecond: total.steps / took,
        losses: counted,
        failures: failures.map(({ seed, atStep, failure }) => ({ seed, atStep, failure })),
      }),
    );
  else {
    console.log(
      `${progress()}\n${total.moves} moves of guests, ${total.failedMoves} called off\n${total.sent} frames sent, ${total.arrived} arrived, ${total.fast} of them on the fast path; ` +
        `every other one is counted by name:`,
    );
    for (const [name, n] of Object.entries(counted).sort((a, b) => b[1] - a[1]))
      console.log(`  ${n}\t${name}`);
  }
  process.exitCode = failures.length > 0 ? 1 : 0;
}

await main();
