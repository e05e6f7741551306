// Writes docs/features.md from docs/features.json: `node scripts/make-features.mjs`.
// A test compares the page with what this makes, and looks for every test that the data names.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

/** @typedef {{ n: number, feature: string, tests: { file: string, name: string }[], note?: string }} Row */
/** @typedef {{ group: string, title: string, rows: Row[] }} Group */

const data = new URL('../docs/features.json', import.meta.url);
const page = new URL('../docs/features.md', import.meta.url);

/** The groups of the table. @returns {Group[]} */
export function features() {
  return JSON.parse(readFileSync(data, 'utf8'));
}

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {Row} row */
function proof({ tests, note }) {
  const named = tests.map(({ file, name }) => `[${cell(name.replaceAll('`', ''))}](../${file})`);
  if (note !== undefined) named.push(tests.length === 0 ? `not built: ${cell(note)}` : cell(note));
  return named.join('<br>');
}

/** @param {Group} of */
function section({ group, title, rows }) {
  const lines = rows.map((row) => `| ${row.n} | ${cell(row.feature)} | ${proof(row)} |`);
  return `## ${group}. ${title}\n\n| # | feature | proved by |\n| --- | --- | --- |\n${lines.join('\n')}`;
}

/** The page as it has to be. */
export async function featuresPage() {
  const groups = features();
  const rows = groups.flatMap((group) => group.rows);
  const built = rows.filter(({ tests }) => tests.length > 0).length;
  const text = `# Features

<!-- Written by scripts/make-features.mjs from features.json. -->

What accelerated network plugins for Xen have had or lacked since 2007, and the test here that proves each: ${built} of
${rows.length} are built. A name with \`%s\` or \`%i\` in it is a test of several cases.

${groups.map(section).join('\n\n')}
`;
  const options = await resolveConfig(fileURLToPath(page));
  return format(text, { ...options, parser: 'markdown' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(page, await featuresPage());
