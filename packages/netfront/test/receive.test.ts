/** The slow receive path: what good packets become, and whose the pages are that they came in. */
import { describe, expect, test } from 'vitest';
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import { decode } from '@netaccel/xen';
import { ExtraType, RX_RING_SLOTS, RxFlag, rxRequest } from '@netaccel/xen/netif';
import { FILL_DEFAULTS } from '../src/index.js';
import { CLEAN_END, VifLab, pattern, stillWorks, tcpFrame } from './lab.js';

describe('good packets', () => {
  test('requests, byte for byte: id is the slot, a grant of its own for each', async () => {
    const lab = await VifLab.connected();
    const { rx } = lab.backend.queue;
    const refs = new Set<number>();
    expect(lab.backend.queue.posted).toBe(FILL_DEFAULTS.start);
    for (let i = 0; i < FILL_DEFAULTS.start; i++) {
      const at = rx.slot(rx.consumed + i);
      const request = decode(rxRequest, lab.back.memory.bytes.subarray(at, at + rxRequest.size));
      expect(request).toMatchObject({ id: (rx.consumed + i) & (RX_RING_SLOTS - 1), pad: 0 });
      refs.add(request.gref as number);
    }
    expect(refs.size).toBe(FILL_DEFAULTS.start);
    await stillWorks(lab);
  });

  test.each([
    [0, Checksum.unknown],
    [RxFlag.dataValidated, Checksum.good],
    [RxFlag.csumBlank | RxFlag.dataValidated, Checksum.blank],
    [RxFlag.csumBlank, Checksum.blank],
  ])('flags %i', async (flags, checksum) => {
    const lab = await VifLab.connected();
    lab.backend.queue.put(tcpFrame(1, 1), { flags });
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames).toEqual([
      { bytes: tcpFrame(1, 1), checksum, segmentation: 0, segmentBytes: 0, fragments: 1 },
    ]);
    await stillWorks(lab);
  });

  test.each([14, 60, 1514, 4096, 4097, 9000, 65535])('%i bytes, in place', async (length) => {
    const lab = await VifLab.connected();
    lab.backend.queue.put(pattern(length, length), { offset: length < 4000 ? 16 : 0 });
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames[0]!.bytes).toEqual(pattern(length, length));
    expect(lab.stack.frames[0]!.fragments).toBe(Math.ceil(length / 4096));
    expect(lab.front.statistics()).toMatchObject({
      rxFrames: 1,
      rxBytes: length,
      accelerated: { rxFrames: 0 },
    });
    await stillWorks(lab);
  });

  test.each([
    [Segmentation.tcpv4, 1448],
    [Segmentation.tcpv6, 1428],
  ])('a large segment, GSO type %i', async (type, size) => {
    const lab = await VifLab.connected();
    lab.backend.queue.put(tcpFrame(1, 1, 60000), { flags: RxFlag.csumBlank, gso: { type, size } });
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames[0]).toMatchObject({
      bytes: tcpFrame(1, 1, 60000),
      checksum: Checksum.blank,
      segmentation: type,
      segmentBytes: size,
    });
    await stillWorks(lab);
  });

  test('a large segment without a blank checksum: the pseudo header is put in', async () => {
    const lab = await VifLab.connected();
    const bytes = tcpFrame(1, 1, 9000);
    lab.backend.queue.put(bytes, { gso: { type: Segmentation.tcpv4, size: 1448 } });
    lab.backend.queue.publishRx();
    await lab.settle();
    const [seen] = lab.stack.frames;
    expect(seen).toMatchObject({ checksum: Checksum.blank, segmentation: Segmentation.tcpv4 });
    let sum = 6 + (9000 - 34);
    for (let i = 26; i < 34; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    expect((seen!.bytes[50]! << 8) | seen!.bytes[51]!).toBe(sum);
    expect(lab.front.statistics().counters.rxGsoFixed).toBe(1);
    await stillWorks(lab);
  });

  test('half a packet waits for the other half, without a busy poll', async () => {
    const lab = await VifLab.connected();
    const bytes = pattern(9000);
    const { queue } = lab.backend;
    queue.put(bytes);
    // Publish two of its three slots.
    queue.rx.produced -= 1;
    queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames.length).toBe(0);
    const polls = () => lab.connection.polls;
    const before = polls();
    await lab.machine.advance(1000);
    expect(polls()).toBe(before);
    queue.rx.produced += 1;
    queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames[0]!.bytes).toEqual(bytes);
    await stillWorks(lab);
  });

  test('a response that comes after a poll looked, and before it arms, is not slept through', async () => {
    const lab = await VifLab.connected();
    lab.stack.onDeliver = () => {
      if (lab.stack.frames.length > 3) return;
      // No event: as far as the backend can see the frontend is awake.
      lab.backend.queue.put(tcpFrame(1, lab.stack.frames.length));
      lab.backend.queue.rx.publish();
    };
    lab.backend.queue.put(tcpFrame(1, 0));
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames.map(({ bytes }) => bytes)).toEqual([0, 1, 2, 3].map((i) => tcpFrame(1, i)));
    lab.stack.onDeliver = () => undefined;
    await stillWorks(lab);
  });

  test('empty fragments are skipped, known extras that nobody asked for are ignored', async () => {
    const lab = await VifLab.connected();
    await lab.put(
      { status: 100, flags: RxFlag.moreData | RxFlag.extraInfo },
      { extra: { type: ExtraType.hash, flags: 1 } },
      { extra: { type: ExtraType.xdp } },
      { status: 0, flags: RxFlag.moreData },
      { status: 50 },
    );
    expect(lab.stack.frames.map((f) => [f.bytes.length, f.fragments])).toEqual([[150, 2]]);
    await stillWorks(lab);
  });

  test('more than a budget at once, over the wrap of the indices', async () => {
    const lab = await VifLab.connected({ netfront: { fill: { start: 256 } } });
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 100; i++) expect(lab.backend.queue.put(tcpFrame(round, i))).toBe(true);
      lab.backend.queue.publishRx();
      await lab.settle();
    }
    expect(lab.stack.frames.length).toBe(1000);
    expect(lab.stack.flushes).toBeLessThan(60);
    await stillWorks(lab);
  });
});

describe('pages', () => {
  test('what the stack holds is not posted again; it comes home when released', async () => {
    const lab = await VifLab.connected({ netfront: { receivePages: 64 } });
    lab.stack.holding = true;
    for (let i = 0; i < 64; i++) {
      expect(lab.backend.queue.put(tcpFrame(1, i))).toBe(true);
      lab.backend.queue.publishRx();
      await lab.settle();
    }
    expect(lab.backend.queue.put(tcpFrame(1, 64))).toBe(false);
    await lab.machine.advance(1000);
    expect(lab.backend.queue.posted).toBe(0);
    for (const [i, frame] of lab.stack.held.entries())
      expect(lab.guest.memory.bytes.slice(frame.address, frame.address + frame.length)).toEqual(
        tcpFrame(1, i),
      );
    lab.stack.holding = false;
    lab.stack.releaseHeld();
    await lab.settle();
    expect(lab.backend.queue.posted).toBe(64);
    await stillWorks(lab);
  });

  test('XSA-457: frames that the stack holds outlive the connection, and their pages go with the last', async () => {
    const lab = await VifLab.connected();
    lab.stack.holding = true;
    lab.backend.queue.put(tcpFrame(1, 1, 9000));
    lab.backend.queue.publishRx();
    await lab.settle();
    await lab.run(lab.front.stop());
    const { held } = lab.stack;
    expect(lab.guest.ledger().grants).toBeGreaterThan(0);
    expect(lab.guest.memory.bytes.slice(held[0]!.address, held[0]!.address + 4096)).toEqual(
      tcpFrame(1, 1, 9000).slice(0, 4096),
    );
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('the fill target: doubles under load, falls when idle, never below the largest packet', async () => {
    const lab = await VifLab.connected();
    const target = () => lab.connection.queues[0]!.receive.target;
    expect(target()).toBe(64);
    for (let round = 0; round < 4; round++) {
      while (lab.backend.queue.put(tcpFrame(1, 1)));
      lab.backend.queue.publishRx();
      await lab.settle();
    }
    expect(target()).toBeGreaterThan(250);
    for (let i = 0; i < 400; i++) {
      lab.backend.queue.put(tcpFrame(1, i));
      lab.backend.queue.publishRx();
      await lab.settle();
    }
    expect(target()).toBe(19);
    expect(lab.backend.queue.posted).toBeGreaterThanOrEqual(19);
    expect(lab.backend.queue.put(pattern(65535))).toBe(true);
    lab.backend.queue.publishRx();
    await lab.settle();
    await stillWorks(lab);
  });

  test('XSA-403: an untrusted backend: frames are copied out of its reach before the stack sees them', async () => {
    const lab = await VifLab.connected({ frontendKeys: { trusted: '0' } });
    const seen: number[] = [];
    lab.stack.onDeliver = (frame) => {
      for (let f: typeof frame | null = frame; f !== null; f = f.next) seen.push(f.address);
    };
    lab.stack.holding = true;
    lab.backend.queue.put(tcpFrame(1, 1, 9000));
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames[0]).toMatchObject({ bytes: tcpFrame(1, 1, 9000), fragments: 3 });
    // The pages that it could write are on the ring again already.
    expect(lab.connection.queues[0]!.receive.heldPages).toBe(0);
    lab.stack.holding = false;
    lab.stack.releaseHeld();
    // What a buffer held before is not there for the backend to find.
    const frame = lab.front.allocate(60)!;
    lab.guest.memory.bytes.fill(0xee, frame.home, frame.home + frame.capacity);
    frame.release();
    const again = lab.front.allocate(60)!;
    expect(again.home).toBe(frame.home);
    expect(
      lab.guest.memory.bytes.subarray(again.home, again.home + again.capacity).every((byte) => byte === 0),
    ).toBe(true);
    again.release();
    await stillWorks(lab);
  });
});
