// The kit's advice names a page and a heading. Both come with the package, and lead nowhere that its user does not have.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { conformanceRules } from '../../src/conformance/index.js';
import { shipped } from '../../scripts/ship-pages.js';

const PAGES = fileURLToPath(new URL('../../../../docs/plugin-authors', import.meta.url));
const PLACE = /^node_modules\/@netaccel\/core-hooks\/dist\/docs\/([a-z]+\.md)#([a-z-]+)$/;

it('each rule names a heading of a page that is shipped', () => {
  for (const place of new Set(conformanceRules().map(({ docs }) => docs))) {
    const [, page, anchor] = PLACE.exec(place)!;
    const headings = readFileSync(join(PAGES, page!), 'utf8').match(/(?<=^#+ ).+$/gm)!;
    expect(headings.map((heading) => heading.toLowerCase().replaceAll(' ', '-'))).toContain(anchor);
  }
});

it('links between the pages stay, and all others lead to the repository', () => {
  const names = readdirSync(PAGES);
  for (const name of names) {
    const page = shipped(readFileSync(join(PAGES, name), 'utf8'));
    for (const [, target] of page.matchAll(/\]\(([^)]+)\)/g))
      expect(names.includes(target!.replace(/#.*/, '')) || /^(https:\/\/|#)/.test(target!)).toBe(true);
  }
  expect(shipped('[a](../tour.md#x), [b](hooks.md#order), [c](../../README.md)')).toBe(
    '[a](https://github.com/netaccel/netaccel/blob/main/docs/tour.md#x), [b](hooks.md#order), ' +
      '[c](https://github.com/netaccel/netaccel/blob/main/README.md)',
  );
});
