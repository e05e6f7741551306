// scripts/check-lock.mjs must see a platform that npm dropped and an entry that names a host.
import { expect, test } from 'vitest';
import { lockProblems } from '../scripts/check-lock.mjs';

test('an optional dependency is found in the dependant or in a folder above it', () => {
  const packages = {
    'node_modules/a': { optionalDependencies: { near: '1.0.0', far: '1.0.0', gone: '1.0.0' } },
    'node_modules/a/node_modules/near': {},
    'node_modules/far': {},
    'node_modules/b/node_modules/gone': {},
  };
  expect(lockProblems({ packages })).toEqual(['node_modules/a: gone has no lock entry']);
});

test('a workspace link is no host', () => {
  const packages = {
    'node_modules/@netaccel/xen': { resolved: 'packages/xen', link: true },
    'node_modules/a': { resolved: 'https://example.org/a.tgz' },
  };
  expect(lockProblems({ packages })).toEqual([
    'node_modules/a: "resolved" names a host: https://example.org/a.tgz',
  ]);
});
