/** What `netaccel up` says when a lab is up: who is there, and what can be done from another terminal. */
import type { LabReport } from '../up/report.js';
import { hostRows } from './ls.js';
import { formatTable, styled } from './output.js';
import { nameOf } from './rates.js';
import { everyGuest, fastPath, vifState } from './state-words.js';

/** The text. */
export function summary(report: LabReport): string {
  const all = everyGuest(report);
  const guests = all.map(({ guest }) => guest);
  const behindTap = guests.filter(({ behind }) => behind === 'tap');
  const [first] = behindTap;
  const target = behindTap.find((guest) => guest !== first && guest.ip !== null)?.ip?.split('/')[0];
  const commands: [string, string][] = [
    ['netaccel ls', 'who is accelerated, and what flows; also: netaccel top'],
  ];
  if (first !== undefined) {
    const what = target === undefined ? 'a program in a guest' : 'a program in a guest; without one, a shell';
    commands.push([
      `netaccel exec ${nameOf(first)}${target === undefined ? '' : ` -- ping ${target}`}`,
      what,
    ]);
  }
  if (guests[0] !== undefined)
    commands.push([`netaccel explain ${nameOf(guests[0])}`, 'why its frames go the way they do']);
  if (report.wires[0] !== undefined)
    commands.push([`netaccel capture ${report.wires[0].ends[0]} -w wire.pcapng`, 'what passes the wire']);
  const store = report.hosts.find(({ storeSocket }) => storeSocket !== null)?.storeSocket;
  if (store !== undefined && store !== null)
    commands.push([`XENSTORED_PATH=${store} xenstore-ls -f`, 'what is in the store']);
  const width = Math.max(...commands.map(([command]) => command.length));
  return [
    `lab ${styled('bold', report.name)} is up, process ${report.pid}`,
    '',
    formatTable(['host', 'plugins', 'NIC ports', 'own address'], hostRows(report)),
    ...(guests.length === 0
      ? []
      : [
          '',
          formatTable(
            ['guest', 'address', 'behind it', 'state', 'fast path'],
            all.map(({ guest, host }) => [
              nameOf(guest),
              guest.ip ?? guest.mac,
              guest.behind,
              vifState(guest),
              fastPath(guest, host),
            ]),
          ),
        ]),
    '',
    'from another terminal:',
    ...commands.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`),
    '',
    'Ctrl-C takes everything down',
  ].join('\n');
}
