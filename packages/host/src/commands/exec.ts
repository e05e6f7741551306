/**
 * `netaccel exec`: runs a program in a guest's network, as if it ran in the guest.
 *
 * The program is the caller's own, on the caller's terminal, with its files: only the network is the guest's. It goes
 * in by nsenter, through the lab's process, which holds the namespace.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { callLab } from '../control/socket.js';
import { TapError } from '../tap/index.js';
import type { Entrance } from '../up/methods.js';
import { examples } from './options.js';
import { runCommand } from './run.js';

interface Flags {
  readonly lab?: string;
}

/** What a shell says when it was ended by signal n: 128 + n. */
const SIGNALLED = 128;
const PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Adds the command. */
export function registerExec(program: Command): void {
  program
    .command('exec')
    .description("run a program in a guest's network; a shell when none is named")
    .argument('<guest>', "a guest, or a host for its driver domain's own interface")
    .argument('[command...]', 'the program and its arguments, after --')
    .option('--lab <name>', 'which running lab; the only one when left out')
    .passThroughOptions()
    .addHelpText(
      'after',
      examples([
        ['netaccel exec a -- ping 10.77.0.12', 'from the guest a'],
        ['netaccel exec b -- iperf3 -s', 'a server in the guest b'],
        ['netaccel exec a', 'a shell'],
      ]),
    )
    .action((target: string, command: string[], flags: Flags) =>
      runCommand(false, async () => {
        if (command[0] === '--') command.shift(); // commander hands it through behind an argument
        const entrance = (await callLab(flags.lab, 'enter', { target })) as Entrance;
        return run(entrance, command.length > 0 ? command : [process.env['SHELL'] ?? 'sh']);
      }),
    );
}

function run(entrance: Entrance, command: readonly string[]): Promise<number> {
  const env = { ...process.env, NETACCEL_GUEST: entrance.name };
  const child = spawn('nsenter', [...entering(entrance), '--', ...command], { stdio: 'inherit', env });
  // The terminal sends Ctrl-C to the program too; what it makes of it is its own business.
  const listeners = PASSED_ON.map((signal) => {
    const pass = (): void => void child.kill(signal);
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return ended(child).finally(() => {
    for (const off of listeners) off();
  });
}

/** The user namespace only when it is another one: root of this one need not, and may not, enter it anew. */
function entering({ network, user }: Entrance): string[] {
  const net = `--net=${network}`;
  try {
    if (readlinkSync(user) === readlinkSync('/proc/self/ns/user')) return [net];
  } catch {
    // Not readable: nsenter says why.
  }
  return [`--user=${user}`, '--preserve-credentials', net];
}

function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(
        new TapError(
          'NO_NSENTER',
          `Expected util-linux's "nsenter" in PATH; starting it failed: ${error.message}. Install util-linux.`,
        ),
      );
    });
    child.once('exit', (code, signal) => {
      resolve(code ?? SIGNALLED + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
