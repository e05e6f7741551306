/** Options and their values, as more than one command has them. */
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

/** What commands that ask a running lab have in common. */
export interface LabFlags {
  readonly lab?: string;
  readonly json?: boolean;
}

/** Adds `--lab` and `--json`. */
export function withLab(command: Command): Command {
  return command
    .option('--lab <name>', 'which running lab; the only one when left out')
    .option('--json', 'print JSON');
}

/** A number above 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value))
    throw new InvalidArgumentError(`expected a number above 0, saw ${text}`);
  return value;
}

/** A whole number above 0. */
export function positiveInteger(text: string): number {
  const value = positive(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError(`expected a whole number, saw ${text}`);
  return value;
}

/** An option that may be given several times. */
export function several(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

/** The part of `--help` that shows how a command is used. */
export function examples(rows: readonly (readonly [command: string, what: string])[]): string {
  const width = Math.max(...rows.map(([command]) => command.length));
  return ['', 'Examples:', ...rows.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`)].join(
    '\n',
  );
}
