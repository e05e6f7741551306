// What a guest may ask for and in which order, what it may not, and that nothing is left wherever it ends.
import { readFileSync } from 'node:fs';
import { CONTRACT_VERSION, PAGE_BYTES } from '@netaccel/core-hooks';
import type { BackendAccelerator } from '@netaccel/core-hooks';
import {
  ControlMessage,
  decodeHandover,
  decodeHello,
  encodeBuffers,
  encodeHello,
  encodeRings,
  encodeStray,
  handoverMessage,
} from '@netaccel/nic-vi';
import { MAX_MISTAKES } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import plugin from '../src/index.js';
import { FakeHost } from '@netaccel/nic-vi/testing';
import type { HostOptions } from '@netaccel/nic-vi/testing';

const nothing = new Uint8Array(0);
const empty = { shares: 0, maps: 0, ports: 0, subscriptions: 0, timers: 0, vis: 0 };

async function attach(options: HostOptions = {}): Promise<{ host: FakeHost; backend: BackendAccelerator }> {
  const host = new FakeHost(options);
  return { host, backend: await plugin.probe(host.services) };
}

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

describe('a guest that lies', () => {
  const rings = {
    transmitRefs: Uint32Array.of(1),
    receiveRefs: Uint32Array.of(2),
    eventRefs: Uint32Array.of(3),
    transmitCapacity: 64,
    receiveCapacity: 64,
    eventCapacity: 64,
  };

  const early: [string, number, Uint8Array][] = [
    ['rings', ControlMessage.rings, encodeRings(rings)],
    [
      'buffers',
      ControlMessage.buffers,
      encodeBuffers({ cookie: 0, writable: true, refs: Uint32Array.of(1) }),
    ],
    ['start', ControlMessage.start, nothing],
    ['quiesce', ControlMessage.quiesce, nothing],
  ];
  it.each(early)(
    'feature 92, hole 2.16 #2: gets nothing for %s before its turn, and is detached',
    async (_name, type, payload) => {
      const { host, backend } = await attach();
      const before = host.ledger();
      expect((await host.guest.request(type, payload)).ok).toBe(false);
      expect(host.ledger()).toEqual(before);
      expect(backend.describe()).toMatchObject({ step: 'hello', peer: { mistakes: 1 } });
      expect(host.failures).toEqual([expect.stringContaining('at step "hello"')]);
    },
  );

  it('gets one VI', async () => {
    const { host } = await attach();
    await host.hello();
    expect((await host.hello()).ok).toBe(false);
    await host.rings();
    expect((await host.rings()).ok).toBe(false);
    expect(host.ledger().vis).toBe(1);
    await host.guest.request(ControlMessage.start, nothing);
    expect((await host.guest.request(ControlMessage.start, nothing)).ok).toBe(false);
    expect((await host.buffers()).ok).toBe(false);
    expect(host.receivers.size).toBe(1);
  });

  it('feature 82: of another version is told which there are', async () => {
    const { host } = await attach();
    const hello = { oldest: 2, newest: 3, features: 1, bufferPages: 8 };
    const reply = await host.guest.request(ControlMessage.hello, encodeHello(hello));
    expect(reply.ok).toBe(false);
    expect(decodeHello(reply.payload)).toMatchObject({ oldest: 1, newest: 1 });
    // A later half that still speaks version 1 is welcome.
    const newer = await host.guest.request(
      ControlMessage.hello,
      encodeHello({ ...hello, oldest: 1, newest: 9, features: ~0 >>> 0 }),
    );
    expect(newer.ok).toBe(true);
    expect(decodeHello(newer.payload)).toMatchObject({ oldest: 1, newest: 1, features: 1 });
  });

  const wrongRings: [string, Uint8Array][] = [
    ['no bytes', nothing],
    ['too few bytes', encodeRings(rings).slice(0, 20)],
    ['another version of the messages', encodeRings(rings).fill(9, 0, 1)],
    ['no transmit pages', encodeRings({ ...rings, transmitRefs: new Uint32Array(0) })],
    ['too many event pages', encodeRings({ ...rings, eventRefs: new Uint32Array(17) })],
    ['a capacity of 0', encodeRings({ ...rings, receiveCapacity: 0 })],
    ['a capacity that is no power of two', encodeRings({ ...rings, transmitCapacity: 48 })],
    ['a capacity beyond its pages', encodeRings({ ...rings, eventCapacity: 4096 })],
    ['pages that it never granted', encodeRings({ ...rings, receiveRefs: Uint32Array.of(0xffff_ffff) })],
  ];
  it.each(wrongRings)('feature 84, hole 2.16 #3: is refused rings with %s', async (_what, payload) => {
    const { host } = await attach();
    await host.hello();
    for (const ref of [1, 2, 3]) host.grants.set(ref, 'write');
    const before = host.ledger();
    expect((await host.guest.request(ControlMessage.rings, payload)).ok).toBe(false);
    expect(host.ledger()).toEqual(before);
    expect((await host.rings()).ok).toBe(true);
  });

  const wrongBuffers: [string, (host: FakeHost) => Uint8Array][] = [
    ['no bytes', () => nothing],
    ['no references', () => encodeBuffers({ cookie: 0, writable: true, refs: new Uint32Array(0) })],
    [
      'a count beyond the array',
      () => encodeBuffers({ cookie: 0, writable: true, refs: Uint32Array.of(1) }).fill(255, 2, 3),
    ],
    [
      'a page that it never granted',
      (host) => encodeBuffers({ cookie: 0, writable: true, refs: Uint32Array.of(host.grant(1)[0]!, 4095) }),
    ],
    [
      'a page to write that is granted for reading',
      (host) => encodeBuffers({ cookie: 0, writable: true, refs: host.grant(1, 'read') }),
    ],
    [
      'more pages than were granted',
      (host) => encodeBuffers({ cookie: 0, writable: true, refs: host.grant(9) }),
    ],
  ];
  it.each(wrongBuffers)('feature 85: is refused buffers with %s, and those only', async (_what, payload) => {
    const { host, backend } = await attach();
    await host.hello(8);
    await host.rings();
    const before = host.ledger();
    expect((await host.guest.request(ControlMessage.buffers, payload(host))).ok).toBe(false);
    expect(host.ledger()).toEqual(before);
    expect((await host.buffers(8)).ok).toBe(true);
    expect((await host.buffers(1)).ok).toBe(false);
    expect(backend.describe()).toMatchObject({ pages: { receive: 8 } });
  });

  it('cannot have the device know more transmit memory than 8 MiB', async () => {
    const { host } = await attach();
    await host.hello();
    await host.rings();
    for (let page = 0; page < 2048; page += 16) expect((await host.buffers(16, false)).ok).toBe(true);
    expect((await host.buffers(1, false)).ok).toBe(false);
    expect((await host.buffers(8, true)).ok).toBe(true); // its receive buffers are counted apart
  });

  it('feature 87: cannot take away the filter of another', async () => {
    const { host } = await attach();
    await host.setUp();
    const page = host.memory.allocate(5);
    const other = host.control.allocateVi({
      owner: 2,
      transmitPages: [page],
      transmitCapacity: 2,
      receivePages: [page + 4096],
      receiveCapacity: 2,
      eventPages: [page + 8192],
      eventCapacity: 8,
      registerPage: page + 12288,
      vector: 0,
    });
    const id = host.control.addFilter(other, { kind: 'mac', mac: [2, 0, 0, 0, 0, 0x77] });
    expect((await host.guest.request(ControlMessage.stray, encodeStray(id))).ok).toBe(false);
    expect((await host.guest.request(ControlMessage.stray, nothing)).ok).toBe(false);
    await host.settle();
    expect(host.control.filters(other)).toHaveLength(1);
  });

  it('feature 91, hole 2.16 #2: is given up after so many mistakes, once', async () => {
    const { host } = await attach();
    for (let i = 0; i < MAX_MISTAKES; i++) await host.guest.request(ControlMessage.rings, nothing);
    expect(host.failures).toEqual([]);
    for (let i = 0; i < 20; i++) await host.guest.request(ControlMessage.rings, nothing);
    expect(host.failures).toHaveLength(1);
    expect(host.failures[0]).toMatch(/mistakes/);
  });

  it('with a handover that it changes harms itself only: the page holds no secret', async () => {
    const { host } = await attach();
    const handover = await host.setUp();
    expect(handoverMessage.size).toBeLessThanOrEqual(112);
    const words = host.memory.words.subarray(
      (handover.registerRef * PAGE_BYTES) >>> 2,
      ((handover.registerRef + 1) * PAGE_BYTES) >>> 2,
    );
    words.fill(0xffff_ffff);
    host.doorbells.get(handover.doorbellPort)!();
    expect(host.control.viStatistics(handover.vi)['badDoorbells']).toBeGreaterThan(0);
  });
});
