// A demo whose plugin does not attach says why, and what to do: not that nothing happens any more.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FramesLab } from '../../src/demo/frames-lab.js';
import { createRequire } from 'node:module';

const HOOKS = pathToFileURL(createRequire(import.meta.url).resolve('@netaccel/core-hooks')).href;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'netaccel-demo-'));
  const plugin = (name: string, frontend: string, probe: string): void =>
    writeFileSync(
      join(folder, name),
      `import { defineBackendAccelerator } from ${JSON.stringify(HOOKS)};
export default defineBackendAccelerator({
  name: 'half-a-nic', version: '1.0.0', contract: 1, capabilities: {}, frontend: '${frontend}',
  supports: () => true,
  probe: () => ${probe},
});
`,
    );
  plugin('alone.mjs', 'half-a-nic-frontend', `new Promise(() => undefined)`);
  plugin(
    'refusing.mjs',
    '@netaccel/dummy-accel-frontend',
    `Promise.reject(new Error('this card is out of order'))`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ['./alone.mjs', /no plugin half-a-nic-frontend was found from .*npm install half-a-nic-frontend/],
  ['./refusing.mjs', /this card is out of order/],
])('demo --plugin %s: expected, seen, and what to do', { timeout: 60_000 }, async (plugin, why) => {
  const lab = await FramesLab.start({ plugin, pluginsFrom: folder, seed: 1, mtu: 1500 });
  const error = await lab.load().then(
    () => null,
    (reason: unknown) => reason as Error,
  );
  expect(error).toMatchObject({ name: 'NotAttachedError', code: 'NOT_ATTACHED' });
  expect(error!.message).toMatch(/^expected plugin .*mjs to attach to both guests within 20000 ms, saw a /);
  expect(error!.message).toMatch(why);
  expect(error!.message).toContain(`netaccel conform ${plugin}`);
  expect(error!.message).not.toContain('nothing is left to do');
  await lab.stop();
});
