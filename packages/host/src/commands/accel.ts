/** `netaccel accel`: plugins of a running host come and go; the toolstack allows a vif its fast path, or not. */
import { resolve } from 'node:path';
import type { OptionValues } from '@netaccel/core-hooks';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { callLab } from '../control/socket.js';
import { addOption } from '../plugin-options.js';
import type { GuestReport, LabReport } from '../up/report.js';
import { readLab } from './ls.js';
import { examples, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { ExitCode, Progress, printJson, printTable } from './output.js';
import { nameOf } from './rates.js';
import { runCommand } from './run.js';
import { everyGuest, fastPath, vifState } from './state-words.js';

/** How long vifs have to go where they are sent. */
const SETTLE_MS = 5000;
const LOOK_MS = 50;

/** Adds the command and its own. */
export function registerAccel(program: Command): void {
  const accel = program
    .command('accel')
    .description('load and unload plugins while traffic flows; allow or forbid a vif its fast path')
    .addHelpText(
      'after',
      examples([
        ['netaccel accel load alpha @netaccel/dummy-accel-backend', 'load a backend plugin on a host'],
        ['netaccel accel load alpha ./my-plugin.js', 'one from a file'],
        ['netaccel accel load alpha my-nic --option filters=4', 'with an option of its own'],
        ['netaccel accel unload alpha @netaccel/dummy-accel-backend', 'its vifs go back to the slow path'],
        ['netaccel accel forbid a', 'one guest only'],
        ['netaccel accel allow a eth0', 'and back'],
      ]),
    );
  registerPlugins(accel);
  registerKeys(accel);
}

function registerPlugins(accel: Command): void {
  withLab(accel.command('load').description('load a backend plugin on a host'))
    .argument('<host>', 'name of the host')
    .argument('<plugin>', 'npm name, or a path that begins with . or /')
    .option('--option <name=value>', 'set an option of the plugin; may be given again', optionOf)
    .action((host: string, plugin: string, flags: LoadFlags) =>
      runCommand(flags.json, async () => {
        // A path is the caller's; the lab has a folder of its own.
        const wanted = /^\.{1,2}\//.test(plugin) ? resolve(plugin) : plugin;
        const done = (await callLab(flags.lab, 'load', {
          host,
          plugin: wanted,
          options: flags.option ?? {},
        })) as Loaded;
        const what = `${done.plugin} is loaded on ${done.host}`;
        return settle(flags, what, (guest) => guest.host === done.host && isAllowed(guest), true);
      }),
    );
  withLab(accel.command('unload').description('unload a backend plugin from a host'))
    .argument('<host>', 'name of the host')
    .argument('<plugin>', 'the name under which it is loaded')
    .action((host: string, plugin: string, flags: LabFlags) =>
      runCommand(flags.json, async () => {
        await callLab(flags.lab, 'unload', { host, plugin });
        // Another plugin of the host may take its vifs over.
        const others =
          (await readLab(flags.lab)).hosts.find(({ name }) => name === host)?.plugins.length ?? 0;
        const what = `${plugin} is unloaded from ${host}`;
        return settle(flags, what, (guest) => guest.host === host && others === 0, false);
      }),
    );
}

function registerKeys(accel: Command): void {
  withLab(accel.command('allow').description("allow a guest's vif the fast path on a NIC port"))
    .argument('<guest>', 'a guest or its vif')
    .argument('[port]', "a NIC port of its host; the lab file's own when left out")
    .action((target: string, port: string | undefined, flags: LabFlags) =>
      runCommand(flags.json, async () => {
        const done = (await callLab(flags.lab, 'allow', { target, port: port ?? null })) as Changed;
        return settle(
          flags,
          `${done.guest} may use ${done.port ?? ''}`,
          (guest) => nameOf(guest) === done.guest,
          true,
        );
      }),
    );
  withLab(accel.command('forbid').description("take a guest's vif off the fast path"))
    .argument('<guest>', 'a guest or its vif')
    .action((target: string, flags: LabFlags) =>
      runCommand(flags.json, async () => {
        const done = (await callLab(flags.lab, 'forbid', { target })) as Changed;
        return settle(
          flags,
          `${done.guest} may not be accelerated`,
          (guest) => nameOf(guest) === done.guest,
          false,
        );
      }),
    );
}

function optionOf(word: string, before?: OptionValues): OptionValues {
  try {
    return addOption(word, before);
  } catch (error) {
    throw new InvalidArgumentError((error as RangeError).message);
  }
}

interface LoadFlags extends LabFlags {
  readonly option?: OptionValues;
}

interface Loaded {
  readonly host: string;
  readonly plugin: string;
}

interface Changed {
  readonly guest: string;
  readonly port: string | null;
}

function guestsOf(report: LabReport): GuestReport[] {
  return everyGuest(report).map(({ guest }) => guest);
}

function isAllowed({ acceleration }: GuestReport): boolean {
  return acceleration.port !== null;
}

/** Waits until the vifs concerned are where they shall be, and says where they are. */
async function settle(
  { lab, json }: LabFlags,
  what: string,
  concerns: (guest: GuestReport) => boolean,
  wanted: boolean,
): Promise<number> {
  const progress = new Progress(json === true);
  const end = performance.now() + SETTLE_MS;
  let report: LabReport;
  let missing: GuestReport[];
  for (;;) {
    report = await readLab(lab);
    missing = guestsOf(report).filter((guest) => concerns(guest) && guest.accelerated !== wanted);
    if (missing.length === 0 || performance.now() > end) break;
    progress.show(`${what}; waiting for ${missing.map(nameOf).join(', ')}`);
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
  progress.clear();
  const concerned = everyGuest(report).filter(({ guest }) => concerns(guest));
  if (json === true)
    printJson({
      done: what,
      guests: concerned.map(({ guest }) => ({ guest: nameOf(guest), accelerated: guest.accelerated })),
    });
  else {
    console.log(what);
    const rows = concerned.map(({ guest, host }) => [nameOf(guest), vifState(guest), fastPath(guest, host)]);
    if (rows.length > 0) printTable(['guest', 'state', 'fast path'], rows);
    for (const guest of missing)
      console.log(`"netaccel explain ${nameOf(guest)}" says why ${wanted ? 'not' : 'still'}`);
  }
  return missing.length === 0 ? ExitCode.ok : ExitCode.failed;
}
