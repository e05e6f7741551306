// docs/features.md is what its data say; every test that it names is there, every feature has a test or a reason, and
// so has each defect and hole of the code that this project follows.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { features, featuresPage } from '../scripts/make-features.mjs';
import { root } from './markdown.js';

/** Features of the table, defects of the historical core, and holes of its plugins. */
const FEATURES = 129;
const DEFECTS = 11;
const HOLES = 25;

const rows = features().flatMap((group) => group.rows);

function testFiles(): string[] {
  const folders = [
    'test',
    ...readdirSync(join(root, 'packages')).map((name) => join('packages', name, 'test')),
  ];
  return folders.flatMap((folder) => {
    try {
      return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => join(folder, name));
    } catch {
      return []; // a package without tests of its own
    }
  });
}

describe('the table of features', () => {
  it('is the page: node scripts/make-features.mjs', async () => {
    expect(readFileSync(join(root, 'docs', 'features.md'), 'utf8')).toBe(await featuresPage());
  });

  it('has every feature, each with a test or a reason why not', () => {
    expect(rows.map(({ n }) => n)).toEqual(Array.from({ length: FEATURES }, (_, i) => i + 1));
    expect(rows.filter(({ tests, note }) => tests.length === 0 && note === undefined)).toEqual([]);
  });

  it('names tests that are there', () => {
    const missing = rows.flatMap(({ n, tests }) =>
      tests
        .filter(({ file, name }) => !readFileSync(join(root, file), 'utf8').includes(name))
        .map(({ file, name }) => `${n}: ${file}: ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

describe('known defects', () => {
  const all = testFiles()
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');

  it.each([
    ['defect 1.8', DEFECTS],
    ['hole 2.16', HOLES],
  ])('each %s of the original has a test with its number in its name', (kind, count) => {
    const numbers = Array.from({ length: count }, (_, i) => i + 1);
    expect(numbers.filter((n) => !new RegExp(`${kind} #${n}[:,]`).test(all))).toEqual([]);
  });
});
