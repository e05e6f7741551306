/** The real drivers against peers that lie: properties over sequences of operations, and the corpus of earlier finds. */
import { readFileSync, readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '@netaccel/xen/sim';
import { runCase } from '../src/fuzz-case.js';
import type { FuzzCase } from '../src/fuzz-case.js';
import { drawCase, drawOperation } from '../src/fuzz-draw.js';
import { shrink } from '../src/shrink.js';

const RUNS = 40;
const corpus = new URL('../corpus/', import.meta.url);

describe.each(['frontend', 'backend'] as const)('a hostile %s', (peer) => {
  test('is served or fenced, and harms nobody: any sequence of operations', async () => {
    // Each operation comes from its own number, so that a failing sequence is cut down number by number.
    const operations = fc.array(fc.nat(0xffff_ffff), { minLength: 1, maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(operations, fc.boolean(), async (numbers, fromConnected) => {
        const begin = fromConnected ? drawCase(new Random(1), 1, peer, 3).operations : [];
        const drawn = numbers.map((number) => drawOperation(new Random(number), peer));
        const { failure } = await runCase({ peer, seed: 1, operations: [...begin, ...drawn] } as FuzzCase);
        expect(failure).toBeNull();
      }),
      { numRuns: RUNS, endOnFailure: false },
    );
  }, 120_000);
});

test('the corpus, which reaches all that earlier runs did, runs without a failure', async () => {
  const reached = new Set<string>();
  for (const file of readdirSync(corpus)) {
    const kept = JSON.parse(readFileSync(new URL(file, corpus), 'utf8')) as FuzzCase;
    const result = await runCase(kept);
    expect({ file, failure: result.failure }).toEqual({ file, failure: null });
    for (const name of result.reached) reached.add(name);
  }
  const pairs = [...reached].filter((name) => name.includes(' while the ')).length;
  // Two minutes of npm run fuzz reach no more.
  expect(pairs).toBeGreaterThanOrEqual(42);
  expect(reached.size - pairs).toBeGreaterThanOrEqual(54);
  for (const end of [
    'netback Connected while the frontend is Connected',
    'netfront Connected while the backend is Connected',
  ])
    expect(reached).toContain(end);
}, 120_000);

test('a failing sequence is cut down to what it takes', async () => {
  const sequence = Array.from({ length: 40 }, (_, i) => i);
  const fails = (part: readonly number[]): Promise<boolean> =>
    Promise.resolve(part.includes(7) && part.includes(23) && part.indexOf(7) < part.indexOf(23));
  expect(await shrink(sequence, fails)).toEqual([7, 23]);
  expect(await shrink([1], () => Promise.resolve(true))).toEqual([]);
});
