// A guest moves between hosts of a seeded lab, and is suspended and resumed, while checked frames flow both ways:
// every frame arrives once and in order, and nothing is left behind.
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ThreeHosts, perfect } from './three-hosts.js';

const OTHER = fileURLToPath(new URL('plugins/other-frontend.mjs', import.meta.url));
const REFERENCE = '@netaccel/dummy-accel-frontend';

describe('a guest moves with its flows', () => {
  it.each([1])(
    'to a host with another plugin, to one without, and back (seed %i)',
    { timeout: 180_000 },
    async (seed) => {
      const lab = await ThreeHosts.start({ seed });
      lab.begin();
      await lab.flow(500);
      expect(lab.plugin('a')).toBe(REFERENCE);
      for (const [host, plugin] of [
        ['beta', OTHER],
        ['gamma', null],
        ['alpha', REFERENCE],
        ['gamma', null],
        ['beta', OTHER],
        ['alpha', REFERENCE],
      ] as const) {
        const report = await lab.lab.migrate('a', host);
        expect(report).toMatchObject({ guest: 'a', to: host, announced: true });
        expect(report.lost).toMatchObject({ holdFull: 0, txUnanswered: 0 });
        await lab.lab.lab.runUntil(() => lab.plugin('a') === plugin, 20_000);
        await lab.flow(500);
        expect(lab.plugin('a')).toBe(plugin);
      }
      const outcome = await lab.settled();
      expect(outcome).toEqual(outcome.map(perfect));
      expect(await lab.stop()).toEqual({});
    },
  );

  it('a hundred times, at any moment of the plugins’ comings and goings', { timeout: 240_000 }, async () => {
    const lab = await ThreeHosts.start({ seed: 9 });
    lab.begin();
    await lab.flow(100);
    let carried = 0;
    for (let round = 0; round < 100; round++) {
      const report = await lab.lab.migrate('a', ['beta', 'gamma', 'alpha'][round % 3]!);
      expect(report).toMatchObject({ announced: true, lost: { holdFull: 0, txUnanswered: 0 } });
      carried += report.carried;
      await lab.flow(round % 10 === 0 ? 400 : 40);
    }
    expect(carried).toBeGreaterThan(0);
    const outcome = await lab.settled();
    expect(outcome).toEqual(outcome.map(perfect));
    expect(await lab.stop()).toEqual({});
  });

  it('over a wire with a rate and a delay', { timeout: 180_000 }, async () => {
    const lab = await ThreeHosts.start({ seed: 4, delayUs: 200, bitsPerSecond: 1e9 });
    lab.begin();
    await lab.flow(200);
    for (const host of ['beta', 'gamma', 'alpha', 'gamma', 'alpha', 'beta']) {
      await lab.lab.migrate('a', host);
      await lab.flow(200);
    }
    const outcome = await lab.settled();
    expect(outcome).toEqual(outcome.map(perfect));
    expect(await lab.stop()).toEqual({});
  });

  it('both guests, one after the other, to the same host and apart again', { timeout: 180_000 }, async () => {
    const lab = await ThreeHosts.start({ seed: 5 });
    lab.begin();
    for (const [guest, host] of [
      ['b', 'alpha'],
      ['a', 'gamma'],
      ['b', 'gamma'],
      ['b', 'beta'],
      ['a', 'alpha'],
    ] as const) {
      await lab.lab.migrate(guest, host);
      await lab.flow(300);
      await lab.calm();
    }
    const outcome = await lab.settled();
    expect(outcome).toEqual(outcome.map(perfect));
    expect(await lab.stop()).toEqual({});
  });
});

describe('a guest that stays', () => {
  it(
    'is suspended and goes on, or its suspend is called off: its plugin is back, no frame is lost',
    { timeout: 180_000 },
    async () => {
      const lab = await ThreeHosts.start({ seed: 6 });
      lab.begin();
      await lab.flow(200);
      for (const pauseMs of [0, 50]) {
        await lab.lab.suspend('a');
        expect(lab.path('a')).toBe('detached');
        expect(lab.guest('a').domain.ledger()).toMatchObject({
          grants: 0,
          ports: 0,
          mappings: 0,
          watches: 0,
        });
        await lab.lab.lab.advance(pauseMs);
        await lab.lab.resume('a');
        await lab.lab.lab.runUntil(() => lab.plugin('a') === REFERENCE, 20_000);
        await lab.flow(200);
      }
      const outcome = await lab.settled();
      expect(outcome).toEqual(outcome.map(perfect));
      expect(await lab.stop()).toEqual({});
    },
  );

  it(
    'hole 2.16 #25: gets another MAC address, and both sides have it with the next connection',
    { timeout: 180_000 },
    async () => {
      const lab = await ThreeHosts.start({ seed: 10 });
      const mac = '02:00:00:00:01:0a';
      await lab.lab.suspend('a');
      const { store } = lab.lab.host('alpha').machine.domain(0)!;
      for (const path of ['/local/domain/1/device/vif/0', '/local/domain/0/backend/vif/1/0'])
        await lab.lab.during(store.write(`${path}/mac`, mac));
      await lab.lab.resume('a');
      await lab.lab.lab.runUntil(() => lab.plugin('a') === REFERENCE, 20_000);
      const bytes = Uint8Array.from(mac.split(':'), (byte) => parseInt(byte, 16));
      expect(lab.guest('a').guest.netfront.vif?.mac).toEqual(bytes);
      expect(lab.lab.host('alpha').driver.driver.vif(1, 0)?.describe()).toMatchObject({ mac });
      expect(await lab.stop()).toEqual({});
    },
  );

  it(
    'reconnects when its driver domain is restarted, with the plugin that is there then',
    { timeout: 180_000 },
    async () => {
      const lab = await ThreeHosts.start({ seed: 7 });
      await lab.lab.restartDriver('alpha');
      await lab.lab.lab.runUntil(() => lab.plugin('a') === REFERENCE, 20_000);
      lab.begin();
      await lab.flow(200);
      const outcome = await lab.settled();
      expect(outcome).toEqual(outcome.map(perfect));
      expect(await lab.stop()).toEqual({});
    },
  );

  it.each([
    ['a', 'nowhere', 'NO_HOST', /expected a host of the lab, saw nowhere; there are: alpha, beta, gamma/],
    ['nobody', 'beta', 'NO_GUEST', /expected a guest of the lab, saw nobody; there are: a, b/],
    ['a', 'alpha', 'SAME_HOST', /expected another host than alpha/],
    ['a', 'beta', 'NO_ROOM', /expected room for \d+ mapped pages of a on beta, saw \d+/],
  ])(
    'migrate(%s, %s) is refused: %s, and nothing is touched',
    { timeout: 180_000 },
    async (guest, host, code, message) => {
      const lab = await ThreeHosts.start({ seed: 8, bufferPages: 100_000 });
      lab.begin();
      await lab.flow(50);
      const before = lab.guest('a').guest.netfront.state;
      await expect(lab.lab.migrate(guest, host)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message) as string,
      });
      expect(lab.guest('a').guest.netfront.state).toEqual(before);
      await lab.flow(50);
      const outcome = await lab.settled();
      expect(outcome).toEqual(outcome.map(perfect));
      expect(await lab.stop()).toEqual({});
    },
  );

  it(
    'is refused while its target is out of memory, goes on where it is, and moves once there is some',
    { timeout: 180_000 },
    async () => {
      const lab = await ThreeHosts.start({ seed: 11 });
      lab.begin();
      await lab.flow(200);
      // Somebody on the target has nearly all of it; what is left would do for the frames of those that run.
      const { pages } = lab.lab.host('beta').machine.domain(0)!;
      const taken: number[] = [];
      while (lab.lab.lab.core.freePages > 600) taken.push(pages.allocate(64));
      for (let tries = 0; tries < 3; tries++) {
        await expect(lab.lab.migrate('a', 'beta')).rejects.toMatchObject({
          code: 'NO_ROOM',
          message: expect.stringMatching(
            /expected room for \d+ pages of memory of a on beta, saw \d+; nothing was moved: .+/,
          ) as string,
        });
        expect(lab.plugin('a')).toBe(REFERENCE);
        await lab.flow(200);
      }
      for (const address of taken) pages.free(address);
      expect(await lab.lab.migrate('a', 'beta')).toMatchObject({ to: 'beta', lost: { holdFull: 0 } });
      await lab.lab.lab.runUntil(() => lab.plugin('a') === OTHER, 20_000);
      await lab.flow(200);
      const outcome = await lab.settled();
      expect(outcome).toEqual(outcome.map(perfect));
      expect(await lab.stop()).toEqual({});
    },
  );
});
