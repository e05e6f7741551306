/** How every command's action runs: its exit code, and how its failure is told. */
import { report } from './fail.js';
import { ExitCode } from './output.js';

/**
 * Runs a command's work and sets the exit code: what it answers, `ok` for nothing, or what its error means.
 * @param json whether an error is printed for machines.
 */
export async function runCommand(
  json: boolean | undefined,
  work: () => Promise<number | undefined>,
): Promise<void> {
  try {
    process.exitCode = (await work()) ?? ExitCode.ok;
  } catch (error) {
    process.exitCode = report(error, json === true);
  }
}

/** A reader that goes away early (`| head`) ends the command, quietly. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(ExitCode.ok);
  });
}
