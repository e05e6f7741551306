// What the toolstack may say of a vif while a plugin is on it: its rate, its MAC, its IP addresses.
import { describe, expect, test } from 'vitest';
import { parseAddresses } from '../src/identity.js';

describe('the key "ip"', () => {
  test.each<[string, number[][] | null]>([
    ['10.0.0.2', [[10, 0, 0, 2]]],
    [
      ' 10.0.0.2  192.168.255.1 ',
      [
        [10, 0, 0, 2],
        [192, 168, 255, 1],
      ],
    ],
    [
      '10.0.0.2,fd00::1',
      [
        [10, 0, 0, 2],
        [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
      ],
    ],
    ['::', [new Array<number>(16).fill(0)]],
    ['1:2:3:4:5:6:7:8', [[0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]]],
    ['fe80::', [[0xfe, 0x80, ...new Array<number>(14).fill(0)]]],
    ['2001:DB8::a:b', [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 11]]],
    ['', []],
    ['10.0.0.256', null],
    ['10.0.0', null],
    ['10.0.0.1/24', null],
    ['1:2:3:4:5:6:7', null],
    ['1:2:3:4:5:6:7:8:9', null],
    ['1::2::3', null],
    ['12345::', null],
    [':1', null],
    ['1:2:3:4::5:6:7:8', null],
    ['example.org', null],
  ])('%j', (text, addresses) => {
    expect(parseAddresses(text)?.map((each) => [...each]) ?? null).toEqual(addresses);
  });
});
