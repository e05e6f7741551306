/** `netaccel top`: what flows in a running lab, again and again until Ctrl-C. */
import type { Command } from 'commander';
import { Interrupt } from './interrupt.js';
import { readLab } from './ls.js';
import { examples, positive, positiveInteger, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { formatTable, printJson } from './output.js';
import { nameOf, percent, ratesBetween, scaled } from './rates.js';
import type { GuestRates } from './rates.js';
import { runCommand } from './run.js';
import { everyGuest, fastPath, vifState } from './state-words.js';
import type { LabReport } from '../up/report.js';

interface Flags extends LabFlags {
  readonly interval: number;
  readonly count?: number;
}

const HEADS = [
  'guest',
  'state',
  'fast path',
  'sends',
  'frames/s',
  'receives',
  'frames/s',
  'fast',
  'declined',
  'errors',
];

/** Adds the command. */
export function registerTop(program: Command): void {
  withLab(program.command('top').description('a live table of what flows in a running lab; Ctrl-C ends it'))
    .option('--interval <seconds>', 'time between two looks', positive, 1)
    .option('--count <n>', 'looks, then end', positiveInteger)
    .addHelpText(
      'after',
      examples([
        ['netaccel top', 'once a second'],
        ['netaccel top --interval 0.2', 'five times a second'],
        ['netaccel top --json --count 10', 'ten objects, one a line'],
      ]),
    )
    .action((flags: Flags) => runCommand(flags.json, () => top(flags)));
}

async function top({ lab, json, interval, count = Infinity }: Flags): Promise<undefined> {
  const interrupt = new Interrupt();
  try {
    let before = await readLab(lab);
    for (let n = 0; n < count && (await pause(interval * 1000, interrupt.signal)); n++) {
      const after = await readLab(before.name);
      const rates = ratesBetween(before, after);
      if (json === true)
        printJson({ at: new Date(after.atUs / 1000).toISOString(), lab: after.name, rates }, 'line');
      else draw(after, rates, n);
      before = after;
    }
  } finally {
    interrupt.release();
  }
  return undefined;
}

/** Waits; false when it is time to end. */
function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(false);
      return;
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end);
      resolve(true);
    }, ms);
    const end = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    signal.addEventListener('abort', end, { once: true });
  });
}

function draw(report: LabReport, rates: Readonly<Record<string, GuestRates>>, look: number): void {
  const text = `lab ${report.name}, ${new Date(report.atUs / 1000).toLocaleTimeString()}\n\n${formatTable(HEADS, topRows(report, rates))}\n`;
  // On a terminal each look takes the place of the one before; elsewhere they follow each other.
  if (process.stdout.isTTY) process.stdout.write(`\u001b[H\u001b[J${text}`);
  else process.stdout.write(look === 0 ? text : `\n${text}`);
}

/** A row a guest. */
export function topRows(report: LabReport, rates: Readonly<Record<string, GuestRates>>): string[][] {
  return everyGuest(report).map(({ guest, host }) => {
    const rate = rates[nameOf(guest)];
    const { txErrors, rxErrors, txDropped, rxDropped } = guest.errors;
    return [
      nameOf(guest),
      vifState(guest),
      fastPath(guest, host),
      scaled(rate?.txBitsPerSecond ?? 0, 'b/s'),
      scaled(rate?.txFramesPerSecond ?? 0, ''),
      scaled(rate?.rxBitsPerSecond ?? 0, 'b/s'),
      scaled(rate?.rxFramesPerSecond ?? 0, ''),
      percent(rate?.fastShare ?? null),
      String(Object.values(guest.declines).reduce((sum, n) => sum + n, 0)),
      String(txErrors + rxErrors + txDropped + rxDropped),
    ];
  });
}
