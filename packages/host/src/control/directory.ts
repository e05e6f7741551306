/**
 * Where the sockets of this user's running labs lie: a directory that only its owner may enter.
 *
 * A lab that enters a user namespace sees other user numbers than its clients do, so the directory is settled
 * before that and handed on by the environment (`keepControlDirectory`).
 */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlError } from './error.js';

/** Names the directory, for a lab in a user namespace and for tests. */
export const CONTROL_DIRECTORY_VARIABLE = 'NETACCEL_CONTROL_DIR';

const SUFFIX = '.sock';
const OTHERS = 0o077;
/** Longest path that a Unix socket takes (unix(7)), its end included. */
const LONGEST_PATH = 107;

/** The directory; made, and closed to others, when it is missing. @throws ControlError `REFUSED`. */
export function controlDirectory(): string {
  const directory = chosen();
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new ControlError(
      'REFUSED',
      `expected to make ${directory}; got ${code}; set ${CONTROL_DIRECTORY_VARIABLE} to a directory of your own`,
    );
  }
  const { uid, mode } = statSync(directory);
  if ((process.getuid !== undefined && uid !== process.getuid()) || (mode & OTHERS) !== 0)
    throw new ControlError(
      'REFUSED',
      `${directory} must be yours alone (mode 700); remove it, or set ${CONTROL_DIRECTORY_VARIABLE} to another`,
    );
  return directory;
}

/** Settles the directory for this process and those that take its place. */
export function keepControlDirectory(): void {
  process.env[CONTROL_DIRECTORY_VARIABLE] = controlDirectory();
}

/** Path of a lab's socket. @throws ControlError `REFUSED`. */
export function socketPath(lab: string): string {
  const path = join(controlDirectory(), `${lab}${SUFFIX}`);
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new ControlError(
      'REFUSED',
      `${path}: expected at most ${LONGEST_PATH} bytes, as Unix sockets have; ` +
        `give the lab a shorter name, or set ${CONTROL_DIRECTORY_VARIABLE} to a shorter path`,
    );
  return path;
}

/** Names of labs that have a socket; one that was killed may have left its own. */
export function labsWithSocket(): string[] {
  return readdirSync(controlDirectory())
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .sort();
}

function chosen(): string {
  const given = process.env[CONTROL_DIRECTORY_VARIABLE];
  if (given !== undefined && given !== '') return given;
  const runtime = process.env['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && statSync(runtime, { throwIfNoEntry: false })?.isDirectory() === true)
    return join(runtime, 'netaccel');
  return join(tmpdir(), `netaccel-${process.getuid?.() ?? 0}`);
}
