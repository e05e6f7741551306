/** `netaccel explain`: is this vif accelerated, by what, what was declined and why; and if not, what to do. */
import type { Command } from 'commander';
import { callLab } from '../control/socket.js';
import type { ExplainReport } from '../up/explain.js';
import { examples, withLab } from './options.js';
import type { LabFlags } from './options.js';
import { formatTable, printJson, styled } from './output.js';
import { percent, scaled } from './rates.js';
import { reasonText } from './reasons.js';
import { runCommand } from './run.js';
import { vifState } from './state-words.js';
import { whySlow } from './why-slow.js';

/** Adds the command. */
export function registerExplain(program: Command): void {
  withLab(program.command('explain').description('why the frames of a vif go the way they do'))
    .argument('<guest>', 'a guest (a, alpha.a) or its vif (vif1.0, alpha.vif1.0)')
    .addHelpText(
      'after',
      examples([
        ['netaccel explain a', 'the guest a'],
        ['netaccel explain alpha.vif1.0', 'the same by its vif, where several hosts have one'],
        ['netaccel explain a --json | jq .guest.declines', 'for scripts'],
      ]),
    )
    .action((target: string, flags: LabFlags) =>
      runCommand(flags.json, async () => {
        const report = (await callLab(flags.lab, 'explain', { target })) as ExplainReport;
        if (flags.json === true) printJson({ ...report, whySlow: whySlow(report) });
        else console.log(explainText(report));
        return undefined;
      }),
    );
}

/** The report for people. */
export function explainText(report: ExplainReport): string {
  return [
    head(report),
    acceleration(report),
    traffic(report),
    declines(report),
    filters(report),
    losses(report),
    features(report),
    log(report),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function head({ guest, host, lab }: ExplainReport): string {
  const rate =
    guest.rateBytesPerSecond > 0 ? `, limited to ${scaled(guest.rateBytesPerSecond * 8, 'b/s')}` : '';
  const channels = guest.eventChannels === 'fifo' ? ', FIFO event channels' : '';
  return [
    `${styled('bold', `${host.name}.${guest.name}`)}  ${guest.vif} of the lab ${lab}`,
    `  vif            ${vifState(guest)}, ${guest.queues} ${guest.queues === 1 ? 'queue' : 'queues'}${channels}${rate}`,
    `  address        ${guest.ip ?? 'none'}, ${guest.mac}, mtu ${guest.mtu}, behind it ${guest.behind}`,
    ...(guest.addresses === null
      ? []
      : [
          `  may send from  ${guest.addresses.join(', ') || 'no IP address'} at its MAC address; all else is dropped`,
        ]),
  ].join('\n');
}

function acceleration(report: ExplainReport): string {
  const { port, backend, frontend } = report.guest.acceleration;
  const half = ({ plugin, version, contract, state }: typeof backend): string =>
    plugin === null
      ? 'none'
      : `${plugin} ${version ?? ''}${contract === null ? '' : `, contract ${contract}`}, ${state}`;
  const why = whySlow(report);
  return [
    why === null
      ? `  accelerated    ${styled('green', 'yes')}, on NIC port ${port ?? '?'}`
      : `  accelerated    ${styled('yellow', 'no')}`,
    `  backend half   ${half(backend)}`,
    `  frontend half  ${half(frontend)}`,
    ...abilities(report),
    ...(why === null ? [] : [`  why not        ${why.why}`, `  what to do     ${styled('bold', why.todo)}`]),
  ].join('\n');
}

/** What the plugin says that it can do, and what is set of its options. */
function abilities({ guest, host }: ExplainReport): string[] {
  const plugin = host.plugins.find(({ name }) => name === guest.acceleration.backend.plugin);
  if (plugin === undefined) return [];
  const can = Object.entries(plugin.capabilities).filter(([, value]) => value !== false);
  const options = Object.entries(plugin.options);
  return [
    `  it can         ${can.map(([name, value]) => (value === true ? name : `${name} ${String(value)}`)).join(', ') || 'nothing but send'}`,
    ...(options.length === 0
      ? []
      : [`  options        ${options.map(([name, value]) => `${name} ${String(value)}`).join(', ')}`]),
  ];
}

function traffic({ guest: { fast, slow, errors } }: ExplainReport): string {
  const row = (name: string, t: typeof fast): string[] => [
    name,
    String(t.txFrames),
    scaled(t.txBytes, 'B'),
    String(t.rxFrames),
    scaled(t.rxBytes, 'B'),
  ];
  const share = (a: number, b: number): string => percent(a + b === 0 ? null : a / (a + b));
  const rows = [
    row('fast', fast),
    row('slow', slow),
    ['fast share', share(fast.txFrames, slow.txFrames), '', share(fast.rxFrames, slow.rxFrames), ''],
  ];
  const { txErrors, rxErrors, txDropped, rxDropped } = errors;
  return `${formatTable(['path', 'frames sent', 'bytes', 'frames received', 'bytes'], rows)}\nerrors: ${txErrors} sending, ${rxErrors} receiving; dropped: ${txDropped} sending, ${rxDropped} receiving`;
}

function declines({ guest }: ExplainReport): string {
  const rows = Object.entries(guest.declines)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => {
      const { means, todo } = reasonText(reason);
      return [reason, count, means, todo ?? 'nothing: this is as it should be'];
    });
  if (rows.length > 0) return formatTable(['declined because', 'frames', 'which means', 'what to do'], rows);
  return guest.accelerated ? 'declined: nothing; every frame that was offered went the fast way' : '';
}

function filters({ filters: rows, guest }: ExplainReport): string {
  if (rows.length === 0)
    return guest.accelerated ? 'filters: none yet; the plugin inserts them for flows that it sees' : '';
  return formatTable(
    ['filter in the NIC', 'port', 'VI', 'hits', 'idle'],
    rows.map(({ match, port, vi, hits, idleMs }) => [
      match,
      port,
      vi,
      hits,
      idleMs === null ? 'never hit' : scaled(idleMs / 1000, 's'),
    ]),
  );
}

function losses({ losses: rows }: ExplainReport): string {
  if (rows.length === 0) return 'lost: nothing, anywhere on its way';
  return formatTable(
    ['lost where', 'what', 'frames'],
    rows.map(({ where, what, frames }) => [where, what, frames]),
  );
}

function features({ features: rows }: ExplainReport): string {
  if (rows.length === 0) return '';
  return formatTable(
    ['feature', 'the backend says', 'the frontend says', 'it is'],
    rows.map(({ key, backend, frontend, outcome }) => [
      key,
      backend ?? 'nothing',
      frontend ?? 'nothing',
      outcome,
    ]),
  );
}

function log({ log: lines }: ExplainReport): string {
  if (lines.length === 0) return '';
  return [
    'said last:',
    ...lines.map(
      ({ atMs, level, message }) => `  ${new Date(atMs).toLocaleTimeString()} ${level} ${message}`,
    ),
  ].join('\n');
}
