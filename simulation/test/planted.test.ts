/** Planted faults: every edit still finds its place, and the checks find a few of the faults in the first seeds. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hunt, plantedFaults } from '../planted.mjs';

const root = new URL('../../', import.meta.url);

test('there are ten and more, and each spoils one place of a source that is there', () => {
  expect(plantedFaults.length).toBeGreaterThanOrEqual(10);
  for (const { name, file, find, replace } of plantedFaults) {
    const places = readFileSync(new URL(file, root), 'utf8').split(find).length - 1;
    expect({ name, places }).toEqual({ name, places: 1 });
    expect(replace).not.toBe(find);
  }
});

test('docs/security.md says of each of them after how many seeds it was found', () => {
  const page = readFileSync(new URL('docs/security.md', root), 'utf8');
  for (const { name, what } of plantedFaults)
    expect(page.replace(/ +/g, ' ')).toMatch(
      new RegExp(`\\| \`${name}\` \\| ${what} \\| (not in )?\\d+ \\|`),
    );
});

// One for each thing that is checked: once, whole, nothing left, an end, and nothing that is not one's own.
test.each([
  ['double-completion', /released by someone who did not hold it/],
  ['wrong-length', /./],
  ['unmap-skipped', /holds something after the teardown/],
  ['endless-poll', /something raises itself for ever/],
  ['pages-not-own', /belongs to nobody and is not mapped/],
])(
  'the checks find %s',
  async (name, says) => {
    const fault = plantedFaults.find((each) => each.name === name);
    if (fault === undefined) throw new Error(`no planted fault is called ${name}`);
    const { seeds, failure } = await hunt(fault, 30);
    expect(failure).toMatch(says);
    expect(seeds).toBeLessThanOrEqual(30);
  },
  120_000,
);
