/**
 * Loads a lab file: everything is judged before anything is started, and everything that is wrong is told at once.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { basename, dirname, extname, resolve } from 'node:path';
import { resolvePlugin } from '../plugins.js';
import type { LabDescription } from './description.js';
import { installedPlugins } from './installed.js';
import { LabFileError, type LabProblem } from './problem.js';
import { LabResolver, type LabSurroundings } from './resolve.js';
import { checkShape } from './shape.js';
import { LabLimits, LabSource } from './source.js';

/** What the loading of a lab asks the machine; each has the obvious default. */
export type LoadLabOptions = Partial<Omit<LabSurroundings, 'directory' | 'defaultName'>>;

/** What {@link parseLab} needs to know besides. */
export interface ParseLabOptions extends LoadLabOptions {
  /** The text's name, for messages; `lab.yaml` when left out. */
  readonly file?: string;
  /** Folder that relative paths and plugin names count from; that of `file` when left out. */
  readonly directory?: string;
}

/**
 * Reads a lab file and gives it back fully resolved: plain data, all defaults filled in.
 * @throws LabFileError with all problems.
 *
 * @example
 * ```ts
 * try {
 *   const lab = loadLab('labs/two-hosts.yaml');
 *   console.log(lab.hosts.map((host) => host.name)); // [ 'alpha', 'beta' ]
 * } catch (error) {
 *   if (error instanceof LabFileError) console.error(error.message);
 * }
 * ```
 */
export function loadLab(path: string, options: LoadLabOptions = {}): LabDescription {
  return parseLab(readText(path), { ...options, file: path });
}

/**
 * The same for a text at hand.
 * @throws LabFileError with all problems.
 */
export function parseLab(text: string, options: ParseLabOptions = {}): LabDescription {
  const { file = 'lab.yaml' } = options;
  const source = new LabSource(file, text);
  const value = source.parse();
  let lab: LabDescription | null = null;
  if (value !== undefined) {
    const shape = checkShape(value, source);
    if (shape.file !== null)
      lab = new LabResolver(source, shape.file, shape, surroundings(file, options)).resolve();
  }
  if (lab === null || source.problems.length > 0)
    throw new LabFileError(
      file,
      [...source.problems].sort((a, b) => a.line - b.line || a.column - b.column),
    );
  return lab;
}

function surroundings(file: string, options: ParseLabOptions): LabSurroundings {
  const base = basename(file, extname(file)).replace(/[^A-Za-z0-9_-]+/g, '-');
  return {
    directory: resolve(options.directory ?? dirname(file)),
    defaultName: /^[A-Za-z]/.test(base) ? base.slice(0, 31) : `lab-${base}`.slice(0, 31),
    resolvePlugin: options.resolvePlugin ?? resolvePlugin,
    listPlugins: options.listPlugins ?? installedPlugins,
    fileExists: options.fileExists ?? existsSync,
  };
}

/** A file's text, of at most `LabLimits.fileBytes`, whatever the file is. */
function readText(path: string): string {
  const bytes = new Uint8Array(LabLimits.fileBytes + 1);
  let length = 0;
  try {
    const fd = openSync(path, 'r');
    try {
      for (let count = -1; count !== 0 && length < bytes.length; length += count)
        count = readSync(fd, bytes, length, bytes.length - length, null);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? String(error);
    const advice = errno === 'ENOENT' ? 'check the spelling' : 'name a file that may be read';
    throw unreadable(path, { code: 'LAB_CANNOT_READ', expected: 'a lab file', seen: errno, advice });
  }
  if (length > LabLimits.fileBytes) {
    const expected = `a lab file of at most ${LabLimits.fileBytes} bytes`;
    throw unreadable(path, { code: 'LAB_TOO_LARGE', expected, seen: 'more', advice: 'is this a lab file?' });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } catch {
    const seen = 'bytes that are none';
    throw unreadable(path, {
      code: 'LAB_NOT_YAML',
      expected: 'text in UTF-8',
      seen,
      advice: 'is this a lab file?',
    });
  }
}

function unreadable(
  file: string,
  text: Pick<LabProblem, 'code' | 'expected' | 'seen' | 'advice'>,
): LabFileError {
  const place = { file, line: 1, column: 1, path: '' };
  return new LabFileError(file, [{ ...text, ...place, nearest: null, first: null, excerpt: null }]);
}
