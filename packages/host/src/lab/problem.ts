/**
 * What is wrong with a lab file, as data and as text.
 *
 * Every problem says where it is, what was expected, what was seen and what to do. A file's problems are
 * collected and thrown together, in one {@link LabFileError}, before anything is started.
 */

/** Stable codes of problems, for programs. */
export type LabProblemCode =
  /** The file cannot be read. */
  | 'LAB_CANNOT_READ'
  /** It is larger, deeper or longer than the reader's bounds. */
  | 'LAB_TOO_LARGE'
  /** It is not YAML, or more of YAML than a lab file uses. */
  | 'LAB_NOT_YAML'
  /** An alias that contains itself. */
  | 'LAB_ALIAS_LOOP'
  /** A key that stands twice in one mapping. */
  | 'LAB_DUPLICATE_KEY'
  /** A key that means nothing there. */
  | 'LAB_UNKNOWN_KEY'
  /** A key that must be there. */
  | 'LAB_MISSING_KEY'
  /** A value of the wrong type, or out of range. */
  | 'LAB_BAD_VALUE'
  /** A name of something that is not in the lab. */
  | 'LAB_UNKNOWN_NAME'
  /** Something that may be there once only: a MAC, an IP address, a wire's end, a port. */
  | 'LAB_DUPLICATE'
  /** A plugin that cannot be found. */
  | 'LAB_MISSING_PLUGIN'
  /** A file that the lab names and that is not there. */
  | 'LAB_MISSING_FILE';

/** A place in a lab file. */
export interface LabPlace {
  /** Line, from 1. */
  readonly line: number;
  /** Column in characters, from 1. */
  readonly column: number;
}

/** The other place of something that stands twice. */
export interface LabFirstPlace extends LabPlace {
  /** Where in the lab. */
  readonly path: string;
}

/** One problem. */
export interface LabProblem extends LabPlace {
  /** Stable code. */
  readonly code: LabProblemCode;
  /** The file, as it was named. */
  readonly file: string;
  /** Where in the lab: `hosts.alpha.guests.a.mac`, `wires[0].between[1]`; empty for the whole. */
  readonly path: string;
  /** What was expected there. */
  readonly expected: string;
  /** What was seen. */
  readonly seen: string;
  /** What to do. */
  readonly advice: string;
  /** The valid name that was probably meant, or null. */
  readonly nearest: string | null;
  /** The other place, of something that stands twice, or null. */
  readonly first: LabFirstPlace | null;
  /** The line itself, or null when there is none. */
  readonly excerpt: string | null;
}

const TITLE: Readonly<Record<LabProblemCode, string>> = {
  LAB_CANNOT_READ: 'cannot be read',
  LAB_TOO_LARGE: 'too large',
  LAB_NOT_YAML: 'not YAML',
  LAB_ALIAS_LOOP: 'an alias that contains itself',
  LAB_DUPLICATE_KEY: 'duplicate key',
  LAB_UNKNOWN_KEY: 'unknown key',
  LAB_MISSING_KEY: 'missing key',
  LAB_BAD_VALUE: 'bad value',
  LAB_UNKNOWN_NAME: 'unknown name',
  LAB_DUPLICATE: 'duplicate',
  LAB_MISSING_PLUGIN: 'missing plugin',
  LAB_MISSING_FILE: 'missing file',
};

/** Columns of a line that are shown. */
const EXCERPT_COLUMNS = 100;

/** One problem for people, without colour. */
export function renderLabProblem(problem: LabProblem): string {
  const { file, line, column, path, code, expected, seen, advice, first, excerpt } = problem;
  const lines = [`${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${TITLE[code]}`];
  if (excerpt !== null && excerpt.trim() !== '') {
    // A long line is shown from a little before the place.
    const cut = column > EXCERPT_COLUMNS - 20 ? column - 20 : 0;
    const number = String(line).padStart(6);
    lines.push(`${number} | ${excerpt.replaceAll('\t', ' ').slice(cut, cut + EXCERPT_COLUMNS)}`);
    lines.push(`       | ${' '.repeat(column - 1 - cut)}^`);
  }
  lines.push(`  expected: ${expected}`, `  seen:     ${seen}`);
  if (first !== null) lines.push(`  first:    ${file}:${first.line}:${first.column}: ${first.path}`);
  lines.push(`  to do:    ${advice}`);
  return lines.join('\n');
}

/** Problems that the text of an error shows; the data has them all. */
const SHOWN_PROBLEMS = 50;

/** A {@link LabFileError} as JSON has it. */
export interface LabFileErrorData {
  /** `LAB_FILE`. */
  readonly code: string;
  /** The file, as it was named. */
  readonly file: string;
  /** All that is wrong with it, in the order of the file. */
  readonly problems: readonly LabProblem[];
}

/** A lab file cannot be used; {@link problems} says why, all of it. */
export class LabFileError extends Error {
  /** Stable code for programs. */
  readonly code = 'LAB_FILE';

  /**
   * @param file the file, as it was named.
   * @param problems all that is wrong with it, in the order of the file.
   */
  constructor(
    readonly file: string,
    readonly problems: readonly LabProblem[],
  ) {
    const count = `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
    const shown = problems.slice(0, SHOWN_PROBLEMS).map(renderLabProblem);
    if (problems.length > SHOWN_PROBLEMS) shown.push(`and ${problems.length - SHOWN_PROBLEMS} more`);
    super([`${file}: ${count}, nothing was started`, ...shown].join('\n\n'));
    this.name = 'LabFileError';
  }

  /** The same for programs: what `--json` prints. */
  toJSON(): LabFileErrorData {
    return { code: this.code, file: this.file, problems: this.problems };
  }
}
