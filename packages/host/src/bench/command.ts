/** `netaccel bench`: every case in a fresh process, repeated, with medians, spread and the ratios that are claimed. */
import { spawn } from 'node:child_process';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { report } from '../commands/fail.js';
import { ExitCode, Progress, printJson, printTable } from '../commands/output.js';
import { environment } from '../demo/environment.js';
import { enterUserNamespace, loadLibc, probeTap } from '../tap/index.js';
import { CaseUnavailable, STRETCHES } from './case.js';
import type { BenchCase, Figures } from './case.js';
import { cases } from './cases.js';
import { claims, spread } from './claims.js';
import type { CaseResult } from './claims.js';
import { bound, firstProcessor } from './pin.js';

/** The built command: what each case's process runs. */
const CLI = fileURLToPath(new URL('./cli.js', import.meta.url));
const CASE_TIMEOUT_MS = 120_000;

interface Flags {
  readonly json: boolean;
  readonly repeat: number;
  readonly list: boolean;
  readonly stretches: number;
  readonly case?: string;
}

/** What a case's process prints. */
type CaseAnswer = { readonly figures: Figures } | { readonly unavailable: string };

/** Adds the command. */
export function registerBench(program: Command): void {
  program
    .command('bench')
    .description('measure the paths: each case in a fresh process, medians with spread, ratios')
    .argument('[names...]', 'only cases whose name contains one of these')
    .option('--repeat <n>', 'times that each case is run', count, 5)
    .option('--stretches <n>', 'stretches of 15000 frames that a frames case measures', count, STRETCHES)
    .option('--list', 'list the cases', false)
    .option('--json', 'print one JSON object (schema netaccel.bench/1)', false)
    .option('--case <name>', 'run one case in this process and print its figures')
    .addHelpText(
      'after',
      `
Examples:
  netaccel bench                    everything; some minutes, with nothing else running
  netaccel bench wire- --repeat 9   frames across the wire
  netaccel bench --list`,
    )
    .action(async (names: string[], flags: Flags) => {
      process.exitCode =
        flags.case === undefined ? await runAll(names, flags) : await runOne(flags.case, flags.stretches);
    });
}

async function runAll(names: readonly string[], flags: Flags): Promise<number> {
  const wanted = cases.filter(({ name }) => names.length === 0 || names.some((word) => name.includes(word)));
  if (flags.list) {
    printTable(
      ['case', 'what it measures'],
      wanted.map(({ name, what }) => [name, what]),
    );
    return ExitCode.ok;
  }
  const progress = new Progress(flags.json);
  const processor = firstProcessor();
  const results = new Map<string, CaseResult>(
    wanted.map(({ name, what }) => [name, { name, what, figures: [] }]),
  );
  const broken: string[] = [];
  try {
    // Round by round, so that what is compared was measured close together.
    for (let round = 0; round < flags.repeat; round++)
      for (const one of wanted) {
        const result = results.get(one.name)!;
        if (result.unavailable !== undefined) continue;
        progress.show(`round ${round + 1} of ${flags.repeat}: ${one.name}`);
        try {
          const answer = await inProcess(one, processor, flags.stretches);
          if ('figures' in answer) result.figures.push(answer.figures);
          else result.unavailable = answer.unavailable;
        } catch (error) {
          broken.push(`${one.name}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    progress.clear();
  } catch (error) {
    progress.clear();
    return report(error, flags.json);
  }
  const all = [...results.values()];
  const held = claims(results);
  if (flags.json)
    printJson({
      schema: 'netaccel.bench/1',
      environment: environment(),
      processor,
      repeat: flags.repeat,
      cases: all.map(summed),
      claims: held,
      broken,
    });
  else show(all, held, broken, processor);
  return broken.length > 0 ? ExitCode.failed : ExitCode.ok;
}

/** Runs a case here. Its process may be replaced by one in a user namespace first. */
async function runOne(name: string, stretches: number): Promise<number> {
  const one = cases.find((each) => each.name === name);
  if (one === undefined)
    throw new InvalidArgumentError(`no case ${name}; "netaccel bench --list" names them`);
  let answer: CaseAnswer;
  try {
    if (one.namespaces === true) {
      const probe = await probeTap();
      if (!probe.available) throw new CaseUnavailable(`${probe.detail} ${probe.remedy}`);
      enterUserNamespace(await loadLibc());
    }
    answer = { figures: await one.run(stretches) };
  } catch (error) {
    if (!(error instanceof CaseUnavailable)) return report(error, false);
    answer = { unavailable: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(ExitCode.ok));
  return ExitCode.ok;
}

function inProcess(one: BenchCase, processor: number | null, stretches: number): Promise<CaseAnswer> {
  const flags = ['--case', one.name, '--stretches', String(stretches)];
  const command = [execPath, ...(one.node ?? []), CLI, 'bench', ...flags];
  const [program, ...args] =
    one.oneThread === true && processor !== null ? bound(processor, command) : command;
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: CASE_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      const line = out.trim().split('\n').at(-1) ?? '';
      if (code === 0 && line.startsWith('{')) resolve(JSON.parse(line) as CaseAnswer);
      else reject(new Error(err.trim().slice(-500) || `its process ended with ${String(code)}`));
    });
  });
}

function summed(result: CaseResult): object {
  const names = Object.keys(result.figures[0] ?? {});
  return {
    name: result.name,
    what: result.what,
    ...(result.unavailable === undefined ? {} : { unavailable: result.unavailable }),
    figures: Object.fromEntries(names.map((name) => [name, spread(result.figures.map((f) => f[name]!))])),
  };
}

function show(
  all: readonly CaseResult[],
  held: ReturnType<typeof claims>,
  broken: readonly string[],
  processor: number | null,
): void {
  const { node, cpus, platform } = environment();
  console.log(`Node ${node}, ${cpus} CPUs, ${platform}; median (least to most)`);
  console.log(
    processor === null
      ? 'Nothing is bound to a processor (that needs Linux and taskset): cases may differ by where they ran.\n'
      : `Cases of one thread are bound to processor ${processor}.\n`,
  );
  printTable(
    ['case', 'figure', 'median', 'least', 'most'],
    all.flatMap((result) =>
      result.unavailable === undefined
        ? Object.keys(result.figures[0] ?? {}).map((name) => {
            const { median, least, most } = spread(result.figures.map((f) => f[name]!));
            return [result.name, name, median.toFixed(2), least.toFixed(2), most.toFixed(2)];
          })
        : [[result.name, 'not run', '', '', '']],
    ),
  );
  for (const { name, unavailable } of all)
    if (unavailable !== undefined) console.log(`\n${name} was not run: ${unavailable}`);
  console.log();
  printTable(
    ['claim', 'wanted', 'median', 'least', 'most', 'holds'],
    held.map((c) => [
      c.claim,
      c.wanted,
      c.median.toFixed(2),
      c.least.toFixed(2),
      c.most.toFixed(2),
      c.holds === null ? '' : c.holds ? 'yes' : 'NO',
    ]),
  );
  for (const line of broken) console.log(`\nfailed: ${line}`);
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError(`expected a whole number from 1, saw ${text}`);
  return value;
}
