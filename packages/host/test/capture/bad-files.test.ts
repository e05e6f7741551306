// Files that are damaged, hostile or no capture at all: what was read is kept, and an error value says the rest.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CaptureFileError,
  CaptureLimits,
  CaptureReader,
  describeCaptureFault,
  readCapture,
} from '../../src/capture/index.js';
import { concat, hex, INTERFACE, PACKET, SECTION } from './hex.js';

const START = concat(SECTION, INTERFACE, PACKET);
const AFTER = START.length;

describe('a pcapng block that cannot be', () => {
  test.each([
    ['a length below 12', '06000000 08000000', 4, 'a block length of at least 12, in steps of 4', '8'],
    [
      'a length not in steps of 4',
      '06000000 25000000',
      4,
      'a block length of at least 12, in steps of 4',
      '37',
    ],
    [
      'another length behind',
      '06000000 20000000 00000000 00000000 00000000 00000000 00000000 24000000',
      28,
      "the block's length 32 once more at its end",
      '36',
    ],
    [
      'another length behind an unknown block',
      'ad0b0000 0c000000 10000000',
      8,
      "the block's length 12 once more at its end",
      '16',
    ],
    [
      'a section without its magic',
      '0a0d0d0a 1c000000 11223344 0100 0000 ffffffffffffffff 1c000000',
      8,
      'the byte-order magic 0x1a2b3c4d in either order',
      '0x44332211',
    ],
    [
      'a section of version 2',
      '0a0d0d0a 1c000000 4d3c2b1a 0200 0000 ffffffffffffffff 1c000000',
      12,
      'pcapng version 1.0',
      'version 2.0',
    ],
    [
      'a section header that is too short',
      '0a0d0d0a 10000000 4d3c2b1a 10000000',
      4,
      '28 to 16777216 bytes for the section header block',
      '16',
    ],
  ])('%s ends the reading', (_, block, at, expected, seen) => {
    const { packets, brokenOff } = readCapture(concat(START, hex(block), PACKET));
    expect(packets).toHaveLength(1);
    expect(brokenOff).toMatchObject({ consequence: 'stopped', offset: AFTER + at, expected, seen });
  });

  test.each([
    [
      'more captured bytes than its block has',
      'CAPTURE_BAD_LENGTH',
      '06000000 24000000 00000000 00000000 00000000 05000000 05000000 01020304 24000000',
      20,
      'at most 4 captured bytes in the enhanced packet block',
      '5',
    ],
    [
      'an interface that is not described',
      'CAPTURE_NO_INTERFACE',
      '06000000 24000000 01000000 00000000 00000000 04000000 04000000 01020304 24000000',
      8,
      'an interface from 0 to 0',
      'interface 1',
    ],
    [
      'fewer bytes than an enhanced packet has fields',
      'CAPTURE_BAD_LENGTH',
      '06000000 10000000 00000000 10000000',
      4,
      '32 to 16777216 bytes for the enhanced packet block',
      '16',
    ],
    [
      'a simple packet longer than its block',
      'CAPTURE_BAD_LENGTH',
      '03000000 14000000 40000000 01020304 14000000',
      8,
      'at most 4 captured bytes in the simple packet block',
      '64',
    ],
    [
      'statistics of no interface',
      'CAPTURE_NO_INTERFACE',
      '05000000 18000000 09000000 00000000 00000000 18000000',
      8,
      'an interface from 0 to 0',
      'interface 9',
    ],
  ])('%s is left out, the next is read', (_, code, block, at, expected, seen) => {
    const { packets, faults, brokenOff } = readCapture(concat(START, hex(block), PACKET));
    expect(packets).toHaveLength(2);
    expect(brokenOff).toBeNull();
    expect(faults).toMatchObject([{ code, consequence: 'skipped', offset: AFTER + at, expected, seen }]);
  });

  test('a packet before any interface', () => {
    const { packets, faults } = readCapture(concat(SECTION, PACKET, INTERFACE, PACKET));
    expect(packets).toHaveLength(1);
    expect(faults[0]!.expected).toBe('an interface description before the enhanced packet block');
  });

  test.each([
    ['an option longer than its block', '01004000 61616161', 'an option of at most 4 bytes', '64 bytes'],
    ['epb_flags of 2 bytes', '02000200 01000000', '4 bytes for epb_flags', '2'],
  ])('%s costs the option, not the packet', (_, options, expected, seen) => {
    const packet = hex(
      `06000000 2c000000 00000000 00000000 00000000 04000000 04000000 01020304 ${options} 2c000000`,
    );
    const { packets, faults, brokenOff } = readCapture(concat(SECTION, INTERFACE, packet, PACKET));
    expect(packets).toHaveLength(2);
    expect(brokenOff).toBeNull();
    expect(faults).toMatchObject([{ code: 'CAPTURE_BAD_OPTION', consequence: 'kept', expected, seen }]);
  });

  test('an original length below the captured one is mended', () => {
    const packet = hex('06000000 24000000 00000000 00000000 00000000 04000000 01000000 01020304 24000000');
    const { packets, faults } = readCapture(concat(SECTION, INTERFACE, packet));
    expect(packets[0]!.originalBytes).toBe(4);
    expect(faults).toMatchObject([{ code: 'CAPTURE_BAD_FIELD', consequence: 'kept' }]);
  });
});

describe('bounds', () => {
  test('a block that claims 4 GB costs no memory and is said to be cut short', () => {
    const before = process.memoryUsage().arrayBuffers;
    const { brokenOff } = readCapture(concat(START, hex('ad0b0000 fcffffff')));
    expect(brokenOff).toMatchObject({
      code: 'CAPTURE_TRUNCATED',
      offset: AFTER + 8,
      expected: `${0xfffffffc - 8} more bytes of a block of type 0xbad of 4294967292 bytes that begins at byte ${AFTER}`,
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
  });

  test('an enhanced packet of more than 16 MiB is left out', () => {
    const big = new Uint8Array(CaptureLimits.blockBytes + 16);
    const view = new DataView(big.buffer);
    view.setUint32(0, 6, true);
    view.setUint32(4, big.length, true);
    view.setUint32(big.length - 4, big.length, true);
    const { packets, faults } = readCapture(concat(START, big, PACKET));
    expect(packets).toHaveLength(2);
    expect(faults).toMatchObject([{ code: 'CAPTURE_TOO_LARGE', consequence: 'skipped' }]);
  });

  test('interfaces are bounded', () => {
    const many = new Uint8Array(INTERFACE.length * (CaptureLimits.interfaces + 1));
    for (let at = 0; at < many.length; at += INTERFACE.length) many.set(INTERFACE, at);
    const { interfaces, brokenOff } = readCapture(concat(SECTION, many, PACKET));
    expect(interfaces).toHaveLength(CaptureLimits.interfaces);
    expect(brokenOff).toMatchObject({ code: 'CAPTURE_TOO_LARGE', expected: 'at most 65536 interfaces' });
  });

  test('faults are bounded, counted beyond, and the one that stopped is always kept', () => {
    const bad = hex('06000000 20000000 01000000 00000000 00000000 00000000 00000000 20000000');
    const parts = Array.from({ length: 100 }, () => bad);
    const reader = CaptureReader.over(concat(SECTION, INTERFACE, ...parts, hex('00')));
    expect([...reader]).toEqual([]);
    expect(reader.faults).toHaveLength(CaptureLimits.faults + 1);
    expect(reader.faultCount).toBe(101);
    expect(reader.faults.at(-1)).toBe(reader.brokenOff);
  });

  test('a whole capture is held up to a limit', () => {
    const capture = readCapture(concat(START, PACKET, PACKET), 8);
    expect(capture.packets).toHaveLength(2);
    expect(capture.brokenOff).toMatchObject({
      code: 'CAPTURE_TOO_LARGE',
      offset: AFTER + PACKET.length,
      expected: 'at most 8 captured bytes',
    });
  });
});

describe('no capture', () => {
  test.each([
    ['text', hex('68656c6c 6f'), 'a file that begins with 68 65 6c 6c'],
    ['gzip', hex('1f8b0800 00'), 'a gzip file'],
    ['modified pcap', hex('34cdb2a1 02000400'), "a capture in Kuznetzov's modified pcap"],
  ])('%s', (_, bytes, seen) => {
    const capture = readCapture(bytes);
    expect(capture).toMatchObject({ format: null, packets: [] });
    expect(capture.brokenOff).toMatchObject({ code: 'CAPTURE_NOT_A_CAPTURE', offset: 0, seen });
    expect(capture.faults).toHaveLength(1);
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'netaccel-capture-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('are read like bytes, through a window smaller than they are', () => {
    const path = join(folder, 'large.pcapng');
    const payload = new Uint8Array(200_000).map((_, i) => i);
    const block = new Uint8Array(32 + payload.length);
    const view = new DataView(block.buffer);
    [6, block.length, 0, 0, 0, payload.length, payload.length].forEach((v, i) =>
      view.setUint32(i * 4, v, true),
    );
    block.set(payload, 28);
    view.setUint32(block.length - 4, block.length, true);
    const unknown = new Uint8Array(900_000);
    const unknownView = new DataView(unknown.buffer);
    unknownView.setUint32(0, 0xbad, true);
    unknownView.setUint32(4, unknown.length, true);
    unknownView.setUint32(unknown.length - 4, unknown.length, true);
    const bytes = concat(START, block, block, unknown, PACKET, block, PACKET);
    writeFileSync(path, bytes);
    const fromFile = readCapture(path);
    expect(fromFile.faults).toEqual([]);
    expect(fromFile.packets.map((p) => p.bytes.length)).toEqual([4, 200_000, 200_000, 4, 200_000, 4]);
    const fromBytes = readCapture(bytes);
    fromFile.packets.forEach((packet, i) => {
      expect(packet.offset).toBe(fromBytes.packets[i]!.offset);
      expect(Buffer.compare(packet.bytes, fromBytes.packets[i]!.bytes)).toBe(0);
    });
  });

  test('that are not there, and folders', () => {
    const missing = join(folder, 'missing.pcap');
    expect(() => CaptureReader.open(missing)).toThrow(CaptureFileError);
    expect(() => CaptureReader.open(missing)).toThrow(
      `${missing}: expected a capture file that can be read; seen ENOENT; check the spelling; the folder must exist`,
    );
    expect(readCapture(folder).brokenOff).toMatchObject({
      code: 'CAPTURE_READ_FAILED',
      seen: 'the error EISDIR from the operating system',
    });
  });

  test('say what is wrong in one line', () => {
    const { brokenOff } = readCapture(START.subarray(0, AFTER - 6));
    expect(describeCaptureFault(brokenOff!, 'a.pcapng')).toBe(
      'a.pcapng: byte 78: expected 6 more bytes of an enhanced packet block of 36 bytes that begins at byte 48; ' +
        'seen the end of the file; the 0 packets before it were kept; ' +
        'if the file was still being written or copied, wait and read it again',
    );
  });
});
