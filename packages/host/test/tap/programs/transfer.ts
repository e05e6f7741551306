/**
 * Two guests, two TAPs, two forwarding workers; one ordinary TCP transfer over IPv4 and one over IPv6.
 * `transfer.js MEBIBYTES` prints a {@link TransferReport}.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Kicker, enterUserNamespace, loadLibc, openNetworkNamespaces } from '../../../src/tap/index.js';
import type {
  NamespaceReport,
  NetworkNamespace,
  TapInterface,
  TapStatistics,
} from '../../../src/tap/index.js';
import type { ForwarderReport, ForwarderTask } from './forwarder.js';
import type { PeerReport } from './peer.js';

/** What the program prints, as JSON. */
export interface TransferReport {
  /** Real user, as seen outside of the user namespace. */
  readonly uidMap: string;
  readonly transfers: { readonly sent: PeerReport; readonly received: PeerReport }[];
  readonly forwarded: { read: TapStatistics; written: TapStatistics; segmented: number }[];
  readonly during: readonly NamespaceReport[];
  readonly descriptorsBefore: readonly string[];
  readonly descriptorsAfter: readonly string[];
  readonly namespaceBefore: string;
  readonly namespaceAfter: string;
  readonly namespacesAfter: readonly NamespaceReport[];
}

const peer = fileURLToPath(new URL('peer.js', import.meta.url));
const FORWARDER_BYTES = 2 * 65536;

const libc = await loadLibc();
enterUserNamespace(libc);
const mebibytes = Number(process.argv[2] ?? '8');

const homeName = (): string => readlinkSync('/proc/thread-self/ns/net');
/** Descriptors and what they are; the one that lists the folder is gone by the time it is looked at. */
const descriptors = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return `${fd} ${readlinkSync(`/proc/self/fd/${fd}`).replace(/:\[.*/, '')}`;
    } catch {
      return [];
    }
  });

function forwarder(task: ForwarderTask): { kick: Promise<Kicker>; end: Promise<ForwarderReport> } {
  const worker = new Worker(new URL('forwarder.js', import.meta.url), { workerData: task });
  const reports: ((report: ForwarderReport) => void)[] = [];
  const next = (): Promise<ForwarderReport> => new Promise((resolve) => reports.push(resolve));
  const kick = next().then((report) => {
    if (!('kickDescriptor' in report)) throw new Error('expected the kick descriptor first');
    return new Kicker(libc, report.kickDescriptor);
  });
  const last = next();
  worker.on('message', (report: ForwarderReport) => reports.shift()?.(report));
  const exited = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
  return { kick, end: exited.then(() => last) };
}

async function* lines(child: ChildProcess): AsyncGenerator<string> {
  if (child.stdout === null) throw new Error('expected a pipe');
  for await (const line of createInterface({ input: child.stdout })) yield line;
}

async function nextJson<T>(source: AsyncGenerator<string>): Promise<T> {
  const line = await source.next();
  if (line.done === true) throw new Error('the peer ended without a report');
  return JSON.parse(line.value) as T;
}

async function transfer(a: NetworkNamespace, b: NetworkNamespace, address: string): Promise<PeerReport[]> {
  const listener = b.spawn(process.execPath, [peer, 'listen'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const listenerEnded = ended(listener);
  const heard = lines(listener);
  const port = await nextJson<number>(heard);
  const sender = a.spawn(process.execPath, [peer, 'send', address, String(port), String(mebibytes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const senderEnded = ended(sender);
  during ??= namespaces.describe();
  const reports = [await nextJson<PeerReport>(lines(sender)), await nextJson<PeerReport>(heard)];
  await Promise.all([listenerEnded, senderEnded]);
  return reports;
}

/** The program is gone and its output read. */
function ended(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('close', resolve));
}

// The first child and worker leave descriptors of Node's own behind; they are not what is counted.
await new Promise((resolve) => new Worker('', { eval: true }).once('exit', resolve));
const descriptorsBefore = descriptors();
const namespaceBefore = homeName();
let during: NamespaceReport[] | undefined;

const namespaces = await openNetworkNamespaces();
const a = namespaces.add('guest-a');
const b = namespaces.add('guest-b');
const taps: [TapInterface, TapInterface] = [
  a.openTap({ name: 'eth0', addresses: ['10.9.0.1/24', 'fd00:9::1/64'], macAddress: '02:00:00:00:00:0a' }),
  b.openTap({ name: 'eth0', addresses: ['10.9.0.2/24', 'fd00:9::2/64'], macAddress: '02:00:00:00:00:0b' }),
];
const memory = new SharedArrayBuffer(2 * FORWARDER_BYTES);
const [tapA, tapB] = [taps[0].describe(), taps[1].describe()];
const forwarders = [
  forwarder({ from: tapA, to: tapB, memory, at: 0 }),
  forwarder({ from: tapB, to: tapA, memory, at: FORWARDER_BYTES }),
];
const kickers = await Promise.all(forwarders.map(({ kick }) => kick));

const transfers = [];
for (const address of ['10.9.0.2', 'fd00:9::2']) {
  const [sent, received] = await transfer(a, b, address);
  if (sent === undefined || received === undefined) throw new Error('a peer did not report');
  transfers.push({ sent, received });
}

for (const kicker of kickers) kicker.kick();
const forwarded = await Promise.all(forwarders.map(({ end }) => end));
await namespaces.close();

const report: TransferReport = {
  uidMap: readFileSync('/proc/self/uid_map', 'utf8').trim().replace(/\s+/g, ' '),
  transfers,
  forwarded: forwarded as TransferReport['forwarded'],
  during: during ?? [],
  descriptorsBefore,
  descriptorsAfter: descriptors(),
  namespaceBefore,
  namespaceAfter: homeName(),
  namespacesAfter: namespaces.describe(),
};
process.stdout.write(`${JSON.stringify(report)}\n`);
