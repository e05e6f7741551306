/**
 * Starts programs that die with this process, however it dies.
 *
 * `setpriv --pdeathsig KILL` asks the kernel to kill the program when the thread that started it ends; the
 * shell line then makes sure that this thread was still there when it asked. The program keeps its process
 * number, so signals and exit codes are its own. What the program starts in turn is not tethered.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { TapError } from './error.js';

/** As for `child_process.spawn`; a shell, if wanted, is the command itself. */
export type TetherOptions = Omit<SpawnOptions, 'shell'>;

const STILL_THERE = '[ "$PPID" = "$0" ] || exit 1; exec "$@"';

/** Why programs cannot be tethered, and what to do; undefined when they can. */
export function tetherObstacle(): { detail: string; remedy: string } | undefined {
  const tried = spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true'], { encoding: 'utf8' });
  if (tried.status === 0) return undefined;
  const seen = tried.error?.message ?? tried.stderr.trim();
  return {
    detail: `Expected util-linux's "setpriv" with --pdeathsig in PATH; "setpriv --pdeathsig KILL true" failed: ${seen}.`,
    remedy: 'Install util-linux 2.33 or newer.',
  };
}

let checkedOnce = false;

/**
 * Starts a program that dies when the calling thread, or the process, ends.
 * @throws TapError `NO_SETPRIV`.
 */
export function spawnTethered(
  command: string,
  args: readonly string[],
  options: TetherOptions,
): ChildProcess {
  if (!checkedOnce) {
    const obstacle = tetherObstacle();
    if (obstacle !== undefined) throw new TapError('NO_SETPRIV', `${obstacle.detail} ${obstacle.remedy}`);
    checkedOnce = true;
  }
  const tether = ['--pdeathsig', 'KILL', 'sh', '-c', STILL_THERE, String(process.pid)];
  return spawn('setpriv', [...tether, command, ...args], options);
}
