import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  EtherType,
  EventFlag,
  FrameHeaders,
  Protocol,
  UNTAGGED,
  isOrdinary,
  pair,
  unpair,
} from '../src/index.js';
import { ip6Of, ipOf, macOf, makeFrame, pattern } from './frames.js';
import { PlainMemory } from './memory.js';

const memory = new PlainMemory(new ArrayBuffer(1 << 16));
const headers = new FrameHeaders(memory);
function parse(frame: Uint8Array, at = 256, readable = frame.length): FrameHeaders {
  memory.bytes.set(frame, at);
  expect(headers.parse(at, readable, frame.length)).toBe(true);
  return headers;
}

describe('FrameHeaders', () => {
  it.each([256, 257, 258, 259])('finds TCP over IPv4 at address %d', (at) => {
    const h = parse(makeFrame({ payload: pattern(10), options: [1, 1, 1, 1], flags: 0x18 }), at);
    expect(h).toMatchObject({
      etherType: EtherType.ipv4,
      version: 4,
      protocol: Protocol.tcp,
      vlan: UNTAGGED,
      l3: 14,
      l4: 34,
      payload: 58,
      ipEnd: 68,
      tcpFlags: 0x18,
      mac0: pair(macOf(2), 0),
      source0: pair(ipOf(1), 0),
      destination0: pair(ipOf(2), 0),
      ports: pair([1000 >>> 8, 1000 & 255, 0, 80], 0),
      flags: EventFlag.ipv4 | EventFlag.tcp,
    });
    expect(h.checksumAt).toBe(50);
  });

  it('finds UDP over IPv6 behind a VLAN tag', () => {
    const h = parse(makeFrame({ version: 6, protocol: 'udp', vlan: 0x7123, payload: pattern(3) }));
    expect(h).toMatchObject({
      version: 6,
      vlan: 0x123,
      l3: 18,
      l4: 58,
      payload: 66,
      ipEnd: 69,
      destination3: pair(ip6Of(2), 12),
      source0: pair(ip6Of(1), 0),
      flags: EventFlag.ipv6 | EventFlag.udp | EventFlag.vlan,
    });
    expect(h.checksumAt).toBe(64);
  });

  it('walks IPv6 extension headers, a few', () => {
    const plain = makeFrame({ version: 6, payload: pattern(8) });
    const options = [6, 0, 1, 4, 0, 0, 0, 0]; // a header of 8 bytes, then TCP
    const frame = Uint8Array.from([...plain.slice(0, 54), ...options, ...plain.slice(54)]);
    frame[19] = frame[19]! + 8;
    frame[20] = 0;
    expect(parse(frame)).toMatchObject({ l4: 62, payload: 82, protocol: Protocol.tcp });
    frame[20] = 44;
    expect(parse(frame)).toMatchObject({ payload: 0, flags: EventFlag.ipv6 | EventFlag.fragment });
  });

  it('hole 2.16 #11: takes no ports from a fragment, first or not', () => {
    for (const bits of [0x20, 0x00]) {
      const frame = makeFrame();
      frame[20] = bits;
      frame[21] = bits === 0 ? 5 : 0;
      expect(parse(frame)).toMatchObject({
        version: 4,
        payload: 0,
        ports: 0,
        flags: EventFlag.ipv4 | EventFlag.fragment,
      });
      expect(headers.checksumAt).toBe(0);
    }
  });

  it('takes a frame whose headers lie for an Ethernet frame', () => {
    const lies: [number, number][] = [
      [14, 0x44], // IHL below 5
      [14, 0x4f], // IHL beyond the packet
      [14, 0x65], // version 6 in an IPv4 frame
      [16, 0xff], // total length beyond the frame
      [17, 10], // total length below the header
    ];
    for (const [at, value] of lies) {
      const frame = makeFrame();
      frame[at] = value;
      expect(parse(frame)).toMatchObject({ version: 0, payload: 0, ports: 0, flags: 0 });
    }
    const frame = makeFrame();
    frame[46] = 0xf0; // TCP header beyond the packet
    expect(parse(frame)).toMatchObject({ version: 4, payload: 0 });
    const udp = makeFrame({ protocol: 'udp', payload: pattern(5) });
    udp[39] = 200; // UDP length beyond the packet
    expect(parse(udp)).toMatchObject({ version: 4, payload: 0 });
  });

  it('says when a frame is too short for Ethernet', () => {
    expect(headers.parse(256, 13, 13)).toBe(false);
  });

  test.prop([fc.uint8Array({ maxLength: 120 }), fc.integer({ min: 0, max: 3 }), fc.nat(54)], {
    numRuns: 2000,
  })(
    'stays within whatever bytes it is given',
    (garbage, offset, keep) => {
      const frame = makeFrame({ version: garbage.length % 2 === 0 ? 4 : 6, payload: garbage });
      for (let i = keep; i < Math.min(54, frame.length); i++) frame[i] = garbage[i] ?? frame[i]!;
      const cut = frame.slice(0, 14 + ((garbage[0] ?? 0) % (frame.length - 13)));
      const h = parse(cut, 512 + offset);
      for (const at of [h.l3, h.l4, h.payload, h.ipEnd])
        expect(at).toBeLessThanOrEqual(Math.max(cut.length, 18));
      if (h.payload !== 0) {
        expect(h.l4).toBeGreaterThan(h.l3);
        expect(h.payload).toBeGreaterThan(h.l4);
        expect(h.ipEnd).toBeGreaterThanOrEqual(h.payload);
      }
    },
    30_000,
  );

  it('pair and unpair are each other', () => {
    const out = new Uint8Array(4);
    unpair(pair([1, 2, 0xfd, 0xfe], 0), out, 0);
    expect([...out]).toEqual([1, 2, 0xfd, 0xfe]);
  });
});

describe('isOrdinary', () => {
  const view = new DataView(memory.bytes.buffer);
  const byte = fc.integer({ min: 0, max: 255 });

  /** What `parse` says of the same bytes. */
  const byParse = (length: number, readable: number): boolean => {
    const h = parse(memory.bytes.slice(256, 256 + length), 256, readable);
    return h.vlan === UNTAGGED && h.version === 4 && h.l4 === 34 && h.payload !== 0;
  };

  it('knows TCP and UDP over IPv4, and nothing else', () => {
    const cases = [
      { of: makeFrame({ payload: pattern(10), options: [1, 1, 1, 1] }), ordinary: true },
      { of: makeFrame({ protocol: 'udp', payload: pattern(3) }), ordinary: true },
      { of: makeFrame({ version: 6, payload: pattern(10) }), ordinary: false },
      { of: makeFrame({ vlan: 5, payload: pattern(10) }), ordinary: false },
    ] as const;
    for (const { of, ordinary } of cases)
      for (const at of [256, 257, 258, 259]) {
        memory.bytes.set(of, at);
        expect(isOrdinary(view, at, of.length, of.length)).toBe(ordinary);
      }
  });

  test.prop([
    fc.constantFrom('tcp', 'udp'),
    fc.array(fc.tuple(fc.integer({ min: 12, max: 60 }), byte), { maxLength: 4 }),
    fc.integer({ min: 14, max: 90 }),
    fc.integer({ min: 0, max: 30 }),
  ])(
    'agrees with parse on frames with bytes changed and ends cut off',
    (protocol, changes, length, hidden) => {
      memory.bytes.set(makeFrame({ protocol, payload: pattern(24) }), 256);
      for (const [at, value] of changes) memory.bytes[256 + at] = value;
      const readable = Math.max(14, length - hidden);
      expect(isOrdinary(view, 256, readable, length)).toBe(byParse(length, readable));
    },
  );
});
