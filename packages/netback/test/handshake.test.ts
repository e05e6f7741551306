// From Initialising to Closed: what the backend says in each state, and what it does at each of the frontend’s.
import { describe, expect, test } from 'vitest';
import { XenbusState } from '@netaccel/xen';
import { CLEAN_END, NOTHING_HELD, VifLab } from './lab.js';

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
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('takes a frontend that was changing something when the backend before it went', async () => {
    const lab = await VifLab.make();
    await lab.run(lab.frontend.connect());
    await lab.run(lab.frontend.state(XenbusState.Reconfiguring));
    await lab.run(lab.netback.start());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Reconfigured);
    expect(await lab.talks()).toBe(true);
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
    expect(await lab.talks()).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('waits with Connected for the hotplug script, while the rings serve already', async () => {
    const lab = await VifLab.make({ netback: { hotplug: 'script' } });
    await lab.run(lab.netback.start());
    await lab.run(lab.frontend.connect());
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.InitWait);
    expect(await lab.talks()).toBe(true);
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
      expect(await lab.talks()).toBe(true);
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
    expect(await lab.talks()).toBe(true);
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
    expect(await lab.talks()).toBe(true);
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
    expect(await lab.talks()).toBe(true);
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
    expect(await lab.talks()).toBe(true);
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

test('a vif that was never started stops', async () => {
  const lab = await VifLab.make();
  await lab.run(lab.netback.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});
