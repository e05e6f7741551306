import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  MessageError,
  decodeBuffers,
  decodeBuffersReply,
  decodeFilter,
  decodeHandover,
  decodeRings,
  encodeBuffers,
  encodeBuffersReply,
  encodeFilter,
  encodeHandover,
  encodeRings,
  messageLayouts,
  type FilterMessage,
  type HandoverMessage,
  type RingsMessage,
} from '../src/index.js';
import { ip6Of, ipOf, macOf } from './frames.js';

const handover: HandoverMessage = {
  vi: 3,
  generation: 2,
  startIndex: 0xffff_fffb,
  registerRef: 0x1234,
  doorbellPort: 0,
  interruptPort: 17,
  mtu: 1500,
  maxFragments: 64,
  maxTransmitBytes: 65553,
  maxBufferPages: 384,
  maxFilters: 8,
  receiveChecksum: true,
  transmitChecksum: true,
  segmentation: false,
  mac: Uint8Array.from(macOf(7)),
};
const rings: RingsMessage = {
  transmitRefs: Uint32Array.of(1),
  receiveRefs: Uint32Array.of(2, 3),
  eventRefs: Uint32Array.of(4, 5, 6, 0xffff_ffff),
  transmitCapacity: 256,
  receiveCapacity: 1024,
  eventCapacity: 1024,
};
const filter: FilterMessage = {
  added: true,
  filter: 0x10003,
  protocol: 'udp',
  localAddress: Uint8Array.from(ip6Of(2)),
  localPort: 53,
  remoteAddress: Uint8Array.from(ip6Of(1)),
  remotePort: 0xfffe,
  vlan: 4095,
  fence: [0xffff_ffff, 0, 5],
};

describe('messages', () => {
  it('fit a mailbox payload', () => {
    for (const { size } of messageLayouts) expect(size).toBeLessThanOrEqual(MAILBOX_PAYLOAD_BYTES);
  });

  it('come back as they went', () => {
    expect(decodeHandover(encodeHandover(handover))).toEqual(handover);
    expect(decodeRings(encodeRings(rings))).toEqual(rings);
    expect(decodeFilter(encodeFilter(filter))).toEqual(filter);
    const local: FilterMessage = {
      ...filter,
      added: false,
      protocol: 'tcp',
      localAddress: Uint8Array.from(ipOf(2)),
      remoteAddress: null,
      remotePort: 0,
      vlan: null,
      fence: [],
    };
    expect(decodeFilter(encodeFilter(local))).toEqual(local);
    const buffers = { cookie: 9, writable: true, refs: Uint32Array.from({ length: 24 }, (_, i) => i * 7) };
    expect(decodeBuffers(encodeBuffers(buffers))).toEqual(buffers);
    const reply = { cookie: 9, count: 24, bus: 0xffff_f000 };
    expect(decodeBuffersReply(encodeBuffersReply(reply))).toEqual(reply);
  });

  it('have the bytes of the table', () => {
    expect([...encodeHandover(handover)]).toEqual([
      1, 0, 3, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0,
      0xdc, 0x05, 64, 0, 0x11, 0, 1, 0, 0x80, 1, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7, 0, 0,
    ]);
    expect([...encodeBuffersReply({ cookie: 1, count: 2, bus: 0x3000 })]).toEqual([
      1, 0, 2, 0, 1, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0,
    ]);
  });

  it('feature 48: a handover names the addresses that are checked, in bytes that an older half does not read', () => {
    const addresses = [ipOf(9), ip6Of(3)].map((each) => Uint8Array.from(each));
    const bytes = encodeHandover({ ...handover, addresses });
    expect([...bytes.subarray(0, 56)]).toEqual([...encodeHandover(handover)]);
    expect([...bytes.subarray(56)]).toEqual([
      ...[2, 2, 0, 0],
      ...[10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      ...[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
      ...new Array<number>(16).fill(0),
    ]);
    expect(decodeHandover(bytes)).toEqual({ ...handover, addresses });
    expect(() => decodeHandover(bytes.slice(0, 80))).toThrow(MessageError);
    for (const count of [0, 4])
      expect(() => decodeHandover(bytes.slice().fill(count, 56, 57))).toThrow(MessageError);
    const four = new Array<Uint8Array>(4).fill(addresses[0]!);
    expect(() => encodeHandover({ ...handover, addresses: four })).toThrow(RangeError);
  });

  const wrong: [string, () => unknown][] = [
    ['another version', () => decodeHandover(encodeHandover(handover).fill(9, 0, 1))],
    ['too few bytes', () => decodeHandover(encodeHandover(handover).slice(0, 40))],
    ['an mtu below 68', () => decodeHandover(encodeHandover({ ...handover, mtu: 67 }))],
    ['no fragments', () => decodeHandover(encodeHandover({ ...handover, maxFragments: 0 }))],
    ['too long a transmit', () => decodeHandover(encodeHandover({ ...handover, maxTransmitBytes: 65554 }))],
    ['a capacity that is no power of two', () => decodeRings(encodeRings({ ...rings, eventCapacity: 1000 }))],
    ['a capacity beyond the limit', () => decodeRings(encodeRings({ ...rings, transmitCapacity: 4096 }))],
    ['no pages', () => decodeRings(encodeRings({ ...rings, eventRefs: new Uint32Array(0) }))],
    [
      'too many pages of one ring',
      () => decodeRings(encodeRings({ ...rings, transmitRefs: new Uint32Array(9) })),
    ],
    [
      'no references',
      () => decodeBuffers(encodeBuffers({ cookie: 0, writable: false, refs: new Uint32Array(0) })),
    ],
    [
      'a count beyond the array',
      () =>
        decodeBuffers(encodeBuffers({ cookie: 0, writable: false, refs: new Uint32Array(4) }).fill(25, 2, 3)),
    ],
    [
      'a bus address within a page',
      () => decodeBuffersReply(encodeBuffersReply({ cookie: 0, count: 1, bus: 5 })),
    ],
    ['a fence beyond the array', () => decodeFilter(encodeFilter(filter).fill(15, 3, 4))],
  ];
  it.each(wrong)('feature 84, hole 2.16 #3: are refused with %s', (_what, act) => {
    expect(act).toThrow(MessageError);
  });

  it('cannot be made of what does not fit', () => {
    expect(() => encodeBuffers({ cookie: 0, writable: false, refs: new Uint32Array(25) })).toThrow(
      RangeError,
    );
    expect(() => encodeHandover({ ...handover, mtu: 70000 })).toThrow(RangeError);
  });

  test.prop([fc.uint8Array({ maxLength: 130 })], { numRuns: 500 })(
    'of any bytes give a bounded value or an error',
    (bytes) => {
      if (bytes.length > 1) bytes.set([1, 0]);
      for (const decode of [decodeHandover, decodeRings, decodeBuffers, decodeBuffersReply, decodeFilter]) {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MessageError);
        }
      }
    },
    30_000,
  );
});
