/** `npm run simulate`: whole labs, one for each seed. See `--help`. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { SharedMemory } from '@netaccel/xen/sim';
import { ExitCode, checkWritable, counted, interrupted, refuse, said, wholeNumber } from './command.js';
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
  --trace FILE  where the trace of the first failing seed goes, or of the last seed when none fails, for a timeline
                viewer (chrome://tracing, Perfetto); when left out: simulate-seed-N.json, for a failing one only
  --stop        stops at the first failing seed
  --planted     runs against copies of the code with a fault planted in each, until the checks find it; with --seeds,
                for at most so many seeds each (1000), and with --fault NAME for one of them
  --json        prints one object
  --help        this

Ctrl-C ends it early, with its report.
Exit codes: 0 all is well, 1 a check failed (or a planted fault was not found), 2 a wrong option or file, 130 all was
well until Ctrl-C.`;

const PROGRESS_MS = 2000;

/** Lines of a failing run's log that are shown. */
const LOG_LINES = 12;

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
    refuse(said(error));
  }
}

/** The command that runs one seed again. */
const replay = (seed: number, steps: number): string =>
  `npm run simulate -- --first ${seed} --seeds 1 --steps ${steps} --trace trace.json`;

/** What was done to a lab, and what its domains said last: the short form of a trace. */
function story({ trace, log }: Outcome): string[] {
  const marks = (trace?.traceEvents ?? []).filter(({ ph }) => ph === 'i');
  return [
    ...marks.map(({ ts, name, args }) => `${(ts / 1000).toFixed(3)} ms ${name} ${JSON.stringify(args)}`),
    ...log.slice(-LOG_LINES),
  ].map((line) => `    ${line.split('\n')[0]!.slice(0, 200)}`);
}

async function main(): Promise<void> {
  const given = options();
  if (given.help) {
    console.log(HELP);
    return;
  }
  const seeds = wholeNumber('seeds', given.seeds, 1);
  const first = wholeNumber('first', given.first, 1);
  const steps = wholeNumber('steps', given.steps, 1);
  if (given.trace !== undefined) checkWritable('trace', given.trace);
  let memory: SharedMemory | undefined;
  const failures: Outcome[] = [];
  const total = { steps: 0, sent: 0, arrived: 0, fast: 0, moves: 0, failedMoves: 0 };
  const lost: Record<string, number> = {};
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
    `${counted(done, 'seed')}, ${(done / seconds()).toFixed(1)} seeds/s, ${Math.round(total.steps / seconds())} steps/s, ` +
    `${failures.length} failed`;
  const stop = interrupted();
  // A run that ends the process is a finding as well: whose it was has to be known.
  let running = first;
  process.on('uncaughtException', (error) => {
    console.error(
      `seed ${running} ends the process: ${error.stack ?? String(error)}\n  again: ${replay(running, steps)}`,
    );
    process.exit(ExitCode.failed);
  });
  let traceFile: string | null = null;
  for (let seed = first; seed < first + seeds && !stop.asked; seed++) {
    running = seed;
    const outcome = await one(seed, false);
    done++;
    total.steps += outcome.steps;
    total.sent += outcome.sent;
    total.arrived += outcome.arrived;
    total.fast += outcome.fast;
    total.moves += outcome.moves.done;
    total.failedMoves += outcome.moves.failed;
    for (const [name, n] of Object.entries(outcome.losses)) lost[name] = (lost[name] ?? 0) + n;
    if (outcome.failure !== null) {
      // Once more, for the stack.
      const failed = await one(seed, true);
      failures.push(failed);
      console.error(
        `seed ${seed}, step ${failed.atStep}: ${failed.failure}\n  again: ${replay(seed, steps)}`,
      );
      if (traceFile === null) {
        traceFile = given.trace ?? `simulate-seed-${seed}.json`;
        writeFileSync(traceFile, JSON.stringify(failed.trace));
        console.error(`  trace: ${traceFile}, for chrome://tracing or Perfetto; in short:`);
        for (const line of story(failed)) console.error(line);
      }
    }
    if (given.stop && failures.length > 0) break;
    // Signals.
    await new Promise((resolve) => setImmediate(resolve));
    if (performance.now() - told > PROGRESS_MS && !given.json) {
      told = performance.now();
      console.error(progress());
    }
  }
  const took = seconds();
  if (given.trace !== undefined && traceFile === null) {
    const { trace } = await one(running, true);
    writeFileSync(given.trace, JSON.stringify(trace));
    traceFile = given.trace;
  }
  if (given.json)
    console.log(
      JSON.stringify({
        schema: 'netaccel.simulate/1',
        seeds: done,
        first,
        stepsPerRun: steps,
        stopped: stop.asked,
        seconds: took,
        ...total,
        seedsPerSecond: done / took,
        stepsPerSecond: total.steps / took,
        losses: lost,
        failures: failures.map(({ seed, atStep, failure }) => ({
          seed,
          atStep,
          failure,
          again: replay(seed, steps),
        })),
        trace: traceFile,
      }),
    );
  else {
    console.log(
      `${stop.asked ? 'stopped by Ctrl-C: ' : ''}${progress()}\n` +
        `${counted(total.moves, 'move')} of guests, ${total.failedMoves} called off\n` +
        `${total.sent} frames sent, ${total.arrived} arrived, ${total.fast} of them on the fast path` +
        (Object.keys(lost).length > 0 ? '; every other one is counted by name:' : ''),
    );
    for (const [name, n] of Object.entries(lost).sort((a, b) => b[1] - a[1])) console.log(`  ${n}\t${name}`);
  }
  process.exitCode = failures.length > 0 ? ExitCode.failed : stop.asked ? ExitCode.stopped : ExitCode.well;
}

await main();
