/** The control side: orders of events, exact keys, and every way in which a backend leaves and comes back. */
import { describe, expect, test } from 'vitest';
import { XenbusState } from '@netaccel/xen';
import { Netfront } from '../src/index.js';
import { CLEAN_END, NOTHING_HELD, VifLab, pattern } from './lab.js';

async function keysOf(lab: VifLab, path = lab.frontPath): Promise<Record<string, string>> {
  const { store } = lab.back;
  const keys: Record<string, string> = {};
  const walk = async (at: string): Promise<void> => {
    const names = await store.list(at);
    if (names.length === 0) keys[at.slice(path.length + 1)] = (await store.readOptional(at)) ?? '';
    for (const name of names) await walk(`${at}/${name}`);
  };
  await lab.run(walk(path));
  return keys;
}

async function works(lab: VifLab): Promise<void> {
  const bytes = pattern(100, 3);
  const before = lab.stack.frames.length;
  expect(lab.send(bytes)).toBe(true);
  await lab.settle();
  const { queue } = lab.backend;
  const packets = queue.take();
  expect(packets.map((p) => p.bytes)).toEqual([bytes]);
  queue.answer(packets);
  expect(queue.put(bytes)).toBe(true);
  queue.publishRx();
  await lab.settle();
  expect(lab.stack.frames.length).toBe(before + 1);
}

const toolstackKeys = {
  backend: '/local/domain/0/backend/vif/1/0',
  'backend-id': '0',
  handle: '0',
  mac: '00:16:3e:00:00:01',
};
const featureKeys = {
  'request-rx-copy': '1',
  'feature-rx-notify': '1',
  'feature-sg': '1',
  'feature-gso-tcpv4': '1',
  'feature-gso-tcpv6': '1',
  'feature-ipv6-csum-offload': '1',
};

describe('keys', () => {
  test('one queue, one channel: flat, and nothing else', async () => {
    const lab = await VifLab.connected({ netfront: { features: { splitChannels: false } } });
    const { keys } = lab.backend.queue;
    expect(await keysOf(lab)).toEqual({
      ...toolstackKeys,
      ...featureKeys,
      state: '4',
      'multi-queue-num-queues': '1',
      'tx-ring-ref': String(keys.txRef),
      'rx-ring-ref': String(keys.rxRef),
      'event-channel': String(keys.txPort),
    });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a backend from before queues and split channels', async () => {
    const lab = await VifLab.connected({
      offers: { 'multi-queue-max-queues': null, 'feature-split-event-channels': null },
      netfront: { features: { queues: 4 } },
    });
    const keys = await keysOf(lab);
    expect(Object.keys(keys).sort()).toEqual(
      [
        ...Object.keys({ ...toolstackKeys, ...featureKeys }),
        'state',
        'tx-ring-ref',
        'rx-ring-ref',
        'event-channel',
      ].sort(),
    );
    await works(lab);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('split channels', async () => {
    const lab = await VifLab.connected();
    const { keys } = lab.backend.queue;
    expect(keys.rxPort).not.toBeNull();
    expect(keys.rxPort).not.toBe(keys.txPort);
    expect(await keysOf(lab)).toMatchObject({
      'event-channel-tx': String(keys.txPort),
      'event-channel-rx': String(keys.rxPort),
    });
    expect(await keysOf(lab)).not.toHaveProperty('event-channel');
    await works(lab);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each([2, 3, 4, 9])('%i queues wanted of 4 offered: a directory each, no flat keys', async (wanted) => {
    const lab = await VifLab.connected({ netfront: { features: { queues: wanted } } });
    const count = Math.min(4, wanted);
    expect(lab.backend.queues.length).toBe(count);
    const keys = await keysOf(lab);
    expect(keys['multi-queue-num-queues']).toBe(String(count));
    const queueKeys = Object.keys(keys).filter((key) => key.startsWith('queue-'));
    const expected = Array.from({ length: count }, (_, n) =>
      ['tx-ring-ref', 'rx-ring-ref', 'event-channel-tx', 'event-channel-rx'].map(
        (key) => `queue-${n}/${key}`,
      ),
    ).flat();
    expect(queueKeys.sort()).toEqual(expected.sort());
    for (const key of ['tx-ring-ref', 'rx-ring-ref', 'event-channel', 'event-channel-tx'])
      expect(keys).not.toHaveProperty(key);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('what is not wanted is not said', async () => {
    const lab = await VifLab.connected({
      netfront: { features: { scatterGather: false, checksumIpv4: false, checksumIpv6: false } },
    });
    const keys = await keysOf(lab);
    for (const key of ['feature-sg', 'feature-gso-tcpv4', 'feature-gso-tcpv6', 'feature-ipv6-csum-offload'])
      expect(keys).not.toHaveProperty(key);
    expect(keys['feature-no-csum-offload']).toBe('1');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('what an earlier connection wrote is gone', async () => {
    const lab = await VifLab.connected({ netfront: { features: { queues: 2 } } });
    await lab.run(lab.front.suspend());
    await lab.run(lab.backend.write('multi-queue-max-queues', '1'));
    (lab.backend as unknown as { offers: Record<string, string> }).offers = {
      'multi-queue-max-queues': '1',
      'feature-split-event-channels': '0',
    };
    await lab.run(lab.front.resume());
    await lab.settle();
    const keys = await keysOf(lab);
    expect(
      Object.keys(keys).filter((key) => key.startsWith('queue-') || key.startsWith('event-channel-')),
    ).toEqual([]);
    expect(keys['multi-queue-num-queues']).toBe('1');
    await works(lab);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('orders', () => {
  test('the frontend is there first', async () => {
    const lab = await VifLab.make();
    const started = lab.front.start();
    await lab.settle();
    expect(lab.front.state.frontend).toBe(XenbusState.Initialising);
    expect(lab.front.carrier).toBe(false);
    expect(lab.front.allocate(60)).toBeNull();
    await lab.run(lab.backend.start());
    await lab.run(started);
    await works(lab);
    expect(lab.states.filter((line, i) => line !== lab.states[i - 1])).toContain('4/4 detached');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('onConnected comes with the carrier, once for each connection', async () => {
    const seen: string[] = [];
    const lab = await VifLab.connected({
      netfront: { onConnected: ({ mac, mtu }) => seen.push(`${Array.from(mac).join()} ${mtu}`) },
      frontendKeys: { mtu: '9000' },
    });
    expect(seen).toEqual(['0,22,62,0,0,1 9000']);
    await lab.run(lab.front.suspend());
    await lab.run(lab.front.resume());
    expect(seen.length).toBe(2);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('the backend closes and comes back', async () => {
    const lab = await VifLab.connected();
    await works(lab);
    lab.backend.disconnect();
    await lab.run(lab.backend.close());
    await lab.settle();
    expect(lab.front.state).toMatchObject({ frontend: XenbusState.Closed, carrier: false });
    expect({ ...lab.guest.ledger(), watches: 0 }).toEqual(NOTHING_HELD);
    expect(lab.front.startXmit(null as never, false)).toBe(false);
    await lab.run(lab.backend.advertise());
    await lab.settle();
    expect(lab.front.state).toMatchObject({ frontend: XenbusState.Connected, carrier: true });
    await works(lab);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('the backend’s directory vanishes', async () => {
    const lab = await VifLab.connected();
    lab.backend.following = false;
    lab.backend.disconnect();
    await lab.run(lab.back.store.remove(lab.backend.path));
    await lab.settle();
    expect(lab.front.state).toMatchObject({ backend: XenbusState.Unknown, carrier: false });
    expect({ ...lab.guest.ledger(), watches: 0 }).toEqual(NOTHING_HELD);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('the whole device vanishes: nothing is written back', async () => {
    const lab = await VifLab.connected();
    lab.backend.following = false;
    lab.backend.disconnect();
    await lab.run(
      lab.back.store.transaction(async (tx) => {
        await lab.back.store.remove(lab.frontPath, tx);
        await lab.back.store.remove(lab.backend.path, tx);
      }),
    );
    await lab.settle();
    await lab.run(lab.front.stop());
    expect(await lab.run(lab.back.store.exists(lab.frontPath))).toBe(false);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-465: the backend goes just when a resumed device comes up, before any frame', async () => {
    const lab = await VifLab.connected();
    await lab.run(lab.front.suspend());
    lab.backend.following = false;
    const resumed = lab.front.resume().catch((error: unknown) => error);
    lab.backend.disconnect();
    await lab.run(lab.back.store.remove(lab.backend.path));
    await lab.settle();
    await lab.run(lab.front.stop());
    await lab.run(resumed);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'a driver that died without a word is followed by another (seed %i)',
    async (seed) => {
      const lab = await VifLab.connected({ seed });
      const second = new Netfront({ domain: lab.guest, handle: 0, stack: lab.stack });
      await lab.run(second.start());
      await lab.settle();
      expect(second.carrier).toBe(true);
      await lab.run(second.stop());
      await lab.end();
    },
  );

  test('the toolstack unplugs a device that never connected', async () => {
    const lab = await VifLab.make();
    const started = lab.front.start().catch((error: unknown) => error);
    await lab.settle();
    await lab.run(lab.backend.set(XenbusState.Closing));
    await lab.machine.advance(2000);
    expect(lab.front.state.frontend).toBe(XenbusState.Closed);
    await lab.run(lab.front.stop());
    await lab.run(started);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('stop at any moment leaves nothing', async () => {
    for (let steps = 0; steps < 120; steps += 3) {
      const lab = await VifLab.make({ seed: steps });
      await lab.run(lab.backend.start());
      const started = lab.front.start().catch((error: unknown) => error);
      for (let i = 0; i < steps; i++) {
        lab.machine.pump(1);
        await lab.machine.lab.turn();
      }
      const stopped = lab.front.stop();
      await lab.run(stopped);
      await lab.run(started);
      expect({ steps, ...(await lab.end()) }).toEqual({ steps, ...CLEAN_END });
    }
  }, 60_000);

  test('another host: the old backend domain is gone, a new one serves the device', async () => {
    const lab = await VifLab.connected();
    await works(lab);
    await lab.run(lab.front.suspend());
    lab.backend.following = false;
    lab.backend.disconnect();
    const other = lab.machine.createDomain(5, 'driver');
    const { ScriptedBackend } = await import('./scripted-backend.js');
    const path = '/local/domain/5/backend/vif/1/0';
    const permissions = [
      { domid: 5, access: 'none' },
      { domid: 1, access: 'read' },
    ] as const;
    const { store } = lab.back;
    const move = async (): Promise<void> => {
      await store.mkdir(path);
      await store.setPermissions(path, permissions);
      await store.write(`${path}/state`, '1');
      await store.write(`${lab.frontPath}/state`, '1');
      await store.setPermissions(`${path}/state`, permissions);
      await store.write(`${lab.frontPath}/backend`, path);
      await store.write(`${lab.frontPath}/backend-id`, '5');
      const readable = [
        { domid: 1, access: 'none' },
        { domid: 5, access: 'read' },
      ] as const;
      await store.setPermissions(lab.frontPath, readable);
      for (const key of await store.list(lab.frontPath))
        await store.setPermissions(`${lab.frontPath}/${key}`, readable);
    };
    await lab.run(move());
    const backend = new ScriptedBackend(other, 1, 0, {});
    await lab.run(backend.start());
    await lab.run(lab.front.resume());
    await lab.settle();
    expect(lab.front.vif?.backend).toBe(5);
    expect(lab.send(pattern(60))).toBe(true);
    await lab.settle();
    const packets = backend.queue.take();
    expect(packets.length).toBe(1);
    backend.queue.answer(packets);
    await lab.settle();
    await lab.run(lab.front.stop());
    await lab.run(backend.stop());
    expect(other.ledger()).toEqual(NOTHING_HELD);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('what cannot be connected', () => {
  test('no device', async () => {
    const lab = await VifLab.make({ frontendKeys: { backend: null } });
    await expect(lab.run(lab.front.start())).rejects.toMatchObject({ code: 'NO_DEVICE' });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each(['', '00:16:3e:00:00', 'zz:16:3e:00:00:01', '00:16:3e:00:00:01:02'])('mac "%s"', async (mac) => {
    const lab = await VifLab.make({ frontendKeys: { mac } });
    await expect(lab.run(lab.front.start())).rejects.toMatchObject({ code: 'BAD_MAC' });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a backend that only flips pages', async () => {
    const lab = await VifLab.make({ offers: { 'feature-rx-copy': '0' } });
    await lab.run(lab.backend.start());
    await expect(lab.run(lab.front.start())).rejects.toMatchObject({ code: 'FAILED' });
    const error = await lab.run(lab.back.store.readOptional('/local/domain/1/error/device/vif/0/error'));
    expect(error).toContain('feature-rx-copy');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('no backend: TIMEOUT, ABORTED', async () => {
    const lab = await VifLab.make();
    await expect(lab.run(lab.front.start({ timeoutMs: 500 }))).rejects.toMatchObject({ code: 'TIMEOUT' });
    await lab.run(lab.front.stop());
    const abort = new AbortController();
    const started = lab.front.start({ signal: abort.signal });
    started.catch(() => undefined);
    await lab.settle();
    abort.abort();
    await expect(lab.run(started)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('after a wait without success the device still connects when the backend comes', async () => {
    const lab = await VifLab.make();
    await expect(lab.run(lab.front.start({ timeoutMs: 500 }))).rejects.toMatchObject({ code: 'TIMEOUT' });
    await lab.run(lab.backend.start());
    await lab.settle();
    expect(lab.front.carrier).toBe(true);
    await works(lab);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each(['pages', 'grants', 'ports'] as const)(
    'no %s, at each request in turn',
    async (what) => {
      for (let at = 0; at < 8; at++) {
        let requests = 0;
        const lab = await VifLab.make({
          netfront: { features: { queues: 2, trusted: false } },
          faults: { exhausted: (domain, kind) => domain === 1 && kind === what && requests++ === at },
        });
        await lab.run(lab.backend.start());
        const error: unknown = await lab.run(lab.front.start().catch((e: unknown) => e));
        if (requests > at) expect(error).toMatchObject({ code: 'FAILED' });
        expect({ at, ...(await lab.end()) }).toEqual({ at, ...CLEAN_END });
      }
    },
    60_000,
  );
});

test('the backend’s carrier key', async () => {
  const lab = await VifLab.connected();
  const set = async (value: string): Promise<boolean> => {
    await lab.run(lab.backend.write('carrier', value));
    await lab.settle();
    return lab.front.carrier;
  };
  expect(await set('0')).toBe(false);
  expect(await set('1')).toBe(true);
  expect(await lab.end()).toEqual(CLEAN_END);
});
