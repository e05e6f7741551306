// What goes to a guest: in posted pages, each answered in its own slot, whatever the frame was made of.
import { describe, expect, test } from 'vitest';
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import { GrantStatus } from '@netaccel/xen';
import { RxFlag, Status, rxRequest } from '@netaccel/xen/netif';
import { build } from './frames.js';
import { pattern } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';
import { Sender, plain } from './sender.js';

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
