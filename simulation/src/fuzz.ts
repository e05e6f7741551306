/** `npm run fuzz`: the real drivers against peers that lie, for some minutes. See `--help`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '@netaccel/xen/sim';
import type { SharedMemory } from '@netaccel/xen/sim';
import { runCase, wrongs } from './fuzz-case.js';
import type { FuzzCase, Wrong } from './fuzz-case.js';
import { drawCase } from './fuzz-draw.js';
import { shrink } from './shrink.js';

const HELP = `npm run fuzz -- [options]

Real drivers against a hostile frontend and a hostile backend that perform random operations: netback and netfront
neither throw nor go round for ever, touch only what they own or were granted, and give everything back.

  --minutes N    how long; 1
  --seed S       where to begin; 1
  --replay FILE  runs one case of a file, as this command writes it
  --out FILE     where the first failing case goes, cut down; fuzz-failure.json
  --corpus DIR   keeps each case that reaches something new there
  --json         prints one object
  --help         this

Exit codes: 0 all is well, 1 a case failed, 2 a wrong option.`;

const PROGRESS_MS = 5000;
const MINUTE_MS = 60_000;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '1' },
        seed: { type: 'string', default: '1' },
        replay: { type: 'string' },
        out: { type: 'string', default: 'fuzz-failure.json' },
        corpus: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    const minutes = Number(values.minutes);
    const seed = Number(values.seed);
    if (!(minutes > 0)) throw new Error(`--minutes: expected a number above 0, saw ${values.minutes}`);
    if (!Number.isSafeInteger(seed)) throw new Error(`--seed: expected a whole number, saw ${values.seed}`);
    return { ...values, minutes, seed };
  } catch (error) {
    console.error(`${(error as Error).message}; see --help`);
    process.exit(2);
  }
}

async function cutDown(found: FuzzCase): Promise<FuzzCase> {
  const operations = await shrink(
    found.operations as readonly FuzzCase['operations'][number][],
    async (part) => (await runCase({ ...found, operations: part } as FuzzCase)).failure !== null,
  );
  return { ...found, operations } as FuzzCase;
}

async function replay(file: string): Promise<void> {
  const { failure } = await runCase(JSON.parse(readFileSync(file, 'utf8')) as FuzzCase);
  console.log(failure === null ? `${file}: all is well` : `${file}: ${failure}`);
  process.exitCode = failure === null ? 0 : 1;
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
    await replay(given.replay);
    return;
  }
  const reached = new Set<string>();
  let memory: SharedMemory | undefined;
  let operations = 0;
  let cases = 0;
  let stopped = false;
  const found: Record<Wrong, number> = { crash: 0, livelock: 0, access: 0, leak: 0 };
  const failures = (): number => wrongs.reduce((n, wrong) => n + found[wrong], 0);
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const progress = (): string => {
    const pairs = [...reached].filter((name) => name.includes(' while the ')).length;
    return (
      `${operations} operations in ${cases} cases, ${Math.round(operations / seconds())} operations/s, ` +
      `${pairs} pairs of states and ${reached.size - pairs} reasons and counters reached, ${failures()} failed`
    );
  };
  process.once('SIGINT', () => {
    stopped = true;
  });
  let told = start;
  for (let seed = given.seed; !stopped && performance.now() - start < given.minutes * MINUTE_MS; seed++) {
    const drawn = drawCase(new Random(seed), seed);
    const result = await runCase(drawn, memory);
    memory = result.memory;
    cases++;
    operations += drawn.operations.length;
    const before = reached.size;
    for (const name of result.reached) reached.add(name);
    if (given.corpus !== undefined && result.failure === null && reached.size > before)
      writeFileSync(join(given.corpus, `${drawn.peer}-${seed}.json`), JSON.stringify(drawn));
    if (result.wrong !== null) {
      found[result.wrong]++;
      console.error(`seed ${seed}, ${result.wrong}: ${result.failure}`);
      if (failures() === 1) {
        writeFileSync(given.out, JSON.stringify(await cutDown(drawn), null, 2));
        console.error(`  again: npm run fuzz -- --replay ${given.out}`);
      }
    }
    if (performance.now() - told > PROGRESS_MS && !given.json) {
      told = performance.now();
      console.error(progress());
    }
  }
  if (given.json)
    console.log(
      JSON.stringify({
        schema: 'netaccel.fuzz/1',
        seconds: seconds(),
        cases,
        operations,
        operationsPerSecond: operations / seconds(),
        failures: failures(),
        found,
        reached: [...reached].sort(),
      }),
    );
  else {
    console.log(progress());
    for (const line of coverage(reached)) console.log(line);
    console.log(
      `${found.crash} crashes, ${found.livelock} without end, ${found.access} accesses outside what was granted, ` +
        `${found.leak} leaks`,
    );
  }
  process.exitCode = failures() > 0 ? 1 : 0;
}

await main();
