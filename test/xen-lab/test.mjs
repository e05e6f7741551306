// Runs the tests of the lab and prints a table, then `N passed, N failed`: `npm run test:xen [-- NAME...]`.
// --quick: only the tests that CI runs. Where the lab cannot be had, it says why and passes nothing.
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { stage } from './stage.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const CANNOT = 126;
/** One boot: far more than it takes, for machines that do much else. */
const LIMIT_SECONDS = '1500';

/** A boot of the lab each. */
const BOOTS = [
  { name: 'traffic', quick: true },
  { name: 'frontend', quick: true },
  { name: 'lifecycle', quick: true },
  { name: 'features', quick: false },
  { name: 'driver-domain', quick: false },
  { name: 'acceleration', quick: false },
  { name: 'save', quick: false },
  { name: 'ports', quick: false },
  { name: 'ovs', quick: false },
  { name: 'hostile', quick: false },
];

const words = process.argv.slice(2);
const quick = words.includes('--quick');
const asked = words.filter((word) => !word.startsWith('--'));
const boots = BOOTS.filter(
  ({ name, quick: isQuick }) => (asked.length === 0 || asked.includes(name)) && (!quick || isQuick),
);
if (boots.length === 0) {
  console.error(`expected one of ${BOOTS.map(({ name }) => name).join(', ')}, saw ${asked.join(', ')}`);
  process.exit(2);
}

/** A folder for what the lab says besides, a file for each boot. */
const log = process.env.XENLAB_TEST_LOGS;
if (log !== undefined) mkdirSync(log, { recursive: true });
const results = [];
const seen = (result) => {
  results.push(result);
  const { test, driver, check, ok, detail, seconds } = result;
  const took = seconds === undefined ? '' : `${seconds} s`;
  console.log(
    `${ok ? 'ok    ' : 'FAILED'}  ${test.padEnd(12)}  ${driver.padEnd(8)}  ${took.padStart(6)}  ${check.padEnd(52)}  ${detail}`,
  );
};

/** Boots the lab for one group of tests; answers run.sh's exit code. */
async function boot({ name }) {
  const started = Date.now();
  const command = `node tests/${name}.mjs${quick ? ' --quick' : ''}`;
  const child = spawn(join(here, 'run.sh'), ['-t', LIMIT_SECONDS, '-d', folder, command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, to be ended with all that it started.
    detached: true,
  });
  running = child;
  const rest = [];
  const read = (stream) =>
    createInterface({ input: stream }).on('line', (line) => {
      if (line.startsWith('@result ')) seen(JSON.parse(line.slice(8)));
      else {
        rest.push(line);
        if (log !== undefined) appendFileSync(join(log, `${name}.log`), `${line}\n`);
      }
    });
  read(child.stdout);
  read(child.stderr);
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code === CANNOT) return { code, why: rest.at(-1) };
  if (code !== 0)
    seen({ test: name, driver: '', check: 'runs to its end', ok: false, detail: `exit code ${code}` });
  console.log(`        ${name}: ${Math.round((Date.now() - started) / 1000)} s`);
  if (log === undefined && (code !== 0 || results.some(({ ok }) => !ok)))
    console.log(rest.slice(-40).join('\n'));
  return { code };
}

const folder = mkdtempSync(join(tmpdir(), 'netaccel-xen-'));
let running = null;
const clean = () => {
  // Gone already when it ended by itself.
  if (running?.exitCode === null && running.signalCode === null) process.kill(-running.pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
};
process.once('exit', clean);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
await stage(folder);
for (const group of boots) {
  const { code, why } = await boot(group);
  if (code !== CANNOT) continue;
  console.log(`skipped: ${why}`);
  break;
}
const failed = results.filter(({ ok }) => !ok).length;
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
