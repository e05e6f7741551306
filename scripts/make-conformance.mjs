// Writes docs/conformance.md from docs/netif-features.json: `node scripts/make-conformance.mjs`.
// A test compares the page with what this makes, looks for every test that the data name, and asks that nothing which
// the code knows by a name is without a row.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

/** @typedef {'served' | 'refused' | 'left out'} Verdict */
/** @typedef {{ item: string, verdict: Verdict, tests: { file: string, name: string }[], note?: string }} Row */
/** @typedef {{ section: string, title: string, rows: Row[] }} Group */

const data = new URL('../docs/netif-features.json', import.meta.url);
const page = new URL('../docs/conformance.md', import.meta.url);

/** The groups of the table, in the order of the page. @returns {Group[]} */
export function conformance() {
  return JSON.parse(readFileSync(data, 'utf8'));
}

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {Row} row */
function proof({ tests, note }) {
  const named = tests.map(({ file, name }) => `[${cell(name.replaceAll('`', ''))}](../${file})`);
  if (note !== undefined) named.push(cell(note));
  return named.join('<br>');
}

/** @param {Group} of */
function section({ title, rows }) {
  const lines = rows.map((row) => `| ${cell(row.item)} | ${row.verdict} | ${proof(row)} |`);
  return `## ${title}\n\n| what | verdict | proved by, or why |\n| --- | --- | --- |\n${lines.join('\n')}`;
}

/** The page as it has to be. */
export async function conformancePage() {
  const groups = conformance();
  const rows = groups.flatMap((group) => group.rows);
  const count = (/** @type {Verdict} */ verdict) => rows.filter((row) => row.verdict === verdict).length;
  const text = `# Conformance

<!-- Written by scripts/make-conformance.mjs from netif-features.json. -->

Every structure, constant, key, message and rule of Xen's network protocol and of what it stands on, held against the
two drivers, the simulated machine and the store here. **Served** is done as the public headers say; **refused** is
answered as they say that it may be; **left out** says why. Of ${rows.length} rows ${count('served')} are served,
${count('refused')} refused and ${count('left out')} left out. The layouts themselves are in [protocol.md](protocol.md).

${groups.map(section).join('\n\n')}
`;
  const options = await resolveConfig(fileURLToPath(page));
  return format(text, { ...options, parser: 'markdown' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(page, await conformancePage());
