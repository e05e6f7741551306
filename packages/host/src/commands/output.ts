/**
 * How commands speak: tables and colours for people, JSON for machines, progress on standard error.
 *
 * Colours and the moving line appear on a terminal only, and never when NO_COLOR is set.
 */
import { styleText } from 'node:util';
import Table from 'cli-table3';

/** What a command ends with. */
export const ExitCode = {
  ok: 0,
  /** It ran, and something is not as it should be. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  /** A file, a plugin or a name that was given is not usable. */
  badInput: 3,
  /** This machine lacks something that is needed. */
  environment: 4,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan';

/** Text in a style, when the stream is a terminal. */
export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && process.env['NO_COLOR'] === undefined ? styleText(style, text) : text;
}

/** Prints one object for machines: over many lines, or on one line where several follow each other. */
export function printJson(value: unknown, form: 'lines' | 'line' = 'lines'): void {
  process.stdout.write(`${form === 'line' ? JSON.stringify(value) : JSON.stringify(value, null, 2)}\n`);
}

const FIGURE = /^(-|[-\d.,]+( [%×a-zA-Z/]*)?)$/;
const NO_BORDERS = Object.fromEntries(
  [
    'mid',
    'left-mid',
    'mid-mid',
    'right-mid',
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'left',
    'right',
  ].map((place) => [place, '']),
);

/** A table as text; columns of figures are set to the right. */
export function formatTable(
  heads: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const isFigure = heads.map(
    (_, i) =>
      rows.length > 0 && rows.every((row) => typeof row[i] === 'number' || FIGURE.test(String(row[i]))),
  );
  const table = new Table({
    head: heads.map((head) => styled('bold', head)),
    colAligns: isFigure.map((figure) => (figure ? 'right' : 'left')),
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 0 },
    chars: { ...NO_BORDERS, middle: '  ' },
  });
  for (const row of rows) table.push(row.map(String));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Prints a table; columns of figures are set to the right. */
export function printTable(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  process.stdout.write(`${formatTable(heads, rows)}\n`);
}

/** Prints a line for people on standard error: never part of a command's result. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Where lines stay, the least time between two of them. */
const QUIET_MS = 2000;

/** A line that says what goes on: rewritten in place on a terminal, one line a change elsewhere. */
export class Progress {
  private last = '';
  private lastLineMs = 0;

  /** @param quiet say nothing: with --json, or when asked. */
  constructor(private readonly quiet: boolean) {}

  /** Shows what goes on now. */
  show(text: string): void {
    if (this.quiet || text === this.last) return;
    if (process.stderr.isTTY) {
      const columns = process.stderr.columns || 80;
      process.stderr.write(
        `\r\u001b[K${text.length > columns - 1 ? `${text.slice(0, columns - 2)}…` : text}`,
      );
    } else if (performance.now() - this.lastLineMs >= QUIET_MS) {
      note(text);
      this.lastLineMs = performance.now();
    }
    this.last = text;
  }

  /** Leaves a line that stays. */
  say(text: string): void {
    this.clear();
    if (!this.quiet) note(text);
  }

  /** Takes the moving line away. */
  clear(): void {
    if (!this.quiet && process.stderr.isTTY && this.last !== '') process.stderr.write('\r\u001b[K');
    this.last = '';
  }
}
