// Each structure of netif.h, byte for byte: values with every byte different, laid down by hand from the public
// header, written by the layout and read back.
import { describe, expect, test } from 'vitest';
import { decode, encode, ringHeader } from '../src/index.js';
import type { Layout } from '../src/index.js';
import * as netif from '../src/netif/index.js';

type Values = Record<string, number | number[]>;

const VECTORS: readonly (readonly [Layout, Values, string])[] = [
  [
    netif.txRequest,
    { gref: 0x04030201, offset: 0x0605, flags: 0x0807, id: 0x0a09, size: 0x0c0b },
    '01020304 0506 0708 090a 0b0c',
  ],
  [netif.txResponse, { id: 0x0201, status: netif.Status.dropped }, '0102 feff'],
  [netif.rxRequest, { id: 0x0201, pad: 0, gref: 0x08070605 }, '0102 0000 05060708'],
  [netif.rxResponse, { id: 0x0201, offset: 0x0403, flags: 0x0605, status: 0x0807 }, '0102 0304 0506 0708'],
  [netif.rxResponse, { id: 1, offset: 0, flags: 0, status: netif.Status.error }, '0100 0000 0000 ffff'],
  [netif.extraInfo, { type: 4, flags: 1, data: [3, 4, 5, 6, 7, 8] }, '04 01 030405060708'],
  [
    netif.extraGso,
    { type: netif.ExtraType.gso, flags: 1, size: 0x05a8, gsoType: 2, pad: 0, features: 0 },
    '01 01 a805 02 00 0000',
  ],
  [
    netif.extraMulticast,
    { type: netif.ExtraType.mcastAdd, flags: 0, address: [1, 0, 0x5e, 0, 0, 0xfb] },
    '02 00 01005e0000fb',
  ],
  [
    netif.extraHash,
    { type: netif.ExtraType.hash, flags: 0, hashType: 1, algorithm: 1, value: 0x51ccc178 },
    '04 00 01 01 78c1cc51',
  ],
  [netif.extraXdp, { type: netif.ExtraType.xdp, flags: 0, headroom: 0x0100, pad: 0 }, '05 00 0001 00000000'],
  [
    netif.controlRequest,
    { id: 0x0201, type: 0x0403, data0: 0x08070605, data1: 0x0c0b0a09, data2: 0x100f0e0d },
    '0102 0304 05060708 090a0b0c 0d0e0f10',
  ],
  [
    netif.controlResponse,
    { id: 0x0201, type: 0x0403, status: 0x08070605, data: 0x0c0b0a09 },
    '0102 0304 05060708 090a0b0c',
  ],
  [
    netif.grefEntry,
    { ref: 0x04030201, flags: netif.GrefFlag.readOnly, status: 0x0807 },
    '01020304 0100 0708',
  ],
];

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(' ', '').match(/../g)!, (pair) => parseInt(pair, 16));
}

describe('each structure lies as the header says', () => {
  test.each(VECTORS.map((row) => [row[0].name, ...row] as const))('%s', (_name, of, values, hex) => {
    expect(encode(of, values)).toEqual(bytesOf(hex));
    expect(decode(of, bytesOf(hex))).toEqual(values);
  });

  test('and none is without a vector', () => {
    const covered = new Set(VECTORS.map(([of]) => of));
    expect([...netif.netifLayouts, ...netif.controlLayouts].filter((of) => !covered.has(of))).toEqual([]);
  });

  test('a ring is one page: a header of 64 bytes, and as many slots as a power of two allows', () => {
    expect(ringHeader.size).toBe(64);
    for (const [slots, size] of [
      [netif.TX_RING_SLOTS, netif.txRequest.size],
      [netif.RX_RING_SLOTS, netif.rxRequest.size],
      [netif.CONTROL_RING_SLOTS, netif.controlRequest.size],
    ] as const)
      expect(slots).toBe(2 ** Math.floor(Math.log2((4096 - ringHeader.size) / size)));
  });
});

test('the numbers are those of the header', () => {
  expect(netif.TxFlag).toEqual({ csumBlank: 1, dataValidated: 2, moreData: 4, extraInfo: 8 });
  expect(netif.RxFlag).toEqual({ dataValidated: 1, csumBlank: 2, moreData: 4, extraInfo: 8, gsoPrefix: 16 });
  expect(netif.ExtraType).toEqual({ none: 0, gso: 1, mcastAdd: 2, mcastDel: 3, hash: 4, xdp: 5 });
  expect(netif.Status).toEqual({ okay: 0, null: 1, error: -1, dropped: -2 });
  expect(netif.HashType).toEqual({ ipv4: 1, ipv4Tcp: 2, ipv6: 4, ipv6Tcp: 8 });
  expect(netif.HashAlgorithm).toEqual({ none: 0, toeplitz: 1 });
  expect(Object.values(netif.ControlType)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(Object.values(netif.ControlStatus)).toEqual([0, 1, 2, 3]);
  expect([netif.MAX_PACKET_BYTES, netif.MIN_SLOTS_PER_PACKET]).toEqual([0xffff, 18]);
});
