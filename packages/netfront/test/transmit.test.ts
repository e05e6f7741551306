/** The slow transmit path: exact slots, stop and wake, copies, and checksums. */
import { describe, expect, test } from 'vitest';
import { Checksum, Frame, FreeFrames, Segmentation } from '@netaccel/core-hooks';
import { decode, encode } from '@netaccel/xen';
import { TX_RING_SLOTS, TxFlag, extraGso, txRequest } from '@netaccel/xen/netif';
import { LARGE_BUFFER_BYTES } from '../src/index.js';
import { CLEAN_END, VifLab, pattern, serialOf, tcpFrame } from './lab.js';

/** The bytes of the next `count` request slots, as the backend sees them. */
function slots(lab: VifLab, count: number): Uint8Array[] {
  const { tx } = lab.backend.queue;
  return Array.from({ length: count }, (_, i) => {
    const at = tx.slot(tx.consumed + i);
    return lab.back.memory.bytes.slice(at, at + txRequest.size);
  });
}

describe('slots', () => {
  test('one small frame, byte for byte', async () => {
    const lab = await VifLab.connected();
    const frame = lab.frame(pattern(60));
    const offset = frame.address & 4095;
    expect(lab.front.startXmit(frame, false)).toBe(true);
    const [slot] = slots(lab, 1);
    const { gref, id } = decode(txRequest, slot!) as { gref: number; id: number };
    expect(slot).toEqual(encode(txRequest, { gref, offset, flags: 0, id, size: 60 }));
    await lab.settle();
    lab.backend.queue.answer(lab.backend.queue.take());
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each([
    ['unknown', Checksum.unknown, 0],
    ['good', Checksum.good, TxFlag.dataValidated],
    ['blank', Checksum.blank, TxFlag.csumBlank | TxFlag.dataValidated],
    ['bad', Checksum.bad, 0],
  ] as const)('checksum %s', async (_, checksum, flags) => {
    const lab = await VifLab.connected();
    const frame = lab.frame(tcpFrame(1, 1));
    frame.checksum = checksum;
    expect(lab.front.startXmit(frame, false)).toBe(true);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets[0]!.flags).toBe(flags);
    lab.backend.queue.answer(packets);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each([
    [Segmentation.tcpv4, 1448],
    [Segmentation.tcpv6, 1428],
  ] as const)('a segment of 64 KiB, GSO type %i: 16 pages and an extra, byte for byte', async (type, mss) => {
    const lab = await VifLab.connected();
    const bytes = pattern(65535);
    const frame = lab.frame(bytes);
    frame.checksum = Checksum.blank;
    frame.segmentation = type;
    frame.segmentBytes = mss;
    expect(lab.front.startXmit(frame, false)).toBe(true);
    const seen = slots(lab, 17);
    const requests = seen.map(
      (slot) => decode(txRequest, slot) as Record<keyof typeof txRequest.fields, number>,
    );
    expect(requests[0]).toMatchObject({
      offset: 0,
      size: 65535,
      flags: TxFlag.csumBlank | TxFlag.dataValidated | TxFlag.extraInfo | TxFlag.moreData,
    });
    expect(seen[1]!.subarray(0, 8)).toEqual(
      encode(extraGso, { type: 1, flags: 0, size: mss, gsoType: type }),
    );
    expect(requests.slice(2).map(({ size, flags, offset }) => [size, flags, offset])).toEqual([
      ...Array.from({ length: 14 }, () => [4096, TxFlag.moreData, 0]),
      [4095, 0, 0],
    ]);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets[0]).toMatchObject({ bytes, gso: { type, size: mss }, extras: 1 });
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.front.statistics()).toMatchObject({ txFrames: 1, txBytes: 65535 });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a chain: each fragment its own slots, the first says the whole', async () => {
    const lab = await VifLab.connected();
    const whole = pattern(5000);
    const head = lab.frame(whole.subarray(0, 100));
    const middle = lab.frame(whole.subarray(100, 2100));
    const tail = lab.frame(whole.subarray(2100));
    head.next = middle;
    middle.next = tail;
    head.totalBytes = 5000;
    expect(lab.front.startXmit(head, false)).toBe(true);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets[0]!.bytes).toEqual(whole);
    expect(packets[0]!.ids.length).toBe(3);
    expect(lab.front.statistics().counters.txCopied).toBe(0);
    // Nothing comes home before the last slot is answered; out of order is allowed.
    const free = () => lab.connection.freeBuffers;
    const [a, b, c] = packets[0]!.ids;
    const before = free();
    lab.backend.queue.respond(c!, 0);
    lab.backend.queue.respond(a!, 0);
    lab.backend.queue.publishTx();
    await lab.settle();
    expect(free()).toEqual(before);
    lab.backend.queue.respond(b!, 0);
    lab.backend.queue.publishTx();
    await lab.settle();
    expect(free()).toEqual({ small: before.small + 1, large: before.large + 2 });
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('copies', () => {
  const foreign = (
    lab: VifLab,
    bytes: Uint8Array,
    pieces: number,
  ): { head: Frame; released: () => number } => {
    const own = new FreeFrames();
    const home = lab.guest.pages.allocate(20);
    lab.guest.memory.bytes.set(bytes, home);
    const size = Math.ceil(bytes.length / pieces);
    const frames = Array.from({ length: pieces }, (_, i) => {
      const frame = new Frame(own, i, home + i * size, size);
      frame.describe(home + i * size, Math.min(size, bytes.length - i * size));
      frame.hold();
      return frame;
    });
    frames.forEach((frame, i) => (frame.next = frames[i + 1] ?? null));
    frames[0]!.totalBytes = bytes.length;
    lab.guest.loop.after(10_000, () => lab.guest.pages.free(home));
    return { head: frames[0]!, released: () => own.count };
  };

  test.each([1, 2, 40])('a frame of other memory in %i pieces', async (pieces) => {
    const lab = await VifLab.connected();
    const bytes = pattern(3000, pieces);
    const { head, released } = foreign(lab, bytes, pieces);
    expect(lab.front.startXmit(head, false)).toBe(true);
    expect(released()).toBe(pieces);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets.map((p) => p.bytes)).toEqual([bytes]);
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.front.statistics().counters.txCopied).toBe(1);
    await lab.machine.advance(10_000);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('no buffer to copy to: refused, still the caller’s, and told when one comes home', async () => {
    const lab = await VifLab.connected({
      netfront: { transmitBuffers: { small: 2, smallBytes: 2048, large: 1 } },
    });
    const frames = [lab.front.allocate(60)!, lab.front.allocate(60)!, lab.front.allocate(60)!];
    expect(lab.front.allocate(60)).toBeNull();
    await lab.settle();
    const ready = lab.stack.ready;
    const { head, released } = foreign(lab, pattern(60), 1);
    expect(lab.front.startXmit(head, false)).toBe(false);
    expect(released()).toBe(0);
    await lab.settle();
    expect(lab.stack.ready).toBe(ready);
    frames[0]!.release();
    await lab.settle();
    expect(lab.stack.ready).toBe(ready + 1);
    expect(lab.front.startXmit(head, false)).toBe(true);
    expect(released()).toBe(1);
    frames[1]!.release();
    frames[2]!.release();
    await lab.settle();
    lab.backend.queue.answer(lab.backend.queue.take());
    await lab.machine.advance(10_000);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a backend without scatter-gather: one page at most, in one slot', async () => {
    const lab = await VifLab.connected({ offers: { 'feature-sg': '0' } });
    expect(lab.front.agreed?.transmit).toMatchObject({ scatterGather: false, segmentationTcpv4: false });
    const frame = lab.frame(pattern(1514));
    // Across a page's end: copied, because two slots would be needed.
    expect(lab.front.startXmit(frame, false)).toBe(true);
    const crossing = lab.frame(pattern(600));
    crossing.address += 1800;
    lab.guest.memory.bytes.set(pattern(600), crossing.address);
    expect(lab.front.startXmit(crossing, false)).toBe(true);
    const { head, released } = foreign(lab, pattern(5000), 2);
    expect(lab.front.startXmit(head, false)).toBe(true);
    expect(released()).toBe(2);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets.map((p) => [p.bytes.length, p.ids.length])).toEqual([
      [1514, 1],
      [600, 1],
    ]);
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.front.statistics().counters).toMatchObject({ txUnsupported: 1 });
    await lab.machine.advance(10_000);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('frames that cannot go', () => {
  test('too short, too long, or not what they say', async () => {
    const lab = await VifLab.connected();
    expect(lab.send(pattern(13))).toBe(true);
    const long = lab.front.allocate(LARGE_BUFFER_BYTES)!;
    long.describe(long.home, 65536);
    expect(lab.front.startXmit(long, false)).toBe(true);
    const liar = lab.frame(pattern(60));
    liar.totalBytes = 61;
    expect(lab.front.startXmit(liar, false)).toBe(true);
    expect(lab.front.statistics()).toMatchObject({ txDropped: 3, txFrames: 0, counters: { txBadLength: 3 } });
    expect(lab.front.allocate(LARGE_BUFFER_BYTES + 1)).toBeNull();
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('handed in twice: the stack’s own mistake', async () => {
    const lab = await VifLab.connected();
    const frame = lab.frame(pattern(60));
    lab.front.startXmit(frame, false);
    expect(() => lab.front.startXmit(frame, false)).toThrow(
      expect.objectContaining({ code: 'FRAME_IN_USE' }),
    );
    await lab.settle();
    lab.backend.queue.answer(lab.backend.queue.take());
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('segments of a kind that the backend does not take', async () => {
    const lab = await VifLab.connected({ offers: { 'feature-gso-tcpv6': null } });
    for (const segmentation of [Segmentation.tcpv4, Segmentation.tcpv6]) {
      const frame = lab.frame(tcpFrame(1, 1, 4000));
      Object.assign(frame, { checksum: Checksum.blank, segmentation, segmentBytes: 1000 });
      expect(lab.front.startXmit(frame, false)).toBe(true);
    }
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets.map((p) => p.gso?.type)).toEqual([Segmentation.tcpv4]);
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.front.statistics().counters.txUnsupported).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('stop and wake', () => {
  test('the ring fills, the queue stops, nothing is lost and every wake comes', async () => {
    const lab = await VifLab.connected();
    let sent = 0;
    const fill = (): void => {
      while (sent < 2000) {
        const frame = lab.front.allocate(64);
        if (frame === null) return;
        lab.guest.memory.bytes.set(tcpFrame(1, sent), frame.home);
        frame.describe(frame.home, 64);
        if (!lab.front.startXmit(frame, true)) {
          frame.release();
          return;
        }
        sent++;
      }
      lab.front.flush();
    };
    lab.stack.onReady = fill;
    fill();
    expect(sent).toBe(TX_RING_SLOTS - 19);
    await lab.settle();
    expect(lab.stack.ready).toBe(1); // the one for the carrier
    lab.backend.answering = true;
    const first = lab.backend.queue.take();
    lab.backend.taken.push(...first);
    lab.backend.queue.answer(first);
    await lab.settle();
    expect(sent).toBe(2000);
    expect(lab.backend.taken.map(({ bytes }) => serialOf(bytes).serial)).toEqual(
      Array.from({ length: 2000 }, (_, i) => i),
    );
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('notifications: one for many frames with more, none while the backend is awake', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 30; i++) lab.send(pattern(60, i), i < 29);
    await lab.settle();
    expect(lab.backend.queue.txEvents).toBe(1 + 1); // the first is the binding's own
    const before = lab.front.statistics().counters.notifications;
    lab.send(pattern(60), true);
    await lab.settle();
    expect(lab.backend.queue.take().length).toBe(30);
    lab.front.flush();
    await lab.settle();
    expect(lab.front.statistics().counters.notifications - before).toBe(1);
    const rest = lab.backend.queue.take();
    expect(rest.length).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('response events: at half of what is outstanding, so few for many', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 128; i++) lab.send(pattern(60, i));
    await lab.settle();
    const packets = lab.backend.queue.take();
    const polls = () => lab.connection.polls;
    const before = polls();
    for (const packet of packets) {
      lab.backend.queue.answer([packet]);
      await lab.settle();
    }
    expect(polls() - before).toBeLessThan(12);
    expect(lab.front.statistics().counters.txUnanswered).toBe(0);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('frames on the ring when the backend goes are counted, and come home', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 10; i++) lab.send(pattern(60, i));
    lab.send(pattern(60000));
    await lab.settle();
    expect(await lab.end()).toEqual(CLEAN_END);
    expect(lab.front.statistics().counters.txUnanswered).toBe(11);
  });

  test('a buffer that the stack holds over a reconnect is copied into the new memory', async () => {
    const lab = await VifLab.connected();
    const frame = lab.frame(pattern(60, 7));
    await lab.run(lab.front.suspend());
    expect(lab.guest.ledger().grants).toBeGreaterThan(0);
    await lab.run(lab.front.resume());
    expect(lab.front.startXmit(frame, false)).toBe(true);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets[0]!.bytes).toEqual(pattern(60, 7));
    lab.backend.queue.answer(packets);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

describe('checksums that the backend does not fill', () => {
  const sum = (bytes: Uint8Array): number => {
    let total = 0;
    for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    return total;
  };
  test.each([64, 65, 1514])('TCP over IPv4, %i bytes', async (length) => {
    const lab = await VifLab.connected({ offers: { 'feature-no-csum-offload': '1' } });
    const bytes = tcpFrame(1, 1, length);
    const tcpBytes = length - 34;
    const pseudo = Uint8Array.of(...bytes.subarray(26, 34), 0, 6, tcpBytes >> 8, tcpBytes & 0xff);
    const partial = sum(pseudo);
    bytes[50] = partial >> 8;
    bytes[51] = partial & 0xff;
    const frame = lab.frame(bytes);
    frame.checksum = Checksum.blank;
    expect(lab.front.startXmit(frame, false)).toBe(true);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets[0]!.flags).toBe(TxFlag.dataValidated);
    expect(sum(Uint8Array.of(...pseudo, ...packets[0]!.bytes.subarray(34)))).toBe(0xffff);
    lab.backend.queue.answer(packets);
    await lab.settle();
    expect(lab.front.statistics().counters.txChecksummed).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});
