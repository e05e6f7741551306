// The table of who may depend on whom, held against every package.json and every import in the workspace.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  codeOf,
  importProblem,
  importsOf,
  manifestProblems,
  outside,
  readWorkspace,
  table,
} from './boundaries.js';
import type { Manifest } from './boundaries.js';

const workspace = readWorkspace(fileURLToPath(new URL('..', import.meta.url)));
const publicEntries = Object.fromEntries(
  workspace.map(({ folder, manifest }) => [folder, Object.keys(manifest.exports ?? {})]),
);

describe('the workspace', () => {
  test('has a row for each package and a package for each row', () => {
    expect(workspace.map(({ folder }) => folder).sort()).toEqual(Object.keys(table).sort());
  });

  test.each(workspace)('$folder keeps to its row', ({ folder, manifest, files }) => {
    const problems = files.flatMap(({ path, text }) =>
      importsOf(path, text).flatMap((found) => {
        const problem = importProblem(folder, path, found, publicEntries);
        return problem === undefined ? [] : [`${path}: ${found.specifier}: ${problem}`];
      }),
    );
    expect([...manifestProblems(folder, manifest), ...problems]).toEqual([]);
    expect(files.length).toBeGreaterThan(0);
  });
});

describe('a plugin as others write one', () => {
  const root = fileURLToPath(new URL('..', import.meta.url));

  test.each(Object.keys(outside))('%s imports what a vendor has, and nothing else', (folder) => {
    const files = codeOf(join(root, folder));
    const problems = files.flatMap(({ path, text }) =>
      importsOf(path, text).flatMap((found) => {
        const problem = importProblem(folder, path, found, publicEntries);
        return problem === undefined ? [] : [`${path}: ${found.specifier}: ${problem}`];
      }),
    );
    expect(problems).toEqual([]);
    expect(files.length).toBeGreaterThan(0);
  });

  test.each(['examples/flow-meter/package.json', 'packages/create-plugin/template/_package.json'])(
    '%s has the two packages as peers, and depends on nothing',
    (file) => {
      const manifest = JSON.parse(readFileSync(join(root, file), 'utf8')) as Manifest;
      expect(Object.keys(manifest.peerDependencies ?? {}).sort()).toEqual([
        '@netaccel/core-hooks',
        '@netaccel/nic-vi',
      ]);
      expect(manifest.dependencies ?? {}).toEqual({});
      expect(manifest.optionalDependencies ?? {}).toEqual({});
    },
  );
});

describe('the check refuses', () => {
  const judge = (folder: string, file: string, code: string) =>
    importsOf(file, code).map((found) => importProblem(folder, file, found, publicEntries));

  test.each([
    ['dummy-accel-frontend', 'src/a.ts', `import { x } from '@netaccel/netfront';`],
    ['dummy-accel-frontend', 'src/a.ts', `import type { X } from '@netaccel/xen';`],
    ['dummy-accel-backend', 'src/deep/a.ts', `export * from '@netaccel/host';`],
    ['dummy-accel-backend', 'src/a.ts', `type X = import('@netaccel/xen/sim').X;`],
    ['dummy-accel-backend', 'test/a.test.ts', `import { x } from '@netaccel/netback';`],
    ['dummy-accel-backend', 'src/a.ts', `import { x } from '../../netback/src/index.js';`],
    ['nic-vi', 'src/a.ts', `await import('@netaccel/xen');`],
    ['nic-vi', 'src/a.ts', `import fs from 'node:fs';`],
    ['core-hooks', 'src/a.ts', `import { x } from '@netaccel/nic-vi';`],
    ['core-hooks', 'src/a.ts', `import { x } from '@netaccel/core-hooks/testing';`],
    ['core-hooks', 'src/a.ts', `import { x } from '@netaccel/core-hooks';`],
    ['xen', 'src/a.ts', `import { x } from '@netaccel/nic-vi';`],
    ['xen', 'src/ring/a.ts', `import fs from 'node:fs';`],
    ['netfront', 'src/a.ts', `import { x } from '@netaccel/netback';`],
    ['netfront', 'src/a.ts', `import { x } from '@netaccel/xen/dist/index.js';`],
    ['netfront', 'src/a.ts', `import { x } from 'left-pad';`],
    ['netback', 'src/a.ts', `import y = require('@netaccel/netfront');`],
    ['netback', 'src/a.ts', `declare module '@netaccel/host' { }; export {};`],
    ['host', 'src/a.ts', `import plugin from '@netaccel/dummy-accel-frontend';`],
    ['host', 'src/a.ts', `import koffi from 'koffi';`],
    ['host', 'src/a.ts', `import fs from 'fs';`],
    ['examples/flow-meter', 'src/a.ts', `import { x } from '@netaccel/host';`],
    ['examples/flow-meter', 'test/a.test.ts', `import { x } from '@netaccel/host';`],
    ['packages/create-plugin/template', 'src/a.ts', `import { x } from '@netaccel/host';`],
    ['packages/create-plugin/template', 'src/a.ts', `import fs from 'node:fs';`],
  ])('%s, %s: %s', (folder, file, code) => {
    expect(judge(folder, file, code)).toEqual([expect.any(String)]);
  });

  test.each([
    ['dummy-accel-frontend', 'src/a.ts', `import { x } from '@netaccel/nic-vi';`],
    ['dummy-accel-frontend', 'test/a.test.ts', `import { x } from '@netaccel/nic-vi/model';`],
    ['core-hooks', 'src/testing/a.ts', `import { x } from '../frame.js';`],
    ['xen', 'src/store/a.ts', `import { x } from 'node:net';`],
    ['netback', 'test/a.test.ts', `import { x } from '@netaccel/netback';`],
    ['host', 'src/a.ts', `const { default: koffi } = await import('koffi');`],
    ['host', 'src/a.ts', `import type koffi from 'koffi';`],
    ['host', 'src/a.ts', `await import('@netaccel/dummy-accel-frontend');`],
  ])('but not %s, %s: %s', (folder, file, code) => {
    expect(judge(folder, file, code)).toEqual([undefined]);
  });

  test('a dependency that the table does not have, and the lack of one that it has', () => {
    expect(
      manifestProblems('netfront', {
        name: '@netaccel/netfront',
        dependencies: { '@netaccel/core-hooks': '^1.0.0', '@netaccel/netback': '^1.0.0' },
      }),
    ).toEqual([
      'dependencies lacks @netaccel/xen',
      'dependencies has @netaccel/netback, which the table does not allow',
    ]);
  });

  test('a plugin whose contract is a plain dependency', () => {
    const range = { '@netaccel/core-hooks': '^1.0.0', '@netaccel/nic-vi': '^1.0.0' };
    const problems = manifestProblems('dummy-accel-backend', {
      name: '@netaccel/dummy-accel-backend',
      dependencies: range,
    });
    expect(problems).toContain('peerDependencies lacks @netaccel/core-hooks');
    expect(problems).toContain('dependencies has @netaccel/core-hooks, which the table does not allow');
  });
});
