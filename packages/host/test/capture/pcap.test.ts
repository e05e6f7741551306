// pcap, byte for byte: both byte orders, both units, and what its fields may and may not say.
import { describe, expect, test } from 'vitest';
import { CaptureDirection, CaptureReader, readCapture } from '../../src/capture/index.js';
import { concat, hex } from './hex.js';

// draft-ietf-opsawg-pcap, sections 4 and 5, field by field.
const headers = {
  'little-endian, microseconds': hex('d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000'),
  'little-endian, nanoseconds': hex('4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000'),
  'big-endian, microseconds': hex('a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001'),
  'big-endian, nanoseconds': hex('a1b23c4d 0002 0004 00000000 00000000 00040000 00000001'),
};
const records = {
  'little-endian': hex('01000000 02000000 03000000 3c000000 aabbcc'),
  'big-endian': hex('00000001 00000002 00000003 0000003c aabbcc'),
};

describe('reads', () => {
  test.each(Object.entries(headers))('%s', (name, header) => {
    const order = name.startsWith('little') ? 'little-endian' : 'big-endian';
    const { format, interfaces, packets, faults } = readCapture(
      concat(header, records[order], records[order]),
    );
    expect(faults).toEqual([]);
    expect(format).toBe('pcap');
    expect(interfaces).toEqual([
      {
        section: 0,
        index: 0,
        linkType: 1,
        snapBytes: 262_144,
        fcsBytes: 0,
        name: null,
        description: null,
        statistics: null,
      },
    ]);
    expect(packets).toHaveLength(2);
    expect(packets[1]).toEqual({
      index: 1,
      offset: 24 + 19,
      interface: interfaces[0],
      bytes: hex('aabbcc'),
      originalBytes: 60,
      time: { seconds: 1, nanoseconds: name.endsWith('nanoseconds') ? 2 : 2000 },
      direction: CaptureDirection.unknown,
      comments: [],
      packetId: null,
    });
  });

  test('a frame check sequence in the link type field', () => {
    const header = hex('d4c3b2a1 0200 0400 00000000 00000000 00000400 01000024');
    expect(readCapture(header).interfaces[0]).toMatchObject({ linkType: 1, fcsBytes: 4 });
  });

  test('a file without packets', () => {
    expect(readCapture(headers['big-endian, nanoseconds'])).toMatchObject({ packets: [], brokenOff: null });
  });

  test('times up to 2106', () => {
    const record = hex('ffffffff 3f420f00 00000000 00000000');
    expect(readCapture(concat(headers['little-endian, microseconds'], record)).packets[0]!.time).toEqual({
      seconds: 4_294_967_295,
      nanoseconds: 999_999_000,
    });
  });
});

describe('judges', () => {
  const header = headers['little-endian, microseconds'];
  const good = records['little-endian'];

  test('a captured length that cannot be: stops there and keeps what came before', () => {
    const bad = hex('01000000 02000000 01000400 01000400');
    const { packets, brokenOff } = readCapture(concat(header, good, bad, good));
    expect(packets).toHaveLength(1);
    expect(brokenOff).toEqual({
      code: 'CAPTURE_BAD_LENGTH',
      consequence: 'stopped',
      offset: 24 + 19 + 8,
      expected: 'at most 262144 captured bytes',
      seen: '262145',
      advice: 'the 1 packets before it were kept; the file is damaged here, get a fresh copy',
    });
  });

  test('a length of 4 GB at once: nothing of that size is allocated', () => {
    const bad = hex('01000000 02000000 ffffffff ffffffff');
    expect(readCapture(concat(header, bad)).brokenOff?.code).toBe('CAPTURE_BAD_LENGTH');
  });

  test('an original length below the captured one: mended', () => {
    const bad = hex('01000000 02000000 03000000 01000000 aabbcc');
    const { packets, faults, brokenOff } = readCapture(concat(header, bad, good));
    expect(packets.map((p) => p.originalBytes)).toEqual([3, 60]);
    expect(faults).toMatchObject([{ code: 'CAPTURE_BAD_FIELD', consequence: 'kept', offset: 36, seen: '1' }]);
    expect(brokenOff).toBeNull();
  });

  test('a fraction of more than a second: carried over', () => {
    const bad = hex('01000000 40420f00 00000000 00000000');
    const { packets, faults } = readCapture(concat(header, bad));
    expect(packets[0]!.time).toEqual({ seconds: 2, nanoseconds: 0 });
    expect(faults).toMatchObject([
      { code: 'CAPTURE_BAD_FIELD', consequence: 'kept', offset: 28, seen: '1000000' },
    ]);
  });

  test('another version', () => {
    const old = hex('d4c3b2a1 0200 0200 00000000 00000000 00000400 01000000');
    const reader = CaptureReader.over(concat(old, good));
    expect(reader.next()).toBeNull();
    expect(reader.brokenOff).toMatchObject({
      code: 'CAPTURE_VERSION',
      offset: 4,
      expected: 'pcap version 2.4',
      seen: 'version 2.2',
    });
    expect(reader.next()).toBeNull();
    expect(reader.faultCount).toBe(1);
  });
});
