// What the fast path of a guest is held to: its rate, its own addresses, its own flows.
import type { BackendAccelerator } from '@netaccel/core-hooks';
import {
  ControlMessage,
  MAX_CHECKED_ADDRESSES,
  NicError,
  decodeHandover,
  decodeRate,
} from '@netaccel/nic-vi';
import { describe, expect, it } from 'vitest';
import plugin from '../src/index.js';
import { FakeHost, announcement, frameOf, macOf } from '@netaccel/nic-vi/testing';
import type { HostOptions } from '@netaccel/nic-vi/testing';

const own = Uint8Array.of(10, 0, 0, 2);
const own6 = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2);
const rates = (host: FakeHost): number[] => host.told(ControlMessage.rate).map(decodeRate);

async function attach(options: HostOptions = {}): Promise<{ host: FakeHost; backend: BackendAccelerator }> {
  const host = new FakeHost(options);
  host.guest.handle(ControlMessage.rate, () => ({ ok: true, payload: new Uint8Array(0) }));
  return { host, backend: await plugin.probe(host.services) };
}

describe('feature 47: a rate limit', () => {
  it('is the VI’s: it sends no more than it is given credit for, and the guest’s half is told', async () => {
    const { host, backend } = await attach({ rateBytesPerSecond: 5_000_000 });
    const { vi } = await host.setUp();
    expect(rates(host)).toEqual([5_000_000]);
    expect(host.control.describeVi(vi)).toMatchObject({ credit: 0 });
    expect(host.credit!(60_000, 100_000)).toBe(0);
    expect(host.credit!(60_000, 100_000)).toBe(20_000);
    expect(host.control.describeVi(vi)).toMatchObject({ credit: 100_000 });
    await host.remove(backend);
    expect(host.credit).toBeNull();
    expect(host.ledger()).toMatchObject({ shares: 0, timers: 0, vis: 0 });
  });

  it('may come, change and go while the guest sends', async () => {
    const { host, backend } = await attach();
    const { vi } = await host.setUp();
    expect(host.control.describeVi(vi)).toMatchObject({ credit: null });
    for (const rate of [8_000_000, 2_000_000, 0]) {
      host.rate = rate;
      host.credit!(rate === 0 ? Infinity : 0, rate === 0 ? Infinity : 100_000);
      await host.settle();
    }
    expect(rates(host)).toEqual([8_000_000, 2_000_000, 0]);
    expect(host.control.describeVi(vi)).toMatchObject({ credit: null });
    expect(host.failures).toEqual([]);
    await host.remove(backend);
  });

  it('of so little that frames would only wait leaves the vif on the slow path', async () => {
    const slow = new FakeHost({ rateBytesPerSecond: 999_999 });
    await expect(plugin.probe(slow.services)).rejects.toThrow(/999999 bytes per second.*1000000/);
    expect(slow.ledger()).toMatchObject({ shares: 0, maps: 0, ports: 0, subscriptions: 0 });
    const { host, backend } = await attach();
    await host.setUp();
    host.rate = 1000;
    host.credit!(0, 100_000);
    expect(host.failures[0]).toMatch(/1000 bytes per second/);
    await host.remove(backend);
  });

  it('does not outlive the NIC’s reset: the slow path has the credit', async () => {
    const { host, backend } = await attach({ rateBytesPerSecond: 5_000_000 });
    await host.setUp();
    host.nic.reset();
    expect(host.credit!(1000, 100_000)).toBe(1000);
    await host.remove(backend);
  });
});

describe('feature 48: the guest’s own addresses', () => {
  it('are what the NIC holds it to, and what its half is told', async () => {
    const { host, backend } = await attach({ addresses: [own, own6] });
    await host.hello();
    const handover = decodeHandover((await host.rings()).payload);
    expect(handover.addresses).toEqual([own, own6]);
    const local = { kind: 'local', mac: macOf(0xa), protocol: 'udp', localPort: 80 } as const;
    const add = (localAddress: Uint8Array) => host.control.addFilter(handover.vi, { ...local, localAddress });
    expect(add(own)).toBeGreaterThan(0);
    expect(() => add(Uint8Array.of(10, 0, 0, 3))).toThrow(NicError);
    await host.remove(backend);
  });

  it('are more than the NIC can check: the vif stays slow, and the reason says so', async () => {
    const addresses = Array.from({ length: MAX_CHECKED_ADDRESSES + 1 }, (_, i) => Uint8Array.of(10, 0, 0, i));
    await expect(plugin.probe(new FakeHost({ addresses }).services)).rejects.toThrow(/key "ip"/);
  });
});

describe('feature 54: a flow', () => {
  it('to the guest’s MAC but to an address that is not the guest’s is not led to it', async () => {
    const { host, backend } = await attach({ addresses: [own] });
    const { vi } = await host.setUp();
    for (let i = 0; i < 3; i++) {
      host.arrive(frameOf({ host: 3 }));
      host.arrive(frameOf({ version: 6 }));
    }
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
    host.arrive(frameOf());
    await host.settle();
    expect(host.control.filters(vi)).toHaveLength(1);
    await host.remove(backend);
  });

  it('to another MAC, or with another VLAN, is not drawn by the filter of its address', async () => {
    const { host, backend } = await attach();
    const { vi } = await host.setUp();
    host.arrive(frameOf());
    await host.settle();
    for (const spec of [{ to: macOf(0xc) }, { vlan: 5 }, {}]) host.send(frameOf(spec));
    expect(host.control.filters(vi)).toMatchObject([{ hits: 1 }]);
    await host.remove(backend);
  });
});

describe('feature 118: an address that moved onto this host is unlearned by', () => {
  const neighbourAdvertisement = Uint8Array.of(
    ...[0x33, 0x33, 0, 0, 0, 1, ...macOf(0x21), 0x86, 0xdd],
    ...[0x60, 0, 0, 0, 0, 32, 58, 255, ...own6, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ...[136, 0, 0, 0, 0x20, 0, 0, 0, ...own6, 2, 1, ...macOf(0x21)],
  );
  const rarp = announcement(macOf(0x21)).fill(0x80, 12, 13).fill(0x35, 13, 14).fill(3, 21, 22);
  it.each([
    ['gratuitous ARP', announcement(macOf(0x21))],
    ['an IPv6 neighbour advertisement', neighbourAdvertisement],
    ['RARP', rarp],
  ])('%s', async (_what, bytes) => {
    const { host, backend } = await attach();
    await host.setUp();
    host.arrive(announcement(macOf(0x21)));
    await host.settle();
    host.leave(bytes);
    await host.settle();
    expect(host.told(ControlMessage.localAddress).map((payload) => payload[5])).toEqual([0x21]);
    await host.remove(backend);
  });
});
