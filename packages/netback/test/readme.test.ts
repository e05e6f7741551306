import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { defaultLimits, rxDropReasons, txErrorReasons } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

/** Rows of the table under a heading of these first columns, as cells. */
function rows(first: string, nth = 0): string[][] {
  const tables = readme
    .split('\n\n')
    .filter((block) => block.startsWith('|') && block.split('|')[1]!.trim() === first);
  return tables[nth]!.trim()
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}

test('the tables of the README are the tables of the code', () => {
  expect(rows('reason', 0).map(([name]) => name)).toEqual([...txErrorReasons]);
  expect(rows('reason', 1).map(([name]) => name)).toEqual([...rxDropReasons]);
  expect(rows('limit').map(([name, value]) => [name, Number(value)])).toEqual(Object.entries(defaultLimits));
});

test('each advisory that the README names is the number of a test', () => {
  const claimed = /Each has a test.*: (XSA-[^.]*)\./.exec(readme)![1]!.match(/\d+/g)!.map(Number);
  const tests = readdirSync(new URL('.', import.meta.url))
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(new URL(name, import.meta.url), 'utf8'))
    .join('\n');
  const tested = [...tests.matchAll(/XSA-([\d, ]+)[:;]/g)].flatMap(([, list]) =>
    list!.match(/\d+/g)!.map(Number),
  );
  expect(claimed.filter((number) => !tested.includes(number))).toEqual([]);
  expect(new Set(tested)).toEqual(new Set(claimed));
});

test('the files that the README points at exist', () => {
  const files = readdirSync(new URL('../src', import.meta.url));
  for (const [, file] of readme.matchAll(/\(src\/([^)]+)\)/g)) expect(files).toContain(file);
});
