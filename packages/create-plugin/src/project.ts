/**
 * A new project: the template with the plugin's name in it, written into an empty folder. Called by the command, and
 * by tests. Nothing is written unless all of it can be.
 */
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CreateError } from './error.js';
import { checkName } from './name.js';

/** Versions of our packages, put in by the build. */
declare const WORKSPACE_VERSIONS: Readonly<
  Record<'core-hooks' | 'nic-vi' | 'host' | 'create-plugin', string>
>;

/** Version of this package. */
export const VERSION: string = WORKSPACE_VERSIONS['create-plugin'];

/** What the device does: each has its files over those of the template. */
export const deviceKinds = {
  duplex: 'sends, and receives what is addressed to the guest',
  transmit: 'only sends: the smallest plugin, and a first step',
} as const;
/** A kind of device. */
export type DeviceKind = keyof typeof deviceKinds;

/** What is to be made. */
export interface Project {
  /** The npm name of its package. */
  readonly name: string;
  /** What its device does. */
  readonly device: DeviceKind;
  /** The folder that it is put in: one that is empty, or does not exist. */
  readonly directory: string;
}

/** The template's own name, wherever it stands. */
const PLACEHOLDER = /\bmy-nic\b/g;
/** Names that npm would treat in its own way inside a package. */
const RENAMED: Readonly<Record<string, string>> = {
  '_package.json': 'package.json',
  _gitignore: '.gitignore',
  _github: '.github',
};
/** What may lie in a folder that counts as empty. */
const IGNORED = ['.git', '.DS_Store'];

/**
 * Makes a project.
 * @returns the paths of its files, relative to its folder, sorted.
 * @throws CreateError
 *
 * @example
 * ```ts
 * const files = createProject({ name: 'my-nic', device: 'duplex', directory: './my-nic' });
 * console.log(files.includes('package.json')); // true
 * ```
 */
export function createProject({ name, device, directory }: Project): string[] {
  checkName(name);
  if (!Object.hasOwn(deviceKinds, device))
    throw new CreateError(
      'BAD_DEVICE',
      `expected a kind of device (${Object.keys(deviceKinds).join(', ')}), saw ${JSON.stringify(device)}`,
    );
  checkEmpty(directory);
  const files = new Map<string, string>();
  for (const layer of ['template', join('overrides', device)])
    for (const [path, text] of read(layer)) files.set(path, fill(path, text, name));
  try {
    for (const [path, text] of files) {
      const file = join(directory, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { flag: 'wx' });
    }
  } catch (error) {
    throw new CreateError('NOT_WRITTEN', `the project could not be written: ${(error as Error).message}`);
  }
  return [...files.keys()].sort();
}

/**
 * Checks that a project can be put there: nothing is, or an empty folder.
 * @throws CreateError `NOT_EMPTY`, `NOT_A_FOLDER`.
 */
export function checkEmpty(directory: string): void {
  let found: string[];
  try {
    found = readdirSync(directory).filter((entry) => !IGNORED.includes(entry));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    throw new CreateError(
      'NOT_A_FOLDER',
      `expected ${directory} to be an empty folder or not there, saw ${code === 'ENOTDIR' ? 'a file' : message}; ` +
        'name another by --directory',
    );
  }
  if (found.length === 0) return;
  const some = found.slice(0, 3).join(', ') + (found.length > 3 ? ', ...' : '');
  throw new CreateError(
    'NOT_EMPTY',
    `expected ${directory} to be an empty folder or not there, saw ${found.length} in it (${some}); ` +
      'nothing was changed: name another by --directory',
  );
}

/** The files of one layer: path in the project, and text. */
function* read(layer: string): Generator<[string, string]> {
  const root = fileURLToPath(new URL(`../${layer}/`, import.meta.url));
  let entries: string[];
  try {
    entries = readdirSync(root, { recursive: true, encoding: 'utf8' });
  } catch {
    return; // this kind of device takes the template as it is
  }
  for (const entry of entries) {
    const parts = entry.split(/[\\/]/);
    const file = join(root, entry);
    if (parts[0] === 'dist' || parts[0] === 'node_modules' || !statSync(file).isFile()) continue;
    yield [parts.map((part) => RENAMED[part] ?? part).join('/'), readFileSync(file, 'utf8')];
  }
}

function fill(path: string, text: string, name: string): string {
  const named = text.replace(PLACEHOLDER, name);
  if (path !== 'package.json') return named;
  return named.replace(/"(@netaccel\/([a-z-]+))": "\*"/g, (_, dependency: string, folder: string) => {
    const version = (WORKSPACE_VERSIONS as Readonly<Record<string, string>>)[folder];
    return `"${dependency}": "^${version ?? '1.0.0'}"`;
  });
}
