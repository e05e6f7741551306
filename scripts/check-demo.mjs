// Checks the object that `netaccel demo --json` prints (schema netaccel.demo/1): its shape, and that no frame
// was lost, doubled, reordered or changed. Reads the file named, or runs the demo itself.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const paths = ['native', 'slow', 'fast'];
const checkFields = ['sent', 'received', 'lost', 'duplicated', 'reordered', 'corrupted'];
const runNumbers = ['frameBytes', 'seconds', 'frames', 'bytes', 'gbps', 'mpps'];
const acceleratedNumbers = ['txSent', 'txDeclined', 'rxFast', 'rxSlow'];

/**
 * @param {unknown} report
 * @returns {string[]} what is wrong, empty when nothing is
 */
export function demoProblems(report) {
  /** @type {string[]} */
  const problems = [];

  /** @param {unknown} value @param {string} where @returns {Record<string, unknown>} */
  const object = (value, where) => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return /** @type {Record<string, unknown>} */ (value);
    }
    problems.push(`${where}: expected an object, saw ${JSON.stringify(value)}`);
    return {};
  };
  /** @param {unknown} value @param {string} where */
  const number = (value, where) => {
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    problems.push(`${where}: expected a number of at least 0, saw ${JSON.stringify(value)}`);
    return 0;
  };
  /** @param {unknown} value @param {string} where @param {readonly unknown[]} allowed */
  const oneOf = (value, where, allowed) => {
    if (!allowed.includes(value)) {
      problems.push(`${where}: expected ${allowed.join(' or ')}, saw ${JSON.stringify(value)}`);
    }
  };
  /**
   * A frame run proves each frame. Under kernel TCP the kernel may itself send a segment twice, so there only
   * corruption is a fault.
   * @param {unknown} value @param {string} where @param {boolean} everyFrame
   */
  const check = (value, where, everyFrame) => {
    const fields = object(value, where);
    for (const field of checkFields) number(fields[field], `${where}.${field}`);
    for (const field of everyFrame ? ['lost', 'duplicated', 'reordered', 'corrupted'] : ['corrupted']) {
      if (fields[field] !== 0) problems.push(`${where}.${field} is ${JSON.stringify(fields[field])}, not 0`);
    }
    if (everyFrame && fields['sent'] !== fields['received']) {
      problems.push(`${where}: ${String(fields['sent'])} sent but ${String(fields['received'])} received`);
    }
    if (fields['received'] === 0) problems.push(`${where}: nothing was received`);
  };

  const top = object(report, 'report');
  oneOf(top['schema'], 'schema', ['netaccel.demo/1']);
  oneOf(top['mode'], 'mode', ['tap', 'frames']);

  const runs = Array.isArray(top['runs']) ? /** @type {unknown[]} */ (top['runs']) : [];
  if (runs.length === 0) problems.push('runs: expected some runs');
  const seen = new Set();
  for (const [i, value] of runs.entries()) {
    const where = `runs[${i}]`;
    const run = object(value, where);
    oneOf(run['path'], `${where}.path`, paths);
    oneOf(run['traffic'], `${where}.traffic`, ['tcp', 'frames']);
    seen.add(run['path']);
    for (const field of runNumbers) number(run[field], `${where}.${field}`);
    check(run['check'], `${where}.check`, run['traffic'] !== 'tcp');
    const accelerated = object(run['accelerated'], `${where}.accelerated`);
    for (const field of acceleratedNumbers) number(accelerated[field], `${where}.accelerated.${field}`);
    const declines = object(accelerated['declines'], `${where}.accelerated.declines`);
    for (const [reason, n] of Object.entries(declines)) number(n, `${where}.accelerated.declines.${reason}`);
    if (run['path'] === 'fast' && (accelerated['txSent'] === 0 || accelerated['rxFast'] === 0)) {
      problems.push(`${where}: the fast path carried nothing one way`);
    }
    if (run['path'] === 'slow' && (accelerated['txSent'] !== 0 || accelerated['rxFast'] !== 0)) {
      problems.push(`${where}: the slow path has accelerated frames`);
    }
  }
  for (const path of paths) {
    if (!seen.has(path)) problems.push(`runs: none for the ${path} path`);
  }

  const ratios = object(top['ratios'], 'ratios');
  for (const field of ['fastOverSlow', 'fastOverNative']) number(ratios[field], `ratios.${field}`);
  const switchover = object(top['switchover'], 'switchover');
  for (const when of ['attach', 'detach']) {
    check(switchover[when], `switchover.${when}`, top['mode'] === 'frames');
  }
  if (top['mode'] === 'frames') {
    const replay = object(top['replay'], 'replay');
    for (const path of ['slow', 'fast']) {
      check(replay[path], `replay.${path}`, true);
      const { accelerated } = object(replay[path], `replay.${path}`);
      const { rxFast } = object(accelerated, `replay.${path}.accelerated`);
      const fast = number(rxFast, `replay.${path}.accelerated.rxFast`) > 0;
      if (fast !== (path === 'fast'))
        problems.push(`replay.${path}: ${String(rxFast)} frames came the fast way`);
    }
  }
  const plugin = object(top['plugin'], 'plugin');
  for (const field of ['frontend', 'backend', 'contract']) {
    if (plugin[field] === undefined) problems.push(`plugin.${field} is missing`);
  }
  return problems;
}

/** @returns {string} */
function runDemo() {
  const cli = fileURLToPath(new URL('../packages/host/dist/cli.js', import.meta.url));
  const result = spawnSync(process.execPath, [cli, 'demo', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`netaccel demo --json ended with status ${String(result.status)}`);
  return result.stdout;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = process.argv[2];
  const text = file === undefined ? runDemo() : readFileSync(file, 'utf8');
  /** @type {unknown} */
  let report;
  try {
    report = JSON.parse(text);
  } catch (error) {
    console.error(
      `The demo did not print one JSON object (${String(error)}); it printed:\n${text.slice(0, 500)}`,
    );
    process.exit(1);
  }
  const problems = demoProblems(report);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
  else console.log('The demo report is sound: nothing lost, duplicated, reordered or corrupted.');
}
