// What a guest’s half is told besides filters: who is across the wire, who is on this host, and whether there is a link.
import { ControlMessage, decodeAddress } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import type { FakeHost } from '@netaccel/nic-vi/testing';
import { announcement, broadcast, frameOf, macOf } from '@netaccel/nic-vi/testing';
import { started } from './attached.js';

describe('addresses', () => {
  const macs = (host: FakeHost, type: number): number[] =>
    host.told(type).map((payload) => decodeAddress(payload)[5]!);

  it('that arrive from the wire are told once, and again after a while', async () => {
    const { host } = await started();
    for (let i = 0; i < 100; i++) host.arrive(announcement(macOf(0x21)));
    host.arrive(frameOf({ from: macOf(0x22) }));
    host.arrive(frameOf({ from: macOf(0x23), to: macOf(0x99) })); // between others: none of this guest's business
    await host.settle();
    expect(macs(host, ControlMessage.remoteAddress)).toEqual([0x21, 0x22]);
    await host.advance(61_000, 1000);
    for (let i = 0; i < 100; i++) host.arrive(announcement(macOf(0x21)));
    await host.settle();
    expect(macs(host, ControlMessage.remoteAddress)).toEqual([0x21, 0x22, 0x21]);
  });

  it.each([
    ['a gratuitous ARP', announcement(macOf(0x21))],
    ['any frame', frameOf({ from: macOf(0x21), to: macOf(0x22) })],
  ])('feature 118: that leave the host by %s are here now, and are told at once', async (_what, bytes) => {
    const { host } = await started();
    host.arrive(announcement(macOf(0x21)));
    host.leave(bytes);
    host.leave(bytes);
    await host.settle();
    expect(macs(host, ControlMessage.localAddress)).toEqual([0x21]);
    host.arrive(announcement(macOf(0x21))); // and away again
    await host.settle();
    expect(macs(host, ControlMessage.remoteAddress)).toEqual([0x21, 0x21]);
  });

  it('of groups, and its own, are none', async () => {
    const { host } = await started();
    host.arrive(frameOf({ from: broadcast }));
    host.arrive(announcement(macOf(0xa)));
    host.leave(announcement(macOf(0xa)));
    host.leave(frameOf({ from: [3, 0, 0, 0, 0, 1] }));
    await host.settle();
    expect(host.told(ControlMessage.remoteAddress)).toEqual([]);
    expect(host.told(ControlMessage.localAddress)).toEqual([]);
  });

  it('feature 119: that come in a flood cost a bounded number of messages', async () => {
    const { host, backend } = await started();
    for (let i = 0; i < 10_000; i++) host.arrive(announcement([2, 9, 9, 9, i >>> 8, i & 255]));
    const jobs = (backend.describe() as { messages: { waiting: number } }).messages.waiting;
    expect(jobs).toBeLessThanOrEqual(64);
    await host.settle();
    await host.settle();
    expect(host.told(ControlMessage.remoteAddress).length).toBeLessThanOrEqual(64);
  });

  it('feature 86: that are here and could not be told make the guest forget all', async () => {
    const { host } = await started();
    for (let i = 0; i < 100; i++) host.arrive(announcement([2, 9, 9, 9, 0, i]));
    host.leave(announcement(macOf(0x21)));
    await host.settle();
    await host.settle();
    expect(macs(host, ControlMessage.localAddress)).toEqual([0xff]);
    // What was told before is told anew when it is seen.
    host.arrive(announcement([2, 9, 9, 9, 0, 3]));
    host.leave(announcement(macOf(0x21)));
    await host.settle();
    expect(macs(host, ControlMessage.remoteAddress).filter((mac) => mac === 3)).toHaveLength(2);
    expect(macs(host, ControlMessage.localAddress)).toEqual([0xff, 0x21]);
  });
});

describe('the link', () => {
  it('feature 80: is told as it is, and when it changes', async () => {
    const { host } = await started();
    for (const tell of host.links) tell(false);
    await host.settle();
    expect(host.told(ControlMessage.link).map(([up]) => up)).toEqual([1, 0]);
  });
});
