// What a guest sends: in order and in one piece, from any slots that the protocol allows.
import { describe, expect, test } from 'vitest';
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import { Status, TxFlag, txRequest } from '@netaccel/xen/netif';
import { build, isBlank } from './frames.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import { NEAR_WRAP, pagesOf } from './scripted-frontend.js';

describe('what the guest sends', () => {
  test('goes to the network in order and in one piece, and each request is answered with its id', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const shapes: [Uint8Array, number][] = [
      [pattern(60, 1), 0],
      [pattern(1514, 2), 2000],
      [pattern(4096, 3), 0],
      [pattern(4097, 4), 1],
      [pattern(65535, 5), 5],
      [pattern(14, 6), 4082],
    ];
    const ids = shapes.flatMap(([bytes, offset]) => queue.packet(bytes, { offset }));
    expect(await lab.exchange()).toEqual(ids.map((id) => ({ id, status: Status.okay })));
    expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual(shapes.map(([bytes]) => bytes));
    expect(lab.network.frames.every(({ checksum }) => checksum === Checksum.unknown)).toBe(true);
    expect(lab.netback.statistics()).toMatchObject({
      txFrames: 6,
      txBytes: 60 + 1514 + 4096 + 4097 + 65535 + 14,
    });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('is published only after the network has it and was flushed', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const seen: number[] = [];
    lab.network.onDeliver = () => seen.push(queue.tx.available());
    lab.network.onFlush = () => seen.push(queue.tx.available());
    for (let i = 0; i < 3; i++) queue.packet(pattern(100, i));
    expect(await lab.exchange()).toHaveLength(3);
    expect(seen).toEqual([0, 0, 0, 0]);
    expect(lab.network.flushes).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('lies on the ring as the guest wrote it until it is answered: a backend that crashes loses no request', async () => {
    const lab = await VifLab.connected({}, { start: NEAR_WRAP });
    const { queue } = lab.frontend;
    const from = queue.tx.consumed;
    queue.packet(pattern(100));
    queue.packet(pattern(9000), { gso: { type: Segmentation.tcpv4, size: 1448 }, flags: TxFlag.csumBlank });
    queue.packet(build({ payload: pattern(20), checksum: 'pseudo' }), { flags: TxFlag.csumBlank });
    const requests = (): Uint8Array[] =>
      Array.from({ length: (queue.tx.produced - from) >>> 0 }, (_, n) => {
        const at = queue.tx.slot((from + n) >>> 0);
        return queue.guest.memory.bytes.slice(at, at + txRequest.size);
      });
    const written = requests();
    const seen: Uint8Array[][] = [];
    lab.network.onFlush = () => seen.push(requests());
    await lab.exchange();
    expect(seen).toEqual([written]);
    expect(requests()).not.toEqual(written);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('keeps going over the wrap of the indices, one flush and one notification per batch', async () => {
    const lab = await VifLab.connected({}, { start: NEAR_WRAP });
    const { queue } = lab.frontend;
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 64; i++) queue.packet(pattern(64 + i, round));
      expect(await lab.exchange()).toHaveLength(64);
    }
    expect(lab.network.frames).toHaveLength(320);
    expect(lab.network.flushes).toBeLessThanOrEqual(10);
    expect(queue.tx.produced).toBe((NEAR_WRAP + 320) >>> 0);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('has its checksum state and segmentation from flags and extra info', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const small = build({ protocol: 'udp', payload: pattern(100), checksum: 'pseudo' });
    const four = build({ payload: pattern(20000), checksum: 'pseudo' });
    const six = build({ version: 6, payload: pattern(20000), checksum: 'pseudo' });
    queue.packet(pattern(60));
    queue.packet(pattern(60), { flags: TxFlag.dataValidated });
    queue.packet(small, { flags: TxFlag.csumBlank | TxFlag.dataValidated });
    queue.packet(four, { flags: TxFlag.csumBlank, gso: { type: Segmentation.tcpv4, size: 1448 } });
    queue.packet(six, { flags: TxFlag.csumBlank, gso: { type: Segmentation.tcpv6, size: 1428 } });
    const statuses = (await lab.exchange()).map(({ status }) => status);
    expect(statuses.filter((status) => status === Status.null)).toHaveLength(2);
    expect(statuses.filter((status) => status === Status.error)).toHaveLength(0);
    expect(
      lab.network.frames.map(({ checksum, segmentation, segmentBytes }) => [
        checksum,
        segmentation,
        segmentBytes,
      ]),
    ).toEqual([
      [Checksum.unknown, 0, 0],
      [Checksum.good, 0, 0],
      [Checksum.blank, 0, 0],
      [Checksum.blank, Segmentation.tcpv4, 1448],
      [Checksum.blank, Segmentation.tcpv6, 1428],
    ]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('that is to be cut but has no blank checksum is given one', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    queue.packet(build({ payload: pattern(9000), checksum: 'zero' }), { gso: { type: 1, size: 1000 } });
    await lab.exchange();
    expect(lab.network.frames[0]).toMatchObject({
      checksum: Checksum.blank,
      segmentation: 1,
      segmentBytes: 1000,
    });
    expect(isBlank(lab.network.frames[0]!.bytes)).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('waits on its ring while the network holds all buffers, and goes on in order when one comes home', async () => {
    const lab = await VifLab.connected({ netback: { limits: { smallBuffers: 4, largeBuffers: 1 } } });
    const { queue } = lab.frontend;
    lab.network.holding = true;
    for (let i = 0; i < 10; i++) queue.packet(pattern(100, i));
    expect(await lab.exchange()).toHaveLength(5);
    expect(lab.netback.statistics().txBufferWaits).toBeGreaterThan(0);
    expect(lab.netback.describe()).toMatchObject({ framesInNetwork: 5 });
    lab.network.holding = false;
    lab.network.releaseHeld();
    await lab.settle();
    expect(queue.responses()).toHaveLength(5);
    expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual(
      Array.from({ length: 10 }, (_, i) => pattern(100, i)),
    );
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('may still be held by the network after a stop: its pages go back when it lets go', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    lab.network.holding = true;
    queue.packet(pattern(100));
    await lab.exchange();
    const { back } = await lab.end();
    expect(back).not.toEqual(CLEAN_END.back);
    lab.network.releaseHeld();
    expect(lab.back.ledger()).toEqual(CLEAN_END.back);
  });
});

test('eighteen slots and the longest packet are accepted', async () => {
  const lab = await VifLab.connected();
  const { queue } = lab.frontend;
  const bytes = pattern(65535);
  const fragments = [100, ...pagesOf(65535 - 100 - 100), 100];
  expect(fragments).toHaveLength(18);
  queue.packet(bytes, { fragments, offset: PAGE_BYTES - 100 });
  queue.publish();
  await lab.settle();
  expect(queue.responses().map(({ status }) => status)).toEqual(Array.from({ length: 18 }, () => 0));
  expect(lab.network.frames[0]!.bytes).toEqual(bytes);
  expect(await lab.end()).toEqual(CLEAN_END);
});
