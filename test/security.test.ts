// docs/security.md against the code and the tests: the tables are current, and each advisory is in a test's name.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { advisories, securityPage } from '../scripts/make-security-tables.mjs';
import { plantedFaults } from '../simulation/planted.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const rows = Object.values(advisories).flat();

/** Advisories in the titles of a test file: `XSA-361, 362: a copy that fails`, `XSA-414, XSA-415`. */
function numbersIn(text: string): Set<number> {
  const titles = text.matchAll(
    /(?:test|it|describe)(?:\.[a-z]+)*\(?[^'"`]{0,80}['"`]([^'"`\n]*XSA-[^'"`\n]*)/g,
  );
  const found = new Set<number>();
  for (const [, title] of titles)
    for (const [list] of title!.matchAll(/XSA-\d+(?:, (?:XSA-)?\d+)*/g))
      for (const number of list.match(/\d+/g)!) found.add(Number(number));
  return found;
}

test('docs/security.md is what the code says: node scripts/make-security-tables.mjs', async () => {
  expect(readFileSync(`${root}docs/security.md`, 'utf8')).toBe(await securityPage());
});

test('each limit has a test that is there, and that speaks of it', () => {
  const page = readFileSync(`${root}docs/security.md`, 'utf8');
  const [, block] = /<!-- limits -->([^]*)<!-- \/limits -->/.exec(page)!;
  const limits = block!.split('\n').flatMap((line) => {
    const [, of, name, , , link] = line.split('|').map((cell) => cell.trim());
    const file = /\]\(\.\.\/(.*)\)/.exec(link ?? '')?.[1];
    return file === undefined ? [] : [{ of: of!, name: name!.replaceAll('`', ''), file }];
  });
  expect(limits.length).toBeGreaterThan(30);
  for (const { of, name, file } of limits) {
    const text = readFileSync(root + file, 'utf8');
    // A vif's limits and a log's are in the name of a test; the store's by what they count.
    if (of === 'vif') expect(text, file).toContain(`\n  ${name}: async () =>`);
    else if (name.startsWith('log lines')) expect(text, file).toContain(`test('limit ${name}: `);
    else expect(text.length, file).toBeGreaterThan(0);
  }
});

test('docs/security.md has a figure for all that is counted, and counts advisories and planted faults right', () => {
  const page = readFileSync(`${root}docs/security.md`, 'utf8').replace(/ +/g, ' ');
  const count = (of: typeof rows) => of.reduce((sum, { xsa }) => sum + xsa.length, 0);
  const tested = count(rows.filter(({ tests }) => tests !== undefined));
  expect(page).toContain(`| advisories with a test | ${tested} of ${count(rows)} |`);
  const planted = plantedFaults.length;
  expect(page).toMatch(new RegExp(`\\| planted faults found \\| \\d+ of ${planted}\\b`));
  expect(page).toMatch(/\| operations fuzzed in ten minutes \| [\d,]+ in [\d,]+ cases/);
  expect(page).toMatch(/\| seeds simulated \| [\d,]+ /);
});

test('each advisory is in the name of a test of each file that it names, or says why not', () => {
  for (const { xsa, tests, notHere } of rows) {
    expect([tests, notHere].filter((each) => each !== undefined)).toHaveLength(1);
    for (const file of tests ?? []) {
      const numbers = numbersIn(readFileSync(root + file, 'utf8'));
      expect(
        xsa.filter((number) => !numbers.has(number)),
        `${file} lacks these`,
      ).toEqual([]);
    }
  }
});

test('each advisory in the name of a test has its row', () => {
  const known = new Set(rows.flatMap(({ xsa }) => xsa));
  for (const folder of readdirSync(`${root}packages`))
    for (const name of readdirSync(`${root}packages/${folder}`, { recursive: true, encoding: 'utf8' })) {
      if (!/^test\/.*\.test\.ts$/.test(name)) continue;
      const text = readFileSync(`${root}packages/${folder}/${name}`, 'utf8');
      expect(
        [...numbersIn(text)].filter((number) => !known.has(number)),
        `${folder}/${name}`,
      ).toEqual([]);
    }
});
