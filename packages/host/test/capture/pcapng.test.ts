// pcapng, byte for byte: every block that is read, the options that are, and what is skipped.
import { describe, expect, test } from 'vitest';
import { CaptureDirection, readCapture } from '../../src/capture/index.js';
import { concat, hex, INTERFACE, PACKET, SECTION } from './hex.js';

// Big-endian, as the figures of draft-ietf-opsawg-pcapng draw them.
const BIG_SECTION = hex(`0a0d0d0a 00000030 1a2b3c4d 0001 0002 ffffffffffffffff
  (shb_hardware) 0002 0003 78656e00 (shb_userappl) 0004 0001 61000000 (end) 0000 0000 00000030`);
const BIG_INTERFACE = hex(`00000001 00000030 0001 0000 00000060
  (if_name eth0) 0002 0004 65746830 (if_description up) 0003 0002 75700000
  (if_tsresol 9) 0009 0001 09000000 (end) 0000 0000 00000030`);
const BIG_PACKET = hex(`00000006 00000050 00000000 17e2d3a1 00000005 00000003 0000003c aabbcc00
  (opt_comment fast) 0001 0004 66617374 (epb_flags outbound) 0002 0004 00000002
  (epb_packetid) 0005 0008 0000000100000002 (epb_dropcount, skipped) 0004 0008 0000000000000007
  (end) 0000 0000 00000050`);

describe('reads', () => {
  test('a section, an interface and a packet with their options, big-endian', () => {
    const { format, interfaces, packets, faults } = readCapture(
      concat(BIG_SECTION, BIG_INTERFACE, BIG_PACKET),
    );
    expect(faults).toEqual([]);
    expect(format).toBe('pcapng');
    expect(interfaces).toEqual([
      {
        section: 0,
        index: 0,
        linkType: 1,
        snapBytes: 96,
        fcsBytes: 0,
        name: 'eth0',
        description: 'up',
        statistics: null,
      },
    ]);
    const ns = (0x17e2d3a1n << 32n) | 5n;
    expect(packets).toEqual([
      {
        index: 0,
        offset: BIG_SECTION.length + BIG_INTERFACE.length,
        interface: interfaces[0],
        bytes: hex('aabbcc'),
        originalBytes: 60,
        time: { seconds: Number(ns / 1_000_000_000n), nanoseconds: Number(ns % 1_000_000_000n) },
        direction: CaptureDirection.outbound,
        comments: ['fast'],
        packetId: 0x1_0000_0002n,
      },
    ]);
  });

  test('the same, little-endian, and microseconds where the interface does not say', () => {
    const packet = hex(`06000000 2c000000 00000000 00000000 41420f00 01000000 01000000 ff000000
      (inbound) 02000400 01000000 2c000000`);
    const { packets, faults } = readCapture(concat(SECTION, INTERFACE, packet));
    expect(faults).toEqual([]);
    expect(packets[0]).toMatchObject({
      time: { seconds: 1, nanoseconds: 1000 },
      direction: CaptureDirection.inbound,
      bytes: hex('ff'),
    });
  });

  test('a simple packet block: as much as the interface captures, without a time', () => {
    const limited = hex('01000000 14000000 0100 0000 06000000 14000000');
    const simple = hex('03000000 18000000 3c000000 010203040506 0000 18000000');
    const { packets, faults } = readCapture(concat(SECTION, limited, simple));
    expect(faults).toEqual([]);
    expect(packets[0]).toMatchObject({
      bytes: hex('010203040506'),
      originalBytes: 60,
      time: null,
      direction: CaptureDirection.unknown,
      comments: [],
    });
  });

  test('an obsolete packet block', () => {
    const packet = hex(`02000000 2c000000 0000 0100 00000000 40420f00 02000000 02000000 abcd0000
      (inbound) 02000400 01000000 2c000000`);
    const { packets, faults } = readCapture(concat(SECTION, INTERFACE, packet));
    expect(faults).toEqual([]);
    expect(packets[0]).toMatchObject({
      bytes: hex('abcd'),
      time: { seconds: 1, nanoseconds: 0 },
      direction: CaptureDirection.inbound,
    });
  });

  test('interface statistics: the last word counts', () => {
    const statistics = (received: string) =>
      hex(`05000000 30000000 00000000 00000000 00000000
      (isb_ifrecv) 04000800 ${received}00000000000000 (isb_ifdrop) 05000800 0300000000000000 30000000`);
    const { interfaces, faults } = readCapture(
      concat(SECTION, INTERFACE, PACKET, statistics('01'), statistics('09')),
    );
    expect(faults).toEqual([]);
    expect(interfaces[0]!.statistics).toEqual({ received: 9, dropped: 3 });
  });

  test('skips blocks it does not know: name resolution, custom, 0x80000001', () => {
    const names = hex('04000000 10000000 00000000 10000000');
    const custom = hex('ad0b0000 10000000 00007ed9 10000000');
    const local = hex('01000080 0c000000 0c000000');
    const { packets, faults } = readCapture(
      concat(SECTION, names, INTERFACE, custom, PACKET, local, PACKET, names),
    );
    expect(faults).toEqual([]);
    expect(packets).toHaveLength(2);
  });

  test('several interfaces, several comments, options without an end', () => {
    const commented = hex(`06000000 30000000 01000000 00000000 00000000 00000000 00000000
      01000100 61000000 01000300 c3a46200 30000000`);
    const { packets, faults } = readCapture(concat(SECTION, INTERFACE, INTERFACE, commented, PACKET));
    expect(faults).toMatchObject([]);
    expect(packets.map((p) => [p.interface.index, p.comments])).toEqual([
      [1, ['a', 'äb']],
      [0, []],
    ]);
  });

  test('sections of different byte order, each with interfaces of its own', () => {
    const { packets, interfaces, faults } = readCapture(
      concat(SECTION, INTERFACE, PACKET, BIG_SECTION, BIG_INTERFACE, BIG_PACKET, SECTION, INTERFACE, PACKET),
    );
    expect(faults).toEqual([]);
    expect(packets.map((p) => [p.interface.section, p.interface.index])).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
    ]);
    expect(interfaces.map((i) => i.name)).toEqual([null, 'eth0', null]);
  });
});

describe('times', () => {
  /** The moment of a packet whose interface has the option bytes `options` and whose time is `high`, `low`. */
  const momentOf = (options: string, high: string, low: string) => {
    const option = hex(options);
    const total = (20 + option.length).toString(16).padStart(2, '0');
    const device = hex(`01000000 ${total}000000 0100 0000 00000000 ${options} ${total}000000`);
    const packet = hex(`06000000 20000000 00000000 ${high} ${low} 00000000 00000000 20000000`);
    const { packets, faults } = readCapture(concat(SECTION, device, packet));
    expect(faults).toEqual([]);
    return packets[0]!.time;
  };

  test.each([
    ['seconds', '09000100 00000000', '00000000', '07000000', { seconds: 7, nanoseconds: 0 }],
    ['milliseconds', '09000100 03000000', '00000000', 'e9030000', { seconds: 1, nanoseconds: 1_000_000 }],
    ['picoseconds', '09000100 0c000000', 'e8000000', 'a6d4a510', { seconds: 0, nanoseconds: 996_711_716 }],
    ['1/1024 s', '09000100 8a000000', '00000000', '01060000', { seconds: 1, nanoseconds: 500_976_562 }],
    ['an offset', '0e000800 0a00000000000000', '00000000', '00000000', { seconds: 10, nanoseconds: 0 }],
    ['an offset back', '0e000800 ffffffffffffffff', '00000000', '00000000', { seconds: -1, nanoseconds: 0 }],
    [
      'the last nanosecond of 64 bits',
      '09000100 09000000',
      'ffffffff',
      'ffffffff',
      { seconds: 18_446_744_073, nanoseconds: 709_551_615 },
    ],
  ])('in %s', (_, options, high, low, expected) => {
    expect(momentOf(options, high, low)).toEqual(expected);
  });
});
