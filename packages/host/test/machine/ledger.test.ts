// What a lab says of its domains at its end: nothing when all is zero, and otherwise who holds how much of what.
import { describe, expect, it } from 'vitest';
import { leaksOf } from '../../src/machine/ledger.js';

const nothing = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0, frames: 0 };

describe('the ledger of a lab', () => {
  it('has nothing to say when every domain holds nothing', () => {
    expect(
      leaksOf([
        { host: 'alpha', guest: null, held: nothing },
        { host: 'alpha', guest: 'a', held: nothing },
      ]),
    ).toEqual([]);
  });

  it.each(Object.keys(nothing))('names who holds %s', (what) => {
    expect(
      leaksOf([
        { host: 'alpha', guest: null, held: { ...nothing, [what]: 3 } },
        { host: 'beta', guest: 'b', held: { ...nothing, [what]: 1, pages: 7 } },
      ]),
    ).toEqual([
      `the driver domain of alpha still holds 3 ${what}`,
      what === 'pages'
        ? 'guest b on beta still holds 7 pages'
        : `guest b on beta still holds 7 pages, 1 ${what}`,
    ]);
  });

  it('says so of a domain that did not answer', () => {
    expect(leaksOf([{ host: 'beta', guest: 'b', held: null }])).toEqual([
      'guest b on beta did not say what it holds: it was ended by force',
    ]);
  });
});
