import { describe, expect, test } from 'vitest';
import { GrantStatus, XenbusState } from '@netaccel/xen';
import type { Faults } from '@netaccel/xen/sim';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';
import type { FrontendOptions } from './scripted-frontend.js';

/** Sends one frame each way over every queue. */
async function talks(lab: VifLab): Promise<boolean> {
  for (const queue of lab.frontend.queues) {
    const before = lab.network.frames.length;
    queue.packet(pattern(60));
    queue.publish();
    await lab.settle();
    if (queue.responses().length !== 1 || lab.network.frames.length !== before + 1) return false;
  }
  return true;
}

describe('the handshake', () => {
  test('offers its features with InitWait, in the bytes that netif.h names', async () => {
    const lab = await VifLab.make();
    await lab.run(lab.netback.start());
    const keys = await lab.run(lab.back.store.list(lab.backPath));
    const seen: Record<string, string | null> = {};
    for (const key of keys) seen[key] = await lab.key(key);
    expect(seen).toMatchObject({
      state: '2',
      'feature-sg': '1',
      'feature-gso-tcpv4': '1',
      'feature-gso-tcpv6': '1',
      'feature-ipv6-csum-offload': '1',
      'feature-rx-copy': '1',
      'feature-rx-flip': '0',
      'feature-split-event-channels': '1',
      'feature-multicast-control': '1',
      'feature-dynamic-multicast-control': '1',
      'multi-queue-max-queues': '4',
      'feature-ctrl-ring': '1',
      'hotplug-status': 'connected',
      carrier: '1',
    });
    expect(lab.states).toEqual(['InitWait']);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('offers what its options leave', async () => {
    const lab = await VifLab.make({
      netback: { features: { scatterGather: false, multicastControl: false }, limits: { maxQueues: 1 } },
    });
    await lab.run(lab.netback.start());
    expect(await lab.key('feature-sg')).toBe('0');
    expect(await lab.key('feature-dynamic-multicast-control')).toBe('0');
    expect(await lab.key('multi-queue-max-queues')).toBe('1');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('takes a frontend that is there before it', async () => {
    const lab = await VifLab.make();
    await lab.run(lab.frontend.connect());
    await lab.run(lab.netback.start());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('takes a frontend that was changing something when the backend before it went', async () => {
    const lab = await VifLab.make();
    await lab.run(lab.frontend.connect());
    await lab.run(lab.frontend.state(XenbusState.Reconfiguring));
    await lab.run(lab.netback.start());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Reconfigured);
    expect(await talks(lab)).toBe(true);
    await lab.run(lab.frontend.state(XenbusState.Connected));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('takes Initialised for Connected, as old frontends mean it', async () => {
    const lab = await VifLab.make();
    await lab.run(lab.netback.start());
    lab.frontend.open();
    await lab.run(lab.frontend.publishKeys());
    await lab.run(lab.frontend.state(XenbusState.Initialised));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('waits with Connected for the hotplug script, while the rings serve already', async () => {
    const lab = await VifLab.make({ netback: { hotplug: 'script' } });
    await lab.run(lab.netback.start());
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.InitWait);
    expect(await talks(lab)).toBe(true);
    await lab.run(lab.back.store.write(`${lab.backPath}/hotplug-status`, 'busy'));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.InitWait);
    await lab.run(lab.back.store.write(`${lab.backPath}/hotplug-status`, 'connected'));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('closes when the frontend closes, and connects again when it starts over, as often as it likes', async () => {
    const lab = await VifLab.connected();
    const held = lab.back.ledger();
    for (let round = 0; round < 5; round++) {
      expect(await talks(lab)).toBe(true);
      await lab.run(lab.frontend.state(XenbusState.Closing));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.Closing);
      expect(lab.back.ledger()).toMatchObject({ mappings: 0, ports: 0, tasks: 0 });
      await lab.run(lab.frontend.state(XenbusState.Closed));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.Closed);
      expect(lab.frontend.release()).toBe(true);
      await lab.run(lab.frontend.state(XenbusState.Initialising));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.InitWait);
      await lab.run(lab.frontend.connect());
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.Connected);
      expect(lab.back.ledger()).toEqual(held);
    }
    expect(lab.states.slice(0, 6)).toEqual([
      'InitWait',
      'Connected',
      'Closing',
      'Closed',
      'InitWait',
      'Connected',
    ]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a frontend that starts over without a word is let go first', async () => {
    const lab = await VifLab.connected();
    await lab.run(lab.frontend.state(XenbusState.Initialising));
    await lab.settle();
    expect(lab.states).toEqual(['InitWait', 'Connected', 'Closing', 'Closed', 'InitWait']);
    expect(lab.frontend.release()).toBe(true);
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a frontend that vanishes without Closing is a disconnect, and the one after it is served', async () => {
    const lab = await VifLab.connected();
    await lab.run(lab.back.store.remove(lab.frontend.path));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Closed);
    expect(lab.back.ledger()).toMatchObject({ mappings: 0, ports: 0, tasks: 0 });
    expect(lab.frontend.release()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a device that the toolstack took offline is over when the frontend has closed', async () => {
    const lab = await VifLab.connected();
    // As libxl: online 0 and state 5 in the backend's directory; the frontend answers to that.
    await lab.run(lab.back.store.write(`${lab.backPath}/online`, '0'));
    await lab.run(lab.back.store.write(`${lab.backPath}/state`, '5'));
    await lab.settle();
    expect(lab.gone).toBe(0);
    await lab.run(lab.frontend.state(XenbusState.Closing));
    await lab.run(lab.frontend.state(XenbusState.Closed));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Closed);
    expect(lab.gone).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('online that becomes 0 after the close ends it too, once', async () => {
    const lab = await VifLab.connected();
    await lab.run(lab.frontend.state(XenbusState.Closing));
    await lab.run(lab.frontend.state(XenbusState.Closed));
    await lab.settle();
    expect(lab.gone).toBe(0);
    for (let i = 0; i < 3; i++) {
      await lab.run(lab.back.store.write(`${lab.backPath}/online`, '0'));
      await lab.settle();
    }
    expect(lab.gone).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('what changes while connected is taken up: Reconfiguring, Reconfigured, Connected', async () => {
    const lab = await VifLab.connected();
    await lab.run(lab.frontend.state(XenbusState.Reconfiguring));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Reconfigured);
    expect(await talks(lab)).toBe(true);
    await lab.run(lab.frontend.state(XenbusState.Connected));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('states that no frontend has are refused with a reason', async () => {
    for (const state of [XenbusState.InitWait, XenbusState.Reconfigured]) {
      const lab = await VifLab.connected();
      await lab.run(lab.frontend.state(state));
      await lab.settle();
      expect(await lab.backState()).toBe(XenbusState.Closing);
      expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain(
        'no state of a frontend',
      );
      expect(await lab.end()).toEqual(CLEAN_END);
    }
  });

  test('a fenced frontend that stays Connected is not served again before it starts over', async () => {
    const lab = await VifLab.connected();
    lab.frontend.queue.poke('tx', 'req_prod', 5000);
    lab.frontend.queue.txChannel.notify();
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Closing);
    await lab.run(lab.frontend.state(XenbusState.Connected));
    await lab.run(lab.guest.store.write(`${lab.frontend.path}/state`, '4'));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Closing);
    lab.frontend.release();
    await lab.run(lab.frontend.state(XenbusState.Closed));
    await lab.settle();
    await lab.run(lab.frontend.state(XenbusState.Initialising));
    await lab.settle();
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await talks(lab)).toBe(true);
    expect(lab.netback.describe()).toMatchObject({ reason: null });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-349: ten thousand changes of the frontend’s state cost a few looks', async () => {
    const lab = await VifLab.connected();
    let reads = 0;
    const read = lab.back.store.read.bind(lab.back.store);
    lab.back.store.read = (...args) => {
      reads++;
      return read(...args);
    };
    for (let round = 0; round < 50; round++) {
      const work: Promise<unknown>[] = [];
      for (let i = 0; i < 200; i++) work.push(lab.guest.store.write(`${lab.frontend.path}/state`, '4'));
      await lab.run(Promise.all(work));
    }
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(reads).toBeLessThan(10_000);
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-349: a tree that the guest grows under its keys wakes nobody', async () => {
    const lab = await VifLab.connected();
    let reads = 0;
    const read = lab.back.store.readOptional.bind(lab.back.store);
    lab.back.store.readOptional = (...args) => {
      reads++;
      return read(...args);
    };
    for (let i = 0; i < 50; i++)
      await lab.run(lab.guest.store.write(`${lab.frontend.path}/state/x${i}`, 'y'));
    await lab.settle();
    expect(reads).toBe(0);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

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
      expect(await talks(lab)).toBe(true);
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
        expect(await talks(lab)).toBe(true);
        lab.frontend.queues.forEach(({ txEvents, rxEvents }, n) => {
          expect(txEvents).toBeGreaterThan(before[n]!.txEvents);
          if (split) expect(rxEvents).toBe(before[n]!.rxEvents);
        });
        expect(await lab.end()).toEqual(CLEAN_END);
      });

  test('one queue said out loud has flat keys', async () => {
    const lab = await VifLab.connected({}, { keys: { 'multi-queue-num-queues': '1' } });
    expect(await talks(lab)).toBe(true);
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
    expect(await talks(lab)).toBe(true);
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

describe('a backend that takes over a connected guest, and has no memory for its buffers', () => {
  /** The store as a backend left it that served, and died; the next one has no memory the first `times`. */
  async function takenOver(times: number): Promise<VifLab> {
    let asked = 0;
    const faults: Faults = {
      exhausted: (domain, what) => domain === 0 && what === 'pages' && asked++ < times,
    };
    const lab = await VifLab.make({ faults });
    await lab.run(lab.frontend.connect());
    await lab.run(lab.back.store.write(`${lab.backPath}/state`, String(XenbusState.Connected)));
    await lab.run(lab.netback.start());
    await lab.settle();
    return lab;
  }

  test('at its start gets them when it connects: the guest took itself for connected, and nobody answered it', async () => {
    const lab = await takenOver(1);
    expect(await lab.backState()).toBe(XenbusState.Connected);
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('then either says so by Closing, and serves the next connection', async () => {
    const lab = await takenOver(2);
    expect(await lab.backState()).toBe(XenbusState.Closing);
    expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain('pages');
    await lab.run(lab.frontend.state(XenbusState.Closed));
    await lab.settle();
    lab.frontend.release();
    await lab.run(lab.frontend.state(XenbusState.Initialising));
    await lab.settle();
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await talks(lab)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

test('rings that a crashed backend left half used are taken up where its responses end', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.start());
  lab.frontend.open();
  const { queue } = lab.frontend;
  // As if ten requests had been answered before.
  queue.poke('tx', 'req_prod', (NEAR_WRAP + 10) >>> 0);
  queue.poke('tx', 'rsp_prod', (NEAR_WRAP + 10) >>> 0);
  queue.tx.produced = (NEAR_WRAP + 10) >>> 0;
  queue.tx.consumed = queue.tx.produced;
  await lab.run(lab.frontend.publishKeys());
  await lab.settle();
  expect(await talks(lab)).toBe(true);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest hears of responses that a backend published and crashed before it said so, on each channel', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.start());
  lab.frontend.open({ split: true });
  const { queue } = lab.frontend;
  for (const ring of ['tx', 'rx'] as const) {
    for (const index of ['req_prod', 'rsp_prod'] as const) queue.poke(ring, index, (NEAR_WRAP + 10) >>> 0);
    queue[ring].produced = (NEAR_WRAP + 10) >>> 0;
  }
  await lab.run(lab.frontend.publishKeys());
  await lab.settle();
  expect([queue.txEvents, queue.rxEvents]).toEqual([1, 1]);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a vif that was never started stops', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});
