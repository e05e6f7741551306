/** `netaccel migrate`: moves a guest of a running lab to another host, with its connections open. */
import type { Command } from 'commander';
import { callLab } from '../control/socket.js';
import type { MigrationReport } from '../machine/migration.js';
import type { GuestReport, HostReport } from '../up/report.js';
import { readLab } from './ls.js';
import { examples, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { ExitCode, Progress, printJson, printTable } from './output.js';
import { nameOf } from './rates.js';
import { runCommand } from './run.js';
import { everyGuest, fastPath, vifState } from './state-words.js';

/** How long the new host's plugin has to take the guest in, before that is left to `explain`. */
const ATTACH_MS = 5000;
const LOOK_MS = 50;

/** Adds the command. */
export function registerMigrate(program: Command): void {
  withLab(
    program
      .command('migrate')
      .description('move a guest to another host of its lab, with its connections open'),
  )
    .argument('<guest>', 'a guest or its vif')
    .argument('<host>', 'the host to move it to')
    .addHelpText(
      'after',
      examples([
        ['netaccel migrate a beta', 'a goes on on beta: with the plugin there, or by the slow path'],
        ['netaccel migrate beta.a alpha --json', 'and back, with figures for a script'],
      ]),
    )
    .action((target: string, host: string, flags: LabFlags) =>
      runCommand(flags.json, () => migrate(target, host, flags)),
    );
}

async function migrate(target: string, host: string, { lab, json }: LabFlags): Promise<number> {
  const progress = new Progress(json === true);
  progress.show(`moving ${target} to ${host}`);
  let moved: MigrationReport;
  let found: { guest: GuestReport; host: HostReport };
  try {
    moved = (await callLab(lab, 'migrate', { target, host })) as MigrationReport;
    progress.show(`${moved.guest} is on ${moved.to}; waiting for its fast path`);
    found = await arrived(lab, moved);
  } finally {
    progress.clear();
  }
  if (json === true) printJson({ ...moved, accelerated: found.guest.accelerated });
  else show(moved, found.guest, found.host);
  return ExitCode.ok;
}

/** The guest where it is now, once it is accelerated or it is clear that it will not be. */
async function arrived(
  lab: string | undefined,
  { guest: name, to }: MigrationReport,
): Promise<{ guest: GuestReport; host: HostReport }> {
  const end = performance.now() + ATTACH_MS;
  for (;;) {
    const found = everyGuest(await readLab(lab)).find(
      ({ guest }) => guest.name === name && guest.host === to,
    );
    if (found === undefined)
      throw new Error(`expected ${name} on ${to}, saw it gone; "netaccel ls" says where it is`);
    const { guest, host } = found;
    const hopeless = guest.acceleration.port === null || host.plugins.length === 0;
    if (guest.accelerated || hopeless || performance.now() > end) return found;
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
}

function show(moved: MigrationReport, guest: GuestReport, host: HostReport): void {
  console.log(
    `${moved.guest} moved from ${moved.from} to ${moved.to}: its frames paused for ${moved.pauseMs.toFixed(1)} ms, ` +
      `${moved.carried} that came for it meanwhile went after it`,
  );
  const lost = Object.entries(moved.lost).filter(([, frames]) => frames > 0);
  if (lost.length > 0) console.log(`lost: ${lost.map(([why, frames]) => `${frames} ${why}`).join(', ')}`);
  if (!moved.announced)
    console.log(
      `${moved.from} has not answered that ${moved.guest} is on ${moved.to}: is there a wire between their bridges?`,
    );
  printTable(['guest', 'state', 'fast path'], [[nameOf(guest), vifState(guest), fastPath(guest, host)]]);
}
