/**
 * The two real drivers against each other: two guests, one driver domain, a wire between their backends. What no
 * package may test by itself, because neither driver may know the other.
 */
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import { Netfront } from '@netaccel/netfront';
import type { NetfrontOptions } from '@netaccel/netfront';
import { describe, expect, test } from 'vitest';
import { pair, tcp } from './split-pair.js';

describe.each([
  ['one queue', {}],
  ['one channel', { features: { splitChannels: false } }],
  ['three queues', { features: { queues: 3 } }],
  ['no scatter-gather', { features: { scatterGather: false } }],
  ['an untrusted backend', { features: { trusted: false } }],
] as [string, Partial<NetfrontOptions>][])('%s', (name, options) => {
  test.each([1, 2, 3])('thousands of frames, every size, both ways (seed %i)', async (seed) => {
    const { machine, left, right, end } = await pair(seed, options);
    const sizes = name === 'no scatter-gather' ? [60, 64, 65, 1514] : [60, 64, 65, 1514, 4096, 9000, 65000];
    const sent = [0, 0];
    for (let i = 0; i < 1200; i++) {
      for (const [n, { front, guest }] of [left, right].entries()) {
        const bytes = tcp(sent[n]!, sizes[(i + n) % sizes.length]!);
        const frame = front.allocate(bytes.length);
        if (frame === null) continue;
        guest.memory.bytes.set(bytes, frame.home);
        frame.describe(frame.home, bytes.length);
        frame.checksum = Checksum.good;
        if (front.startXmit(frame, i % 8 !== 7)) sent[n]!++;
        else frame.release();
      }
      machine.pump(6);
    }
    left.front.flush();
    right.front.flush();
    await machine.settle();
    for (const [n, { stack }] of [right, left].entries()) {
      const { counters } = (n === 0 ? left : right).front.statistics();
      expect(stack.seen.length).toBe(sent[n]! - counters.txDropped - counters.txErrors);
      expect(counters.txDropped + counters.txErrors).toBe(0);
      const serials = stack.seen.map(({ bytes }) => new DataView(bytes.buffer).getUint32(38));
      // One queue keeps the order of all; several that of each flow (the port says which).
      for (let flow = 0; flow < 7; flow++) {
        const own = serials.filter((serial) => serial % 7 === flow);
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
      const wrong = stack.seen.filter(
        ({ bytes }, i) => Buffer.compare(bytes, tcp(serials[i]!, bytes.length)) !== 0,
      );
      expect(wrong).toEqual([]);
      expect(sent[n]).toBeGreaterThan(200);
    }
    await end();
  });
});

test('a large segment with a blank checksum arrives as it was sent', async () => {
  const { machine, left, right, end } = await pair(1);
  const bytes = tcp(1, 60000);
  const frame = left.front.allocate(bytes.length)!;
  left.guest.memory.bytes.set(bytes, frame.home);
  frame.describe(frame.home, bytes.length);
  frame.checksum = Checksum.blank;
  frame.segmentation = Segmentation.tcpv4;
  frame.segmentBytes = 1448;
  expect(left.front.startXmit(frame, false)).toBe(true);
  await machine.settle();
  expect(right.stack.seen).toEqual([
    { bytes, checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1448 },
  ]);
  await end();
});

test.each([1, 2, 3, 4, 5, 6])(
  'reconnects: the frontend, and the backend, in turn (seed %i)',
  async (seed) => {
    const { machine, run, left, right, end } = await pair(seed);
    const ping = async (serial: number): Promise<void> => {
      const frame = left.front.allocate(64)!;
      left.guest.memory.bytes.set(tcp(serial, 64), frame.home);
      frame.describe(frame.home, 64);
      expect(left.front.startXmit(frame, false)).toBe(true);
      await machine.settle();
      expect(right.stack.seen.at(-1)?.bytes).toEqual(tcp(serial, 64));
    };
    await ping(1);
    await run(left.front.suspend());
    await run(left.front.resume());
    await machine.settle();
    await ping(2);
    // A frontend that begins anew without a word.
    const second = new Netfront({ domain: left.guest, handle: 0, stack: left.stack });
    await run(second.start());
    await run(second.stop());
    await machine.settle();
    expect(left.front.carrier).toBe(false);
    await run(left.front.stop());
    await run(left.front.start());
    await machine.settle();
    await ping(3);
    await end();
  },
);
