// Moves a guest round a lab of three hosts with a TCP connection open, again and again, and prints figures:
// `node scripts/migration-loop.mjs --rounds 100`. Needs the built packages, and a machine that can run guests with TAPs
// (`netaccel doctor`). Ends with 1 when a byte is wrong or missing, a frame was lost by the moves, one was refused, or a
// domain of the lab still holds something at its end: pages, grants, event channels, frames.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { callLab } from '@netaccel/host';

/** @typedef {import('@netaccel/host').MigrationReport} MigrationReport */
/** @typedef {{ domains: { host: string, guest: string | null, held: Record<string, number> | null }[] }} LabLedger */
/** @typedef {{ child: import('node:child_process').ChildProcess, text: () => string, ended: Promise<number | null> }} Program */

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '100' } } });
const rounds = Number(values.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1) {
  console.error(`--rounds: expected a whole number from 1, saw ${values.rounds}`);
  process.exit(2);
}

const path = (/** @type {string} */ file) =>
  fileURLToPath(new URL(`../packages/host/${file}`, import.meta.url));
const cli = path('dist/cli.js');
const peer = path('dist/tcp-peer.js');
const LAB = 'three-hosts';
const HOSTS = ['gamma', 'beta', 'alpha'];
const PORT = '7000';
const START_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'na-'));
process.env['NETACCEL_CONTROL_DIR'] = join(folder, 'c');

/** @param {string[]} args @returns {Program} */
function netaccel(...args) {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => (text += more));
  return { child, text: () => text, ended: new Promise((resolve) => child.once('close', resolve)) };
}

/** @param {Program} program @param {string} word */
async function says(program, word) {
  const end = performance.now() + START_MS;
  while (!program.text().includes(word)) {
    if (program.child.exitCode !== null || performance.now() > end)
      throw new Error(`expected "${word}", saw: ${program.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** @param {Program} program @returns {{ bytes: number, corrupted?: number }} */
const lastWord = (program) => JSON.parse(program.text().trim().split('\n').at(-1) ?? '{}');

/** @param {number[]} sorted @param {number} part */
const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

const lab = netaccel('up', path('labs/three-hosts.yaml'), '--json', '--ledger');
/** @type {Record<string, unknown>} */
const result = {};
try {
  await says(lab, '"netaccel.lab/1"');
  const receiver = netaccel('exec', 'b', '--', process.execPath, peer, 'receive', PORT);
  await says(receiver, 'listening');
  const sender = netaccel('exec', 'a', '--', process.execPath, peer, 'send', '10.77.0.12', PORT, '86400');
  /** @type {MigrationReport[]} */
  const moves = [];
  const started = performance.now();
  for (let round = 0; round < rounds; round++) {
    const before = lastWord(receiver).bytes ?? 0;
    const args = { target: 'a', host: HOSTS[round % HOSTS.length] };
    moves.push(/** @type {MigrationReport} */ (await callLab(LAB, 'migrate', args)));
    // The connection goes on before the next move.
    const end = performance.now() + START_MS;
    while ((lastWord(receiver).bytes ?? 0) <= before) {
      if (performance.now() > end) throw new Error(`round ${round}: no byte arrived any more`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const seconds = (performance.now() - started) / 1000;
  sender.child.kill('SIGTERM');
  await Promise.all([sender.ended, receiver.ended]);
  const pauses = moves.map(({ pauseMs }) => pauseMs).sort((a, b) => a - b);
  const lost = moves.reduce((sum, move) => sum + move.lost.holdFull + move.lost.txUnanswered, 0);
  Object.assign(result, {
    rounds,
    seconds,
    pauseMs: { median: quantile(pauses, 0.5), p90: quantile(pauses, 0.9), most: pauses.at(-1) },
    carried: moves.reduce((sum, { carried }) => sum + carried, 0),
    lost,
    groupFramesMissed: moves.reduce((sum, move) => sum + move.lost.holdGroup, 0),
    announced: moves.filter(({ announced }) => announced).length,
    bytesSent: lastWord(sender).bytes,
    bytesReceived: lastWord(receiver).bytes,
    corrupted: lastWord(receiver).corrupted,
  });
  const right = result['corrupted'] === 0 && result['bytesSent'] === result['bytesReceived'] && lost === 0;
  process.exitCode = right ? 0 : 1;
} finally {
  lab.child.kill('SIGINT');
  await lab.ended;
  rmSync(folder, { recursive: true, force: true });
}
const last = lab.text().trim().split('\n').at(-1) ?? '';
const ledger = /** @type {LabLedger} */ (JSON.parse(last));
const held = ledger.domains.map(({ host, guest, held }) => ({ host, guest, ...held }));
console.log(JSON.stringify({ ...result, held }, null, 2));
if (ledger.domains.some(({ held }) => held === null || Object.values(held).some((count) => count !== 0)))
  process.exitCode = 1;
