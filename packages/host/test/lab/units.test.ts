// The small readers: units, MAC and IP addresses, the nearest name.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDuration, parseRate, parseSize } from '../../src/lab/index.js';
import { parseAddress } from '../../src/lab/ip.js';
import { deriveMac, isStationMac, parseMac } from '../../src/lab/mac.js';
import { nearestName } from '../../src/lab/nearest.js';

test.each([
  ['10Gb/s', 1e10],
  ['100 Mb/s', 1e8],
  ['1.5Gbit/s', 1.5e9],
  ['64kbps', 64_000],
  ['1Tb/s', 1e12],
  ['9600b/s', 9600],
  ['0b/s', 0],
])('rate %s', (text, expected) => expect(parseRate(text)).toBe(expected));

test.each([
  ['20us', 20_000],
  ['20 µs', 20_000],
  ['300s', 3e11],
  ['1.5ms', 1.5e6],
  ['7ns', 7],
  ['2min', 1.2e11],
  ['1h', 3.6e12],
  ['0s', 0],
])('duration %s', (text, expected) => expect(parseDuration(text)).toBe(expected));

test.each([
  ['1500B', 1500],
  ['4 MiB', 4_194_304],
  ['2kB', 2000],
  ['1.5GiB', 1_610_612_736],
  ['1GB', 1e9],
  ['1KiB', 1024],
  ['3MB', 3e6],
])('size %s', (text, expected) => expect(parseSize(text)).toBe(expected));

test.each([
  '',
  '10',
  'Gb/s',
  '10GB/s',
  '10 gb/s',
  '-1Gb/s',
  '1e9b/s',
  '10Gb/s ',
  ' 10Gb/s',
  '10  Gb/s',
  '1.Gb/s',
  '٣Gb/s',
])('no rate: "%s"', (text) => expect(parseRate(text)).toBeNull());
test.each(['', '20', 'us', '20US', '20 sec', '-1s', '999999999999999h', '1.2.3s'])(
  'no duration: "%s"',
  (text) => expect(parseDuration(text)).toBeNull(),
);

describe('MAC addresses', () => {
  test('are read in either case and written in lower case', () => {
    expect(parseMac('02:AB:cd:00:00:01')).toBe('02:ab:cd:00:00:01');
    for (const text of ['02:ab:cd:00:00', '02-ab-cd-00-00-01', '2:0:0:0:0:1', '02:ab:cd:00:00:0g', ''])
      expect(parseMac(text)).toBeNull();
  });

  test('of groups and of nobody are no interface addresses', () => {
    expect(isStationMac('02:00:00:00:00:01')).toBe(true);
    expect(isStationMac('01:00:5e:00:00:01')).toBe(false);
    expect(isStationMac('ff:ff:ff:ff:ff:ff')).toBe(false);
    expect(isStationMac('00:00:00:00:00:00')).toBe(false);
  });

  test('that are derived are always the same, local, of one station, and differ from those taken', () => {
    const none = () => false;
    expect(deriveMac(['two-hosts', 'alpha', 'a'], none)).toBe('d6:e1:f0:58:93:f7');
    const taken = new Set<string>();
    for (let i = 0; i < 100; i++) taken.add(deriveMac(['lab', 'host'], (mac) => taken.has(mac)));
    expect(taken.size).toBe(100);
    for (const mac of taken) {
      expect(isStationMac(mac)).toBe(true);
      expect(parseInt(mac.slice(0, 2), 16) & 2).toBe(2);
    }
  });
});

describe('IP addresses', () => {
  test.each([
    ['10.77.0.11/24', { family: 4, address: '10.77.0.11', prefixBits: 24 }],
    ['10.0.0.0/31', { family: 4, address: '10.0.0.0', prefixBits: 31 }],
    ['10.0.0.255/32', { family: 4, address: '10.0.0.255', prefixBits: 32 }],
    ['FD00:0:0::011/64', { family: 6, address: 'fd00::11', prefixBits: 64 }],
  ])('%s', (text, expected) => expect(parseAddress(text)).toEqual(expected));

  test.each([
    ['10.77.0.0/24', /neither the network's own/],
    ['10.77.0.255/24', /neither the network's own/],
    ['10.77.0.1/33', /1 to 32 bits/],
    ['10.77.0.1/0', /1 to 32 bits/],
    ['fd00::1/129', /1 to 128 bits/],
    ['10.77.0.256/24', /such as 10\.77\.0\.11\/24/],
    ['10.77.0.1', /1 to 32 bits/],
  ])('%s is none', (text, wrong) =>
    expect(parseAddress(text)).toEqual({ wrong: expect.stringMatching(wrong) as string }),
  );
});

describe('the nearest name', () => {
  test.each([
    ['gests', ['nic', 'guests', 'bridge'], 'guests'],
    ['Guests', ['guests'], 'guests'],
    ['eht0', ['eth0', 'eth1'], 'eth0'],
    ['eth7', ['eth0', 'eth1'], 'eth0'],
    ['alpha.eth9', ['beta.eth0', 'alpha.eth0'], 'alpha.eth0'],
    ['bogus', ['nic', 'guests'], null],
    ['', ['nic'], null],
    ['x'.repeat(10_000), ['x'], null],
  ])('to %s of %s is %s', (name, known, expected) => expect(nearestName(name, known)).toBe(expected));

  test('is the name itself when it is there', () => {
    const word = fc.stringMatching(/^[a-z]{1,20}$/);
    fc.assert(
      fc.property(fc.uniqueArray(word, { minLength: 1, maxLength: 9 }), fc.nat(), (names, pick) => {
        const name = names[pick % names.length]!;
        expect(nearestName(name, names)).toBe(name);
      }),
    );
  });
});
