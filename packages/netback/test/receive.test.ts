import { describe, expect, test } from 'vitest';
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import { GrantStatus } from '@netaccel/xen';
import { RxFlag, Status, rxRequest } from '@netaccel/xen/netif';
import { build, complete, cutNaively, isBlank, verify } from './frames.js';
import { pattern } from './lab.js';
import { NEAR_WRAP, concat } from './scripted-frontend.js';
import type { Packet } from './scripted-frontend.js';
import { Sender } from './sender.js';

const plain = { flags: 0, slots: 1, gso: null };

describe('what goes to the guest', () => {
  test('lies in posted pages, contiguous over as many as it needs, each answered in its own slot', async () => {
    const sender = await Sender.make();
    for (const length of [14, 60, 1514, 4095, 4096, 4097, 8192, 8193, 65535]) {
      await sender.post(20);
      const slots = Math.ceil(length / PAGE_BYTES);
      const bytes = pattern(length, length);
      expect(await sender.send(bytes)).toEqual([
        { bytes, slots, flags: slots > 1 ? RxFlag.moreData : 0, gso: null },
      ]);
    }
    await sender.end();
  });

  test('leaves requests as they are until it is there: a backend that crashes loses no posted buffer', async () => {
    const sender = await Sender.make();
    await sender.post(20);
    const { rx, guest } = sender.queue;
    const requests = (): Uint8Array[] =>
      Array.from({ length: 6 }, (_, n) => {
        const at = rx.slot((rx.consumed + n) >>> 0);
        return guest.memory.bytes.slice(at, at + rxRequest.size);
      });
    const posted = requests();
    const large = build({ payload: pattern(9000), checksum: 'pseudo' });
    sender.deliver(pattern(60));
    sender.deliver(large, {
      checksum: Checksum.blank,
      segmentation: Segmentation.tcpv4,
      segmentBytes: 1448,
    });
    sender.deliver(pattern(60), { fragments: [30, 30] });
    expect(requests()).toEqual(posted);
    await sender.flush();
    expect(requests()).not.toEqual(posted);
    expect(sender.queue.packets()).toHaveLength(3);
    await sender.end();
  });

  test('is put together from any chain', async () => {
    const sender = await Sender.make();
    for (const fragments of [
      [60, 40],
      [1, 1, 1, 97],
      [4096, 4096],
      [4095, 2, 4095],
      [100, 0, 5000],
      Array.from({ length: 30 }, (_, i) => 1 + i * 37),
    ]) {
      await sender.post(20);
      const bytes = pattern(fragments.reduce((a, b) => a + b, 0));
      const [packet] = await sender.send(bytes, { fragments });
      expect(packet).toMatchObject({ bytes });
    }
    await sender.end();
  });

  test('carries its checksum state and segmentation', async () => {
    const sender = await Sender.make();
    await sender.post(64);
    const bytes = build({ payload: pattern(100), checksum: 'pseudo' });
    for (const [checksum, flags] of [
      [Checksum.unknown, 0],
      [Checksum.good, RxFlag.dataValidated],
      [Checksum.bad, 0],
      [Checksum.blank, RxFlag.csumBlank | RxFlag.dataValidated],
    ] as const)
      expect(await sender.send(bytes, { checksum })).toEqual([{ bytes, flags, slots: 1, gso: null }]);
    for (const version of [4, 6] as const) {
      const large = build({ version, payload: pattern(9000), checksum: 'pseudo' });
      const segmentation = version === 4 ? Segmentation.tcpv4 : Segmentation.tcpv6;
      expect(
        await sender.send(large, { checksum: Checksum.blank, segmentation, segmentBytes: 1400 }),
      ).toEqual([
        {
          bytes: large,
          flags: RxFlag.csumBlank | RxFlag.dataValidated | RxFlag.moreData | RxFlag.extraInfo,
          slots: 4,
          gso: { type: segmentation, size: 1400 },
        },
      ]);
    }
    await sender.end();
  });

  test('as bytes on the ring: two pages with a segmentation extra between', async () => {
    const sender = await Sender.make();
    await sender.post(3);
    sender.deliver(build({ payload: pattern(5000), checksum: 'pseudo' }), {
      checksum: Checksum.blank,
      segmentation: Segmentation.tcpv4,
      segmentBytes: 0x5a8,
    });
    await sender.flush();
    expect(sender.queue.rawResponses().map(({ bytes }) => [...bytes])).toEqual([
      [0, 0, 0, 0, 0x0f, 0, 0x00, 0x10], // id 0, offset 0, validated | blank | more | extra, 4096 bytes
      [1, 0, 0xa8, 0x05, 1, 0, 0, 0], // type gso, last extra, MSS 1448, TCPv4
      [2, 0, 0, 0, 0, 0, 0xbe, 0x03], // id 2, offset 0, no flags, 958 bytes
    ]);
    await sender.end();
  });

  test('is published and notified once per batch, over the wrap of the indices', async () => {
    const sender = await Sender.make({ start: NEAR_WRAP });
    for (let round = 0; round < 5; round++) {
      await sender.post(64);
      const events = sender.queue.txEvents;
      for (let i = 0; i < 30; i++) sender.deliver(pattern(64 + i, round));
      expect(sender.queue.rx.available()).toBe(0);
      await sender.flush();
      expect(sender.queue.txEvents).toBe(events + 1);
      expect(sender.queue.packets()).toEqual(
        Array.from({ length: 30 }, (_, i) => ({ ...plain, bytes: pattern(64 + i, round) })),
      );
    }
    await sender.end();
  });

  test('is dropped and counted while there is no connection, and when it is no frame', async () => {
    const sender = await Sender.make();
    await sender.post(64);
    sender.deliver(pattern(13));
    const frame = sender.frame(pattern(60));
    frame.totalBytes = 65536;
    sender.lab.netback.deliver(frame);
    frame.release();
    expect(sender.dropped()).toEqual([
      ['too-short', 1],
      ['too-long', 1],
    ]);
    await sender.lab.run(sender.lab.netback.stop());
    sender.deliver(pattern(60));
    sender.lab.netback.flush();
    expect(sender.dropped()).toContainEqual(['not-connected', 1]);
    await sender.end();
  });

  for (const [name, status] of Object.entries(GrantStatus))
    if (status !== 0)
      test(`XSA-361, 362, 367: a copy that fails with ${name} makes an error response, and loses no other frame`, async () => {
        const sender = await Sender.make();
        await sender.post(20);
        let copies = 0;
        sender.lab.machine.lab.faults.grant = (operation) =>
          operation === 'copy' && copies++ === 2 ? status : undefined;
        sender.deliver(pattern(60, 1));
        sender.deliver(pattern(9000, 2));
        sender.deliver(pattern(60, 3));
        await sender.flush();
        expect(sender.queue.packets()).toEqual([
          { ...plain, bytes: pattern(60, 1) },
          { error: Status.error },
          { ...plain, bytes: pattern(60, 3) },
        ]);
        expect(sender.lab.netback.statistics()).toMatchObject({ rxFrames: 2, rxBytes: 120 });
        expect(sender.dropped()).toEqual([['copy-failed', 1]]);
        delete sender.lab.machine.lab.faults.grant;
        await sender.end();
      });

  test('XSA-216: every byte of a response is written, so that none is the last owner’s', async () => {
    const sender = await Sender.make();
    sender.lab.guest.memory.bytes.fill(0xcc, sender.queue.rx.slot(0), sender.queue.rx.slot(255) + 8);
    await sender.post(3);
    await sender.send(pattern(60));
    const at = sender.queue.rx.slot(NEAR_WRAP);
    expect([...sender.lab.guest.memory.bytes.slice(at, at + 8)]).toEqual([0, 0, 0, 0, 0, 0, 60, 0]);
    await sender.end();
  });

  test('XSA-155: a posted request that changes after it was read changes nothing', async () => {
    const sender = await Sender.make();
    const first = sender.queue.rx.produced;
    await sender.post(2);
    sender.lab.machine.lab.faults.grant = (operation) => {
      if (operation === 'copy')
        sender.lab.guest.memory.bytes.fill(
          0x11,
          sender.queue.rx.slot(first) + 4,
          sender.queue.rx.slot(first) + 8,
        );
      return undefined;
    };
    sender.deliver(pattern(60));
    await sender.flush();
    delete sender.lab.machine.lab.faults.grant;
    const { rxPages } = sender.queue;
    const page = rxPages.address + (first & (rxPages.pages - 1)) * PAGE_BYTES;
    expect(sender.lab.guest.memory.bytes.slice(page, page + 60)).toEqual(pattern(60));
    sender.queue.rawResponses();
    await sender.end();
  });
});

describe('too few posted buffers', () => {
  test('frames wait in order in the vif’s own memory and follow when the guest posts, told by its event', async () => {
    const sender = await Sender.make();
    await sender.post(3);
    const sent = [pattern(60, 1), pattern(5000, 2), pattern(60, 3), pattern(9000, 4), pattern(60, 5)];
    for (const bytes of sent) sender.deliver(bytes);
    await sender.flush();
    // Nobody else's buffer is kept.
    expect(sender.pool.free).toBe(40);
    const got = sender.queue.packets();
    expect(got).toHaveLength(2);
    // The next needs one more: the event index asks for exactly that.
    expect(sender.lab.netback.describe()).toMatchObject({ queuedFrames: 3 });
    await sender.post(1);
    got.push(...sender.queue.packets());
    expect(got).toHaveLength(3);
    await sender.post(2);
    expect(sender.queue.packets()).toEqual([]);
    await sender.post(1);
    got.push(...sender.queue.packets());
    await sender.post(1);
    got.push(...sender.queue.packets());
    expect(got.map((packet) => (packet as Packet).bytes)).toEqual(sent);
    expect(sender.lab.netback.statistics()).toMatchObject({ rxFrames: 5, rxQueued: 3 });
    await sender.end();
  });

  test('a large segment waits for the buffer that its extra info uses up', async () => {
    const sender = await Sender.make();
    await sender.post(3);
    const large = build({ payload: pattern(9000), checksum: 'pseudo' });
    const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1400 };
    expect(await sender.send(large, meta)).toEqual([]);
    await sender.post(1);
    expect(sender.queue.packets()).toMatchObject([{ bytes: large, slots: 4 }]);
    await sender.end();
  });

  test('metadata survives the wait', async () => {
    const sender = await Sender.make();
    const large = build({ payload: pattern(9000), checksum: 'pseudo' });
    await sender.send(large, {
      checksum: Checksum.blank,
      segmentation: Segmentation.tcpv4,
      segmentBytes: 1400,
      fragments: [20, 34, 8000, large.length - 8054],
    });
    await sender.post(4);
    expect(sender.queue.packets()).toMatchObject([
      { bytes: large, slots: 4, gso: { type: 1, size: 1400 }, flags: 15 },
    ]);
    await sender.end();
  });

  test('XSA-392: what waits is bounded by frames and by bytes, and what is over is counted', async () => {
    const sender = await Sender.make({}, { netback: { limits: { backlogFrames: 4, backlogBytes: 65536 } } });
    for (let i = 0; i < 10; i++) sender.deliver(pattern(60, i));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 6]]);
    await sender.post(20);
    expect(sender.queue.packets()).toHaveLength(4);
    // Sixteen buffers are left: two longest packets want seventeen each.
    await sender.post(1);
    expect(await sender.send(pattern(65535))).toHaveLength(1);
    for (let i = 0; i < 3; i++) sender.deliver(pattern(30000, i));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 7]]);
    await sender.post(100);
    expect(sender.queue.packets()).toHaveLength(2);
    await sender.end();
  });

  test('XSA-392: what waits too long is dropped; a guest that posts nothing loses its carrier until it does', async () => {
    const sender = await Sender.make();
    const { lab } = sender;
    const start = lab.machine.clock.now();
    await sender.send(pattern(60, 1));
    await lab.machine.advance(9_900);
    expect(sender.dropped()).toEqual([]);
    await lab.machine.advance(200);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    while (lab.machine.clock.now() - start < 59_000) {
      sender.deliver(pattern(60, 2));
      sender.lab.netback.flush();
      await lab.machine.advance(1000);
    }
    expect(lab.netback.statistics().rxStalls).toBe(0);
    sender.deliver(pattern(60, 2));
    await lab.machine.advance(2000);
    expect(lab.netback.statistics().rxStalls).toBe(1);
    expect(await lab.key('carrier')).toBe('0');
    sender.deliver(pattern(60, 3));
    expect(sender.dropped()).toContainEqual(['stalled', 1]);
    // Stalled, it costs no timer.
    expect(lab.back.ledger().timers).toBe(0);
    await sender.post(1);
    expect(await lab.key('carrier')).toBe('1');
    expect(await sender.send(pattern(60, 4))).toEqual([{ ...plain, bytes: pattern(60, 4) }]);
    await sender.end();
  });

  test('a guest that is short for a while but makes progress is not stalled', async () => {
    const sender = await Sender.make();
    for (let second = 0; second < 120; second += 5) {
      sender.deliver(pattern(60));
      sender.deliver(pattern(60));
      sender.lab.netback.flush();
      await sender.post(1);
      sender.queue.packets();
      await sender.lab.machine.advance(5000);
    }
    expect(sender.lab.netback.statistics().rxStalls).toBe(0);
    await sender.end();
  });

  test('a guest without feature-rx-notify is looked at by a short timer, and never called stalled', async () => {
    const sender = await Sender.make({ keys: { 'feature-rx-notify': null } });
    const { lab } = sender;
    await sender.send(pattern(60, 1));
    await lab.machine.advance(31);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    sender.deliver(pattern(60, 2));
    await sender.flush();
    // It posts and says nothing.
    sender.queue.rxChannel.notify = () => undefined;
    sender.queue.post(1);
    await lab.machine.advance(31);
    expect(sender.queue.packets()).toEqual([{ ...plain, bytes: pattern(60, 2) }]);
    await lab.machine.advance(100_000);
    expect(lab.netback.statistics().rxStalls).toBe(0);
    await sender.end();
  });

  test('XSA-39: a producer index beyond the ring fences the vif from this side too', async () => {
    const sender = await Sender.make();
    sender.queue.poke('rx', 'req_prod', (NEAR_WRAP + 300) >>> 0);
    sender.deliver(pattern(60));
    await sender.flush();
    expect(sender.lab.states.at(-1)).toBe('Closing');
    expect(sender.lab.netback.statistics().breaches).toBe(1);
    sender.deliver(pattern(60));
    expect(sender.dropped()).toContainEqual(['not-connected', 2]);
    await sender.end();
  });

  test('XSA-374: malformed packets while frames wait, then the end of the guest: nothing of the queue is touched after', async () => {
    const sender = await Sender.make();
    for (let i = 0; i < 5; i++) sender.deliver(pattern(60));
    await sender.flush();
    sender.queue.poke('tx', 'req_prod', 1000);
    sender.queue.txChannel.notify();
    sender.lab.machine.destroyDomain(1);
    await sender.lab.settle();
    sender.deliver(pattern(60));
    await sender.lab.machine.advance(100_000);
    await sender.lab.run(sender.lab.netback.stop());
    expect(sender.pool.free).toBe(40);
    expect(sender.lab.back.ledger()).toMatchObject({
      mappings: 0,
      ports: 0,
      timers: 0,
      tasks: 0,
      watches: 0,
    });
    expect(sender.lab.machine.audit.violations).toEqual([]);
  });
});

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

describe('a fence', () => {
  test('without a backlog is passed as soon as what was delivered is flushed', async () => {
    const sender = await Sender.make();
    await sender.post(10);
    sender.deliver(pattern(60));
    sender.deliver(pattern(5000));
    expect(await sender.lab.run(sender.lab.netback.fence())).toEqual([(NEAR_WRAP + 3) >>> 0]);
    expect(sender.queue.packets()).toHaveLength(2);
    await sender.end();
  });

  test('waits for the backlog as it was, not for what comes after', async () => {
    const sender = await Sender.make();
    await sender.post(1);
    for (let i = 0; i < 3; i++) sender.deliver(pattern(60, i));
    let passed: readonly number[] | null = null;
    void sender.lab.netback.fence().then((fence) => (passed = fence));
    sender.deliver(pattern(60, 9));
    await sender.flush();
    expect(passed).toBeNull();
    await sender.post(1);
    expect(passed).toBeNull();
    await sender.post(1);
    expect(passed).toEqual([(NEAR_WRAP + 3) >>> 0]);
    expect(sender.queue.packets()).toHaveLength(3);
    await sender.end();
  });

  test('is passed when what it waited for is dropped, and refused when the connection goes', async () => {
    const sender = await Sender.make();
    sender.deliver(pattern(60));
    let passed: readonly number[] | null = null;
    void sender.lab.netback.fence().then((fence) => (passed = fence));
    await sender.lab.machine.advance(11_000);
    expect(passed).toEqual([NEAR_WRAP]);
    sender.deliver(pattern(60));
    const refused = expect(sender.lab.netback.fence()).rejects.toMatchObject({ code: 'FENCE_CLOSED' });
    await sender.lab.run(sender.lab.netback.stop());
    await refused;
    expect(await sender.lab.netback.fence()).toEqual([]);
    await sender.end();
  });
});
