/** `netaccel demo`: the 2007 claim on this machine, for people, for scripts, and as a page. */
import { writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { ExitCode, Progress, note, printJson, printTable, styled } from '../commands/output.js';
import { report } from '../commands/fail.js';
import { reportPage } from '../report/report.js';
import { enterUserNamespace, loadLibc, probeTap } from '../tap/index.js';
import { framesDemo } from './frames.js';
import type { DemoOptions } from './frames.js';
import type { Check } from '../traffic/frame-check.js';
import type { DemoResult } from './result.js';
import { tcpDemo } from './tcp.js';

interface Flags {
  readonly traffic: 'auto' | 'tcp' | 'frames';
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly plugin: string;
  readonly json: boolean;
  readonly report?: string;
}

/** Adds the command. */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('two hosts, a guest on each, one plugin: native, slow and fast side by side')
    .addOption(
      new Option('--traffic <kind>', 'real TCP, or counted frames; by default TCP where this machine can')
        .choices(['auto', 'tcp', 'frames'])
        .default('auto'),
    )
    .option('--seconds <n>', 'length of each measured stretch', positive, 1)
    .option('--rounds <n>', 'rounds of native, slow and fast', positiveInteger, 3)
    .option('--seed <n>', 'decides the order of everything in frames mode', positiveInteger, 1)
    .option('--plugin <name>', 'backend plugin: an npm name, or a path', '@netaccel/dummy-accel-backend')
    .option('--json', 'print one JSON object (schema netaccel.demo/1)', false)
    .option('--report <file>', 'write one self-contained HTML page')
    .addHelpText(
      'after',
      `
Examples:
  netaccel demo                           TCP between two namespaces, or frames where that cannot be
  netaccel demo --traffic frames --json   for scripts
  netaccel demo --report demo.html        charts of attach and detach under traffic`,
    )
    .action(async (flags: Flags) => {
      process.exitCode = await runDemo(flags);
    });
}

async function runDemo(flags: Flags): Promise<number> {
  const progress = new Progress(flags.json);
  const began = performance.now();
  try {
    const reason = await whyFrames(flags.traffic);
    if (reason !== null && reason !== '') progress.say(`frames mode: ${reason}`);
    const options: DemoOptions = {
      plugin: flags.plugin,
      pluginsFrom: process.cwd(),
      seed: flags.seed,
      seconds: flags.seconds,
      rounds: flags.rounds,
      ...(reason === null || reason === '' ? {} : { reason }),
      progress: (what) => {
        progress.show(`${((performance.now() - began) / 1000).toFixed(0)} s  ${what}`);
      },
    };
    const result = reason === null ? await tcpDemo(options) : await framesDemo(options);
    progress.clear();
    if (flags.report !== undefined) {
      writeFileSync(flags.report, reportPage(result));
      note(`wrote ${flags.report}`);
    }
    if (flags.json) printJson(result);
    else show(result);
    return isSound(result) ? ExitCode.ok : ExitCode.failed;
  } catch (error) {
    progress.clear();
    return report(error, flags.json);
  }
}

/** Null: TCP it is. Otherwise why it is frames, empty when they were asked for. */
async function whyFrames(wanted: Flags['traffic']): Promise<string | null> {
  if (wanted === 'frames') return '';
  const probe = await probeTap();
  if (probe.available) {
    enterUserNamespace(await loadLibc());
    return null;
  }
  if (wanted === 'tcp') throw new Error(`${probe.detail} ${probe.remedy}`);
  return `${probe.detail} ${probe.remedy}`;
}

/** Whether every frame was accounted for. TCP repairs what it loses, so there only corruption counts. */
function isSound(result: DemoResult): boolean {
  const checks = [...result.runs.map((run) => run.check), result.switchover.attach, result.switchover.detach];
  if (result.replay !== undefined) checks.push(result.replay.slow, result.replay.fast);
  return checks.every((c) => c.corrupted === 0 && (result.mode === 'tap' || faults(c) === 0));
}

function faults(check: Check): number {
  return check.lost + check.duplicated + check.reordered + check.corrupted;
}

function show(result: DemoResult): void {
  const { runs, ratios, switchover } = result;
  printTable(
    [
      'path',
      'frames',
      'Gb/s',
      'M frames/s',
      'ns/frame',
      'sent fast',
      'recv fast',
      'lost',
      'dup',
      'reord',
      'corrupt',
    ],
    runs.map((run) => [
      run.path,
      run.traffic === 'tcp' ? 'TCP' : `${run.frameBytes} B`,
      run.gbps.toFixed(2),
      run.mpps.toFixed(3),
      run.stages.reduce((sum, stage) => sum + stage.nsPerFrame, 0).toFixed(0),
      run.accelerated.txSent,
      run.accelerated.rxFast,
      run.check.lost,
      run.check.duplicated,
      run.check.reordered,
      run.check.corrupted,
    ]),
  );
  console.log();
  printTable(
    ['CPU ns/frame', ...(runs[0]?.stages.map(({ name }) => name) ?? [])],
    runs.map((run) => [
      `${run.path} ${run.traffic === 'tcp' ? 'TCP' : `${run.frameBytes} B`}`,
      ...run.stages.map(({ nsPerFrame }) => nsPerFrame.toFixed(0)),
    ]),
  );
  console.log();
  const rounds = `median of ${runs[0]?.rounds.length ?? 0} rounds, each by itself`;
  const sizes = result.mode === 'frames' ? '; of the frame sizes the least' : '';
  console.log(`fast / slow    ${styled('bold', ratios.fastOverSlow.toFixed(2))}   (${rounds}${sizes})`);
  console.log(`fast / native  ${styled('bold', ratios.fastOverNative.toFixed(2))}`);
  console.log();
  const declined = new Map<string, number>();
  for (const run of runs)
    for (const [reason, n] of Object.entries(run.accelerated.declines))
      declined.set(reason, (declined.get(reason) ?? 0) + n);
  console.log(
    declined.size === 0
      ? 'declined       nothing: every frame that was offered went the fast way'
      : `declined       ${[...declined].map(([reason, n]) => `${reason} ${n}`).join(', ')}`,
  );
  for (const [what, check] of [
    ['attach', switchover.attach],
    ['detach', switchover.detach],
    ...(result.replay === undefined
      ? []
      : ([
          ['replay slow', result.replay.slow],
          ['replay fast', result.replay.fast],
        ] as const)),
  ] as const)
    console.log(
      `${what.padEnd(14)} ${check.received} of ${check.sent} ${result.mode === 'tap' ? 'bytes' : 'frames'}: ` +
        (faults(check) === 0
          ? styled('green', 'none lost, doubled, reordered or corrupted')
          : styled('red', JSON.stringify(check))) +
        ('accelerated' in check ? `; ${check.accelerated.rxFast} came the fast way` : ''),
    );
  console.log(
    `plugin         ${result.plugin.backend} and ${result.plugin.frontend}, contract ${result.plugin.contract}`,
  );
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError(`expected a number above 0, saw ${text}`);
  return value;
}

function positiveInteger(text: string): number {
  const value = positive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError(`expected a whole number, saw ${text}`);
  return value;
}
