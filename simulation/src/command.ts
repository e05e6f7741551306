/** What the two commands of this folder share: options that are said to be wrong before anything runs, and Ctrl-C. */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** How a command ends. */
export const ExitCode = {
  /** All is well. */
  well: 0,
  /** A check failed. */
  failed: 1,
  /** A wrong option, or a file that cannot be used. */
  usage: 2,
  /** Stopped by Ctrl-C before its end, all well so far. */
  stopped: 130,
} as const;

/** Ends the process for what the user got wrong. */
export function refuse(what: string): never {
  console.error(`${what}; see --help`);
  process.exit(ExitCode.usage);
}

/** What an error says, in a line. */
export function said(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n').join(' ');
}

/** A whole number of an option. */
export function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= least) return value;
  refuse(`--${option}: expected a whole number from ${least} on, saw ${JSON.stringify(text)}`);
}

/** That a file can be written there is known before the run, not after it. */
export function checkWritable(option: string, file: string): void {
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
      throw new Error('it is a directory');
    accessSync(dirname(file), constants.W_OK);
  } catch (error) {
    refuse(`--${option}: expected a file that can be written, saw ${file}: ${said(error)}`);
  }
}

/** A folder of an option; made where there is none. */
export function checkFolder(option: string, folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch (error) {
    refuse(`--${option}: expected a folder that can be written, saw ${folder}: ${said(error)}`);
  }
}

/** Ctrl-C: what runs comes to its end and is reported; another one ends the process at once. */
export function interrupted(): { readonly asked: boolean } {
  const state = { asked: false };
  process.once('SIGINT', () => {
    state.asked = true;
  });
  return state;
}

/** `1 seed`, `2 seeds`. */
export function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
