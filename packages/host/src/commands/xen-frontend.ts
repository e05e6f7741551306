/**
 * `netaccel xen frontend`: netfront in a guest, in place of the kernel's, with an interface of the guest's kernel.
 *
 * Standard output is its log: one JSON object on each line. It ends by SIGTERM or Ctrl-C, in order.
 */
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { runFrontend } from '../xen/run-frontend.js';
import type { FrontendFlags } from '../xen/run-frontend.js';
import { examples, positiveInteger, several } from './options.js';
import { runCommand } from './run.js';

const REFERENCE_PLUGIN = '@netaccel/dummy-accel-frontend';

/** Adds the command. */
export function registerXenFrontend(xen: Command): void {
  xen
    .command('frontend')
    .description('in a guest, serve a vif in place of the kernel driver xen-netfront')
    .requiredOption('--tap <name>', 'the interface to make, such as eth0')
    .option('--vif <number>', 'which vif of this guest', handle, 0)
    .addOption(
      new Option('--address <address/prefix>', 'an address of the interface; may be given several times')
        .argParser(several)
        .default([], 'none'),
    )
    .option('--queues <n>', 'most queues', positiveInteger, 1)
    .option('--static-grants', 'ask the backend to keep pages mapped: fewer grant copies')
    .addOption(
      new Option(
        '--plugin <name>',
        'an accelerator plugin that the backend may name; may be given several times, and "none" for none',
      )
        .argParser(several)
        .default([], REFERENCE_PLUGIN),
    )
    .option('--plugins-from <folder>', 'folder that plugin names are resolved from', process.cwd())
    .option('--store <path>', 'the xenbus device; found out when left out')
    .addHelpText(
      'after',
      `${examples([
        ['netaccel xen frontend --tap eth0', 'the first vif as eth0, for the guest to configure'],
        ['netaccel xen frontend --tap eth0 --address 10.0.0.2/24', 'the same with an address'],
        ['netaccel xen frontend --tap eth0 --plugin none', 'never accelerated'],
      ])}\n\nThe kernel driver xen-netfront must not be loaded: it would serve the same vif. The interface is there\n` +
        'as long as the command runs. Log: one JSON object on each line of standard output.',
    )
    .action((flags: FrontendFlags) =>
      runCommand(false, () => runFrontend({ ...flags, plugin: plugins(flags.plugin) })),
    );
}

function plugins(named: readonly string[]): readonly string[] {
  return named.length === 0 ? [REFERENCE_PLUGIN] : named.filter((name) => name !== 'none');
}

function handle(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`expected the number of a vif, saw ${text}`);
}
