/** The `netaccel` program: its commands, and what it says to a command line that makes no sense. */
import { Command, CommanderError } from 'commander';
import { nearestName } from '../lab/nearest.js';
import { VERSION } from '../version.js';
import { registerAccel } from './accel.js';
import { registerCapture } from './capture.js';
import { registerDoctor } from './doctor.js';
import { registerExec } from './exec.js';
import { registerExplain } from './explain.js';
import { registerLs } from './ls.js';
import { registerMigrate } from './migrate.js';
import { examples } from './options.js';
import { ExitCode, note, printJson, styled } from './output.js';
import { registerTop } from './top.js';
import { registerUp } from './up.js';

/** Commands whose code is loaded when they are asked for: they bring traffic sources and reports along. */
const LOADED_ON_DEMAND = [
  {
    name: 'demo',
    description: 'two hosts, a guest on each, one plugin: native, slow and fast side by side',
    load: async (program: Command) => {
      (await import('../demo/command.js')).registerDemo(program);
    },
  },
  {
    name: 'bench',
    description: 'measure this machine, each case in a fresh process',
    load: async (program: Command) => {
      (await import('../bench/command.js')).registerBench(program);
    },
  },
  {
    name: 'conform',
    description: 'hold a plugin to the contract: which rules it keeps, and what to do about the others',
    load: async (program: Command) => {
      (await import('./conform.js')).registerConform(program);
    },
  },
  {
    name: 'xen',
    description: 'the drivers on a real Xen host',
    load: async (program: Command) => {
      (await import('./xen.js')).registerXen(program);
    },
  },
] as const;

/** Makes the program. */
export function makeProgram(): Command {
  const program = bare();
  for (const { name, description, load } of LOADED_ON_DEMAND)
    program
      .command(name)
      .description(description)
      .helpOption(false)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(async (_flags: unknown, command: Command) => {
        const real = bare();
        await load(real);
        await runOn(real, [name, ...command.args]);
      });
  for (const register of [
    registerUp,
    registerLs,
    registerTop,
    registerExplain,
    registerAccel,
    registerMigrate,
    registerCapture,
    registerExec,
    registerDoctor,
  ])
    register(program);
  return program;
}

/** Runs a command line and sets the exit code. */
export async function runProgram(args: readonly string[]): Promise<void> {
  // `help x` is `x --help`: commands that are loaded on demand know theirs only then.
  const [first, ...rest] = args;
  await runOn(makeProgram(), first === 'help' ? [...rest, '--help'] : args);
}

async function runOn(program: Command, args: readonly string[]): Promise<void> {
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : complain(error, program, args);
  }
}

function bare(): Command {
  return new Command('netaccel')
    .description("accelerated network plugins for Xen's split drivers: labs, a demo, captures")
    .version(VERSION, '--version', 'print the version')
    .enablePositionalOptions()
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({ outputError: () => undefined }) // `complain` says it
    .addHelpText(
      'after',
      `${examples([
        ['netaccel demo', 'see it work'],
        ['netaccel up labs/two-hosts.yaml', 'start a lab of your own'],
        ['netaccel explain a', 'ask why a flow is slow'],
        ['netaccel doctor', 'what this machine lacks'],
      ])}\n\nExit codes: ${Object.entries(ExitCode)
        .map(([name, code]) => `${code} ${name}`)
        .join(', ')}.`,
    );
}

function complain(error: CommanderError, program: Command, args: readonly string[]): number {
  // Without a command commander prints the help and calls it an error; that is what was wanted.
  if (error.code === 'commander.help' || error.code === 'commander.helpDisplayed') return ExitCode.usage;
  const command = commandOf(program, args);
  const name = fullName(command);
  const message = `${explanation(error, command, args)}; "${name} --help" says what there is`;
  if (args.includes('--json')) printJson({ error: { code: 'USAGE', message } });
  else note(`${styled('red', 'netaccel:', process.stderr)} ${message}`);
  return ExitCode.usage;
}

function explanation(error: CommanderError, command: Command, args: readonly string[]): string {
  const seen = /'([^']*)'/.exec(error.message)?.[1] ?? '';
  if (
    error.code === 'commander.unknownCommand' ||
    (error.code === 'commander.excessArguments' && command.commands.length > 0)
  ) {
    const word = seen === '' ? (args.find((arg) => !arg.startsWith('-')) ?? '') : seen;
    return `expected a command, saw ${word}${suggestion(
      word,
      command.commands.map((each) => each.name()),
    )}`;
  }
  if (error.code === 'commander.unknownOption') {
    const flags = command.options
      .flatMap(({ long, short }) => [long, short])
      .filter((flag) => flag !== undefined && flag !== null);
    return `expected an option of ${fullName(command)}, saw ${seen}${suggestion(seen, flags)}`;
  }
  return error.message
    .replace(/^error: /, '')
    .trim()
    .replace(/\.$/, '');
}

function suggestion(word: string, known: readonly string[]): string {
  const nearest = nearestName(word, known);
  return nearest === null ? '' : `; did you mean ${nearest}?`;
}

/** The command that a line names, as far as it names one. */
function commandOf(program: Command, args: readonly string[]): Command {
  let command = program;
  for (const arg of args) {
    const next = command.commands.find((each) => each.name() === arg);
    if (next === undefined) break;
    command = next;
  }
  return command;
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}
