import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FramePool } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock } from '@netaccel/core-hooks/testing';
import type { Loop } from '@netaccel/xen';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CaptureDirection, CaptureWriter } from '../../src/capture/index.js';
import { FilePort } from '../../src/ports/file-port.js';
import type { Transmitter } from '../../src/traffic/transmitter.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'na-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A capture of frames at certain milliseconds; the first byte behind the addresses is their number. */
function capture(name: string, ...frames: readonly (readonly [ms: number, bytes: number])[]): string {
  const file = join(folder, name);
  const writer = CaptureWriter.create(file);
  const at = writer.addInterface({ name: 'x' });
  frames.forEach(([ms, bytes], i) => {
    writer.packet(new Uint8Array(bytes).fill(i), at, CaptureDirection.unknown, ms * 1e6);
  });
  writer.close();
  return file;
}

function bench(file: string, loop = false, buffers = 100) {
  const memory = new FlatMemory(128);
  const clock = new VirtualClock();
  const pool = new FramePool(buffers, memory.allocate(100), 2048);
  const sent: [atMs: number, number: number, bytes: number][] = [];
  const complaints: string[] = [];
  const out = { isFull: false, keeps: false };
  const transmitter: Transmitter = {
    allocate: () => pool.allocate(),
    startXmit: (frame: Frame) => {
      if (out.isFull) return false;
      sent.push([clock.now(), memory.bytes[frame.address]!, frame.length]);
      if (!out.keeps) frame.release();
      return true;
    },
    flush: () => undefined,
  };
  const port = new FilePort(memory, clock as unknown as Loop, transmitter, { file, loop }, 1500, (line) => {
    complaints.push(line);
  });
  return { port, clock, pool, sent, out, complaints };
}

describe('a capture file behind an interface', () => {
  it('is sent at the pace at which it was captured, long pauses cut to a second, once', () => {
    const { port, clock, sent, pool } = bench(
      capture('pace.pcapng', [1000, 60], [1000, 61], [1250, 62], [9000, 63]),
    );
    port.start();
    clock.advance(10_000);
    expect(sent).toEqual([
      [0, 0, 60],
      [0, 1, 61],
      [250, 2, 62],
      [1250, 3, 63],
    ]);
    expect(port.statistics).toMatchObject({ framesSent: 4, rounds: 1, unsendable: 0 });
    expect([clock.pending, pool.free]).toEqual([0, 100]);
  });

  it('begins again when it is told to, until it is closed', () => {
    const { port, clock, sent } = bench(capture('loop.pcapng', [0, 60], [40, 60]), true);
    port.start();
    clock.advance(149);
    expect(sent.map(([ms]) => ms)).toEqual([0, 40, 50, 90, 100, 140]);
    port.close();
    clock.advance(1000);
    expect([sent.length, clock.pending]).toEqual([6, 0]);
  });

  it('leaves out what is too long or too short, and says how much', () => {
    const { port, clock, sent } = bench(capture('odd.pcapng', [0, 13], [0, 1518], [0, 1519], [0, 60]));
    port.start();
    clock.advance(1);
    expect(sent.map(([, , bytes]) => bytes)).toEqual([1518, 60]);
    expect(port.statistics.unsendable).toBe(2);
  });

  it('keeps a frame that has no room, and sends it first when there is some', () => {
    const { port, clock, sent, out } = bench(capture('room.pcapng', [0, 60], [10, 61]));
    out.isFull = true;
    port.start();
    clock.advance(100);
    expect(sent).toEqual([]);
    out.isFull = false;
    port.resume();
    clock.advance(1);
    expect(sent.map(([, number]) => number)).toEqual([0, 1]);
  });

  it('waits for a buffer when all are under way', () => {
    const { port, clock, sent, pool, out } = bench(capture('buffers.pcapng', [0, 60], [0, 61]), false, 1);
    out.keeps = true;
    port.start();
    clock.advance(50);
    expect([sent.length, pool.free]).toEqual([1, 0]);
    out.keeps = false;
    pool.frames[0]!.release();
    clock.advance(50);
    expect(sent.map(([, number]) => number)).toEqual([0, 1]);
  });

  it('uses what could be read of a truncated file, and says so', () => {
    const whole = readFileSync(capture('whole.pcapng', [0, 60], [0, 61]));
    const file = join(folder, 'cut.pcapng');
    writeFileSync(file, whole.subarray(0, whole.length - 20));
    const { port, clock, sent, complaints } = bench(file);
    port.start();
    clock.advance(1);
    expect(sent.length).toBe(1);
    expect(complaints).toEqual([
      expect.stringMatching(/cut\.pcapng: byte \d+: expected .*; the 1 packets that could be read are used$/),
    ]);
  });

  it('counts what comes', () => {
    const { port, pool } = bench(capture('in.pcapng', [0, 60]));
    const frame = pool.allocate()!;
    frame.describe(frame.home, 77);
    port.deliver(frame);
    expect(port.statistics).toMatchObject({ framesReceived: 1, bytesReceived: 77 });
  });
});
