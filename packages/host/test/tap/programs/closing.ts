/** Tries what a lab must refuse, then closes a namespace in which a program and its child run. */
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { TapError, enterUserNamespace, loadLibc, openNetworkNamespaces } from '../../../src/tap/index.js';

/** What it prints, as JSON. */
export interface ClosingReport {
  readonly running: { readonly taps: readonly string[]; readonly processes: number };
  readonly closed: { readonly namespaces: number; readonly processes: number };
  /** For each thing tried, the code of its error. */
  readonly refusals: Readonly<Record<string, string>>;
  readonly tapsAfterRefusals: readonly string[];
  readonly atHome: boolean;
  readonly descriptorsLeft: number;
}

enterUserNamespace(await loadLibc());

const homeName = (): string => readlinkSync('/proc/thread-self/ns/net');
const descriptorCount = (): number => readdirSync('/proc/self/fd').length;
const refusal = (action: () => unknown): string => {
  try {
    action();
    return 'taken';
  } catch (error) {
    if (error instanceof TapError) return [error.code, error.errno].filter(Boolean).join(' ');
    return error instanceof Error ? error.name : String(error);
  }
};
const running = (kernelName: string): string[] =>
  readdirSync('/proc').filter((entry) => {
    try {
      return readlinkSync(`/proc/${entry}/ns/net`) === kernelName;
    } catch {
      return false;
    }
  });

// Node opens descriptors of its own for the first worker and the first child.
await new Promise((resolve) => new Worker('', { eval: true }).once('exit', resolve));
const home = homeName();
const before = descriptorCount();

const namespaces = await openNetworkNamespaces();
const guest = namespaces.add('guest');
const tap = guest.openTap({ name: 'eth0', addresses: ['10.9.0.1/24'], mtu: 9000 });
const refusals: Record<string, string> = {
  sameName: refusal(() => namespaces.add('guest')),
  sameInterface: refusal(() => guest.openTap({ name: 'eth0' })),
  badAddress: refusal(() => guest.openTap({ name: 'eth1', addresses: ['10.9.0.300/24'] })),
  badMtu: refusal(() => guest.openTap({ name: 'eth1', mtu: 1 })),
  throwing: refusal(() =>
    guest.inside(() => {
      throw new Error('inside');
    }),
  ),
};
const unknown = guest.spawn('no-such-command', [], { stdio: 'ignore', env: { PATH: '/usr/bin:/bin' } });
refusals['unknownCommand'] = `exit ${String(await new Promise((resolve) => unknown.once('exit', resolve)))}`;
const tapsAfterRefusals = guest.describe().taps;
const atHome = homeName() === home;

const shell = guest.spawn('sh', ['-c', 'sleep 1000 & echo; wait'], { stdio: ['ignore', 'pipe', 'inherit'] });
const shellClosed = new Promise((resolve) => shell.once('close', resolve));
await new Promise((resolve) => shell.stdout?.once('data', resolve));
const { taps, processes } = guest.describe();
await namespaces.close();
await shellClosed;
tap.close();
refusals['closedNamespace'] = refusal(() => guest.sysctl('ipv4/ip_forward'));
refusals['closedSet'] = refusal(() => namespaces.add('late'));

const report: ClosingReport = {
  running: { taps, processes: processes.length },
  closed: { namespaces: namespaces.describe().length, processes: running(guest.kernelName).length },
  refusals,
  tapsAfterRefusals,
  atHome,
  descriptorsLeft: descriptorCount() - before,
};
process.stdout.write(`${JSON.stringify(report)}\n`);
