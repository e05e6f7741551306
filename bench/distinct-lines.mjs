/**
 * Gives every line of the built packages a number of its own.
 *
 * V8's profiler says at which line of the source a sample fell, also within functions that were inlined, but not of
 * which file. With `--import` of this file each built file is loaded behind as many empty lines as those before it in
 * `builtFiles` need, so a line number names a file, too. `profile.mjs` reads them back.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const PACKAGES = new URL('../packages/', import.meta.url);
/** Lines that a file may have. */
export const LINES_PER_FILE = 20_000;

/** @returns {string[]} The built files of all packages, each at its place in the numbering. */
export function builtFiles() {
  return readdirSync(PACKAGES)
    .flatMap((name) => {
      const dist = new URL(`${name}/dist/`, PACKAGES);
      return filesIn(dist).map((file) => fileURLToPath(new URL(file, dist)));
    })
    .sort();
}

/** @param {URL} directory @returns {string[]} */
function filesIn(directory) {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.js'),
    );
  } catch {
    return []; // not built
  }
}

const places = new Map(builtFiles().map((path, place) => [path, place]));

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  const place = url.startsWith('file:') ? places.get(fileURLToPath(url)) : undefined;
  if (place === undefined) return nextLoad(url, context);
  // A first line that starts a program is no comment any more when it is not the first.
  const source = readFileSync(fileURLToPath(url), 'utf8').replace(/^#!.*/, '');
  return { format: 'module', source: '\n'.repeat(place * LINES_PER_FILE) + source, shortCircuit: true };
}

if (isMainThread && process.execArgv.some((flag) => flag.includes('distinct-lines')))
  register(import.meta.url);
