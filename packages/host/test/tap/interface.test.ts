/** What the kernel is told about an interface, byte by byte (netdevice(7), linux/ipv6.h). */
import { beforeEach, describe, expect, test } from 'vitest';
import { InterfaceControl, ipv6Bytes } from '../../src/tap/interface.js';
import { ScriptedLibc } from './scripted-libc.js';

const NAME = [...Buffer.from('eth0'), ...new Array<number>(12).fill(0)];
const zeros = (count: number): number[] => new Array<number>(count).fill(0);

describe('InterfaceControl', () => {
  let calls: [request: number, argument: number[]][];
  let control: InterfaceControl;

  beforeEach(() => {
    const libc = new ScriptedLibc();
    calls = [];
    control = new InterfaceControl(libc);
    libc.answers.set('ioctl', (_, request, address) => {
      const isIpv6 = request === 0x8916 && calls.at(-1)?.[0] === 0x8933;
      const argument = libc.at(address, isIpv6 ? 24 : 40);
      calls.push([request, [...argument]]);
      // SIOCGIFINDEX and SIOCGIFFLAGS answer in place.
      if (request === 0x8933) argument[16] = 5;
      if (request === 0x8913) argument[17] = 0x10;
      return 0;
    });
  });

  test('sets an IPv4 address, then its mask', () => {
    control.setAddress('eth0', '10.9.0.1/20');
    expect(calls).toEqual([
      [0x8916, [...NAME, 2, 0, 0, 0, 10, 9, 0, 1, ...zeros(16)]],
      [0x891c, [...NAME, 2, 0, 0, 0, 255, 255, 240, 0, ...zeros(16)]],
    ]);
  });

  test('sets an IPv6 address on the index of the name', () => {
    control.setAddress('eth0', 'fd00:9::1/64');
    expect(calls[1]).toEqual([0x8916, [0xfd, 0, 0, 9, ...zeros(11), 1, 64, 0, 0, 0, 5, 0, 0, 0]]);
  });

  test('sets MAC address and MTU, and switches on without losing flags', () => {
    control.setMacAddress('eth0', '02:00:5E:00:00:0a');
    control.setMtu('eth0', 9000);
    control.setUp('eth0');
    expect(calls).toEqual([
      [0x8924, [...NAME, 1, 0, 2, 0, 0x5e, 0, 0, 0x0a, ...zeros(16)]],
      [0x8922, [...NAME, 0x28, 0x23, ...zeros(22)]],
      [0x8913, [...NAME, ...zeros(24)]],
      [0x8914, [...NAME, 0x41, 0x10, ...zeros(22)]],
    ]);
  });

  test.each([
    '10.0.0.1',
    '10.0.0.1/33',
    '10.0.0.1/',
    '10.0.0/8',
    '10.0.0.1/8/8',
    'fd00::1/129',
    'fe80::1%eth0/64',
    '',
  ])('refuses the address "%s"', (address) => {
    expect(() => control.setAddress('eth0', address)).toThrow(/Expected an address with a prefix length/);
    expect(calls).toEqual([]);
  });

  test.each(['', '.', '..', 'a/b', 'a b', 'sixteen-letters-'])('refuses the name "%s"', (name) => {
    expect(() => control.setMtu(name, 1500)).toThrow(/An interface name is/);
    expect(calls).toEqual([]);
  });

  test.each(['01:00:00:00:00:01', '02:00:00:00:00', '02-00-00-00-00-01', ''])(
    'refuses the MAC address "%s"',
    (mac) => {
      expect(() => control.setMacAddress('eth0', mac)).toThrow(/Expected a MAC address/);
      expect(calls).toEqual([]);
    },
  );
});

test.each([
  ['::', zeros(16)],
  ['::1', [...zeros(15), 1]],
  ['fe80::', [0xfe, 0x80, ...zeros(14)]],
  ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
  ['2001:db8::ff00:42:8329', [0x20, 1, 0x0d, 0xb8, ...zeros(6), 0xff, 0, 0, 0x42, 0x83, 0x29]],
  ['::ffff:192.0.2.33', [...zeros(10), 0xff, 0xff, 192, 0, 2, 33]],
  ['64:ff9b::192.0.2.33', [0, 0x64, 0xff, 0x9b, ...zeros(8), 192, 0, 2, 33]],
])('the bytes of %s', (text, bytes) => {
  expect(ipv6Bytes(text)).toEqual(bytes);
});
