/** The command: its flags, its two questions, and what it says. Exit codes: 0 made, 1 refused, 2 usage, 130 stopped. */
import { relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CreateError } from './error.js';
import { checkName, folderOf, problemOf } from './name.js';
import { VERSION, checkEmpty, createProject, deviceKinds } from './project.js';
import type { DeviceKind, Project } from './project.js';

const HELP = `Usage: npm create @netaccel/plugin [name] -- [options]

Makes a new accelerator plugin: a TypeScript package with both halves, tests with the conformance kit, and CI.
Asks for what is not given, when it runs in a terminal.

Arguments:
  name               npm name of the package, such as my-nic or @acme/my-nic

Options:
  --device <kind>    what the device does; duplex when left out
${Object.entries(deviceKinds)
  .map(([kind, text]) => `                       ${kind.padEnd(10)} ${text}`)
  .join('\n')}
  --directory <dir>  the folder to make it in; the name's last part when left out
  -y, --yes          ask nothing, take the defaults
  --version          print the version
  -h, --help         print this

Examples:
  npm create @netaccel/plugin                           asks
  npm create @netaccel/plugin my-nic -- --yes           asks nothing
  npm create @netaccel/plugin @acme/nic -- --device transmit --directory ./nic`;

const USAGE = 2;
const STOPPED = 130;

/** Runs the command; answers its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let line: ReturnType<typeof parse>;
  try {
    line = parse(args);
  } catch (error) {
    return complain((error as Error).message, USAGE);
  }
  const { values, positionals } = line;
  if (values.help === true) return say(HELP);
  if (values.version === true) return say(VERSION);
  if (positionals.length > 1)
    return complain(`expected one name, saw ${positionals.length}: ${positionals.join(' ')}`, USAGE);
  try {
    const asks = values.yes !== true && process.stdin.isTTY && process.stdout.isTTY;
    const known = { name: positionals[0], device: values.device, directory: values.directory };
    if (known.name !== undefined) checkName(known.name);
    if (!asks && known.name === undefined)
      return complain('expected a name, saw none; "npm create @netaccel/plugin my-nic" gives one', USAGE);
    const project = asks ? await ask(known) : complete(known.name ?? '', known.device, known.directory);
    if (project === null) return STOPPED;
    report(project, createProject(project));
    return 0;
  } catch (error) {
    if (error instanceof CreateError) return complain(error.message, 1);
    throw error;
  }
}

interface Known {
  readonly name: string | undefined;
  readonly device: string | undefined;
  readonly directory: string | undefined;
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      device: { type: 'string' },
      directory: { type: 'string' },
      yes: { type: 'boolean', short: 'y' },
      version: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

function complete(name: string, device = 'duplex', directory = folderOf(name)): Project {
  // What is no kind is refused by whoever makes the project, in one place.
  return { name, device: device as DeviceKind, directory: resolve(directory) };
}

/** Asks for what is not known; null when it was stopped. */
async function ask(known: Known): Promise<Project | null> {
  // Loaded here: who gives flags does not wait for it.
  const { intro, isCancel, select, text } = await import('@clack/prompts');
  intro('A new accelerator plugin');
  const name =
    known.name ??
    (await text({
      message: 'What is its npm name?',
      placeholder: 'my-nic',
      defaultValue: 'my-nic',
      validate: (value) => (value ? (problemOf(value) ?? undefined) : undefined),
    }));
  if (isCancel(name)) return null;
  checkEmpty(complete(name, undefined, known.directory).directory);
  const device =
    known.device ??
    (await select({
      message: 'What does the device do for a guest?',
      options: Object.entries(deviceKinds).map(([value, hint]) => ({ value, label: value, hint })),
    }));
  if (isCancel(device)) return null;
  return complete(name, device, known.directory);
}

function report({ name, directory }: Project, files: readonly string[]): void {
  const folder = relative(process.cwd(), directory) || '.';
  say(`${name}: ${files.length} files in ${folder}

  cd ${folder}
  npm install
  npm test          the conformance kit, on both halves
  npm run demo      two hosts, a guest on each, and your plugin between them

README.md says what to change first.`);
}

function say(text: string): 0 {
  console.log(text);
  return 0;
}

function complain(message: string, code: number): number {
  console.error(`create-plugin: ${message}`);
  if (code === USAGE) console.error('"npm create @netaccel/plugin -- --help" says what there is');
  return code;
}
