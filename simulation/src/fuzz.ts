/** `npm run fuzz`: the real drivers against peers that lie, for some minutes. See `--help`. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '@netaccel/xen/sim';
import type { SharedMemory } from '@netaccel/xen/sim';
import {
  ExitCode,
  checkFolder,
  checkWritable,
  counted,
  interrupted,
  refuse,
  said,
  wholeNumber,
} from './command.js';
import { runCase, wrongs } from './fuzz-case.js';
import type { FuzzCase, Wrong } from './fuzz-case.js';
import { drawCase } from './fuzz-draw.js';
import { parseCase } from './fuzz-file.js';
import { shrink } from './shrink.js';

const HELP = `npm run fuzz -- [options]

Real drivers against a hostile frontend and a hostile backend that perform random operations: netback and netfront
neither throw nor go round for ever, touch only what they own or were granted, and give everything back.

  --minutes N    how long; 1
  --seed S       where to begin; 1
  --replay FILE  runs one case of a file, as this command writes it
  --out FILE     where the first failing case goes, cut down; fuzz-failure.json
  --stop         stops at the first failing case
  --corpus DIR   keeps each case there that reaches what those that are there do not
  --json         prints one object
  --help         this

Ctrl-C ends it early, with its report.
Exit codes: 0 all is well, 1 a case failed, 2 a wrong option or file, 130 all was well until Ctrl-C.`;

const PROGRESS_MS = 5000;
const MINUTE_MS = 60_000;

function options() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '1' },
        seed: { type: 'string', default: '1' },
        replay: { type: 'string' },
        out: { type: 'string', default: 'fuzz-failure.json' },
        stop: { type: 'boolean', default: false },
        corpus: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    refuse(said(error));
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) refuse(`--minutes: expected a number above 0, saw ${JSON.stringify(values.minutes)}`);
  return { ...values, minutes, seed: wholeNumber('seed', values.seed, 0) };
}

/** The shortest part of a case that is wrong in the same way; Ctrl-C settles for the shortest so far. */
async function cutDown(found: FuzzCase, wrong: Wrong, stop: { readonly asked: boolean }): Promise<FuzzCase> {
  const operations = await shrink(
    found.operations as readonly FuzzCase['operations'][number][],
    async (part) =>
      !stop.asked && (await runCase({ ...found, operations: part } as FuzzCase)).wrong === wrong,
  );
  return { ...found, operations } as FuzzCase;
}

async function replay(file: string, json: boolean): Promise<void> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    refuse(`--replay: expected a file that can be read, saw ${said(error)}`);
  }
  const kept = parseCase(text);
  if (typeof kept === 'string') refuse(`--replay ${file}: ${kept}`);
  const { wrong, failure } = await runCase(kept);
  if (json) console.log(JSON.stringify({ schema: 'netaccel.fuzz-replay/1', file, wrong, failure }));
  else console.log(failure === null ? `${file}: all is well` : `${file}: ${wrong}: ${failure}`);
  process.exitCode = failure === null ? ExitCode.well : ExitCode.failed;
}

/** What the cases of a corpus reach, which is nothing new. */
async function reachedBy(folder: string): Promise<Set<string>> {
  const reached = new Set<string>();
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.json'))) {
    const kept = parseCase(readFileSync(join(folder, name), 'utf8'));
    if (typeof kept === 'string') refuse(`--corpus ${join(folder, name)}: ${kept}`);
    for (const each of (await runCase(kept)).reached) reached.add(each);
  }
  return reached;
}

/** The pairs of states that were reached: a line for each state of each driver. */
function coverage(reached: ReadonlySet<string>): string[] {
  const peers = new Map<string, string[]>();
  for (const name of [...reached].sort()) {
    const [own, peer] = name.split(/ while the (?:front|back)end is /);
    if (own !== undefined && peer !== undefined) peers.set(own, [...(peers.get(own) ?? []), peer]);
  }
  return [...peers].map(([own, states]) => `  ${own}, the peer ${states.join(', ')}`);
}

async function main(): Promise<void> {
  const given = options();
  if (given.help) {
    console.log(HELP);
    return;
  }
  if (given.replay !== undefined) {
    await replay(given.replay, given.json);
    return;
  }
  checkWritable('out', given.out);
  if (given.corpus !== undefined) checkFolder('corpus', given.corpus);
  const stop = interrupted();
  const known = given.corpus === undefined ? new Set<string>() : await reachedBy(given.corpus);
  const reached = new Set<string>();
  let memory: SharedMemory | undefined;
  let operations = 0;
  let cases = 0;
  const found: Record<Wrong, number> = { crash: 0, livelock: 0, access: 0, leak: 0 };
  const failures = (): number => wrongs.reduce((n, wrong) => n + found[wrong], 0);
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const pairs = (): number => [...reached].filter((name) => name.includes(' while the ')).length;
  const progress = (): string =>
    `${counted(operations, 'operation')} in ${counted(cases, 'case')}, ` +
    `${Math.round(operations / seconds())} operations/s, ` +
    `${counted(pairs(), 'pair')} of states and ${reached.size - pairs()} reasons and counters reached, ` +
    `${failures()} failed`;
  let told = start;
  for (let seed = given.seed; !stop.asked && performance.now() - start < given.minutes * MINUTE_MS; seed++) {
    const drawn = drawCase(new Random(seed), seed);
    const result = await runCase(drawn, memory);
    memory = result.memory;
    cases++;
    operations += drawn.operations.length;
    for (const name of result.reached) reached.add(name);
    const before = known.size;
    for (const name of result.reached) known.add(name);
    if (given.corpus !== undefined && result.failure === null && known.size > before)
      writeFileSync(join(given.corpus, `${drawn.peer}-${seed}.json`), JSON.stringify(drawn));
    if (result.wrong !== null) {
      found[result.wrong]++;
      console.error(`seed ${seed}, ${result.wrong}: ${result.failure}`);
      if (failures() === 1) {
        const short = await cutDown(drawn, result.wrong, stop);
        writeFileSync(given.out, JSON.stringify(short, null, 2));
        console.error(
          `  cut down from ${counted(drawn.operations.length, 'operation')} to ${short.operations.length}; ` +
            `again: npm run fuzz -- --replay ${given.out}`,
        );
      } else console.error(`  again: npm run fuzz -- --seed ${seed} --stop`);
      if (given.stop) break;
    }
    // Signals.
    await new Promise((resolve) => setImmediate(resolve));
    if (performance.now() - told > PROGRESS_MS && !given.json) {
      told = performance.now();
      console.error(progress());
    }
  }
  if (given.json)
    console.log(
      JSON.stringify({
        schema: 'netaccel.fuzz/1',
        seed: given.seed,
        stopped: stop.asked,
        seconds: seconds(),
        cases,
        operations,
        operationsPerSecond: operations / seconds(),
        failures: failures(),
        found,
        pairs: pairs(),
        reached: [...reached].sort(),
      }),
    );
  else {
    console.log(`${stop.asked ? 'stopped by Ctrl-C: ' : ''}${progress()}`);
    for (const line of coverage(reached)) console.log(line);
    console.log(
      `${found.crash} crashes, ${found.livelock} without end, ${found.access} accesses outside what was granted, ` +
        `${found.leak} leaks`,
    );
  }
  process.exitCode = failures() > 0 ? ExitCode.failed : stop.asked ? ExitCode.stopped : ExitCode.well;
}

await main();
