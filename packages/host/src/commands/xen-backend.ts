/**
 * `netaccel xen backend`: netback as a daemon, in dom0 or in a driver domain.
 *
 * Standard output is its log: one JSON object on each line. It ends by SIGTERM, in order: guests are asked to close.
 * Ended in any other way, it leaves the rings to its successor, which takes them up where they are.
 */
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { addOption } from '../plugin-options.js';
import { parseMetricsAddress } from '../xen/metrics.js';
import type { MetricsAddress } from '../xen/metrics.js';
import { parsePort } from '../xen/port-network.js';
import type { PortSpec } from '../xen/port-network.js';
import { runBackend } from '../xen/run-backend.js';
import type { BackendFlags, PluginFlag } from '../xen/run-backend.js';
import { examples, positive, positiveInteger } from './options.js';
import { runCommand } from './run.js';

/** Adds the command. */
export function registerXenBackend(xen: Command): void {
  const plugins = new PluginFlags();
  xen
    .command('backend')
    .description('serve the network interfaces of guests, in place of the kernel driver xen-netback')
    .option('--bridge <name>', 'a TAP for each vif, on this bridge of the kernel')
    .option('--ovs <name>', 'a TAP for each vif, on this bridge of Open vSwitch')
    .option(
      '--port <spec>',
      'all vifs on a bridge of our own, with this port: tap:NAME, nic:NAME or file:CAPTURE',
      port,
    )
    .option('--queues <n>', 'most queues of a vif', positiveInteger)
    .option(
      '--hotplug <who>',
      'who says that a vif is plugged in: "self", or the toolstack\'s "script"',
      hotplug,
    )
    .option('--metrics <address:port>', 'serve figures for Prometheus there, at /metrics', metricsAddress)
    .option('--load <seconds>', 'how often the cost of a frame is logged while there is load', positive, 10)
    .addOption(
      new Option(
        '--plugin <name>',
        'with --port nic:NAME (experimental): a backend plugin to load; may be given several times',
      )
        .argParser((name) => plugins.add(name))
        .default([], 'none'),
    )
    .option('--option <name=value>', 'set an option of the plugin named last; may be given again', (word) => {
      plugins.set(word);
    })
    .option('--plugins-from <folder>', 'folder that plugin names are resolved from', process.cwd())
    .option('--store <path>', "xenstored's socket, or the xenbus device; found out when left out")
    .addHelpText(
      'after',
      `${examples([
        ['netaccel xen backend --bridge xenbr0', 'serve every vif on the bridge xenbr0'],
        ['netaccel xen backend --ovs br-int', 'the same on Open vSwitch, as an OVN controller wants it'],
        [
          'netaccel xen backend --port tap:guests',
          'guests on a network of their own, with one interface here',
        ],
        [
          'netaccel xen backend --port nic:net0 --plugin @netaccel/dummy-accel-backend',
          'guests on a model NIC, whose wire leads to net0; a vif with the key accel=nic0 gets the fast path',
        ],
        [
          'netaccel xen backend --port nic:net0 --plugin my-nic --option filters=4',
          'the same with a plugin of your own, and one of its options set',
        ],
        ['netaccel xen backend --bridge xenbr0 --metrics 127.0.0.1:9190', 'figures for Prometheus'],
      ])}\n\nThe kernel driver xen-netback must not be loaded: both would serve the same vifs.\n` +
        'Log: one JSON object on each line of standard output.',
    )
    .action((flags: BackendFlags) => runCommand(false, () => runBackend(flags)));
}

/** `--plugin` and the `--option`s behind it, in the order of the command line. */
class PluginFlags {
  private readonly flags: PluginFlag[] = [];

  add(name: string): readonly PluginFlag[] {
    this.flags.push({ name, options: {} });
    return this.flags;
  }

  set(word: string): void {
    const last = this.flags.pop();
    if (last === undefined) throw new InvalidArgumentError('expected --plugin before it, saw none');
    try {
      this.flags.push({ name: last.name, options: addOption(word, last.options) });
    } catch (error) {
      throw new InvalidArgumentError((error as RangeError).message);
    }
  }
}

function port(text: string): PortSpec {
  const spec = parsePort(text);
  if (spec !== null) return spec;
  throw new InvalidArgumentError(`expected tap:NAME, nic:NAME or file:CAPTURE, saw ${text}`);
}

function hotplug(text: string): 'self' | 'script' {
  if (text === 'self' || text === 'script') return text;
  throw new InvalidArgumentError(`expected self or script, saw ${text}`);
}

function metricsAddress(text: string): MetricsAddress {
  const address = parseMetricsAddress(text);
  if (address !== null) return address;
  throw new InvalidArgumentError(`expected an address and a port, such as 127.0.0.1:9190; saw ${text}`);
}
