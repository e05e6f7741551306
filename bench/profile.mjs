// Where the time of a frame goes, by source file: `npm run profile -- wire-native-64 wire-fast-64`, after a build;
// `--lines` for single lines, `--json` for machines, `--stretches N` for how long. With two cases the last column is what the second takes more.
//
// Each case runs in a process of its own under V8's sampling profiler, on one processor where that can be had.
// A sample counts for the file of the line that it fell on, inlined or not (see distinct-lines.mjs), by way of the
// source maps. Setting up and compiling are left out: only samples in the packages' own code and in memory
// kernels count, and their sum is the time that the case says a frame takes.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LINES_PER_FILE, builtFiles } from './distinct-lines.mjs';

const PACKAGES = fileURLToPath(new URL('../packages/', import.meta.url));
const CLI = join(PACKAGES, 'host/dist/cli.js');
const LINES = new URL('./distinct-lines.mjs', import.meta.url).href;
const INTERVAL_US = 250;
/** What takes less than this in every case is not shown by itself. */
const LEAST_NS = 0.5;
const COPIES = 'memory kernels (copies, sums)';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    lines: { type: 'boolean', default: false },
    stretches: { type: 'string', default: '3000' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help || positionals.length === 0) {
  console.log(
    'usage: npm run profile -- CASE [CASE] [--lines] [--stretches N] [--json]; cases: npm run bench -- --list',
  );
  process.exit(values.help ? 0 : 2);
}

const files = builtFiles();
/** @type {Map<string, SourceMap | null>} */
const maps = new Map();

/** @param {string} file */
function mapOf(file) {
  let map = maps.get(file);
  if (map === undefined) {
    try {
      map = new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')));
    } catch {
      map = null;
    }
    maps.set(file, map);
  }
  return map;
}

/** The source file of a line as the profiler numbers it; with `--lines`, the line in it. @param {number} line from 1 @returns {string} */
function sourceOf(line) {
  const file = files[Math.floor((line - 1) / LINES_PER_FILE)];
  if (file === undefined) return 'elsewhere';
  const entry = mapOf(file)?.findEntry((line - 1) % LINES_PER_FILE, 0);
  const source = entry !== undefined && 'originalSource' in entry ? entry.originalSource : undefined;
  const path = relative(PACKAGES, source === undefined ? file : resolve(dirname(file), source));
  const lineOf = entry !== undefined && 'originalLine' in entry ? `:${entry.originalLine + 1}` : '';
  return path.replace('/src/', '/') + (values.lines ? lineOf : '');
}

/** @param {string} name @returns {{ nsPerFrame: number, files: Map<string, number> }} */
function profile(name) {
  const directory = mkdtempSync(join(tmpdir(), 'netaccel-profile-'));
  try {
    const node = ['--cpu-prof', `--cpu-prof-dir=${directory}`, `--cpu-prof-interval=${INTERVAL_US}`];
    const run = ['--import', LINES, CLI, 'bench', '--case', name, '--stretches', values.stretches];
    const pinned = spawnSync('taskset', ['-c', '0', 'true']).status === 0 ? ['taskset', '-c', '0'] : [];
    const [program = '', ...args] = [...pinned, process.execPath, ...node, ...run];
    process.stderr.write(`${name} …\n`);
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${name}: ${stderr.trim() || `ended with ${status}`}`);
    const { figures, unavailable } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}');
    if (figures?.nsPerFrame === undefined)
      throw new Error(
        `${name}: ${unavailable ?? 'it says no time of a frame'}; npm run bench -- --list names cases`,
      );
    return { nsPerFrame: figures.nsPerFrame, files: shares(directory, figures.nsPerFrame) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Nanoseconds of a frame by source file. @param {string} directory @param {number} nsPerFrame */
function shares(directory, nsPerFrame) {
  /** @type {Map<string, number>} */
  const ticks = new Map();
  const add = (/** @type {string} */ file, /** @type {number} */ count) =>
    ticks.set(file, (ticks.get(file) ?? 0) + count);
  for (const file of readdirSync(directory)) {
    const { nodes } = JSON.parse(readFileSync(join(directory, file), 'utf8'));
    for (const { callFrame, hitCount, positionTicks } of nodes) {
      if (callFrame.functionName.startsWith('wasm-function')) add(COPIES, hitCount);
      else if (callFrame.url.startsWith('file:'))
        for (const { line, ticks: count } of positionTicks ?? []) add(sourceOf(line), count);
    }
  }
  const sum = [...ticks.values()].reduce((a, b) => a + b, 0);
  return new Map([...ticks].map(([file, count]) => [file, (count / sum) * nsPerFrame]));
}

/** @type {{ name: string, nsPerFrame: number, files: Map<string, number> }[]} */
let results;
try {
  results = positionals.map((name) => ({ name, ...profile(name) }));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
const names = [...new Set(results.flatMap(({ files }) => [...files.keys()]))];
const rows = names
  .map((file) => ({ file, ns: results.map((result) => result.files.get(file) ?? 0) }))
  .sort((a, b) => Math.max(...b.ns) - Math.max(...a.ns));

if (values.json)
  console.log(JSON.stringify({ schema: 'netaccel.profile/1', results: rows, cases: positionals }));
else {
  const shown = rows.filter(({ ns }) => Math.max(...ns) >= LEAST_NS);
  const rest = rows.filter((row) => !shown.includes(row));
  const sum = (/** @type {typeof rows} */ of) =>
    positionals.map((_, i) => of.reduce((a, { ns }) => a + (ns[i] ?? 0), 0));
  const two = positionals.length === 2;
  console.log(`\n| source, ns a frame | ${[...positionals, ...(two ? ['more'] : [])].join(' | ')} |`);
  console.log(`| --- |${' ---: |'.repeat(positionals.length + (two ? 1 : 0))}`);
  for (const { file, ns } of [
    ...shown,
    { file: 'all others', ns: sum(rest) },
    { file: 'sum', ns: sum(rows) },
  ]) {
    const [a = 0, b = 0] = ns;
    console.log(
      `| ${file} | ${[...ns, ...(two ? [b - a] : [])].map((value) => value.toFixed(1)).join(' | ')} |`,
    );
  }
}
