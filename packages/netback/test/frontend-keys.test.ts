// What a frontend may write into its directory: rings, channels and queues that are taken, and those that are refused.
import { describe, expect, test } from 'vitest';
import { GrantStatus, XenbusState } from '@netaccel/xen';
import type { Faults } from '@netaccel/xen/sim';
import { CLEAN_END, VifLab } from './lab.js';
import type { FrontendOptions } from './scripted-frontend.js';

test('defect 1.8 #9, XSA-361, 365: a ring page that cannot be mapped, whichever it is, leaves none mapped and no crash', async () => {
  for (let nth = 0; nth < 6; nth++) {
    let maps = 0;
    const faults: Faults = {
      grant: (operation) => (operation === 'map' && maps++ === nth ? GrantStatus.generalError : undefined),
    };
    const lab = await VifLab.make({ pages: 2048, faults });
    await lab.run(lab.netback.start());
    const before = lab.back.ledger();
    await lab.run(lab.frontend.connect({ queues: 3, pages: 16 }));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Closing);
    expect(lab.back.ledger()).toEqual(before);
    expect(await lab.end()).toEqual(CLEAN_END);
  }
});

describe('the frontend’s keys', () => {
  const refused: Record<string, { frontend?: FrontendOptions; says: string }> = {
    'no ring': { frontend: { keys: { 'tx-ring-ref': null } }, says: 'tx-ring-ref' },
    'a ring that is no number': { frontend: { keys: { 'rx-ring-ref': 'ten' } }, says: '"ten"' },
    'a ring beyond 32 bits': { frontend: { keys: { 'rx-ring-ref': '4294967296' } }, says: 'rx-ring-ref' },
    'a ring that is not granted': { frontend: { keys: { 'rx-ring-ref': '4000' } }, says: '4000' },
    'no channel': { frontend: { keys: { 'event-channel': null } }, says: 'event-channel' },
    'half a pair of channels': {
      frontend: { split: true, keys: { 'event-channel-rx': null } },
      says: 'event-channel: expected',
    },
    'a channel that is not there': { frontend: { keys: { 'event-channel': '999' } }, says: '999' },
    'page flipping': { frontend: { keys: { 'request-rx-copy': null } }, says: 'request-rx-copy' },
    'too many queues': { frontend: { queues: 5 }, says: '1 to 4, saw 5' },
    'no queues': { frontend: { keys: { 'multi-queue-num-queues': '0' } }, says: 'saw 0' },
    'several queues with flat keys': {
      frontend: { keys: { 'multi-queue-num-queues': '2' } },
      says: 'queue-0/tx-ring-ref',
    },
    'a queue less than it says': {
      frontend: { queues: 3, keys: { 'multi-queue-num-queues': '4' } },
      says: 'queue-3/tx-ring-ref',
    },
    'one port for two queues': {
      frontend: { queues: 2, keys: { 'queue-1/event-channel': 'same' } },
      says: 'port',
    },
  };
  for (const [name, { frontend = {}, says }] of Object.entries(refused))
    test(`refused, with a reason where the toolstack looks: ${name}`, async () => {
      const lab = await VifLab.make();
      await lab.run(lab.netback.start());
      const before = lab.back.ledger();
      lab.frontend.open(frontend);
      const keys = { ...frontend.keys };
      if (keys['queue-1/event-channel'] === 'same')
        keys['queue-1/event-channel'] = String(lab.frontend.queues[0]!.txChannel.port);
      await lab.run(lab.frontend.publishKeys({ ...frontend, keys }));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.Closing);
      expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain(says);
      expect(lab.back.ledger()).toEqual(before);
      // The next try is served.
      await lab.run(lab.frontend.state(XenbusState.Closed));
      await lab.settle();
      lab.frontend.release();
      await lab.run(lab.guest.store.remove(`${lab.frontend.path}/multi-queue-num-queues`));
      await lab.run(lab.frontend.state(XenbusState.Initialising));
      await lab.settle();
      await lab.run(lab.frontend.connect());
      await lab.settle();
      expect(await lab.talks()).toBe(true);
      expect(await lab.end()).toEqual(CLEAN_END);
    });

  for (const split of [false, true])
    for (const queues of [1, 2, 4])
      test(`${queues} queues, ${split ? 'a channel per direction' : 'one channel'}`, async () => {
        const lab = await VifLab.connected({}, { queues, split });
        expect(lab.back.ledger()).toMatchObject({
          mappings: 2 * queues,
          ports: queues * (split ? 2 : 1),
          tasks: queues,
        });
        const before = lab.frontend.queues.map(({ txEvents, rxEvents }) => ({ txEvents, rxEvents }));
        expect(await lab.talks()).toBe(true);
        lab.frontend.queues.forEach(({ txEvents, rxEvents }, n) => {
          expect(txEvents).toBeGreaterThan(before[n]!.txEvents);
          if (split) expect(rxEvents).toBe(before[n]!.rxEvents);
        });
        expect(await lab.end()).toEqual(CLEAN_END);
      });

  test('one queue said out loud has flat keys', async () => {
    const lab = await VifLab.connected({}, { keys: { 'multi-queue-num-queues': '1' } });
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a driver domain that is not domain 0 needs no more rights than the toolstack gives', async () => {
    const { SimMachine } = await import('@netaccel/xen/sim');
    const { makeVif } = await import('./lab.js');
    const machine = new SimMachine({ audit: true, pages: 6144, domains: 6 });
    const dom0 = machine.createDomain(0);
    const back = machine.createDomain(3);
    const guest = machine.createDomain(5);
    const lab = new VifLab(machine, back, guest, 2, {});
    await lab.run(dom0.store.mkdir('/local/domain/3'));
    await lab.run(dom0.store.setPermissions('/local/domain/3', [{ domid: 3, access: 'none' }]));
    await lab.run(makeVif(dom0, 3, 5, 2));
    await lab.run(lab.netback.start());
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a vif without a mac, or without a frontend, does not start, and says why', async () => {
    for (const key of ['mac', 'frontend']) {
      const lab = await VifLab.make();
      await lab.run(lab.back.store.remove(`${lab.backPath}/${key}`));
      await expect(lab.run(lab.netback.start())).rejects.toMatchObject({ code: 'VIF_KEYS' });
      expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain(
        `/${key}: expected`,
      );
      expect(await lab.end()).toEqual(CLEAN_END);
    }
  });
});
