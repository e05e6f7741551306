// What a guest's half keeps to by itself: its own addresses, and few frames in a VI that has to wait for credit.
import { Verdict } from '@netaccel/core-hooks';
import type { FrontendAccelerator } from '@netaccel/core-hooks';
import { ControlMessage, encodeRate } from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import plugin from '../src/index.js';
import { FakeGuest, macOf } from '@netaccel/nic-vi/testing';
import type { FrameSpec } from '@netaccel/nic-vi/testing';
import { connected, out, said } from './attached.js';

const offer = (device: FrontendAccelerator, guest: FakeGuest, spec: FrameSpec = {}): string => {
  const frame = guest.frame(out(spec));
  const verdict = device.startTransmit(frame, false);
  if (verdict !== Verdict.sent) frame.release();
  return said(verdict);
};
const tellRate = async (guest: FakeGuest, rate: number): Promise<boolean> =>
  (await guest.backend.request(ControlMessage.rate, encodeRate(rate))).ok;

describe('feature 48: IP addresses that are checked', () => {
  it('are the only ones that frames go from; everything else is declined as it is', async () => {
    const { guest, device } = await connected({ handover: { addresses: [Uint8Array.of(10, 0, 0, 1)] } });
    expect(offer(device, guest)).toBe('sent');
    expect(offer(device, guest, { protocol: 6 })).toBe('sent');
    expect(offer(device, guest, { version: 6 })).toBe('spoofed');
    const other = await connected({ handover: { addresses: [Uint8Array.of(10, 0, 0, 9)] } });
    expect(offer(other.device, other.guest)).toBe('spoofed');
    expect(other.far.look()).toEqual([]);
  });
});

describe('feature 121: two halves that name different MACs', () => {
  it('do not come together, and the reason says which key', async () => {
    const guest = new FakeGuest({ handover: { mac: macOf(0xc) } });
    await expect(plugin.newDevice(guest.services)).rejects.toThrow(/key "mac"/);
    expect(guest.ledger()).toEqual({ shares: 0, registers: 0, ports: 0, timers: 0 });
  });
});

describe('feature 47: a VI with a rate limit', () => {
  it('holds few frames: the rest is busy, so that little is lost when it ends', async () => {
    const { guest, device, far } = await connected();
    guest.control.addCredit(guest.vi, 0, 100_000);
    expect(await tellRate(guest, 1_000_000)).toBe(true);
    const answers = Array.from({ length: 6 }, (_, i) => offer(device, guest, { port: i }));
    expect(answers).toEqual(['sent', 'sent', 'sent', 'sent', 'busy', 'busy']);
    expect(device.checkReady()).toBe(false);
    expect(offer(device, guest, { vlan: 1 })).toBe('vlan'); // a decline stays a decline
    guest.control.addCredit(guest.vi, out().length, 100_000);
    device.poll(64);
    expect(guest.wakes).toBe(1);
    expect(far.look()).toEqual([out({ port: 0 })]);
    expect(offer(device, guest, { port: 6 })).toBe('sent');
    // Without a limit the ring is what there is.
    await tellRate(guest, 0);
    guest.control.addCredit(guest.vi, Infinity, Infinity);
    for (let i = 0; i < 40; i++) expect(offer(device, guest)).toBe('sent');
  });

  it('of a large rate holds as many as are sent in a tenth of a second', async () => {
    const { guest, device } = await connected();
    guest.control.addCredit(guest.vi, 0, 100_000);
    await tellRate(guest, 20_000_000);
    let sent = 0;
    while (offer(device, guest) === 'sent') sent++;
    expect(sent).toBe(30); // longest transmits of 65553 bytes
  });
});
