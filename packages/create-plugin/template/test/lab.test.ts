// Both halves in a lab: two hosts on a wire, a guest on each, every frame counted and checked. The plugin comes and
// goes while frames flow, and no frame is lost, doubled or out of order.
import { createRequire } from 'node:module';
import { FramesLab } from '@netaccel/host';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NAME, VERSION, capabilities } from '../src/abilities.js';

const FRAME_BYTES = [60, 800, 1514];
const WHOLE = { lost: 0, duplicated: 0, reordered: 0, corrupted: 0 };
let lab: FramesLab;

beforeEach(async () => {
  // By its name, as a host finds it: what is tested is what `npm run build` made.
  lab = await FramesLab.start({ seed: 1, mtu: 1500, plugin: NAME, pluginsFrom: process.cwd() });
});
afterEach(() => lab.stop());

test('the package and the plugin say the same name and version', () => {
  const manifest: unknown = createRequire(import.meta.url)(`${NAME}/package.json`);
  expect(manifest).toMatchObject({ name: NAME, version: VERSION });
});

test('frames go fast once it is loaded, and slow again when it is not', async () => {
  const run = lab.run('fast', FRAME_BYTES);
  expect((await run.send(500)).accelerated.txSent).toBe(0);

  await lab.load();
  expect(lab.acceleratedGuests()).toBe(2);
  await run.send(500);
  const fast = await run.send(2000);
  expect(fast.check).toMatchObject(WHOLE);
  expect(fast.accelerated.declines).toEqual({});
  expect(fast.accelerated.txSent).toBe(2000);
  expect(fast.accelerated.rxFast).toBe(capabilities.receiveFilters === undefined ? 0 : 2000);

  await lab.unload();
  expect(lab.acceleratedGuests()).toBe(0);
  const slow = await run.send(500);
  expect(slow.check).toMatchObject(WHOLE);
  expect(slow.accelerated.txSent).toBe(0);
  run.close();
});

test('it comes and goes under traffic', async () => {
  const run = lab.run('fast', FRAME_BYTES);
  run.begin();
  for (let round = 0; round < 3; round++) {
    await lab.load();
    await run.flow(50);
    await lab.unload();
    await run.flow(20);
  }
  const check = await run.settled();
  expect(check).toMatchObject(WHOLE);
  expect(check.received).toBe(check.sent);
  run.close();
});
