// Received frames: behind their fence, in order, once, and in the device's own buffers.
import { Checksum } from '@netaccel/core-hooks';
import type { FrontendAccelerator } from '@netaccel/core-hooks';
import { ControlMessage } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import { frameOf, macOf } from '@netaccel/nic-vi/testing';
import type { FakeGuest } from '@netaccel/nic-vi/testing';
import { attached } from './attached.js';
import type { Attached } from './attached.js';

/** Adds a filter that is open at once. */
async function open({ guest, device }: Attached, port = 80): Promise<number> {
  const filter = guest.addFilter(port);
  const told = guest.tellFilter(filter);
  await guest.settle();
  device.poll(64);
  expect(await told).toBe(true);
  return filter;
}

const numbered = (n: number, port = 80): Uint8Array => frameOf({ port, payload: [n >>> 8, n & 255] });
const numbers = (guest: FakeGuest): number[] =>
  guest.delivered.map(({ bytes }) => (bytes.at(-2)! << 8) | bytes.at(-1)!);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const held = (device: FrontendAccelerator): number =>
  (device.describe() as { filters: { framesHeld: number } }).filters.framesHeld;

describe('a frame that arrives', () => {
  it('is delivered as it is, and its buffer goes back to the NIC', async () => {
    const it = await attached();
    await open(it);
    for (let i = 0; i < 300; i++) {
      it.far.send(numbered(i));
      if (i % 7 === 0) while (it.device.poll(4) === 4);
    }
    while (it.device.poll(4) === 4);
    expect(numbers(it.guest)).toEqual(upTo(300));
    expect(it.guest.delivered[0]!.bytes).toEqual(numbered(0));
    expect(it.device.describe()).toMatchObject({ receiveBuffers: { held: 0 } });
    expect(it.guest.control.viStatistics(it.guest.vi)['rxNoDescriptor']).toBe(0);
  });

  it('feature 64: has its checksum vouched for only when the NIC verified it', async () => {
    const it = await attached();
    await open(it);
    it.far.send(frameOf()); // UDP without a checksum
    it.far.send(frameOf().fill(1, 40, 42)); // with a wrong one
    it.device.poll(64);
    expect(it.guest.delivered.map(({ checksum }) => checksum)).not.toContain(Checksum.good);
  });

  it('costs budget, and never more than there is', async () => {
    const it = await attached();
    await open(it);
    for (let i = 0; i < 14; i++) it.far.send(numbered(i));
    expect(it.device.poll(5)).toBe(5);
    expect(it.guest.delivered).toHaveLength(5);
    expect(it.device.poll(5)).toBe(5);
    expect(it.device.poll(5)).toBe(4);
    expect(it.device.poll(5)).toBe(0);
  });

  it('feature 59: for somebody else is not delivered; the other half gets a hint, one at a time', async () => {
    const it = await attached();
    const filter = it.guest.control.addFilter(it.guest.vi, { kind: 'mac', mac: macOf(0x66) });
    for (let i = 0; i < 5; i++) it.far.send(frameOf({ to: macOf(0x66) }));
    expect(it.device.poll(64)).toBe(5);
    expect(it.guest.delivered).toEqual([]);
    const hints = it.guest.mailbox.sent.filter(({ type }) => type === ControlMessage.stray);
    expect(hints.map(({ payload }) => new DataView(payload.buffer).getUint32(0, true))).toEqual([filter]);
    const into = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, txErrors: 0, rxErrors: 0 };
    it.device.statistics(into);
    expect(into).toMatchObject({ rxFrames: 0, rxErrors: 5 });
  });
});

describe('a new filter', () => {
  it('feature 51, hole 2.16 #24: brings nothing to the stack until the slow path has delivered what went before', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    guest.passed = () => false;
    const filter = guest.addFilter();
    for (let i = 0; i < 3; i++) far.send(numbered(i)); // the other half has not told of it yet
    expect(device.poll(64)).toBe(3);
    expect(held(device)).toBe(3);
    expect(device.startInterrupts()).toBe(false);
    const fences: (readonly number[])[] = [];
    guest.passed = (fence) => {
      fences.push(fence);
      return false;
    };
    const state = { answered: false };
    const told = guest.tellFilter(filter, true, [0xffff_ffff, 12]).then((ok) => {
      state.answered = true;
      return ok;
    });
    await guest.settle();
    far.send(numbered(3));
    device.poll(64);
    expect(fences[0]).toEqual([0xffff_ffff, 12]);
    expect(state.answered).toBe(false);
    expect(guest.delivered).toEqual([]);
    expect(device.startInterrupts()).toBe(false);
    // The slow path passes the fence: nobody tells, but netfront arms before it rests.
    guest.passed = () => true;
    expect(device.startInterrupts()).toBe(true);
    expect(device.poll(64)).toBe(4);
    expect(await told).toBe(true);
    far.send(numbered(4));
    device.poll(64);
    expect(numbers(guest)).toEqual(upTo(5));
    expect(held(device)).toBe(0);
    expect(device.describe()).toMatchObject({ receiveBuffers: { held: 0 } });
  });

  it('is opened in steps when the budget is small, and later frames stay behind earlier ones', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    const filter = guest.addFilter();
    for (let i = 0; i < 8; i++) far.send(numbered(i));
    device.poll(64);
    const state = { answered: false };
    void guest.tellFilter(filter).then(() => (state.answered = true));
    await guest.settle();
    for (let i = 8; i < 14; i++) {
      far.send(numbered(i));
      const before = guest.delivered.length;
      const work = device.poll(3);
      expect(work).toBeLessThanOrEqual(3);
      expect(guest.delivered.length - before).toBeLessThanOrEqual(3);
      await guest.settle();
      expect(state.answered).toBe(held(device) === 0);
    }
    while (device.poll(3) === 3);
    expect(numbers(guest)).toEqual(upTo(14));
    expect(device.startInterrupts()).toBe(false);
  });

  it('does not hold back the others', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    await open(it, 80);
    guest.passed = () => false;
    const other = guest.addFilter(81);
    void guest.tellFilter(other);
    await guest.settle();
    for (let i = 0; i < 10; i++) far.send(numbered(i, 80 + (i & 1)));
    device.poll(64);
    expect(numbers(guest)).toEqual([0, 2, 4, 6, 8]);
    guest.passed = () => true;
    device.poll(64);
    expect(numbers(guest)).toEqual([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]);
  });

  it('that is told twice is one', async () => {
    const it = await attached();
    const { guest, device } = it;
    guest.passed = () => false;
    const filter = guest.addFilter();
    const first = guest.tellFilter(filter);
    const again = guest.tellFilter(filter);
    await guest.settle();
    guest.passed = () => true;
    device.poll(64);
    expect(await Promise.all([first, again])).toEqual([true, true]);
    expect(await guest.tellFilter(filter)).toBe(true);
    expect(device.describe()).toMatchObject({ filters: { open: [filter], coming: null } });
  });

  it('that never opens costs the NIC its buffers, and nobody else anything', async () => {
    const it = await attached({ pages: 4 });
    const { guest, device, far } = it;
    guest.addFilter();
    for (let i = 0; i < 100; i++) {
      far.send(numbered(i));
      device.poll(64);
    }
    expect(held(device)).toBe(8);
    expect(guest.control.viStatistics(guest.vi)['rxNoDescriptor']).toBe(92);
    await guest.whilePolled(device.remove(), device);
    expect(guest.ledger()).toEqual({ shares: 0, registers: 0, ports: 0, timers: 0 });
    expect(device.describe()).toMatchObject({ received: { dropped: 8 } });
  });
});

describe('a filter that is removed', () => {
  it('is answered when nothing of it is left in the queue, and its last frames are delivered', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    const filter = await open(it);
    for (let i = 0; i < 10; i++) far.send(numbered(i));
    guest.control.removeFilter(filter);
    const state = { answered: false };
    const told = guest.tellFilter(filter, false).then((ok) => {
      state.answered = true;
      return ok;
    });
    await guest.settle();
    expect(device.poll(4)).toBe(4);
    await guest.settle();
    expect(state.answered).toBe(false);
    device.poll(64);
    expect(await told).toBe(true);
    expect(numbers(guest)).toEqual(upTo(10));
    expect(device.describe()).toMatchObject({ filters: { open: [], going: null } });
    expect(await guest.tellFilter(filter, false)).toBe(true);
    expect(await guest.tellFilter(12345, false)).toBe(true);
  });

  it('is answered in the end when the queue never runs dry', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    const filter = await open(it, 80);
    await open(it, 81);
    guest.control.removeFilter(filter);
    const state = { answered: false };
    void guest.tellFilter(filter, false).then(() => (state.answered = true));
    await guest.settle();
    let polls = 0;
    for (; polls < 10_000 && !state.answered; polls++) {
      far.send(numbered(1, 81));
      far.send(numbered(1, 81));
      if (polls === 0) far.send(numbered(1, 81));
      expect(device.poll(2)).toBe(2);
      await Promise.resolve();
      await Promise.resolve();
    }
    expect(polls).toBeLessThan(1500);
  });
});

describe('the end', () => {
  it('without an answer drops what waits, and counts it: later frames of the flow may be with the stack', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    guest.passed = () => false;
    guest.addFilter();
    for (let i = 0; i < 6; i++) far.send(numbered(i));
    device.poll(64);
    expect(held(device)).toBe(6);
    guest.backend.silent = true;
    const done = device.quiesce();
    await guest.settle();
    for (let i = 6; i < 12; i++) far.send(numbered(i));
    await guest.whilePolled(done, device);
    for (let i = 0; i < 10; i++) device.poll(2);
    expect(numbers(guest)).toEqual([]);
    const totals = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, txErrors: 0, rxErrors: 0 };
    device.statistics(totals);
    expect(totals).toMatchObject({ rxFrames: 0, rxErrors: 12 });
  });

  it('with an answer keeps the fence', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    guest.passed = () => false;
    const filter = guest.addFilter();
    const told = guest.tellFilter(filter);
    far.send(numbered(0));
    device.poll(64);
    const done = device.quiesce();
    await guest.settle();
    device.poll(64);
    expect(guest.delivered).toEqual([]);
    guest.passed = () => true;
    await guest.whilePolled(done, device);
    expect(numbers(guest)).toEqual([0]);
    expect(await told).toBe(true);
  });
});

describe('TCP', () => {
  it('segments that follow each other reach the stack as one', async () => {
    const it = await attached();
    const { guest, device, far } = it;
    const flow = { mac: macOf(0xa), protocol: 'tcp' as const, localAddress: [10, 0, 0, 2], localPort: 80 };
    const filter = guest.control.addFilter(guest.vi, { kind: 'local', ...flow });
    const told = guest.tellFilter(filter);
    await guest.settle();
    device.poll(64);
    await told;
    const bytes = (i: number): Uint8Array => {
      const frame = frameOf({ protocol: 6, payload: new Uint8Array(100).fill(i) });
      new DataView(frame.buffer).setUint32(38, 1 + 100 * i);
      new DataView(frame.buffer).setUint16(18, 1 + i);
      return withChecksums(frame);
    };
    for (let i = 0; i < 4; i++) far.send(bytes(i));
    expect(device.poll(64)).toBe(4);
    expect(guest.delivered).toHaveLength(1);
    const [{ bytes: joined, segmentBytes, checksum }] = guest.delivered as [(typeof guest.delivered)[0]];
    expect([...joined.slice(54)]).toEqual(Array.from({ length: 400 }, (_, i) => Math.floor(i / 100)));
    expect([segmentBytes, checksum]).toEqual([100, Checksum.blank]);
    expect(device.describe()).toMatchObject({ receiveBuffers: { held: 0 }, merging: { merged: 1 } });
    const into = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, txErrors: 0, rxErrors: 0 };
    device.statistics(into);
    expect(into).toMatchObject({ rxFrames: 1, rxBytes: joined.length }); // what was delivered
  });
});

/** Both checksums of an IPv4 TCP frame, right. */
function withChecksums(frame: Uint8Array): Uint8Array {
  const sum = (bytes: number[]): number => {
    let total = 0;
    for (const [i, byte] of bytes.entries()) total += i % 2 === 0 ? byte * 256 : byte;
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    return ~total & 0xffff;
  };
  const view = new DataView(frame.buffer);
  view.setUint16(24, 0);
  view.setUint16(24, sum([...frame.slice(14, 34)]));
  view.setUint16(50, 0);
  view.setUint16(50, sum([...frame.slice(26, 34), 0, 6, 0, frame.length - 34, ...frame.slice(34)]));
  return frame;
}
