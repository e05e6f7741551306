// The writer: what it writes byte for byte, how it copies frames, what it does when a write fails, and that
// it does not allocate for each frame.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { FramePool } from '@netaccel/core-hooks';
import { FlatMemory } from '@netaccel/core-hooks/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CaptureDirection,
  CaptureFileError,
  captureFormatOf,
  type CaptureFormat,
  CaptureWriter,
  type CaptureWriterOptions,
  readCapture,
} from '../../src/capture/index.js';
import { concat, hex } from './hex.js';

/** What a writer writes, put together again. */
function written(
  options: CaptureWriterOptions & { readonly format: CaptureFormat },
  use: (writer: CaptureWriter) => void,
): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = CaptureWriter.over((bytes) => parts.push(bytes.slice()), options);
  use(writer);
  writer.close();
  return concat(...parts);
}

describe('writes byte for byte', () => {
  test('pcap', () => {
    const bytes = written({ format: 'pcap', originMs: 1_000.5, snapBytes: 1514 }, (writer) => {
      const index = writer.addInterface({ name: 'eth0' });
      writer.packet(hex('aabbcc'), index, CaptureDirection.inbound, 999_500_001, 'slow');
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      Buffer.from(
        hex(`4d3cb2a1 0200 0400 00000000 00000000 ea050000 01000000
          (2 s and 1 ns) 02000000 01000000 03000000 03000000 aabbcc`),
      ).toString('hex'),
    );
  });

  test('pcapng', () => {
    const bytes = written({ format: 'pcapng', originMs: 0, snapBytes: 96, comment: 'c' }, (writer) => {
      const index = writer.addInterface({ name: 'alpha.a', description: 'vif' });
      writer.packet(hex('aabbcc'), index, CaptureDirection.outbound, 2 ** 32 + 5, 'slow', 2 ** 33 + 1, 60);
      writer.packet(hex('dd'), index, CaptureDirection.unknown, 0);
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      Buffer.from(
        hex(`(SHB) 0a0d0d0a 34000000 4d3c2b1a 0100 0000 ffffffffffffffff
          (opt_comment) 01000100 63000000 (shb_userappl) 04000800 6e6574616363656c (end) 00000000 34000000
          (IDB) 01000000 34000000 0100 0000 60000000 (if_name) 02000700 616c7068612e6100
          (if_description) 03000300 76696600 (if_tsresol) 09000100 09000000 (end) 00000000 34000000
          (EPB) 06000000 44000000 00000000 01000000 05000000 03000000 3c000000 aabbcc00
          (opt_comment) 01000400 736c6f77 (epb_flags) 02000400 02000000
          (epb_packetid) 05000800 0100000002000000 (end) 00000000 44000000
          (EPB) 06000000 24000000 00000000 00000000 00000000 01000000 01000000 dd000000 24000000`),
      ).toString('hex'),
    );
  });

  test('times that carry from the lower half into the upper one, and long after the origin', () => {
    const originMs = Date.UTC(2026, 10, 23);
    const times = [0, 1, 2 ** 32 - 1, 2 ** 32, 999_999_999, 1_000_000_000, 2 ** 53 - 1];
    for (const format of ['pcap', 'pcapng'] as const) {
      const bytes = written({ format, originMs }, (writer) => {
        writer.addInterface({ name: 'a' });
        for (const time of times) writer.packet(hex('00'), 0, CaptureDirection.unknown, time);
      });
      const seen = readCapture(bytes).packets.map(
        ({ time }) => BigInt(time!.seconds) * 1_000_000_000n + BigInt(time!.nanoseconds),
      );
      expect(seen).toEqual(times.map((time) => BigInt(originMs) * 1_000_000n + BigInt(time)));
    }
  });
});

describe('frames', () => {
  const memory = new FlatMemory(8);
  for (let i = 0; i < memory.bytes.length; i++) memory.bytes[i] = (i * 7) ^ (i >>> 8);

  test('every alignment of source, length and target', () => {
    const pool = new FramePool(1, 0, 4096);
    const frame = pool.allocate()!;
    for (const format of ['pcap', 'pcapng'] as const) {
      const expected: Uint8Array[] = [];
      const bytes = written({ format }, (writer) => {
        writer.addInterface({ name: 'a', memory });
        for (let address = 100; address < 108; address++) {
          for (let length = 0; length < 12; length++) {
            frame.describe(address, length);
            expect(writer.frame(frame, 0, CaptureDirection.inbound, 0)).toBe(true);
            expected.push(memory.bytes.slice(address, address + length));
          }
        }
      });
      expect(readCapture(bytes).packets.map((packet) => packet.bytes)).toEqual(expected);
    }
  });

  test('a chain is one packet, cut to the snap length across fragments', () => {
    const pool = new FramePool(3, 0, 64);
    const [head, middle, tail] = [pool.allocate()!, pool.allocate()!, pool.allocate()!];
    head.describe(1, 10);
    middle.describe(101, 7);
    tail.describe(1003, 20);
    head.next = middle;
    middle.next = tail;
    head.totalBytes = 37;
    const whole = concat(
      ...([head, middle, tail] as const).map((f) => memory.bytes.slice(f.address, f.address + f.length)),
    );
    for (const snapBytes of [1, 9, 10, 11, 17, 18, 36, 37, 38, 9000]) {
      const counters: unknown[] = [];
      const bytes = written({ format: 'pcapng', snapBytes }, (writer) => {
        writer.addInterface({ name: 'a', memory });
        writer.frame(head, 0, CaptureDirection.outbound, 0, 'fast');
        counters.push({ ...writer.counters });
      });
      const [packet] = readCapture(bytes).packets;
      expect(packet!.bytes).toEqual(whole.slice(0, snapBytes));
      expect(packet).toMatchObject({ originalBytes: 37, comments: ['fast'] });
      expect(counters).toEqual([
        { packets: 1, lostAfterFailure: 0, unknownInterface: 0, cut: snapBytes < 37 ? 1 : 0 },
      ]);
    }
  });

  test('interfaces may have memories of their own, and may come later', () => {
    const other = new FlatMemory(1);
    other.bytes.fill(0xee);
    const frame = new FramePool(1, 0, 64).allocate()!;
    frame.describe(16, 4);
    const bytes = written({ format: 'pcapng' }, (writer) => {
      writer.addInterface({ name: 'alpha.a', memory });
      writer.frame(frame, 0, CaptureDirection.inbound, 0);
      writer.addInterface({ name: 'beta.b', memory: other });
      writer.frame(frame, 1, CaptureDirection.inbound, 0);
    });
    expect(readCapture(bytes).packets.map((p) => [p.interface.name, p.bytes])).toEqual([
      ['alpha.a', memory.bytes.slice(16, 20)],
      ['beta.b', hex('eeeeeeee')],
    ]);
  });

  test('of an interface that is unknown or has no memory are counted, not recorded', () => {
    const frame = new FramePool(1, 0, 64).allocate()!;
    frame.describe(0, 4);
    const writer = CaptureWriter.over(() => undefined, { format: 'pcapng' });
    expect(writer.addInterface({ name: 'bytes only' })).toBe(0);
    expect(writer.frame(frame, 0, CaptureDirection.inbound, 0)).toBe(false);
    expect(writer.frame(frame, 1, CaptureDirection.inbound, 0)).toBe(false);
    expect(writer.packet(hex('00'), 1, CaptureDirection.inbound, 0)).toBe(false);
    expect(writer.counters).toEqual({ packets: 0, lostAfterFailure: 0, unknownInterface: 3, cut: 0 });
  });

  test('are copied by the memory itself into a buffer that is lent', () => {
    const shared = new FlatMemory(128);
    for (let i = 0; i < 20_000; i++) shared.bytes[i] = i * 3;
    let kernel = 0;
    const copy = shared.copy.bind(shared);
    shared.copy = (to, from, length) => {
      kernel++;
      copy(to, from, length);
    };
    const buffer = { memory: shared, address: 40_960, bytes: 32 * 1024 };
    const frame = new FramePool(1, 0, 64).allocate()!;
    const bytes = written({ format: 'pcapng', snapBytes: 9014, buffer }, (writer) => {
      writer.addInterface({ name: 'lent', memory: shared });
      writer.addInterface({ name: 'other', memory });
      for (let i = 0; i < 50; i++) {
        frame.describe(i, 9014 - i);
        writer.frame(frame, i % 2, CaptureDirection.inbound, i);
      }
    });
    const { packets, faults } = readCapture(bytes);
    expect(faults).toEqual([]);
    expect(kernel).toBe(25);
    packets.forEach((packet, i) => {
      const from = i % 2 === 0 ? shared : memory;
      expect(Buffer.compare(packet.bytes, from.bytes.subarray(i, 9014))).toBe(0);
    });
    expect(() => CaptureWriter.over(() => undefined, { format: 'pcap', buffer })).toThrow(
      'expected a buffer of at least 278528 bytes, address and bytes multiples of 4; seen 32768 at 40960; ' +
        'lend more, or capture less of each frame with snapBytes',
    );
  });

  test('cost no allocation in the steady state', async () => {
    const pool = new FramePool(2, 0, 2048);
    const [head, tail] = [pool.allocate()!, pool.allocate()!];
    head.describe(64, 66);
    tail.describe(8192, 1448);
    head.next = tail;
    head.totalBytes = 1514;
    const writer = CaptureWriter.over(() => undefined, { format: 'pcapng', originMs: 1_795_000_000_000 });
    writer.addInterface({ name: 'a', memory });
    const run = (frames: number) => {
      for (let i = 0; i < frames; i++) writer.frame(head, 0, CaptureDirection.inbound, i * 1000, 'fast', i);
    };
    run(50_000);
    // A view for each fragment would be some 40 MB here and several collections; what is left is the boxes that
    // the engine makes for numbers beyond 31 bits while a function is not yet compiled.
    let collections = 0;
    const observer = new PerformanceObserver((list) => {
      collections += list.getEntries().length;
    });
    observer.observe({ entryTypes: ['gc'] });
    const before = process.memoryUsage().heapUsed;
    run(200_000);
    const grown = process.memoryUsage().heapUsed - before;
    await new Promise((resolve) => setImmediate(resolve));
    observer.disconnect();
    if (collections === 0) expect(grown / 200_000).toBeLessThan(40);
    else expect(collections).toBeLessThan(2);
    expect(writer.counters.packets).toBe(250_000);
  });
});

describe('texts', () => {
  test('that are long are cut between characters, and many of them need no more memory', () => {
    const bytes = written({ format: 'pcapng', bufferBytes: 0 }, (writer) => {
      writer.addInterface({ name: 'ä'.repeat(5000) });
      for (let i = 0; i < 1000; i++)
        writer.packet(hex('00'), 0, CaptureDirection.unknown, i, `${i}€`.repeat(2000));
    });
    const { interfaces, packets, faults } = readCapture(bytes);
    expect(faults).toEqual([]);
    expect(interfaces[0]!.name).toBe('ä'.repeat(2048));
    expect(packets).toHaveLength(1000);
    expect(packets[999]!.comments[0]).toMatch(/^(999€)*(9{0,3})$/);
  });
});

describe('a failing disk', () => {
  test('loses what comes after, counted, and never throws into the frame path', () => {
    let room = 1;
    const writer = CaptureWriter.over(
      () => {
        if (room-- <= 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      },
      { format: 'pcap', bufferBytes: 0, snapBytes: 1000 },
    );
    writer.addInterface({ name: 'a' });
    const packet = new Uint8Array(1000);
    const recorded = Array.from({ length: 100 }, () => writer.packet(packet, 0, CaptureDirection.unknown, 0));
    const { packets, lostAfterFailure } = writer.counters;
    expect(packets + lostAfterFailure).toBe(100);
    expect(recorded.filter(Boolean)).toHaveLength(packets);
    expect(lostAfterFailure).toBeGreaterThan(50);
    expect(writer.flush()).toBe(false);
    expect(writer.failure?.code).toBe('CAPTURE_WRITE_FAILED');
    expect(() => writer.close()).toThrow(
      'capture: expected that what was captured can be written; seen ENOSPC; make room on the disk',
    );
    expect(() => writer.close()).not.toThrow();
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'netaccel-capture-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('are there after a flush, and whole after the close', () => {
    const path = join(folder, 'a.PCAPNG');
    const writer = CaptureWriter.create(path);
    writer.addInterface({ name: 'a' });
    expect(readFileSync(path)).toHaveLength(0);
    writer.packet(hex('01'), 0, CaptureDirection.unknown, 0);
    expect(writer.flush()).toBe(true);
    expect(readCapture(path).packets).toHaveLength(1);
    expect(readFileSync(path)).toHaveLength(writer.writtenBytes);
    writer.packet(hex('02'), 0, CaptureDirection.unknown, 0);
    writer.close();
    expect(readCapture(path)).toMatchObject({ format: 'pcapng', brokenOff: null });
    expect(readCapture(path).packets).toHaveLength(2);
    expect(writer.packet(hex('03'), 0, CaptureDirection.unknown, 0)).toBe(false);
    expect(writer.counters.lostAfterFailure).toBe(1);
  });

  test('larger than the buffer come out whole', () => {
    const path = join(folder, 'large.pcap');
    const writer = CaptureWriter.create(path, { bufferBytes: 0, snapBytes: 9014 });
    writer.addInterface({ name: 'a' });
    const packet = new Uint8Array(9014);
    for (let i = 0; i < 200; i++) writer.packet(packet.fill(i), 0, CaptureDirection.unknown, i);
    writer.close();
    const { packets, faults } = readCapture(path);
    expect(faults).toEqual([]);
    expect(packets.map((p) => p.bytes[9013])).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  test('take the format of their name, or the one that is asked for', () => {
    expect(['a.pcap', 'b/c.CAP', 'd.pcapng', 'e', 'f.pcap.gz', '.pcap/x'].map(captureFormatOf)).toEqual([
      'pcap',
      'pcap',
      'pcapng',
      null,
      null,
      null,
    ]);
    const path = join(folder, 'odd.txt');
    expect(() => CaptureWriter.create(path)).toThrow(CaptureFileError);
    expect(() => CaptureWriter.create(path)).toThrow(
      'expected a name that ends in .pcap, .cap, .dmp, .pcapng, .ntar; seen another ending; rename it, or give the format',
    );
    CaptureWriter.create(path, { format: 'pcap' }).close();
    expect(readCapture(path).format).toBe('pcap');
  });

  test('that cannot be created', () => {
    const path = join(folder, 'no', 'such.pcap');
    expect(() => CaptureWriter.create(path)).toThrow(
      `${path}: expected a file that can be created; seen ENOENT; check the spelling; the folder must exist`,
    );
  });
});
