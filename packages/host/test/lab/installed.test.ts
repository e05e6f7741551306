// Which plugins a missing one is compared with, and how the real search for plugins answers.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabFileError, loadLab } from '../../src/lab/index.js';
import { installedPlugins } from '../../src/lab/installed.js';
import { resolvePlugin } from '../../src/plugins.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'netaccel-installed-'));
  for (const name of ['@vendor', 'accel-plain', '@netaccel-like/other', 'left-pad'])
    mkdirSync(join(folder, 'node_modules', name), { recursive: true });
  writeManifest('@vendor/fastnic-backend', { peerDependencies: { '@netaccel/core-hooks': '^1.0.0' } });
  writeManifest('fastnic-tools', { dependencies: { '@netaccel/core-hooks': '^1.0.0' } });
  writeManifest('my-nic', { keywords: ['network', 'netaccel-plugin'] });
  writeManifest('other-nic', { keywords: ['network'] });
  writeManifest('odd-nic', { keywords: 'netaccel-plugin' });
  writeFileSync(join(folder, 'node_modules/left-pad/package.json'), 'no JSON');
  mkdirSync(join(folder, 'labs'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function writeManifest(name: string, manifest: object): void {
  const of = join(folder, 'node_modules', name);
  mkdirSync(of);
  writeFileSync(join(of, 'package.json'), JSON.stringify({ name, ...manifest }));
}

test('finds them around a folder, scoped and not, and around this package', () => {
  const names = installedPlugins(join(folder, 'labs'));
  expect(names).toContain('@vendor/fastnic-backend'); // by what it wants to be there
  expect(names).not.toContain('fastnic-tools');
  expect(names).not.toContain('accel-plain');
  expect(names).toContain('@netaccel/dummy-accel-backend');
  expect(names).not.toContain('left-pad');
  expect(names).toContain('my-nic'); // by its keyword
  expect(names).not.toContain('other-nic');
  expect(names).not.toContain('odd-nic');
  expect(names).not.toContain('@netaccel-like/other');
});

test('a plugin by a path beside the lab file, and one that is misspelt', () => {
  writeFileSync(join(folder, 'labs', 'mine.mjs'), 'export default {};\n');
  const file = join(folder, 'labs', 'lab.yaml');
  writeFileSync(file, 'lab: 1\nhosts: { a: { accelerator: ./mine.mjs } }\n');
  expect(loadLab(file).hosts[0]!.accelerators).toMatchObject([
    { name: './mine.mjs', url: expect.stringMatching(/^file:.*mine\.mjs$/) as string },
  ]);
  writeFileSync(file, 'lab: 1\nhosts: { a: { accelerator: "@vendor/fastnik-backend" } }\n');
  expect(() => loadLab(file)).toThrow(LabFileError);
  expect(() => loadLab(file)).toThrow('did you mean @vendor/fastnic-backend?');
});

test('who asks for a plugin by a name that is not quite its own is told the name', () => {
  expect(() => resolvePlugin('@vendor/fastnick-backend', folder)).toThrow(
    expect.objectContaining({
      code: 'UNRESOLVED',
      message: expect.stringContaining('did you mean @vendor/fastnic-backend?') as string,
    }) as Error,
  );
});
