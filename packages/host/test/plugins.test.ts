/** What a host says of a plugin package that is none, or the wrong half. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadPlugin } from '../src/plugins.js';

const folder = mkdtempSync(join(tmpdir(), 'na-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function module(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

describe('a plugin package is refused', () => {
  it('that is the other half', async () => {
    const backend = '@netaccel/dummy-accel-backend';
    await expect(loadPlugin(backend, 'frontend')).rejects.toMatchObject({ code: 'WRONG_KIND' });
    await expect(loadPlugin(backend, 'frontend')).rejects.toThrow(
      /a backend plugin by default; expected a frontend/,
    );
  });

  it.each([
    ['that is not there', './nowhere.mjs', 'UNRESOLVED'],
    ['without a default export', module('empty.mjs', 'export const a = 1;'), 'NO_DEFAULT'],
    ['that exports something else', module('else.mjs', 'export default { name: 7 };'), 'WRONG_KIND'],
    ['that throws', module('throws.mjs', 'throw new Error("oops");'), 'FAILED'],
  ])('%s', async (_what, name, code) => {
    await expect(loadPlugin(name, 'backend', folder)).rejects.toMatchObject({ code });
  });
});
