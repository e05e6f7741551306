/** `netaccel up`: starts the lab of a file and runs it until Ctrl-C; then takes it down, and nothing is left. */
import { resolve } from 'node:path';
import type { LogLevel } from '@netaccel/core-hooks';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { keepControlDirectory } from '../control/directory.js';
import { loadLab } from '../lab/index.js';
import type { LabDescription } from '../lab/index.js';
import { enterUserNamespace, loadLibc, probeTap, TapError } from '../tap/index.js';
import type { MissingForTap, TapErrorCode } from '../tap/index.js';
import { checkCaptures, checkPlugins } from '../up/check.js';
import { needsTaps } from '../up/networks.js';
import { labWarnings, planLab } from '../up/plan.js';
import { RunningLab } from '../up/running-lab.js';
import { leaksOf } from '../machine/ledger.js';
import { Interrupt } from './interrupt.js';
import { examples } from './options.js';
import { ExitCode, Progress, note, printJson, styled } from './output.js';
import { runCommand } from './run.js';
import { summary } from './up-summary.js';

interface Flags {
  readonly json?: boolean;
  readonly name?: string;
  readonly trafficFree?: boolean;
  readonly plugins: boolean;
  readonly storeSocket?: string;
  readonly verbose?: boolean;
  readonly ledger?: boolean;
}

/** What a machine lacks, as an error's code. */
const LACKS: Readonly<Record<MissingForTap, TapErrorCode>> = {
  linux: 'UNSUPPORTED_PLATFORM',
  koffi: 'NO_KOFFI',
  'user-namespaces': 'NO_USER_NAMESPACE',
  'tun-device': 'NO_TUN_DEVICE',
  setpriv: 'NO_SETPRIV',
};

/** Names that a lab file may give. */
const LAB_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,30}$/;

/** Adds the command. */
export function registerUp(program: Command): void {
  program
    .command('up')
    .description('start the lab of a file and run it until Ctrl-C')
    .argument('<file>', 'a lab file (YAML)')
    .option('--name <name>', "call the lab so, in place of the file's own name", labName)
    .option('--traffic-free', 'send nothing by itself: capture files behind guests are not replayed')
    .option('--no-plugins', 'load none of the plugins that the file names: everything goes the slow path')
    .option(
      '--store-socket <path>',
      "serve the store for xenstore's own tools here; with several hosts, at path.HOST each",
    )
    .option('--ledger', 'at the end, print what each domain still holds, as one line of JSON')
    .option('--verbose', 'show what domains say, not only warnings')
    .option('--json', 'print one JSON object when the lab is up')
    .addHelpText(
      'after',
      `${examples([
        ['netaccel up labs/two-hosts.yaml', 'two hosts, a guest on each, a wire'],
        ['netaccel up lab.yaml --no-plugins', 'without fast paths; "netaccel accel load" brings them'],
        ['netaccel up lab.yaml --name second', 'the same lab once more'],
        ['netaccel up lab.yaml --store-socket store', 'then: XENSTORED_PATH=store xenstore-ls -f'],
      ])}\n\nFrom another terminal: netaccel ls, top, explain, accel, capture, exec.`,
    )
    .action((file: string, flags: Flags) => runCommand(flags.json, () => up(file, flags)));
}

async function up(file: string, flags: Flags): Promise<number> {
  const lab = await prepared(file, flags);
  const progress = new Progress(flags.json === true);
  const interrupt = new Interrupt();
  let running: RunningLab | undefined;
  try {
    running = await RunningLab.start(lab, {
      replay: flags.trafficFree !== true,
      plugins: flags.plugins,
      storeSocket: flags.storeSocket === undefined ? null : resolve(flags.storeSocket),
      signal: interrupt.signal,
      progress: (what) => {
        progress.show(`${lab.name}: ${what}`);
      },
      log: (level, message) => {
        if (flags.verbose === true || level === 'warn' || level === 'error')
          progress.say(line(level, message));
      },
    });
    progress.clear();
    const report = await running.report();
    if (flags.json === true) printJson(report);
    else console.log(summary(report));
    for (const warning of labWarnings(lab)) note(line('warn', warning));
    await interrupt.asked;
    return ExitCode.ok;
  } finally {
    progress.show(`${lab.name}: taking everything down; Ctrl-C once more forces it`);
    const ledger = (await running?.stop()) ?? [];
    progress.clear();
    for (const leak of leaksOf(ledger)) note(line('warn', `${lab.name} at its end: ${leak}`));
    if (flags.ledger === true)
      printJson({ schema: 'netaccel.ledger/1', name: lab.name, domains: ledger }, 'line');
    interrupt.release();
  }
}

/** Everything that can be judged before anything is started; then, when there are TAPs, the user namespace. */
async function prepared(file: string, flags: Flags): Promise<LabDescription> {
  const read = loadLab(file);
  const lab = flags.name === undefined ? read : { ...read, name: flags.name };
  planLab(lab, { tapOf: () => null, replay: flags.trafficFree !== true });
  if (flags.trafficFree !== true) checkCaptures(lab);
  if (flags.plugins) await checkPlugins(lab);
  // Settled before the user namespace, in which this user has another number.
  keepControlDirectory();
  if (!needsTaps(lab)) return lab;
  const probe = await probeTap();
  if (!probe.available)
    throw new TapError(
      LACKS[probe.missing],
      `${probe.detail} ${probe.remedy} Without TAPs only labs whose every port is "memory" or a capture file run here.`,
    );
  enterUserNamespace(await loadLibc()); // may start this program anew, from its first line
  return lab;
}

function labName(text: string): string {
  if (LAB_NAME.test(text)) return text;
  throw new InvalidArgumentError(`expected a letter, then up to 30 letters, digits, "_" or "-"; saw ${text}`);
}

function line(level: LogLevel, message: string): string {
  if (level === 'error') return `${styled('red', 'error', process.stderr)} ${message}`;
  return level === 'warn' ? `${styled('yellow', 'warning', process.stderr)} ${message}` : message;
}
