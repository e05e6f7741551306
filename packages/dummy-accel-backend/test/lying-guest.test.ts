// What a guest may not ask for, at which step, and what a mistake costs it.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import {
  ControlMessage,
  MAX_MISTAKES,
  decodeHello,
  encodeBuffers,
  encodeHello,
  encodeRings,
  encodeStray,
  handoverMessage,
} from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import type { FakeHost } from '@netaccel/nic-vi/testing';
import { attach } from './attached.js';

const nothing = new Uint8Array(0);

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
