// What changes while a device is connected, against a backend that answers by hand: room before received data,
// multicast groups of both kinds, and the mtu.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { ExtraType, RxFlag, Status } from '@netaccel/xen/netif';
import { describe, expect, test } from 'vitest';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import type { VifOptions } from './lab.js';

const xdp = (headroom: number) => ({
  extra: { type: ExtraType.xdp, data: [headroom & 255, headroom >>> 8, 0, 0, 0, 0] },
});

describe('room before received data', () => {
  const offers = { 'feature-xdp-headroom': '1' };

  test('is asked for with the other keys, and not of a backend that leaves none', async () => {
    const lab = await VifLab.connected({ offers, netfront: { features: { headroom: 256 } } });
    expect(await lab.key('xdp-headroom')).toBe('256');
    expect(lab.front.agreed).toMatchObject({ headroom: 256 });
    expect(await lab.end()).toEqual(CLEAN_END);
    const old = await VifLab.connected({ netfront: { features: { headroom: 256 } } });
    expect(await old.key('xdp-headroom')).toBeNull();
    expect(old.front.agreed).toMatchObject({ headroom: null });
    expect(await old.run(old.front.setHeadroom(64))).toBe(false);
    expect(await old.end()).toEqual(CLEAN_END);
  });

  test.each([true, false])('lies before the frame, in its page (trusted: %s)', async (trusted) => {
    const lab = await VifLab.connected({ offers, netfront: { features: { headroom: 256, trusted } } });
    const rooms: number[] = [];
    lab.stack.onDeliver = (frame) => {
      for (let f: typeof frame | null = frame; f !== null; f = f.next) rooms.push(f.address % PAGE_BYTES);
    };
    const { queue } = lab.backend;
    expect(queue.posted).toBeGreaterThan(21);
    // As netback and Linux lay it: the data begin behind the room, and the status counts both.
    const scratch = pattern(PAGE_BYTES, 5);
    const put = (bytes: number, flags: number): void => {
      expect(queue.put(scratch.subarray(0, 256 + bytes), { flags })).toBe(true);
    };
    put(100, RxFlag.extraInfo);
    queue.raw(xdp(256));
    put(3840, RxFlag.extraInfo | RxFlag.moreData);
    queue.raw(xdp(256));
    put(60, 0);
    queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames.map(({ bytes, fragments }) => [bytes.length, fragments])).toEqual([
      [100, 1],
      [3900, 2],
    ]);
    expect(lab.stack.frames[0]!.bytes).toEqual(scratch.slice(256, 356));
    expect(rooms).toEqual([256, 256, 256]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test.each([
    ['no more than the room', [{ status: 256, flags: RxFlag.extraInfo }, xdp(256)], 'rxBadLength'],
    ['less than the room', [{ status: 255, flags: RxFlag.extraInfo }, xdp(256)], 'rxMalformed'],
    ['room beyond the page', [{ status: 100, flags: RxFlag.extraInfo }, xdp(0xffff)], 'rxMalformed'],
    ['data beyond the page', [{ offset: 1, status: 4096, flags: RxFlag.extraInfo }, xdp(64)], 'rxMalformed'],
    ['an error', [{ status: Status.error, flags: RxFlag.extraInfo }, xdp(64)], 'rxErrors'],
  ] as const)('XSA-376: %s: dropped and counted', async (_, slots, counter) => {
    const lab = await VifLab.connected({ offers, netfront: { features: { headroom: 256 } } });
    for (const slot of slots) lab.backend.queue.raw(slot);
    lab.backend.queue.publishRx();
    await lab.settle();
    expect(lab.stack.frames).toEqual([]);
    expect(lab.front.statistics().counters[counter]).toBe(1);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('is changed by Reconfiguring, and traffic goes on until the backend has taken it up', async () => {
    const lab = await VifLab.connected({ offers });
    lab.backend.following = false;
    const changed = lab.front.setHeadroom(128);
    await lab.settle();
    expect(lab.front.state.frontend).toBe(XenbusState.Reconfiguring);
    expect(await lab.key('xdp-headroom')).toBe('128');
    expect(lab.send(pattern(60))).toBe(true);
    await lab.settle();
    lab.backend.queue.answer(lab.backend.queue.take());
    await lab.run(lab.backend.set(XenbusState.Reconfigured));
    expect(await lab.run(changed)).toBe(true);
    expect(lab.front.state).toMatchObject({ frontend: XenbusState.Connected, carrier: true });
    await lab.run(lab.backend.set(XenbusState.Connected));
    await lab.settle();
    expect(lab.front.state.carrier).toBe(true);
    lab.backend.following = true;
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a backend that does not take it up is given up after a while; one that closes closes', async () => {
    const lab = await VifLab.connected({ offers });
    lab.backend.following = false;
    expect(await lab.run(lab.front.setHeadroom(128), 20_000)).toBe(false);
    expect(lab.front.state).toMatchObject({ frontend: XenbusState.Connected, carrier: true });
    const changed = lab.front.setHeadroom(64);
    await lab.settle();
    lab.backend.disconnect();
    await lab.run(lab.backend.set(XenbusState.Closing));
    expect(await lab.run(changed)).toBe(false);
    await lab.settle();
    expect(lab.front.state.frontend).toBe(XenbusState.Closed);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('room that is asked for while the device connects is asked for once it is', async () => {
    const lab = await VifLab.make({ offers });
    await lab.run(lab.backend.start());
    const started = lab.front.start();
    await lab.machine.runUntil(() => lab.front.state.frontend === XenbusState.Connected);
    expect(lab.front.carrier).toBe(false);
    expect(await lab.front.setHeadroom(64)).toBe(false);
    await lab.run(started);
    await lab.settle();
    expect(await lab.key('xdp-headroom')).toBe('64');
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});

const GROUP = Uint8Array.of(1, 0, 0x5e, 0, 0, 0xfb);
const OTHER = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);

/** A backend that answers every group request, and remembers them. */
async function grouped(dynamic: boolean, options: VifOptions = {}) {
  const lab = await VifLab.make({
    offers: {
      'feature-multicast-control': '1',
      'feature-dynamic-multicast-control': dynamic ? '1' : '0',
    },
    ...options,
  });
  const seen: string[] = [];
  const taken = { most: Infinity, joined: 0 };
  const { memory } = lab.back;
  lab.backend.onEvent = (queue) => {
    while (queue.tx.available() > 0) {
      const at = queue.tx.slot(queue.tx.consumed);
      const id = memory.halves[(at + 8) >>> 1]!;
      const size = memory.halves[(at + 10) >>> 1]!;
      const extra = queue.tx.slot((queue.tx.consumed + 1) >>> 0);
      if (memory.halves[(at + 6) >>> 1] !== 8) throw new Error('not a group request');
      const type = memory.bytes[extra];
      const address = Array.from(memory.bytes.subarray(extra + 2, extra + 8), (byte) => byte.toString(16));
      seen.push(`${type === ExtraType.mcastAdd ? 'join' : 'leave'} ${address.join(':')} ${size}`);
      queue.tx.consumed = (queue.tx.consumed + 2) >>> 0;
      const full = type === ExtraType.mcastAdd && taken.joined >= taken.most;
      if (type === ExtraType.mcastAdd && !full) taken.joined++;
      queue.respond(id, full ? Status.error : Status.okay);
      queue.respond(0, Status.null);
    }
    queue.tx.arm();
    queue.publishTx();
  };
  await lab.run(lab.backend.start());
  await lab.run(lab.front.start());
  await lab.settle();
  return { lab, seen, taken };
}

describe('multicast groups', () => {
  test('a backend that lets them be chosen at any time: joined first, then asked for', async () => {
    const { lab, seen } = await grouped(true, { netfront: { features: { groups: [GROUP, OTHER] } } });
    expect(seen).toEqual(['join 1:0:5e:0:0:fb 0', 'join 33:33:0:0:0:1 0']);
    expect(await lab.key('request-multicast-control')).toBe('1');
    lab.front.setGroups([OTHER]);
    await lab.settle();
    expect(seen.slice(2)).toEqual(['leave 1:0:5e:0:0:fb 0']);
    lab.front.setGroups(null);
    await lab.settle();
    expect(await lab.key('request-multicast-control')).toBe('0');
    expect(seen.slice(3)).toEqual(['leave 33:33:0:0:0:1 0']);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('one that lets them be chosen for a connection: asked for before Connected, joined after', async () => {
    const { lab, seen } = await grouped(false, { netfront: { features: { groups: [GROUP] } } });
    expect(await lab.key('request-multicast-control')).toBe('1');
    expect(seen).toEqual(['join 1:0:5e:0:0:fb 0']);
    // To end choosing it connects anew.
    lab.front.setGroups(null);
    await lab.machine.settle(3000);
    expect(lab.front.state.carrier).toBe(true);
    expect(await lab.key('request-multicast-control')).toBeNull();
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('a group that the backend has no room for: all come, rather than some never', async () => {
    for (const dynamic of [true, false]) {
      const { lab, seen, taken } = await grouped(dynamic);
      taken.most = 1;
      lab.front.setGroups([GROUP, OTHER]);
      await lab.machine.settle(3000);
      expect(seen.length).toBeGreaterThanOrEqual(2);
      expect(lab.front.state.carrier).toBe(true);
      expect(await lab.key('request-multicast-control')).toBe(dynamic ? '0' : null);
      expect(await lab.end()).toEqual(CLEAN_END);
    }
  });

  test('a backend without multicast control is sent no request', async () => {
    const lab = await VifLab.connected({ netfront: { features: { groups: [GROUP] } } });
    expect(lab.backend.queue.take()).toEqual([]);
    expect(await lab.key('request-multicast-control')).toBeNull();
    lab.front.setGroups([OTHER]);
    await lab.settle();
    expect(lab.backend.queue.take()).toEqual([]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('groups that are wanted while the device connects hold for that connection', async () => {
    const { lab, seen } = await grouped(true, { netfront: { features: { groups: [GROUP] } } });
    await lab.run(lab.front.suspend());
    seen.length = 0;
    const resumed = lab.front.resume({ timeoutMs: 5000 });
    // The keys of the backend are being read.
    await lab.machine.runUntil(() => lab.front.state.backend === XenbusState.InitWait);
    lab.front.setGroups(null);
    await lab.run(resumed);
    await lab.machine.settle(3000);
    expect(seen).toEqual([]);
    expect(await lab.key('request-multicast-control')).toBeNull();
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('what is no group address is refused', async () => {
    const { lab } = await grouped(true);
    expect(() => lab.front.setGroups([Uint8Array.of(2, 0, 0, 0, 0, 1)])).toThrow(/group bit/);
    expect(() => lab.front.setGroups([Uint8Array.of(1, 2)])).toThrow(RangeError);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('XSA-376: an answer to a group request that was not asked, or asked once and answered twice, is a breach', async () => {
    for (const times of [1, 2]) {
      const lab = await VifLab.connected({
        offers: { 'feature-multicast-control': '1', 'feature-dynamic-multicast-control': '1' },
      });
      if (times === 2) {
        lab.front.setGroups([GROUP]);
        await lab.settle();
        lab.backend.queue.tx.consumed = (lab.backend.queue.tx.consumed + 2) >>> 0;
      } else {
        lab.send(pattern(60));
        await lab.settle();
      }
      for (let i = 0; i < times; i++) lab.backend.queue.respond(31 << 11, Status.okay);
      lab.backend.queue.publishTx();
      await lab.settle();
      expect(lab.front.state.reason).toMatch(/not outstanding|null/);
      await lab.end();
    }
  });
});

describe('the mtu', () => {
  test('that the toolstack changes holds at once, and is told', async () => {
    const seen: number[] = [];
    const lab = await VifLab.connected({ netfront: { onMtu: (mtu) => seen.push(mtu) } });
    const set = async (value: string): Promise<number | undefined> => {
      await lab.run(lab.back.store.write(`${lab.frontPath}/mtu`, value));
      await lab.settle();
      return lab.front.vif?.mtu;
    };
    expect(lab.front.vif?.mtu).toBe(1500);
    expect(await set('9000')).toBe(9000);
    const bytes = pattern(9014);
    expect(lab.send(bytes)).toBe(true);
    await lab.settle();
    const packets = lab.backend.queue.take();
    expect(packets.map((packet) => packet.bytes)).toEqual([bytes]);
    lab.backend.queue.answer(packets);
    expect(await set('1400')).toBe(1400);
    expect(await set('5')).toBe(68);
    expect(await set('100000')).toBe(65521);
    expect(await set('nonsense')).toBe(1500);
    await lab.run(lab.back.store.remove(`${lab.frontPath}/mtu`));
    await lab.settle();
    expect(seen).toEqual([9000, 1400, 68, 65521, 1500]);
    expect(await lab.end()).toEqual(CLEAN_END);
  });

  test('without scatter-gather is no more than one page has room for', async () => {
    const lab = await VifLab.connected({ offers: { 'feature-sg': '0' } });
    await lab.run(lab.back.store.write(`${lab.frontPath}/mtu`, '9000'));
    await lab.settle();
    const { mtu } = lab.front.vif!;
    expect(mtu).toBeLessThanOrEqual(PAGE_BYTES - 14);
    expect(lab.send(pattern(mtu + 14))).toBe(true);
    await lab.settle();
    lab.backend.queue.answer(lab.backend.queue.take());
    await lab.settle();
    expect(lab.front.statistics().counters.txUnsupported).toBe(0);
    expect(await lab.end()).toEqual(CLEAN_END);
  });
});
