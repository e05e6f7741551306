// A capture cut at every byte: the packets that are whole are there, and the error names the byte.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CaptureDirection, CaptureWriter, readCapture } from '../../src/capture/index.js';
import { concat } from './hex.js';

/** A small capture with everything in it, and where each packet's record ends. */
function sample(format: 'pcap' | 'pcapng'): { bytes: Uint8Array; boundaries: number[]; ends: number[] } {
  const parts: Uint8Array[] = [];
  const boundaries: number[] = [];
  const ends: number[] = [];
  const writer = CaptureWriter.over((bytes) => parts.push(bytes.slice()), {
    format,
    originMs: 1e12,
    comment: 'cut',
  });
  const mark = (into: number[]) => {
    into.push(writer.writtenBytes);
  };
  mark(boundaries);
  const first = writer.addInterface({ name: 'alpha.a' });
  if (format === 'pcapng') mark(boundaries);
  for (let i = 0; i < 5; i++) {
    writer.packet(
      new Uint8Array(10 + i),
      first,
      CaptureDirection.inbound,
      i,
      i % 2 === 0 ? 'slow' : undefined,
      i,
    );
    mark(boundaries);
    mark(ends);
  }
  writer.close();
  return { bytes: concat(...parts), boundaries, ends };
}

describe.each(['pcap', 'pcapng'] as const)('%s', (format) => {
  const { bytes, boundaries, ends } = sample(format);

  test('cut at every byte', () => {
    for (let length = 0; length < bytes.length; length++) {
      const { packets, faults, brokenOff } = readCapture(bytes.subarray(0, length));
      const at = `at ${length}`;
      expect(packets.length, at).toBe(ends.filter((end) => end <= length).length);
      if (boundaries.includes(length)) {
        expect(faults, at).toEqual([]);
        continue;
      }
      expect(faults, at).toEqual([brokenOff]);
      expect(brokenOff, at).toMatchObject({
        code: 'CAPTURE_TRUNCATED',
        consequence: 'stopped',
        offset: length,
        seen: 'the end of the file',
      });
      // What it asks for is no more than what is really missing of that record, and at least one byte.
      const missing = Number(/^(\d+) more bytes of /.exec(brokenOff!.expected)![1]);
      const end = boundaries.find((boundary) => boundary > length)!;
      expect(missing, at).toBeGreaterThan(0);
      expect(length + missing, at).toBeLessThanOrEqual(end);
    }
  });

  test('cut in a file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'netaccel-capture-'));
    try {
      const path = join(folder, `cut.${format}`);
      writeFileSync(path, bytes.subarray(0, bytes.length - 1));
      const { packets, brokenOff } = readCapture(path);
      expect(packets).toHaveLength(4);
      expect(brokenOff).toMatchObject({ code: 'CAPTURE_TRUNCATED', offset: bytes.length - 1 });
      expect(brokenOff!.advice).toMatch(/^the 4 packets before it were kept;/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
