// What a guest gets step by step, in which order it goes, and that nothing is left wherever it ends.
import { readFileSync } from 'node:fs';
import { CONTRACT_VERSION, PAGE_BYTES } from '@netaccel/core-hooks';
import { ControlMessage, decodeHandover, decodeHello } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import plugin from '../src/index.js';
import { FakeHost } from '@netaccel/nic-vi/testing';
import { attach } from './attached.js';

const nothing = new Uint8Array(0);
const empty = { shares: 0, maps: 0, ports: 0, subscriptions: 0, timers: 0, vis: 0 };

describe('the definition', () => {
  it('says of itself what its package says', () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Record<
      string,
      string
    >;
    expect([plugin.name, plugin.version, plugin.kind]).toEqual([
      manifest['name'],
      manifest['version'],
      'backend',
    ]);
    expect(plugin.contract).toBe(CONTRACT_VERSION);
  });

  it('drives its own kind of NIC, and no other', async () => {
    const host = new FakeHost();
    expect(plugin.supports(host.control)).toBe(true);
    for (const other of [undefined, null, {}, { kind: 'other' }, 'eth0'])
      expect(plugin.supports(other)).toBe(false);
    const services = { ...host.services, port: { ...host.services.port, device: {} } };
    await expect(plugin.probe(services)).rejects.toThrow(/nic-vi/);
    expect(host.ledger()).toEqual(empty);
  });
});

describe('set-up', () => {
  it('gives the guest a VI of its own', async () => {
    const { host, backend } = await attach();
    expect(decodeHello((await host.hello(20)).payload)).toEqual({
      oldest: 1,
      newest: 1,
      features: 1,
      bufferPages: 20,
    });
    const handover = decodeHandover((await host.rings()).payload);
    expect(handover).toMatchObject({
      mtu: 1500,
      maxFilters: 8,
      startIndex: 0,
      segmentation: true,
      transmitChecksum: true,
    });
    expect([...handover.mac]).toEqual([...host.services.vif.mac]);
    expect(host.control.describeVi(handover.vi)).toMatchObject({ owner: 16 + 3, filterQuota: 8, buffers: 0 });
    expect((await host.buffers(8)).ok).toBe(true);
    expect((await host.buffers(24, false)).ok).toBe(true);
    expect(host.control.describeVi(handover.vi)).toMatchObject({ buffers: 32 });
    expect((await host.guest.request(ControlMessage.start, nothing)).ok).toBe(true);
    await host.settle();
    expect(host.told(ControlMessage.link)).toHaveLength(1);
    expect(backend.describe()).toMatchObject({
      step: 'started',
      pages: { granted: 20, receive: 8, transmit: 24 },
    });
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it.each([
    [0, 384, 384],
    [1000, 384, 384],
    [10, 384, 10],
    [10, 4, 4],
  ])(
    'feature 83: grants the smaller of %i wanted and a quota of %i: %i',
    async (wanted, maxBufferPages, granted) => {
      const { host } = await attach({ limits: { maxBufferPages } });
      expect(decodeHello((await host.hello(wanted)).payload).bufferPages).toBe(granted);
    },
  );

  it.each([
    [1000, 4, 4],
    [8, 64, 8],
    [8, 0, 0],
  ])('gives a quota of %i and an option of %i filters %i', async (maxFilters, filters, given) => {
    const host = new FakeHost({ limits: { maxFilters } });
    await plugin.probe(host.services, { filters });
    await host.hello();
    const handover = decodeHandover((await host.rings()).payload);
    expect(handover.maxFilters).toBe(given);
    expect(host.control.describeVi(handover.vi)).toMatchObject({ filterQuota: given });
  });

  it('feature 48, feature 55, hole 2.16 #14: holds the VI to the vif: source address, protection domain, quotas', async () => {
    const { host } = await attach({ limits: { maxFilters: 1000 } });
    await host.hello();
    const { vi, maxFilters } = decodeHandover((await host.rings()).payload);
    expect(maxFilters).toBe(plugin.capabilities.receiveFilters);
    expect(host.control.describeVi(vi)).toMatchObject({ filterQuota: maxFilters, bufferQuota: 8 + 2048 });
  });

  it('serves the doorbell channel on machines where a register write does not reach the device', async () => {
    const { host, backend } = await attach();
    const { vi, doorbellPort, registerRef } = await host.setUp();
    host.memory.words[(registerRef * PAGE_BYTES) >>> 2] = 99; // beyond the ring: a doorbell that is counted
    host.doorbells.get(doorbellPort)!();
    expect(host.control.viStatistics(vi)['badDoorbells']).toBe(1);
    await host.remove(backend);
  });

  const steps: [string, (host: FakeHost) => Promise<unknown>][] = [
    ['probe', () => Promise.resolve()],
    ['hello', (host) => host.hello()],
    ['rings', (host) => host.rings()],
    ['buffers', (host) => host.buffers()],
    ['start', (host) => host.guest.request(ControlMessage.start, nothing)],
    ['quiesce', (host) => host.guest.request(ControlMessage.quiesce, nothing)],
  ];
  it.each(steps.map(([name], i) => [name, i] as const))(
    'can end after %s, and leaves nothing',
    async (_name, last) => {
      const { host, backend } = await attach();
      for (const [, step] of steps.slice(0, last + 1)) await step(host);
      await host.remove(backend);
      expect(host.ledger()).toEqual(empty);
      expect(host.failures).toEqual([]);
      // A guest that goes on talking gets nothing more.
      expect((await host.hello()).ok).toBe(false);
      expect((await host.rings()).ok).toBe(false);
      expect(host.ledger()).toEqual(empty);
    },
  );

  it.each(['map', 'share', 'events.open'])(
    'hole 2.16 #18: undoes a VI that was half made when %s failed, and can make it then',
    async (what) => {
      const { host, backend } = await attach();
      await host.hello();
      const before = host.ledger();
      host.failing = what;
      expect((await host.rings()).ok).toBe(false);
      expect(host.ledger()).toEqual(before);
      expect((await host.rings()).ok).toBe(true);
      await host.remove(backend);
      expect(host.ledger()).toEqual(empty);
    },
  );

  it('undoes it when the NIC has no VI left', async () => {
    const { host, backend } = await attach();
    const others: number[] = [];
    for (let n = 0; n < 8; n++) {
      const page = (): number => host.memory.allocate(1);
      others.push(
        host.control.allocateVi({
          owner: 2,
          transmitPages: [page()],
          transmitCapacity: 2,
          receivePages: [page()],
          receiveCapacity: 2,
          eventPages: [page()],
          eventCapacity: 8,
          registerPage: page(),
          vector: 0,
        }),
      );
    }
    await host.hello();
    expect((await host.rings()).ok).toBe(false);
    expect(host.ledger()).toEqual({ ...empty, subscriptions: 1, vis: 8 });
    host.control.freeVi(others[0]!);
    expect((await host.rings()).ok).toBe(true);
    await host.remove(backend);
  });

  it('feature 60, feature 97: takes filters, VI, pages and channels down in that order', async () => {
    const { host, backend } = await attach();
    await host.setUp();
    host.calls.length = 0;
    const seen: string[] = [];
    for (const verb of ['flushVi', 'freeVi'] as const) {
      const act = host.control[verb].bind(host.control) as (vi: number) => boolean;
      Object.assign(host.control, {
        [verb]: (vi: number) => {
          seen.push(`${verb}, ${host.receivers.size} looking`);
          host.calls.push(verb);
          return act(vi);
        },
      });
    }
    await host.remove(backend);
    expect(seen).toEqual(['flushVi, 0 looking', 'freeVi, 0 looking']);
    expect(host.calls).toEqual(['flushVi', 'freeVi', 'unmap', 'unmap', 'unmap', 'unmap', 'share.release']);
  });

  it('hole 2.16 #6: waits for a VI that is not empty only so long', async () => {
    const { host, backend } = await attach();
    await host.setUp();
    let tries = 0;
    Object.assign(host.control, { flushVi: () => ++tries < 0 });
    await host.remove(backend);
    expect(tries).toBe(20);
    expect(host.ledger()).toEqual(empty);
  });

  it('feature 78, hole 2.16 #23: asks to be taken off when the NIC is reset, and touches no VI of the next generation', async () => {
    const { host, backend } = await attach();
    const { vi } = await host.setUp();
    host.nic.reset();
    for (const tell of host.resets) tell();
    expect(host.failures).toHaveLength(1);
    // Somebody else gets the number.
    const page = (): number => host.memory.allocate(1);
    const other = host.control.allocateVi({
      owner: 2,
      transmitPages: [page()],
      transmitCapacity: 2,
      receivePages: [page()],
      receiveCapacity: 2,
      eventPages: [page()],
      eventCapacity: 8,
      registerPage: page(),
      vector: 0,
    });
    expect(other).toBe(vi);
    await host.remove(backend);
    expect(host.ledger()).toEqual({ ...empty, vis: 1 });
    expect(host.control.describeVi(other)).toMatchObject({ owner: 2, draining: false });
  });
});
