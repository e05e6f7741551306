// Writes measured figures into docs/performance.md:
//
//   npm run -s bench -- --json >bench.json
//   npm run -s profile -- wire-native-64 wire-fast-64 --json >fast.json
//   npm run -s profile -- wire-slow-64 one-host-64 --json >slow.json
//   node scripts/make-performance.mjs bench.json fast.json slow.json
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

/** What takes less than this in all cases is put together. */
const LEAST_NS = 0.5;
const page = new URL('../docs/performance.md', import.meta.url);

/** @param {string} file */
const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
/** @param {number} value */
const rounded = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
/** @param {{ median: number, least: number, most: number }} of */
const spread = ({ median, least, most }) => `${rounded(median)} (${rounded(least)} to ${rounded(most)})`;
/** @param {string[][]} rows */
const table = ([head = [], ...rows]) =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');

/** @param {string} text @param {string} mark @param {string} inside */
function put(text, mark, inside) {
  const [open, close] = [`<!-- ${mark} -->`, `<!-- /${mark.split(' ')[0]} -->`];
  const from = text.indexOf(open);
  const to = text.indexOf(close, from);
  if (from < 0 || to < 0) throw new Error(`docs/performance.md: expected ${open} and ${close} behind it`);
  return `${text.slice(0, from + open.length)}\n\n${inside}\n\n${text.slice(to)}`;
}

/** @param {any} bench */
function claims({ environment, repeat, claims: held }) {
  const where = `Node ${environment.node.replace(/^v/, '')}, ${environment.cpus} cores; ${repeat} rounds, median (least to most):`;
  const say = (/** @type {boolean | null} */ holds) => (holds === null ? '' : holds ? 'yes' : '**no**');
  const rows = held.map((/** @type {any} */ c) => [c.claim, c.wanted, spread(c), say(c.holds)]);
  return `${where}\n\n${table([['claim', 'wanted', 'measured', 'holds'], ...rows])}`;
}

/** @param {any} bench */
function cases({ cases: all }) {
  const shown = ['nsPerFrame', 'gbps', 'bytesPerFrame', 'percentOfACore'];
  const rows = all.map((/** @type {any} */ { name, what, figures, unavailable }) => {
    const figure = shown.find((each) => figures[each] !== undefined);
    const unit = {
      nsPerFrame: 'ns a frame',
      gbps: 'Gb/s',
      bytesPerFrame: 'bytes a frame',
      percentOfACore: '% of a core',
    };
    const value = figure === undefined ? `not run: ${unavailable}` : spread(figures[figure]);
    return [`\`${name}\``, what, value, figure === undefined ? '' : unit[/** @type {'gbps'} */ (figure)]];
  });
  return table([['case', 'what', 'measured', 'unit'], ...rows]);
}

/** @param {any} profile */
function profile({ cases: names, results }) {
  const few = results.filter((/** @type {any} */ { ns }) => Math.max(...ns) < LEAST_NS);
  const sum = (/** @type {any[]} */ rows) =>
    names.map((/** @type {string} */ _, /** @type {number} */ i) => rows.reduce((a, { ns }) => a + ns[i], 0));
  const rows = [
    ...results.filter((/** @type {any} */ row) => !few.includes(row)),
    { file: 'all others', ns: sum(few) },
    { file: 'sum', ns: sum(results) },
  ].map(({ file, ns }) => [file, ...[...ns, ns[1] - ns[0]].map((value) => value.toFixed(1))]);
  return table([['source, ns a frame', ...names, 'more'], ...rows]);
}

const [bench, ...profiles] = process.argv.slice(2);
if (bench === undefined) {
  console.error('usage: node scripts/make-performance.mjs BENCH.json [PROFILE.json ...]');
  process.exit(2);
}
let text = readFileSync(page, 'utf8');
const measured = read(bench);
text = put(put(text, 'claims', claims(measured)), 'cases', cases(measured));
for (const file of profiles) {
  const of = read(file);
  text = put(text, `profile ${of.cases.join(' ')}`, profile(of));
}
writeFileSync(
  page,
  await format(text, { ...(await resolveConfig(fileURLToPath(page))), parser: 'markdown' }),
);
