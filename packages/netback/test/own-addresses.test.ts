// A vif whose key `ip` lists its addresses: its guest sends as itself only, on the slow path as on the fast one.
import { describe, expect, test } from 'vitest';
import { Status } from '@netaccel/xen/netif';
import { OwnAddresses } from '../src/own-addresses.js';
import { build } from './frames.js';
import { CLEAN_END, VifLab } from './lab.js';

const MAC = [0x00, 0x16, 0x3e, 0, 0, 1];
const OTHER_MAC = [0x00, 0x16, 0x3e, 0, 0, 2];
const V4 = [10, 0, 0, 1];
const V6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/** Of {@link MAC}: RFC 4291, appendix A. */
const LINK_LOCAL = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x16, 0x3e, 0xff, 0xfe, 0, 0, 1];
const NONE4 = [0, 0, 0, 0];
const NONE6 = new Array<number>(16).fill(0);
const BROADCAST = [255, 255, 255, 255];

const ethernet = (type: number, mac: readonly number[] = MAC): number[] => [
  ...BROADCAST,
  255,
  255,
  ...mac,
  type >>> 8,
  type & 0xff,
];
const tagged = (tags: number, [...frame]: readonly number[]): number[] => [
  ...frame.slice(0, 12),
  ...Array.from({ length: tags }, () => [0x81, 0, 0, 5]).flat(),
  ...frame.slice(12),
];
const padded = (frame: readonly number[]): Uint8Array => {
  const bytes = new Uint8Array(Math.max(60, frame.length));
  bytes.set(frame);
  return bytes;
};
const ipv4 = (
  source: readonly number[],
  protocol = 17,
  to = V4,
  payload: readonly number[] = [],
): number[] => [
  ...ethernet(0x0800),
  ...[0x45, 0, 0, 20 + payload.length, 0, 0, 0, 0, 64, protocol, 0, 0],
  ...source,
  ...to,
  ...payload,
];
const dhcp = (from: number, to: number): number[] => ipv4(NONE4, 17, BROADCAST, [0, from, 0, to, 0, 8, 0, 0]);
const ipv6 = (source: readonly number[], next = 17, payload: readonly number[] = []): number[] => [
  ...ethernet(0x86dd),
  ...[0x60, 0, 0, 0, 0, payload.length, next, 255],
  ...source,
  ...V6,
  ...payload,
];
const icmp6 = (source: readonly number[], type: number, target: readonly number[] = []): number[] =>
  ipv6(source, 58, [type, 0, 0, 0, 0, 0, 0, 0, ...target]);
const arp = (address: readonly number[], mac: readonly number[] = MAC, type = 0x0806): number[] => [
  ...ethernet(type),
  ...[0, 1, 8, 0, 6, 4, 0, 1],
  ...mac,
  ...address,
  ...OTHER_MAC,
  ...V4,
];

function judge(addresses: readonly (readonly number[])[] | undefined, frame: readonly number[]): boolean {
  const own = new OwnAddresses();
  own.set({
    handle: 0,
    guest: 1,
    backend: 0,
    mac: Uint8Array.from(MAC),
    mtu: 1500,
    ...(addresses !== undefined && { addresses: addresses.map((each) => Uint8Array.from(each)) }),
  });
  const bytes = padded(frame);
  const memory = new Uint8Array(200);
  memory.set(bytes, 33);
  return !own.limited || own.allow(memory, 33, bytes.length);
}

describe('feature 48: a guest with the addresses 10.0.0.1 and fd00::1', () => {
  test.each<[string, readonly number[], boolean]>([
    ['IPv4 from its own', ipv4(V4), true],
    ['the same with a VLAN tag', tagged(1, ipv4(V4)), true],
    ['and with two', tagged(2, ipv4(V4)), true],
    ['with three: nobody looks that far', tagged(3, ipv4(V4)), false],
    ['IPv4 from another', ipv4([10, 0, 0, 2]), false],
    ['the same behind a VLAN tag', tagged(1, ipv4([10, 0, 0, 2])), false],
    ['the same as a fragment or ICMP', ipv4([10, 0, 0, 2], 1), false],
    ['IPv4 from nobody', ipv4(NONE4), false],
    ['a request for an address', dhcp(68, 67), true],
    ['an answer to one, from nobody', dhcp(67, 68), false],
    ['IPv6 from its own', ipv6(V6), true],
    ['IPv6 from its link-local address', ipv6(LINK_LOCAL), true],
    ['IPv6 from another', ipv6([...V6.slice(0, 15), 2]), false],
    ['IPv6 from nobody', ipv6(NONE6), false],
    ['a group report before it has an address', icmp6(NONE6, 143), true],
    ['the same behind hop-by-hop options', ipv6(NONE6, 0, [58, 0, 5, 2, 0, 0, 0, 0, 143, 0, 0, 0]), true],
    ['a router solicitation before it has an address', icmp6(NONE6, 133), true],
    ['a router advertisement of nobody', icmp6(NONE6, 134), false],
    ['a question whether its own address is free', icmp6(NONE6, 135, V6), true],
    ['a question whether another is', icmp6(NONE6, 135, [...V6.slice(0, 15), 2]), false],
    ['a question who has another address', icmp6(V6, 135, [...V6.slice(0, 15), 2]), true],
    ['that it has its own address', icmp6(V6, 136, V6), true],
    ['that it has another', icmp6(V6, 136, [...V6.slice(0, 15), 2]), false],
    ['ARP for its own address', arp(V4), true],
    ['an ARP probe', arp(NONE4), true],
    ['ARP for another address', arp([10, 0, 0, 2]), false],
    ['ARP for another MAC', arp(V4, OTHER_MAC), false],
    ['a reverse ARP announcement of its own MAC', arp(NONE4, MAC, 0x8035), true],
    ['one of another MAC', arp(NONE4, OTHER_MAC, 0x8035), false],
    ['another protocol', ethernet(0x88cc), true],
    ['another protocol from another MAC', ethernet(0x88cc, OTHER_MAC), false],
    ['IPv4 from its address and another MAC', [...ethernet(0x0800, OTHER_MAC), ...ipv4(V4).slice(14)], false],
  ])('%s: %s', (_what, frame, allowed) => {
    expect(judge([V4, V6], frame)).toBe(allowed);
    expect(judge(undefined, frame)).toBe(true);
  });

  test('IPv4 alone brings no IPv6 address, not even a link-local one', () => {
    expect(judge([V4], ipv6(LINK_LOCAL))).toBe(false);
    expect(judge([V4], ipv6(V6))).toBe(false);
    expect(judge([V6], ipv4(V4))).toBe(false);
    expect(judge([V6], arp(NONE4))).toBe(true);
  });

  test.each([
    [12, 0],
    [14, 0x0800],
    [33, 0x0800],
    [53, 0x86dd],
    [41, 0x0806],
  ])('cut off after %i bytes it is not believed', (length, type) => {
    const own = new OwnAddresses();
    own.set({
      handle: 0,
      guest: 1,
      backend: 0,
      mac: Uint8Array.from(MAC),
      mtu: 1500,
      addresses: [Uint8Array.from(V4)],
    });
    const frame = type === 0x0806 ? arp(V4) : type === 0 ? tagged(1, ipv4(V4)) : ipv4(V4);
    if (type === 0x86dd) frame.splice(12, 2, 0x86, 0xdd);
    expect(own.allow(Uint8Array.from(frame), 0, type === 0 ? 14 + 2 : length)).toBe(false);
  });
});

describe('a vif with the key "ip"', () => {
  /** From 10.0.0.1, and from {@link MAC}. */
  const frame = (id: number): Uint8Array => {
    const bytes = build({ id, protocol: 'udp' });
    bytes.set(MAC, 6);
    return bytes;
  };

  test('answers a frame of another address with an error, counts it, and never takes the guest for a breaker of rules', async () => {
    const lab = await VifLab.connected({ backendKeys: { ip: '10.0.0.1' } });
    const { queue } = lab.frontend;
    const send = async (...frames: readonly Uint8Array[]): Promise<number[]> => {
      for (const bytes of frames) queue.packet(bytes);
      queue.publish();
      await lab.settle();
      return queue.responses().map(({ status }) => status);
    };
    const spoofed = (): Uint8Array => {
      const bytes = frame(9);
      bytes[14 + 15] = 77;
      return bytes;
    };
    expect(await send(frame(1), spoofed(), frame(2))).toEqual([Status.okay, Status.error, Status.okay]);
    for (let i = 0; i < 20; i++)
      expect(await send(...Array.from({ length: 50 }, spoofed))).toEqual(new Array(50).fill(Status.error));
    expect(await send(frame(3))).toEqual([Status.okay]);
    expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([frame(1), frame(2), frame(3)]);
    expect(lab.netback.statistics()).toMatchObject({ txFrames: 3, txErrors: { spoofed: 1001 }, breaches: 0 });
    expect(lab.netback.describe()).toMatchObject({ addresses: ['10.0.0.1'] });

    // The toolstack changes it while the guest is connected.
    await lab.run(lab.back.store.write(`backend/vif/1/0/ip`, '10.0.0.77 fd00::1'));
    await lab.settle();
    expect(lab.netback.describe()).toMatchObject({ addresses: ['10.0.0.77', 'fd00:0:0:0:0:0:0:1'] });
    expect(await send(frame(4), spoofed())).toEqual([Status.error, Status.okay]);
    await lab.run(lab.back.store.remove(`backend/vif/1/0/ip`));
    await lab.settle();
    expect(lab.netback.describe()).toMatchObject({ addresses: null });
    expect(await send(frame(5), spoofed())).toEqual([Status.okay, Status.okay]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});
