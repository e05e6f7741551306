// What attackers of other backends did with a transmit ring, and that it comes to nothing here.
import { describe, expect, test } from 'vitest';
import { GrantStatus } from '@netaccel/xen';
import { Status, TxFlag, txRequest, txResponse } from '@netaccel/xen/netif';
import { build } from './frames.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';

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
      expect(await lab.exchange()).toEqual([]);
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
      await lab.exchange();
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
      await lab.exchange();
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
    expect(await lab.exchange()).toEqual(ids.map((id) => ({ id, status: Status.okay })));
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
    await lab.exchange();
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
        expect((await lab.exchange()).map((r) => r.status)).toEqual([0, Status.error, Status.error, 0]);
        expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([pattern(60, 1), pattern(60, 3)]);
        expect(await lab.end()).toEqual(CLEAN_END);
      });

  test('XSA-371: a buffer comes back on every error path', async () => {
    const lab = await VifLab.connected({ netback: { limits: { smallBuffers: 2, largeBuffers: 1 } } });
    const { queue } = lab.frontend;
    for (let round = 0; round < 50; round++) {
      queue.request({ gref: 0xffff, size: 60 });
      queue.packet(pattern(60), { flags: TxFlag.csumBlank });
      await lab.exchange();
    }
    queue.packet(pattern(60));
    expect(await lab.exchange()).toMatchObject([{ status: Status.okay }]);
    expect(lab.netback.describe()).toMatchObject({ framesInNetwork: 0 });
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-423: headers spread over tiny fragments arrive in one piece', async () => {
    const lab = await VifLab.connected();
    const { queue } = lab.frontend;
    const frame = build({ version: 6, payload: pattern(60), checksum: 'pseudo' });
    const fragments = [...Array.from({ length: 17 }, () => 1), frame.length - 17];
    queue.packet(frame, { fragments, flags: TxFlag.csumBlank });
    expect((await lab.exchange()).every(({ status }) => status === Status.okay)).toBe(true);
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
      expect(await lab.exchange()).toHaveLength(18);
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
    expect((await lab.exchange()).map((r) => r.status)).toEqual([0, 0, 0, 0, 0]);
    expect(lab.network.frames.map(({ bytes }) => bytes.length)).toEqual([60, 80]);
    expect(copies).toBe(2);
    delete lab.machine.lab.faults.grant;
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});
