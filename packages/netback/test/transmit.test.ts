import { describe, expect, test } from 'vitest';
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import { GrantStatus } from '@netaccel/xen';
import { ExtraType, Status, TxFlag, txRequest, txResponse } from '@netaccel/xen/netif';
import { build, isBlank } from './frames.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import { NEAR_WRAP, pagesOf } from './scripted-frontend.js';

const OKAY = { status: Status.okay };
const ERROR = { status: Status.error };
const NULL = { status: Status.null };

/** Publishes what was written and answers the statuses of the responses. */
async function exchange(lab: VifLab): Promise<{ id: number; status: number }[]> {
  lab.frontend.queue.publish();
  await lab.settle();
  return lab.frontend.queue.responses();
}

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
    expect(await exchange(lab)).toEqual(ids.map((id) => ({ id, ...OKAY })));
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
    expect(await exchange(lab)).toHaveLength(3);
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
    await exchange(lab);
    expect(seen).toEqual([written]);
    expect(requests()).not.toEqual(written);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('keeps going over the wrap of the indices, one flush and one notification per batch', async () => {
    const lab = await VifLab.connected({}, { start: NEAR_WRAP });
    const { queue } = lab.frontend;
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 64; i++) queue.packet(pattern(64 + i, round));
      expect(await exchange(lab)).toHaveLength(64);
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
    const statuses = (await exchange(lab)).map(({ status }) => status);
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
    await exchange(lab);
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
    expect(await exchange(lab)).toHaveLength(5);
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
    await exchange(lab);
    const { back } = await lab.end();
    expect(back).not.toEqual(CLEAN_END.back);
    lab.network.releaseHeld();
    expect(lab.back.ledger()).toEqual(CLEAN_END.back);
  });
});

describe('a malformed packet is answered with an error in all of its slots, and the next one is served', () => {
  const good = pattern(60, 9);
  const cases: Record<string, { reason: string; slots: object[]; send: (lab: VifLab) => void }> = {
    'shorter than an Ethernet header': {
      reason: 'too-short',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.packet(pattern(13)),
    },
    'of no bytes': {
      reason: 'too-short',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ size: 0 }),
    },
    'with a fragment beyond the end of its page': {
      reason: 'crosses-page',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ offset: 4090, size: 60 }),
    },
    'with an offset beyond its page': {
      reason: 'crosses-page',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ offset: 0xffff, size: 60 }),
    },
    'with a later fragment beyond the end of its page': {
      reason: 'crosses-page',
      slots: [ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 200, flags: TxFlag.moreData });
        queue.request({ offset: 4000, size: 100 });
      },
    },
    'whose first fragment is over a page long by what the others leave': {
      reason: 'crosses-page',
      slots: [ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 6000, flags: TxFlag.moreData });
        queue.request({ size: 100 });
      },
    },
    'whose fragments add up to more than the whole': {
      reason: 'fragments-exceed-total',
      slots: [ERROR, ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 100, flags: TxFlag.moreData });
        queue.request({ size: 60, flags: TxFlag.moreData });
        queue.request({ size: 60 });
      },
    },
    'of nineteen slots': {
      reason: 'too-many-slots',
      slots: Array.from({ length: 19 }, () => ERROR),
      send: ({ frontend: { queue } }) =>
        queue.packet(pattern(190), { fragments: Array.from({ length: 19 }, () => 10) }),
    },
    'of most of a ring of slots': {
      reason: 'too-many-slots',
      slots: Array.from({ length: 200 }, () => ERROR),
      send: ({ frontend: { queue } }) => {
        for (let i = 0; i < 200; i++)
          queue.request({ size: i === 0 ? 2000 : 10, flags: i < 199 ? TxFlag.moreData : 0 });
      },
    },
    'with extra info of type 0': {
      reason: 'extra-info',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo });
        queue.extra(ExtraType.none);
      },
    },
    'with extra info of an unknown type, and fragments after it': {
      reason: 'extra-info',
      slots: [ERROR, NULL, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo | TxFlag.moreData });
        queue.extra(77);
        queue.request({ size: 10 });
      },
    },
    'with more extras than there are types': {
      reason: 'extra-info',
      slots: [ERROR, NULL, NULL, NULL, NULL, NULL, NULL],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 60, flags: TxFlag.extraInfo });
        for (let i = 0; i < 6; i++) queue.extra(ExtraType.hash, i < 5);
      },
    },
    'with an unknown kind of segmentation': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 3, size: 100 } }),
    },
    'with segmentation none': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 0, size: 100 } }),
    },
    'with segments of no bytes': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 1, size: 0 } }),
    },
    'cut as IPv6 that is IPv4': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ payload: pattern(900) }), { gso: { type: 2, size: 100 } }),
    },
    'cut as TCP that is UDP': {
      reason: 'segmentation',
      slots: [ERROR, NULL],
      send: ({ frontend: { queue } }) =>
        queue.packet(build({ protocol: 'udp', payload: pattern(900) }), { gso: { type: 1, size: 100 } }),
    },
    'with a blank checksum and no header that has one': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.packet(pattern(60), { flags: TxFlag.csumBlank }),
    },
    'with a blank checksum in an IP fragment': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => {
        const frame = build({ payload: pattern(60), checksum: 'pseudo' });
        frame[20] = 0x20;
        queue.packet(frame, { flags: TxFlag.csumBlank });
      },
    },
    'whose TCP header ends behind the packet': {
      reason: 'checksum',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => {
        const frame = build({ checksum: 'pseudo' });
        frame[46] = 0xf0;
        queue.packet(frame, { flags: TxFlag.csumBlank });
      },
    },
    'by a grant that does not exist': {
      reason: 'copy-failed',
      slots: [ERROR],
      send: ({ frontend: { queue } }) => queue.request({ gref: 0x00ff_ffff, size: 60 }),
    },
    'by a second grant that does not exist': {
      reason: 'copy-failed',
      slots: [ERROR, ERROR, ERROR],
      send: ({ frontend: { queue } }) => {
        queue.request({ size: 100, flags: TxFlag.moreData });
        queue.request({ gref: 0xffff_ffff, size: 20, flags: TxFlag.moreData });
        queue.request({ size: 20 });
      },
    },
  };
  for (const [name, { reason, slots, send }] of Object.entries(cases))
    test(name, async () => {
      const lab = await VifLab.connected();
      const { queue } = lab.frontend;
      queue.packet(good);
      send(lab);
      queue.packet(good);
      const responses = await exchange(lab);
      expect(responses.map(({ status }) => ({ status }))).toEqual([OKAY, ...slots, OKAY]);
      expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([good, good]);
      const { txErrors, txFrames } = lab.netback.statistics();
      expect(Object.entries(txErrors).filter(([, count]) => count > 0)).toEqual([[reason, 1]]);
      expect(txFrames).toBe(2);
      expect(await lab.end()).toEqual(CLEAN_END);
    });
});

describe('advisories about transmit', () => {
  test('XSA-39: a producer index beyond the ring fences the vif; nothing is read or answered', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    queue.packet(pattern(60));
    queue.poke('tx', 'req_prod', (NEAR_WRAP + 257) >>> 0);
    queue.txChannel.notify();
    await lab.settle();
    expect(lab.network.frames).toEqual([]);
    expect(queue.tx.available()).toBe(0);
    expect(lab.netback.statistics().breaches).toBe(1);
    expect(lab.states).toEqual(['InitWait', 'Connected', 'Closing']);
    expect(lab.netback.describe()).toMatchObject({
      queues: 0,
      reason: expect.stringContaining('tx request index') as string,
    });
    expect(await lab.run(lab.back.store.read('error/backend/vif/1/0/error'))).toContain('tx request index');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-39: part of a packet is a breach too, and what was gathered before it is let go', async () => {
    for (const publishPart of [
      (lab: VifLab) => lab.frontend.queue.request({ size: 100, flags: TxFlag.moreData }),
      (lab: VifLab) => lab.frontend.queue.request({ size: 100, flags: TxFlag.extraInfo }),
      (lab: VifLab) => {
        lab.frontend.queue.request({ size: 100, flags: TxFlag.extraInfo | TxFlag.moreData });
        lab.frontend.queue.gsoExtra(1, 100);
      },
    ]) {
      const lab = await VifLab.connected();
      lab.frontend.queue.packet(pattern(60));
      publishPart(lab);
      expect(await exchange(lab)).toEqual([]);
      expect(lab.network.frames).toEqual([]);
      expect(lab.netback.statistics().breaches).toBe(1);
      expect(await lab.end()).toEqual(CLEAN_END);
    }
  });

  test('XSA-39: a ringful of malformed packets in a row is a breach', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 64; i++) queue.request({ size: 1 });
      await exchange(lab);
    }
    expect(lab.netback.statistics()).toMatchObject({ breaches: 1 });
    expect(lab.states.at(-1)).toBe('Closing');
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-39: malformed packets with good ones between are a breach as well, later', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    let rounds = 0;
    for (; rounds < 40 && lab.netback.statistics().breaches === 0; rounds++) {
      for (let i = 0; i < 16; i++) {
        queue.request({ size: 1 });
        queue.packet(pattern(60));
      }
      await exchange(lab);
    }
    expect(lab.netback.statistics()).toMatchObject({ breaches: 1 });
    expect(rounds).toBeGreaterThan(16);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-90: a breach only marks; rings and channels go later, from the handshake', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const before = lab.back.ledger();
    let ledgerInBreach: object = {};
    lab.back.log = (_level, text) => {
      if (text.includes('closing')) ledgerInBreach = lab.back.ledger();
    };
    queue.poke('tx', 'req_prod', 500);
    queue.txChannel.notify();
    await lab.settle();
    expect(ledgerInBreach).toEqual(before);
    expect(lab.back.ledger().mappings).toBe(0);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-155: a slot that changes after it was read changes nothing', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const bytes = pattern(200, 3);
    const first = queue.tx.produced;
    const ids = queue.packet(bytes, { fragments: [100, 60, 40] });
    // Slots are rewritten at the first copy: after they were judged, before anything is published. (All but the
    // four bytes that are the response by then: those the guest could spoil only for itself.)
    let copies = 0;
    lab.machine.lab.faults.grant = (operation) => {
      if (operation === 'copy' && copies++ === 0)
        for (let i = 0; i < 3; i++) {
          const at = queue.tx.slot(first + i);
          lab.guest.memory.bytes.fill(0xff, at + txResponse.size, at + txRequest.size);
        }
      return undefined;
    };
    expect(await exchange(lab)).toEqual(ids.map((id) => ({ id, ...OKAY })));
    expect(lab.network.frames.map((frame) => frame.bytes)).toEqual([bytes]);
    expect(copies).toBe(3);
    delete lab.machine.lab.faults.grant;
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-216: a response holds its two fields; the rest of the slot is what the guest wrote', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const at = queue.tx.slot(queue.tx.produced);
    queue.request({
      gref: queue.txPages.refs[0]!,
      offset: 0x111,
      flags: TxFlag.dataValidated,
      id: 0x2222,
      size: 60,
    });
    const asked = lab.guest.memory.bytes.slice(at, at + 12);
    await exchange(lab);
    const answered = lab.guest.memory.bytes.slice(at, at + 12);
    expect([...answered]).toEqual([0x22, 0x22, 0, 0, ...asked.slice(4)]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  for (const [name, status] of Object.entries(GrantStatus))
    if (status !== 0)
      test(`XSA-361, 362, 367: a copy that fails with ${name} fails its packet and no other`, async () => {
        const lab = await VifLab.connected();
        const { queue } = lab.frontend;
        let copies = 0;
        lab.machine.lab.faults.grant = (operation) =>
          operation === 'copy' && copies++ === 2 ? status : undefined;
        queue.packet(pattern(60, 1));
        queue.packet(pattern(90, 2), { fragments: [30, 60] });
        queue.packet(pattern(60, 3));
        expect((await exchange(lab)).map((r) => r.status)).toEqual([0, Status.error, Status.error, 0]);
        expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([pattern(60, 1), pattern(60, 3)]);
        expect(await lab.end()).toEqual(CLEAN_END);
      });

  test('XSA-371: a buffer comes back on every error path', async () => {
    const lab = await VifLab.connected({ netback: { limits: { smallBuffers: 2, largeBuffers: 1 } } });
    const { queue } = lab.frontend;
    for (let round = 0; round < 50; round++) {
      queue.request({ gref: 0xffff, size: 60 });
      queue.packet(pattern(60), { flags: TxFlag.csumBlank });
      await exchange(lab);
    }
    queue.packet(pattern(60));
    expect(await exchange(lab)).toMatchObject([OKAY]);
    expect(lab.netback.describe()).toMatchObject({ framesInNetwork: 0 });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-423: headers spread over tiny fragments arrive in one piece', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const frame = build({ version: 6, payload: pattern(60), checksum: 'pseudo' });
    const fragments = [...Array.from({ length: 17 }, () => 1), frame.length - 17];
    queue.packet(frame, { fragments, flags: TxFlag.csumBlank });
    expect((await exchange(lab)).every(({ status }) => status === Status.okay)).toBe(true);
    expect(lab.network.frames[0]!.bytes).toEqual(frame);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-432: eighteen fragments of a byte, fewer together than any header, harm nothing', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    for (let length = 0; length <= 18; length++) {
      queue.packet(pattern(length), {
        fragments: Array.from({ length: 18 }, (_, i) => (i < length ? 1 : 0)),
      });
      expect(await exchange(lab)).toHaveLength(18);
    }
    const frames = lab.network.frames.map(({ bytes }) => bytes);
    expect(frames).toEqual([14, 15, 16, 17, 18].map((length) => pattern(length)));
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-448: fragments of no bytes are answered and never copied, whatever else they say', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    let copies = 0;
    lab.machine.lab.faults.grant = (operation) => {
      if (operation === 'copy') copies++;
      return undefined;
    };
    queue.packet(pattern(60), { flags: TxFlag.moreData });
    queue.request({ size: 0, gref: 0xffff_ffff, offset: 0xffff, flags: TxFlag.moreData });
    queue.request({ size: 0 });
    // The first may be empty when the others have everything.
    queue.request({ size: 80, gref: 0xffff_ffff, flags: TxFlag.moreData });
    queue.request({ size: 80 });
    expect((await exchange(lab)).map((r) => r.status)).toEqual([0, 0, 0, 0, 0]);
    expect(lab.network.frames.map(({ bytes }) => bytes.length)).toEqual([60, 80]);
    expect(copies).toBe(2);
    delete lab.machine.lab.faults.grant;
    expect(await lab.end()).toEqual(CLEAN_END);
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
