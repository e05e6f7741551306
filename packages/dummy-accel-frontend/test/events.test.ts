// What the NIC may tell a guest besides frames: the device recovers or is taken off, counts, and the slow path carries on.
import { Verdict } from '@netaccel/core-hooks';
import type { AcceleratorStatistics, FrontendAccelerator } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { frameOf, macOf } from '@netaccel/nic-vi/testing';
import { A, B, connected } from './attached.js';

async function made() {
  const live = await connected({ pages: 8 });
  const filter = live.guest.addFilter();
  await live.guest.whilePolled(live.guest.tellFilter(filter), live.device);
  return { ...live, filter };
}
const incoming = (n = 0) => frameOf({ to: A, from: B, payload: [n, n >>> 8, 0, 0] });
const totals = (device: FrontendAccelerator): AcceleratorStatistics => {
  const into = { txFrames: 0, txBytes: 0, txErrors: 0, rxFrames: 0, rxBytes: 0, rxErrors: 0 };
  device.statistics(into);
  return into;
};
const number = ({ bytes }: { bytes: Uint8Array }): number => bytes[42]! | (bytes[43]! << 8);

describe('feature 71: out of receive buffers', () => {
  it('frames are dropped and counted by the NIC; with the next poll reception goes on, in order', async () => {
    const { guest, far, device } = await made();
    for (let i = 0; i < 40; i++) far.send(incoming(i)); // 16 buffers
    for (let left = 64; left === 64; left = device.poll(64));
    expect(guest.delivered.map(number)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(guest.control.viStatistics(guest.vi)).toMatchObject({ rxNoDescriptor: 24, rxFrames: 16 });
    for (let i = 100; i < 110; i++) far.send(incoming(i));
    device.poll(64);
    expect(guest.delivered.slice(16).map(number)).toEqual(Array.from({ length: 10 }, (_, i) => 100 + i));
    expect(totals(device)).toMatchObject({ rxFrames: 26, rxErrors: 0 });
    expect(guest.failures).toEqual([]);
  });

  it('that the stack keeps: the others go round', async () => {
    const { guest, far, device } = await made();
    guest.keeping = [];
    for (let i = 0; i < 12; i++) far.send(incoming(i));
    device.poll(64);
    guest.keeping = null;
    for (let i = 0; i < 100; i++) {
      far.send(incoming(i));
      device.poll(64);
    }
    expect(guest.delivered).toHaveLength(112);
  });
});

describe('feature 65: a receive descriptor that the NIC refuses', () => {
  it('costs its frame and nothing else: counted, and the buffer is posted again', async () => {
    const { guest, far, device } = await made();
    const { receiveBuffers } = device.describe() as { receiveBuffers: { pages: number } };
    expect(receiveBuffers.pages).toBe(8);
    guest.control.unregisterBuffers(guest.vi, 0, 1); // the first page of receive buffers: two of 16
    for (let i = 0; i < 32; i++) {
      far.send(incoming(i));
      device.poll(64);
    }
    expect(guest.control.viStatistics(guest.vi)['rxRights']).toBeGreaterThanOrEqual(2);
    const { rxFrames, rxErrors } = totals(device);
    expect(rxFrames + rxErrors).toBe(32);
    expect(rxErrors).toBeGreaterThanOrEqual(2);
    expect(guest.delivered).toHaveLength(rxFrames);
    expect(device.describe()).toMatchObject({ receiveBuffers: { held: 0 } });
  });
});

describe('feature 77: an event queue that overflows', () => {
  it('is reported, loses no completion and no buffer, and the device goes on', async () => {
    const { guest, far, device } = await made();
    // Markers fill the queue of 2048: what comes finds no room.
    while (guest.control.putEvent(guest.vi, 1));
    far.send(incoming(1));
    const frame = guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) }));
    expect(device.startTransmit(frame, false)).toBe(Verdict.sent);
    expect(guest.control.viStatistics(guest.vi)).toMatchObject({ overflows: 1, rxNoEventSpace: 1 });
    for (let i = 0; i < 64; i++) device.poll(64);
    expect(guest.lines.filter((line) => line.includes('event queue was full'))).toHaveLength(1);
    expect(guest.completed).toEqual([frame]); // late rather than never
    far.send(incoming(2));
    device.poll(64);
    expect(guest.delivered.map(number)).toEqual([2]);
    expect(guest.failures).toEqual([]);
  });
});

describe('feature 78, hole 2.16 #23: a NIC that is reset under way', () => {
  it('takes the device off; frames are declined, and what was in flight comes back once', async () => {
    const { guest, far, device } = await made();
    guest.control.addCredit(guest.vi, 0, 100_000); // so that they stay in the NIC
    const frames = Array.from({ length: 5 }, (_, i) =>
      guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa), port: i })),
    );
    for (const frame of frames) device.startTransmit(frame, false);
    guest.nic.reset();
    device.poll(64);
    expect(guest.failures[0]).toMatch(/reset/);
    expect(far.look()).toEqual([]);
    await guest.whilePolled(device.quiesce());
    const late = guest.frame(frameOf({ to: macOf(0xb), from: macOf(0xa) }));
    expect(device.startTransmit(late, false)).toBeGreaterThanOrEqual(Verdict.declined);
    await guest.whilePolled(device.remove());
    expect(totals(device)).toMatchObject({ txErrors: 5 });
    expect(guest.completed.length).toBeLessThanOrEqual(5);
    expect(guest.ledger()).toEqual({ shares: 0, registers: 0, ports: 0, timers: 0 });
  });
});
