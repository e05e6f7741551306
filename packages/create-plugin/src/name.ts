/**
 * What a plugin's package may be called: npm's rules for new packages, and ours, that it is not one of the packages
 * which it depends on. The name is written into the project's code, so nothing else is let through.
 */
import { isBuiltin } from 'node:module';
import { CreateError } from './error.js';

const MOST_CHARACTERS = 214;
const PART = /^[a-z0-9~-][a-z0-9._~-]*$/;
/** Names that npm refuses. */
const REFUSED = ['node_modules', 'favicon.ico'];
/** What the project installs: npm installs no package into one of the same name. */
const INSTALLED = ['@netaccel/core-hooks', '@netaccel/nic-vi', '@netaccel/host', 'typescript', 'vitest'];

/**
 * Checks the npm name of a new plugin.
 * @throws CreateError `BAD_NAME`.
 */
export function checkName(name: string): void {
  const problem = problemOf(name);
  if (problem !== null)
    throw new CreateError(
      'BAD_NAME',
      `expected an npm name such as my-nic or @acme/my-nic, saw ${JSON.stringify(name.slice(0, 80))}: ${problem}`,
    );
}

/** What is wrong with a name, or null. */
export function problemOf(name: string): string | null {
  if (name === '') return 'a name is needed';
  if (name.length > MOST_CHARACTERS) return `at most ${MOST_CHARACTERS} characters`;
  if (/[\\]|^\.{0,2}\/|^\.+$/.test(name)) return 'it is a path; name the folder by --directory';
  if (name !== name.toLowerCase()) return `lower case only, so ${JSON.stringify(name.toLowerCase())}`;
  const parts = name.startsWith('@') ? name.slice(1).split('/') : [name];
  if (name.startsWith('@') && parts.length !== 2)
    return 'a scope has one package name behind it: @scope/name';
  if (!parts.every((part) => PART.test(part)))
    return 'letters, digits, -, . and _ only, and no . or _ at the start';
  if (REFUSED.includes(name) || isBuiltin(name)) return 'npm or Node.js has that name already';
  if (INSTALLED.includes(name)) return 'a plugin depends on that package, so it needs another name';
  return null;
}

/** The folder that a package's project is put in unless another is given: the name without its scope. */
export function folderOf(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}
