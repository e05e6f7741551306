// Guests that do not take scatter-gather, blank checksums or segments: software does it for them, or drops by name.
import { describe, expect, test } from 'vitest';
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import { RxFlag } from '@netaccel/xen/netif';
import { build, complete, cutNaively, isBlank, verify } from './frames.js';
import { pattern } from './lab.js';
import { concat } from './scripted-frontend.js';
import type { Packet } from './scripted-frontend.js';
import { Sender, plain } from './sender.js';

describe('a guest that takes less', () => {
  test('no scatter-gather: up to a page goes, whatever its chain; more is dropped by name', async () => {
    const sender = await Sender.make({ keys: { 'feature-sg': null } });
    await sender.post(20);
    expect(await sender.send(pattern(4096), { fragments: [1, 4095] })).toEqual([
      { ...plain, bytes: pattern(4096) },
    ]);
    expect(await sender.send(pattern(4097))).toEqual([]);
    expect(sender.dropped()).toEqual([['too-long', 1]]);
    await sender.end();
  });

  for (const version of [4, 6] as const)
    for (const protocol of ['tcp', 'udp'] as const)
      test(`no checksum offload for IPv${version}: software fills it for ${protocol}`, async () => {
        const sender = await Sender.make({
          keys: { 'feature-no-csum-offload': '1', 'feature-ipv6-csum-offload': null },
        });
        await sender.post(100);
        for (const tags of [0, 1, 2])
          for (const length of [0, 1, 2, 99, 100, 1459]) {
            const blank = build({ version, protocol, tags, payload: pattern(length), checksum: 'pseudo' });
            const full = blank.slice();
            complete(full);
            const fragments = length > 2 ? [blank.length - length, 1, length - 1] : [blank.length];
            const [packet] = await sender.send(blank, { checksum: Checksum.blank, fragments });
            expect(packet).toMatchObject({ flags: 0, slots: 1 });
            expect(verify((packet as Packet).bytes)).toBe(true);
            expect((packet as Packet).bytes.length).toBe(full.length);
          }
        expect(sender.lab.netback.statistics().rxChecksumsFilled).toBe(18);
        await sender.end();
      });

  test('IPv4 offload alone: IPv4 goes blank, IPv6 is filled; padding goes along', async () => {
    const sender = await Sender.make({ keys: { 'feature-ipv6-csum-offload': '0' } });
    await sender.post(10);
    const four = concat([build({ checksum: 'pseudo' }), new Uint8Array(6)]);
    expect(await sender.send(four, { checksum: Checksum.blank })).toMatchObject([{ bytes: four, flags: 3 }]);
    const six = concat([build({ version: 6, checksum: 'pseudo' }), pattern(6)]);
    const [packet] = await sender.send(six, { checksum: Checksum.blank });
    expect(packet).toMatchObject({ flags: 0 });
    expect((packet as Packet).bytes.length).toBe(six.length);
    expect(verify((packet as Packet).bytes)).toBe(true);
    await sender.end();
  });

  test('a blank checksum that nobody can fill is dropped by name', async () => {
    const sender = await Sender.make({ keys: { 'feature-no-csum-offload': '1' } });
    await sender.post(10);
    expect(await sender.send(pattern(60), { checksum: Checksum.blank })).toEqual([]);
    expect(sender.dropped()).toEqual([['checksum', 1]]);
    await sender.end();
  });

  test('headers scattered over a chain are put in one piece first', async () => {
    const sender = await Sender.make({ keys: { 'feature-no-csum-offload': '1' } });
    await sender.post(10);
    const blank = build({ payload: pattern(300), checksum: 'pseudo' });
    const [packet] = await sender.send(blank, { checksum: Checksum.blank, fragments: [14, 20, 20, 300] });
    expect(verify((packet as Packet).bytes)).toBe(true);
    await sender.end();
  });

  const guests: Record<string, Record<string, string | null>> = {
    'no segmentation': { 'feature-gso-tcpv4': null, 'feature-gso-tcpv6': null },
    'no scatter-gather': { 'feature-sg': null },
    'nothing at all': {
      'feature-sg': null,
      'feature-gso-tcpv4': null,
      'feature-gso-tcpv6': null,
      'feature-no-csum-offload': '1',
      'feature-ipv6-csum-offload': null,
    },
  };
  for (const [name, keys] of Object.entries(guests))
    for (const version of [4, 6] as const)
      test(`${name}: a large segment over IPv${version} is cut as a naive cutter would`, async () => {
        const sender = await Sender.make({ keys });
        for (const [length, segmentBytes, shape] of [
          [3000, 1000, {}],
          [2999, 1000, { tcpOptions: 12, tcpFlags: 0x19 }],
          [1448, 1448, { tcpFlags: 0x98 }],
          [10, 1448, { tcpFlags: 0x99 }],
          [60000, 1448, { tcpOptions: 12, sequence: 0xffff_ff00, id: 0xfff0, tcpFlags: 0x99 }],
          [5001, 777, { tags: 1, ipOptions: 8, tcpOptions: 40 }],
          [30000, 3900, {}],
        ] as const) {
          await sender.post(sender.queue.rx.free);
          const frame = build({ version, payload: pattern(length), checksum: 'pseudo', ...shape });
          const segmentation = version === 4 ? Segmentation.tcpv4 : Segmentation.tcpv6;
          const headerBytes = frame.length - length;
          const packets = (await sender.send(frame, {
            checksum: Checksum.blank,
            segmentation,
            segmentBytes,
            fragments: length > 2000 ? [headerBytes + 201, 1000, length - 1201] : [frame.length],
          })) as Packet[];
          const expected = cutNaively(frame, segmentBytes);
          expect(packets).toHaveLength(expected.length);
          packets.forEach(({ bytes, flags, gso }, i) => {
            expect(gso).toBeNull();
            expect(flags & RxFlag.csumBlank ? isBlank(bytes) : verify(bytes)).toBe(true);
            const filled = bytes.slice();
            complete(filled);
            expect(filled).toEqual(expected[i]);
          });
        }
        expect(sender.dropped()).toEqual([]);
        expect(sender.lab.netback.statistics().rxCut).toBe(7);
        await sender.end();
      });

  test('segments wait for buffers all together, so that none overtakes', async () => {
    const sender = await Sender.make({ keys: { 'feature-gso-tcpv4': null } });
    await sender.post(9);
    const frame = build({ payload: pattern(10000), checksum: 'pseudo' });
    const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1000 };
    expect(await sender.send(frame, meta)).toEqual([]);
    await sender.post(1);
    expect(sender.queue.packets()).toHaveLength(10);
    await sender.end();
  });

  test('a segment that would be cut into more than a ring holds is dropped by name', async () => {
    const sender = await Sender.make({ keys: { 'feature-gso-tcpv4': null } });
    await sender.post(256);
    const frame = build({ payload: pattern(60000), checksum: 'pseudo' });
    const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 100 };
    expect(await sender.send(frame, meta)).toEqual([]);
    expect(sender.dropped()).toEqual([['too-many-segments', 1]]);
    await sender.end();
  });

  test('a segment whose headers are not understood is dropped by name', async () => {
    const sender = await Sender.make({ keys: { 'feature-gso-tcpv4': null } });
    await sender.post(20);
    const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 100 };
    expect(await sender.send(pattern(3000), meta)).toEqual([]);
    const udp = build({ protocol: 'udp', payload: pattern(3000), checksum: 'pseudo' });
    expect(await sender.send(udp, meta)).toEqual([]);
    expect(sender.dropped()).toEqual([['segmentation', 2]]);
    await sender.end();
  });
});
