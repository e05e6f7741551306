/** A backend that lies: what costs it a packet, and what costs it the connection. */
import { describe, expect, test } from 'vitest';
import { RxFlag, Status } from '@netaccel/xen/netif';
import { CLEAN_END, VifLab, pattern, stillWorks, tcpFrame } from './lab.js';

describe('XSA-405: packets that make no sense are dropped and counted', () => {
  const cases: [string, Parameters<VifLab['backend']['queue']['raw']>[0][], string][] = [
    ['an error', [{ status: -1 }], 'rxErrors'],
    [
      'an error in the middle',
      [{ status: 100, flags: 4 }, { status: -1, flags: 4 }, { status: 100 }],
      'rxErrors',
    ],
    ['past the page’s end', [{ offset: 4000, status: 97 }], 'rxMalformed'],
    ['far past the page’s end', [{ offset: 65535, status: 32767 }], 'rxMalformed'],
    [
      'a later fragment past its page',
      [
        { status: 100, flags: 4 },
        { offset: 4096, status: 1 },
      ],
      'rxMalformed',
    ],
    ['shorter than an Ethernet header', [{ status: 13 }], 'rxBadLength'],
    ['empty', [{ status: 0 }], 'rxBadLength'],
    ['all fragments empty', [{ status: 0, flags: 4 }, { status: 0 }], 'rxBadLength'],
    ['the old GSO prefix', [{ status: 100, flags: 16 }], 'rxMalformed'],
    [
      'too long',
      Array.from({ length: 17 }, (_, i) => ({ status: 4096, flags: i < 16 ? 4 : 0 })),
      'rxBadLength',
    ],
    [
      'too many fragments',
      Array.from({ length: 20 }, (_, i) => ({ status: 100, flags: i < 19 ? 4 : 0 })),
      'rxMalformed',
    ],
    ['extra of type none', [{ status: 100, flags: 8 }, { extra: { type: 0 } }], 'rxBadExtra'],
    ['extra of an unknown type', [{ status: 100, flags: 8 }, { extra: { type: 6 } }], 'rxBadExtra'],
    [
      'GSO of an unknown type',
      [{ status: 100, flags: 8 }, { extra: { type: 1, data: [1, 1, 3, 0, 0, 0] } }],
      'rxBadExtra',
    ],
    [
      'GSO of size zero',
      [{ status: 100, flags: 8 }, { extra: { type: 1, data: [0, 0, 1, 0, 0, 0] } }],
      'rxBadExtra',
    ],
    [
      'GSO twice',
      [
        { status: 100, flags: 8 },
        { extra: { type: 1, flags: 1, data: [1, 1, 1, 0, 0, 0] } },
        { extra: { type: 1, data: [1, 1, 1, 0, 0, 0] } },
      ],
      'rxBadExtra',
    ],
    [
      'GSO of what is not TCP',
      [{ status: 100, flags: 8 }, { extra: { type: 1, data: [1, 1, 1, 0, 0, 0] } }],
      'rxBadExtra',
    ],
  ];
  test.each(cases)('%s', async (_, raw, counter) => {
    const lab = await VifLab.connected();
    await lab.put(...raw);
    expect(lab.stack.frames).toEqual([]);
    expect(lab.front.statistics().counters).toMatchObject({ [counter]: 1, rxSlowFrames: 0 });
    expect(lab.front.statistics().rxDropped + lab.front.statistics().rxErrors).toBe(1);
    expect(lab.front.carrier).toBe(true);
    await stillWorks(lab);
  });

  test('segments of a kind that was not asked for', async () => {
    const lab = await VifLab.connected({ netfront: { features: { segmentationTcpv6: false } } });
    lab.backend.queue.put(tcpFrame(1, 1, 9000), { flags: RxFlag.csumBlank, gso: { type: 2, size: 1000 } });
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.front.statistics().counters.rxBadExtra).toBe(1);
    await stillWorks(lab);
  });

  test('ids do not matter: the slot says which page', async () => {
    const lab = await VifLab.connected();
    await lab.put({ id: 9999, status: 60 }, { id: 0, status: 61 });
    expect(lab.stack.frames.map((f) => f.bytes.length)).toEqual([60, 61]);
    await stillWorks(lab);
  });
});

describe('a backend that is not believed any more', () => {
  async function fenced(lab: VifLab, reason: RegExp): Promise<void> {
    await lab.settle();
    expect(lab.front.state).toMatchObject({ frontend: 6, carrier: false });
    expect(lab.front.state.reason).toMatch(reason);
    await lab.machine.advance(2000);
    expect(await lab.end()).toEqual(CLEAN_END);
  }

  test('XSA-376: more responses than requests', async () => {
    const lab = await VifLab.connected();
    lab.backend.queue.rx.produced += 65;
    lab.backend.queue.publishRx();
    await fenced(lab, /more receive responses/);
  });

  test('XSA-376: a producer index that runs backwards', async () => {
    const lab = await VifLab.connected();
    lab.backend.queue.rx.produced -= 1;
    lab.backend.queue.publishRx();
    lab.backend.queue.rxChannel.notify();
    await fenced(lab, /more receive responses/);
  });

  test('nothing but nonsense for long enough', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 300 && lab.front.carrier; i++) {
      lab.backend.queue.raw({ offset: 4095, status: 100 });
      lab.backend.queue.publishRx();
      await lab.settle();
    }
    expect(lab.front.statistics().counters.rxMalformed).toBe(257);
    await fenced(lab, /without sense/);
  });

  test('a chain without an end does not hold the ring', async () => {
    const lab = await VifLab.connected();
    await lab.put(...Array.from({ length: 25 }, () => ({ status: 100, flags: RxFlag.moreData })));
    expect(lab.front.statistics().counters.rxMalformed).toBe(1);
    await stillWorks(lab);
  });

  test('XSA-391: a flood of events without work: throttled, counted, harmless', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 300; i++) {
      lab.backend.queue.rxChannel.notify();
      lab.backend.queue.txChannel.notify();
      await lab.settle();
    }
    expect(lab.front.statistics().counters.spuriousEvents).toBeGreaterThan(64);
    expect(lab.guest.describe()['eventsThrottled']).toBeGreaterThan(0);
    await lab.machine.advance(1000);
    await stillWorks(lab);
  });
});

describe('XSA-376: a backend that lies', () => {
  const breaches: [string, (lab: VifLab, ids: number[]) => void, RegExp][] = [
    ['an id that is outstanding for nobody', (lab) => lab.backend.queue.respond(255, 0), /id 255/],
    ['an id out of range', (lab) => lab.backend.queue.respond(40000, 0), /id 40000/],
    [
      'an answer given twice',
      (lab, [id]) => {
        lab.backend.queue.respond(id!, 0);
        lab.backend.queue.respond(id!, 0);
      },
      /not outstanding/,
    ],
    ['a null answer where there was no extra', (lab) => lab.backend.queue.respond(0, Status.null), /null/],
    [
      'more answers than requests',
      (lab) => {
        lab.backend.queue.tx.produced += 300;
      },
      /more transmit responses/,
    ],
  ];
  test.each(breaches)('defect 1.8 #8: %s: fenced', async (_, lie, reason) => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 4; i++) lab.send(pattern(60, i));
    await lab.settle();
    const ids = lab.backend.queue.take().map((p) => p.ids[0]!);
    lie(lab, ids);
    lab.backend.queue.publishTx();
    await lab.settle();
    expect(lab.front.state).toMatchObject({ frontend: 6, carrier: false });
    expect(lab.front.state.reason).toMatch(reason);
    expect(await lab.run(lab.back.store.readOptional('/local/domain/1/error/device/vif/0/error'))).toMatch(
      reason,
    );
    expect(lab.front.startXmit(null as never, false)).toBe(false);
    expect(lab.front.statistics().counters.txUnanswered).toBeGreaterThan(0);
    await lab.machine.advance(2000);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('errors and drops that it admits are counted, by kind', async () => {
    const lab = await VifLab.connected();
    for (let i = 0; i < 4; i++) lab.send(pattern(60, i));
    await lab.settle();
    const [a, b, c, d] = lab.backend.queue.take();
    lab.backend.queue.answer([a!], Status.error);
    lab.backend.queue.answer([b!], Status.dropped);
    lab.backend.queue.answer([c!], -77);
    lab.backend.queue.answer([d!]);
    await lab.settle();
    expect(lab.front.statistics().counters).toMatchObject({ txErrors: 2, txDropped: 1 });
    expect(lab.front.carrier).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a fenced device connects again when another backend takes over', async () => {
    const lab = await VifLab.connected();
    lab.send(pattern(60));
    await lab.settle();
    lab.backend.queue.respond(77, 0);
    lab.backend.queue.publishTx();
    await lab.settle();
    expect(lab.front.carrier).toBe(false);
    await lab.run(lab.backend.advertise());
    await lab.settle();
    expect(lab.front.carrier).toBe(false); // not at once: it may lie again
    await lab.machine.advance(1500);
    expect(lab.front.carrier).toBe(true);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});
