/**
 * Makes a lab and holds it until it is killed: `holder.js STAGE` stops making at that stage. It prints one
 * JSON line when it is there, and everything that it started holds its standard output open.
 */
import { readFileSync } from 'node:fs';
import { enterUserNamespace, loadLibc, openNetworkNamespaces } from '../../../src/tap/index.js';

/** How far the lab is made when the holder stops, in order. */
export const STAGES = ['namespace', 'tap', 'program'] as const;

/** What it prints. */
export interface HolderReport {
  readonly pid: number;
  readonly kernelName: string;
  readonly programs: readonly number[];
}

const stage = process.argv[2] ?? 'program';
enterUserNamespace(await loadLibc());
const namespaces = await openNetworkNamespaces();
const guest = namespaces.add('guest');
if (stage !== 'namespace') guest.openTap({ name: 'eth0', addresses: ['10.9.0.1/24'] });
const programs: number[] = [];
if (stage === 'program') {
  const program = guest.spawn('sleep', ['1000'], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (program.pid === undefined) throw new Error('sleep did not start');
  programs.push(program.pid);
  // The tether is tied once the program itself runs.
  while (!readFileSync(`/proc/${program.pid}/cmdline`, 'utf8').startsWith('sleep')) {
    await new Promise(setImmediate);
  }
}
const report: HolderReport = { pid: process.pid, kernelName: guest.kernelName, programs };
process.stdout.write(`${JSON.stringify(report)}\n`);
setInterval(() => undefined, 1000);
