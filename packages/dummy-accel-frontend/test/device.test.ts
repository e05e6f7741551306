// Set-up against a backend half by the book and against liars, and that nothing is left wherever it ends.
import { readFileSync } from 'node:fs';
import { CONTRACT_VERSION, Verdict } from '@netaccel/core-hooks';
import type { AcceleratorStatistics } from '@netaccel/core-hooks';
import { ControlMessage, MAX_MISTAKES, encodeHello } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import plugin from '../src/index.js';
import { FakeGuest, FarEnd, broadcast, frameOf, macOf } from '@netaccel/nic-vi/testing';
import type { Script } from '@netaccel/nic-vi/testing';

const nothing = new Uint8Array(0);
const empty = { shares: 0, registers: 0, ports: 0, timers: 0 };
const zero = (): AcceleratorStatistics => ({
  txFrames: 0,
  txBytes: 0,
  rxFrames: 0,
  rxBytes: 0,
  txErrors: 0,
  rxErrors: 0,
});

describe('the definition', () => {
  it('says of itself what its package says', () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Record<
      string,
      string
    >;
    expect([plugin.name, plugin.version, plugin.kind]).toEqual([
      manifest['name'],
      manifest['version'],
      'frontend',
    ]);
    expect(plugin.contract).toBe(CONTRACT_VERSION);
  });
});

describe('set-up', () => {
  it('asks step by step, and is live at the end', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    const types = guest.mailbox.sent.map(({ type }) => type);
    const { hello, rings, buffers, start } = ControlMessage;
    // 8 pages to receive, 68 to send from: one chunk, and three.
    expect(types).toEqual([hello, rings, buffers, buffers, buffers, buffers, start]);
    expect(guest.control.describeVi(guest.vi)).toMatchObject({ buffers: 8 + 68 });
    expect(device.describe()).toMatchObject({
      active: true,
      linkUp: true,
      receiveBuffers: { count: 16, pages: 8, held: 0 },
    });
    expect(guest.ledger()).toEqual({ ...empty, shares: 4, registers: 1, ports: 2 });
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });

  it('feature 83: uses no more receive buffers than are granted, and no more than it wants', async () => {
    for (const [bufferPages, pages] of [
      [1, 1],
      [100_000, 384],
    ] as const) {
      const guest = new FakeGuest({ hello: { bufferPages } });
      const device = await plugin.newDevice(guest.services);
      expect(device.describe()).toMatchObject({ receiveBuffers: { pages } });
      await guest.whilePolled(device.remove());
    }
  });

  it('works without transmit memory that may be used: it declines then', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice({ ...guest.services, transmitMemory: null });
    await guest.tell(macOf(0xb));
    const frame = guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) }));
    expect(device.startTransmit(frame, false)).toBeGreaterThanOrEqual(Verdict.declined);
    await guest.whilePolled(device.remove());
  });

  const { hello, rings, buffers, start } = ControlMessage;
  it.each([
    ['hello', hello],
    ['rings', rings],
    ['buffers', buffers],
    ['start', start],
  ])('leaves nothing when %s is refused', async (_name, type) => {
    const guest = new FakeGuest({ refuse: [type] });
    await expect(guest.whilePolled(plugin.newDevice(guest.services))).rejects.toThrow();
    expect(guest.ledger()).toEqual(empty);
  });

  it.each([
    ['hello', 0],
    ['rings', 1],
    ['buffers', 2],
    ['start', 6],
  ])('leaves nothing when the other half dies before %s', async (_name, requests) => {
    const guest = new FakeGuest();
    const { mailbox } = guest;
    const request = mailbox.request.bind(mailbox);
    Object.assign(mailbox, {
      request: (type: number, payload: Uint8Array) => {
        if (mailbox.sent.length === requests) guest.backend.silent = true;
        return request(type, payload);
      },
    });
    await expect(guest.whilePolled(plugin.newDevice(guest.services))).rejects.toThrow(/answer/);
    expect(guest.ledger()).toEqual(empty);
  });

  it.each(['share', 'mapRegisters', 'events.bind'])('leaves nothing when %s fails', async (what) => {
    const guest = new FakeGuest();
    guest.failing = what;
    await expect(guest.whilePolled(plugin.newDevice(guest.services))).rejects.toThrow(what);
    expect(guest.ledger()).toEqual(empty);
  });

  it('hole 2.16 #21: tolerates addresses that come at any step of its set-up', async () => {
    const guest = new FakeGuest();
    const { mailbox } = guest;
    const request = mailbox.request.bind(mailbox);
    const early: Promise<boolean>[] = [];
    Object.assign(mailbox, {
      request: (type: number, payload: Uint8Array) => {
        early.push(guest.tell(macOf(0xb)), guest.tell(macOf(0xc), 'here'));
        return request(type, payload);
      },
    });
    const device = await guest.whilePolled(plugin.newDevice(guest.services));
    await Promise.all(early);
    expect(early.length).toBeGreaterThan(6);
    // Told again afterwards, it knows the neighbour.
    expect(await guest.tell(macOf(0xb))).toBe(true);
    expect(device.startTransmit(guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) })), false)).toBe(
      Verdict.sent,
    );
    await guest.whilePolled(device.quiesce());
    await guest.whilePolled(device.remove());
  });

  it('feature 82: says which versions there are when none fits', async () => {
    const theirs = encodeHello({ oldest: 4, newest: 6, features: 0, bufferPages: 0 });
    const guest = new FakeGuest({ refuse: [hello], bytes: { [hello]: theirs } });
    await expect(plugin.newDevice(guest.services)).rejects.toThrow(/1 to 1 .*4 to 6/s);
  });

  it('says what to do about a quota of nothing', async () => {
    const guest = new FakeGuest({ hello: { bufferPages: 0 } });
    await expect(plugin.newDevice(guest.services)).rejects.toThrow(/max-buf-pages/);
    expect(guest.ledger()).toEqual(empty);
  });
});

describe('a backend half that lies', () => {
  const short = new Uint8Array(3);
  const { hello, rings, buffers } = ControlMessage;
  const lies: [string, Script][] = [
    ['a hello of a few bytes', { bytes: { [hello]: short } }],
    ['a version that nobody asked for', { hello: { oldest: 2, newest: 2 } }],
    ['a version 0', { hello: { oldest: 0, newest: 0 } }],
    ['a range instead of a version', { hello: { oldest: 1, newest: 2 } }],
    ['a handover of a few bytes', { bytes: { [rings]: short } }],
    ['a handover of another version', { bytes: { [rings]: new Uint8Array(56).fill(9) } }],
    ['an mtu below the least', { handover: { mtu: 10 } }],
    ['no fragments', { handover: { maxFragments: 0 } }],
    ['more filters than can be', { handover: { maxFilters: 65535 } }],
    ['a buffers reply of a few bytes', { bytes: { [buffers]: short } }],
    ['a bus address within a page', { buffers: { bus: 7 } }],
    ['another chunk', { buffers: { cookie: 77 } }],
    ['fewer pages than were sent', { buffers: { count: 1 } }],
  ];
  it.each(lies)('with %s is refused, and nothing is left', async (_what, script) => {
    const guest = new FakeGuest(script);
    await expect(guest.whilePolled(plugin.newDevice(guest.services))).rejects.toThrow();
    expect(guest.ledger()).toEqual(empty);
    expect(guest.failures).toEqual([]);
  });

  it.each([
    ['a filter', ControlMessage.filter],
    ['an address here', ControlMessage.localAddress],
    ['an address across', ControlMessage.remoteAddress],
    ['a link', ControlMessage.link],
  ])('with %s of no bytes is answered and counted, and given up after so many', async (_what, type) => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    for (let i = 0; i < MAX_MISTAKES; i++)
      expect((await guest.backend.request(type, nothing)).ok).toBe(false);
    expect(guest.failures).toEqual([]);
    expect(device.describe()).toMatchObject({ peer: { mistakes: MAX_MISTAKES } });
    for (let i = 0; i < 5; i++) await guest.backend.request(type, nothing);
    expect(guest.failures).toHaveLength(1);
    await guest.whilePolled(device.remove());
  });

  it('cannot have the guest take its own address, or a group, for one across the wire', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    expect(await guest.tell(macOf(0xa))).toBe(false);
    expect(await guest.tell(broadcast)).toBe(false);
    expect(device.describe()).toMatchObject({ across: [] });
    await guest.whilePolled(device.remove());
  });

  it('feature 119, hole 2.16 #9: cannot fill the guest’s memory with addresses', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    for (let i = 0; i < 2000; i++) await guest.tell(Uint8Array.of(2, 7, 7, 7, i >>> 8, i & 255));
    const { across } = device.describe() as { across: unknown[] };
    expect(across.length).toBeLessThanOrEqual(256);
    await guest.whilePolled(device.remove());
  });

  it('cannot name more filters than the quota, nor two at a time', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    guest.passed = () => false;
    void guest.tellFilter(1);
    await guest.settle();
    expect(await guest.tellFilter(2)).toBe(false);
    guest.passed = () => true;
    device.poll(64);
    await guest.settle();
    for (const [filter, ok] of [
      [2, true],
      [3, true],
      [4, false],
      [0, false],
    ] as const) {
      const answer = guest.tellFilter(filter);
      await guest.settle();
      device.poll(64);
      expect(await answer).toBe(ok);
    }
    await guest.whilePolled(device.remove());
  });
});

describe('the end', () => {
  it('quiesce ends filters first, and waits for what the NIC still has', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    await guest.tell(macOf(0xb));
    Object.assign(guest.nic, { registerWritten: () => true }); // a NIC that takes its time
    const frame = guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) }));
    device.startTransmit(frame, true);
    const state = { over: false };
    const done = device.quiesce().then(() => (state.over = true));
    await guest.settle();
    expect(guest.mailbox.sent.at(-1)!.type).toBe(ControlMessage.quiesce);
    expect(device.startTransmit(frame, false)).toBe(Verdict.declined); // inactive
    for (let i = 0; i < 5; i++) {
      device.poll(64);
      guest.clock.advance(10);
      await guest.settle();
    }
    expect(state.over).toBe(false);
    Reflect.deleteProperty(guest.nic, 'registerWritten');
    guest.control.serviceVi(guest.vi);
    await guest.whilePolled(done, device);
    expect(guest.completed).toEqual([frame]);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });

  it('hole 2.16 #6: quiesce has an end when the other half is gone', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    guest.backend.silent = true;
    await guest.whilePolled(device.quiesce());
    expect(guest.clock.now()).toBeLessThan(1000);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });

  it('remove takes frames that were never completed back to nobody: netfront has them', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    await guest.tell(macOf(0xb));
    guest.control.flushVi(guest.vi); // the NIC takes nothing more
    const frame = guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) }));
    expect(device.startTransmit(frame, false)).toBe(Verdict.sent);
    expect(frame.holders).toBe(2);
    await guest.whilePolled(device.remove());
    expect(guest.completed).toEqual([]);
    expect(frame.holders).toBe(1);
  });

  it('remove waits for receive buffers that the stack has, but not for ever', async () => {
    for (const lets of [true, false]) {
      const guest = new FakeGuest();
      const device = await plugin.newDevice(guest.services);
      const far = new FarEnd(guest);
      const filter = guest.addFilter();
      const told = guest.tellFilter(filter);
      await guest.settle();
      device.poll(64);
      await told;
      guest.keeping = [];
      far.send(frameOf());
      device.poll(64);
      expect(guest.keeping).toHaveLength(1);
      const bytes = guest.delivered[0]!.bytes;
      const [kept] = guest.keeping;
      let seen = 0;
      const removal = device.remove();
      await guest.settle();
      expect(guest.ledger().shares).toBe(4);
      if (lets) {
        seen = guest.memory.bytes[kept!.address]!;
        kept!.release();
      }
      await guest.whilePolled(removal);
      expect(guest.ledger()).toEqual(empty);
      if (lets) expect(seen).toBe(bytes[0]);
      expect(guest.lines.length).toBe(lets ? 0 : 1);
    }
  });

  it('statistics add what this device moved', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    const far = new FarEnd(guest);
    await guest.tell(macOf(0xb));
    const told = guest.tellFilter(guest.addFilter());
    await guest.settle();
    device.poll(64);
    await told;
    const out = frameOf({ to: macOf(0xb), from: macOf(0xa) });
    for (let i = 0; i < 3; i++) device.startTransmit(guest.frame(out), false);
    for (let i = 0; i < 2; i++) far.send(frameOf());
    device.poll(64);
    const into = { ...zero(), txFrames: 100 };
    device.statistics(into);
    expect(into).toEqual({
      ...zero(),
      txFrames: 103,
      txBytes: 3 * out.length,
      rxFrames: 2,
      rxBytes: 2 * frameOf().length,
    });
    await guest.whilePolled(device.remove());
  });

  it('feature 78, hole 2.16 #23: a NIC that was reset has the device taken off', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    guest.nic.reset();
    device.poll(64);
    expect(guest.failures).toHaveLength(1);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });
});

describe('interrupts', () => {
  it('feature 74: one event, one poll asked for; nothing is lost between the last poll and the arm', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    const far = new FarEnd(guest);
    const told = guest.tellFilter(guest.addFilter());
    await guest.settle();
    device.poll(64);
    await told;
    expect(device.startInterrupts()).toBe(false);
    guest.polls = 0;
    far.send(frameOf());
    far.send(frameOf());
    expect(guest.polls).toBe(1);
    device.stopInterrupts();
    expect(device.poll(64)).toBe(2);
    far.send(frameOf());
    expect(device.startInterrupts()).toBe(true);
    expect(device.poll(64)).toBe(1);
    expect(device.startInterrupts()).toBe(false);
    far.send(frameOf());
    expect(guest.polls).toBe(2);
    device.stopInterrupts();
    expect(device.poll(64)).toBe(1);
    await guest.whilePolled(device.remove());
  });

  it('feature 80: follow the link: the register is what counts', async () => {
    const guest = new FakeGuest();
    const device = await plugin.newDevice(guest.services);
    guest.wire.setLink(false);
    device.poll(64);
    expect(device.describe()).toMatchObject({ linkUp: false });
    await guest.tellLink(true); // late news
    expect(device.describe()).toMatchObject({ linkUp: false });
    guest.wire.setLink(true);
    await guest.tellLink(false);
    expect(device.describe()).toMatchObject({ linkUp: true });
    await guest.whilePolled(device.remove());
  });
});
