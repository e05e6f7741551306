/** `netaccel ls`: hosts and guests of a running lab, who is accelerated by what, and what flows. */
import type { Command } from 'commander';
import { callLab } from '../control/socket.js';
import type { LabReport } from '../up/report.js';
import { examples, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { printJson, printTable } from './output.js';
import { nameOf, percent, ratesBetween, scaled } from './rates.js';
import type { GuestRates } from './rates.js';
import { runCommand } from './run.js';
import { everyGuest, fastPath, pluginNames, portNames, vifState } from './state-words.js';

interface Flags extends LabFlags {
  readonly rates: boolean;
}

/** Time between the two readings that rates are made of. */
const BETWEEN_MS = 400;

/** Adds the command. */
export function registerLs(program: Command): void {
  withLab(program.command('ls').description('hosts and guests of a running lab, their fast paths and rates'))
    .option('--no-rates', 'one reading only, at once')
    .addHelpText(
      'after',
      examples([
        ['netaccel ls', 'the lab that runs'],
        ['netaccel ls --lab two-hosts', 'one of several'],
        ['netaccel ls --json | jq .rates', 'for scripts'],
      ]),
    )
    .action((flags: Flags) => runCommand(flags.json, () => list(flags)));
}

async function list({ lab, json, rates }: Flags): Promise<undefined> {
  const first = await readLab(lab);
  let last = first;
  if (rates) {
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    last = await readLab(first.name);
  }
  const between = rates ? ratesBetween(first, last) : {};
  if (json === true) printJson({ ...last, ...(rates ? { rates: between } : {}) });
  else show(last, between);
  return undefined;
}

/** Reads a running lab. */
export async function readLab(lab: string | undefined): Promise<LabReport> {
  return (await callLab(lab, 'describe')) as LabReport;
}

function show(report: LabReport, rates: Readonly<Record<string, GuestRates>>): void {
  console.log(`lab ${report.name}, process ${report.pid}, ${report.file}\n`);
  printTable(['host', 'plugins', 'NIC ports', 'own address'], hostRows(report));
  console.log();
  printTable(GUEST_HEADS, guestRows(report, rates));
}

/** Heads of {@link guestRows}. */
export const GUEST_HEADS = [
  'guest',
  'vif',
  'address',
  'state',
  'fast path',
  'sends',
  'receives',
  'fast',
] as const;

/** A row a host. */
export function hostRows({ hosts }: LabReport): string[][] {
  return hosts.map((host) => [
    host.name,
    host.problem === null ? pluginNames(host) : `does not answer: ${host.problem}`,
    portNames(host),
    host.own === null ? 'none' : (host.own.ip ?? host.own.mac),
  ]);
}

/** A row a guest. */
export function guestRows(report: LabReport, rates: Readonly<Record<string, GuestRates>>): string[][] {
  return everyGuest(report).map(({ guest, host }) => {
    const rate = rates[nameOf(guest)];
    return [
      nameOf(guest),
      guest.vif,
      guest.ip ?? guest.mac,
      vifState(guest),
      fastPath(guest, host),
      rate === undefined ? '-' : scaled(rate.txBitsPerSecond, 'b/s'),
      rate === undefined ? '-' : scaled(rate.rxBitsPerSecond, 'b/s'),
      percent(rate?.fastShare ?? null),
    ];
  });
}
