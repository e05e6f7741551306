// Room before received data (Linux 5.9's `xdp-headroom`): what lies on the ring byte for byte, what may be asked for, and
// how it is changed while connected.
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import { XenbusState, decode } from '@netaccel/xen';
import { ExtraFlag, ExtraType, RxFlag, extraGso, extraXdp, rxResponse } from '@netaccel/xen/netif';
import { expect, test } from 'vitest';
import { Control, end as endControl } from './control-ring.js';
import { build, isBlank, verify } from './frames.js';
import { pattern } from './lab.js';
import { concat } from './scripted-frontend.js';
import { Sender } from './sender.js';

const asked = (headroom: number | string) => ({ keys: { 'xdp-headroom': String(headroom) }, pages: 64 });

interface Slotted {
  readonly bytes: Uint8Array;
  /** Of each slot with data: what its status says. */
  readonly statuses: number[];
  /** Raw extras, by their type. */
  readonly extras: Uint8Array[];
  readonly flags: number;
}

/** The one packet that waits, taken apart as Linux's netfront does. */
function only({ queue }: Sender): Slotted {
  const raw = queue.rawResponses();
  const first = decode(rxResponse, raw[0]!.bytes) as Record<string, number>;
  const extras: Uint8Array[] = [];
  const parts: Uint8Array[] = [];
  const statuses: number[] = [];
  let i = 1;
  for (let more = (first['flags']! & RxFlag.extraInfo) !== 0; more; i++) {
    extras.push(raw[i]!.bytes);
    more = (raw[i]!.bytes[1]! & ExtraFlag.more) !== 0;
  }
  const xdp = extras.find(([type]) => type === ExtraType.xdp);
  const headroom = xdp === undefined ? 0 : (decode(extraXdp, xdp)['headroom'] as number);
  for (const slot of [raw[0]!, ...raw.slice(i)]) {
    const { offset, status } = decode(rxResponse, slot.bytes) as Record<string, number>;
    expect(offset).toBe(0);
    statuses.push(status!);
    const page = queue.rxPages.address + (slot.index & 63) * PAGE_BYTES;
    // The room is as the frontend left it.
    expect(queue.guest.memory.bytes.subarray(page, page + headroom).every((byte) => byte === 0xee)).toBe(
      true,
    );
    parts.push(queue.guest.memory.bytes.slice(page + headroom, page + status!));
  }
  return { bytes: concat(parts), statuses, extras, flags: first['flags']! };
}

test('one slot and its extra info, byte for byte', async () => {
  const sender = await Sender.make(asked(256));
  await sender.post(8);
  const bytes = pattern(60);
  sender.deliver(bytes, { checksum: Checksum.good });
  await sender.flush();
  const raw = sender.queue.rawResponses();
  expect(raw.map((slot) => [...slot.bytes])).toEqual([
    [0, 0, 0, 0, RxFlag.dataValidated | RxFlag.extraInfo, 0, 256 + 60 - 256, 1],
    [ExtraType.xdp, 0, 0, 1, 0, 0, 0, 0],
  ]);
  const at = sender.queue.rxPages.address + 256;
  expect(sender.queue.guest.memory.bytes.slice(at, at + 60)).toEqual(bytes);
  await sender.end();
});

test.each([60, 3840, 3841, 4096, 9000, 65535])('%i bytes, room in every slot', async (length) => {
  const sender = await Sender.make(asked(256));
  await sender.post(32);
  sender.deliver(pattern(length, 3), { fragments: length > 4000 ? [1000, 1000, length - 2000] : [length] });
  await sender.flush();
  const seen = only(sender);
  expect(seen.bytes).toEqual(pattern(length, 3));
  const slots = Math.ceil(length / 3840);
  expect(seen.statuses).toEqual(
    Array.from({ length: slots }, (_, i) => (i < slots - 1 ? 4096 : 256 + length - 3840 * i)),
  );
  expect(sender.lab.netback.statistics()).toMatchObject({ rxFrames: 1, rxBytes: length });
  await sender.end();
});

test.each([
  ['256', 256],
  ['455', 455],
  ['456', 455], // no more than leaves the longest packet its 18 slots; the extra info says how much it is
  ['32767', 455],
  ['65536', 455],
  ['0', 0],
  ['-1', 0],
  ['many', 0],
  ['4294967296', 0],
])('asked for "%s": %i bytes, and the longest packet fits', async (text, headroom) => {
  const sender = await Sender.make(asked(text));
  await sender.post(24);
  sender.deliver(pattern(65535));
  await sender.flush();
  const seen = only(sender);
  expect(seen.bytes).toEqual(pattern(65535));
  expect(seen.statuses.length).toBeLessThanOrEqual(18);
  expect(seen.extras.map((extra) => decode(extraXdp, extra)['headroom'])).toEqual(
    headroom > 0 ? [headroom] : [],
  );
  await sender.end();
});

test('a large segment has both extras, in the order of their types', async () => {
  const sender = await Sender.make(asked(256));
  await sender.post(32);
  const bytes = build({ payload: pattern(20_000), checksum: 'pseudo' });
  sender.deliver(bytes, { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1448 });
  await sender.flush();
  const seen = only(sender);
  expect(seen.bytes).toEqual(bytes);
  expect(decode(extraGso, seen.extras[0]!)).toMatchObject({ type: ExtraType.gso, flags: 1, size: 1448 });
  expect(decode(extraXdp, seen.extras[1]!)).toMatchObject({ type: ExtraType.xdp, flags: 0, headroom: 256 });
  await sender.end();
});

test('a hash and the room: two extras', async () => {
  const both = await Control.make(1, 'read', {});
  const { lab, control } = both;
  expect(await control.ask(7, 1)).toMatchObject({ status: 0 });
  expect(await control.ask(2, 15)).toMatchObject({ status: 0 });
  await lab.run(lab.guest.store.write(`${lab.frontend.path}/xdp-headroom`, '64'));
  await lab.run(lab.frontend.state(XenbusState.Reconfiguring));
  await lab.settle();
  lab.frontend.queue.post(8);
  await lab.settle();
  const { FramePool } = await import('@netaccel/core-hooks');
  const address = lab.back.pages.allocate(1);
  const frame = new FramePool(1, address, 4096).allocate()!;
  const bytes = build({ payload: pattern(40) });
  lab.back.memory.bytes.set(bytes, address);
  frame.describe(address, bytes.length);
  lab.netback.deliver(frame);
  lab.netback.flush();
  frame.release();
  await lab.settle();
  const [, hash, xdp, ...more] = lab.frontend.queue.rawResponses().map((slot) => slot.bytes);
  expect([...hash!.subarray(0, 2)]).toEqual([ExtraType.hash, ExtraFlag.more]);
  expect([...xdp!]).toEqual([ExtraType.xdp, 0, 64, 0, 0, 0, 0, 0]);
  expect(more).toEqual([]);
  lab.back.pages.free(address);
  await endControl(both);
});

test('a guest that takes less: one page less the room; cut and filled with the room before each', async () => {
  const sender = await Sender.make({
    keys: {
      'xdp-headroom': '256',
      'feature-sg': null,
      'feature-gso-tcpv4': null,
      'feature-gso-tcpv6': null,
      'feature-ipv6-csum-offload': null,
      'feature-no-csum-offload': '1',
    },
  });
  await sender.post(60);
  sender.deliver(pattern(3840));
  sender.deliver(pattern(3841));
  await sender.flush();
  expect(only(sender).bytes).toEqual(pattern(3840));
  expect(sender.dropped()).toEqual([['too-long', 1]]);
  const bytes = build({ payload: pattern(3000), checksum: 'pseudo' });
  sender.deliver(bytes, { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1400 });
  await sender.flush();
  const raw = sender.queue.rawResponses();
  expect(raw.map(({ bytes: slot }, i) => (i % 2 === 1 ? slot[0] : slot[4]! & RxFlag.extraInfo))).toEqual([
    8, 5, 8, 5, 8, 5,
  ]);
  const { guest } = sender.queue;
  for (const slot of [0, 2, 4]) {
    const { status } = decode(rxResponse, raw[slot]!.bytes) as Record<string, number>;
    const page = sender.queue.rxPages.address + (raw[slot]!.index & 63) * PAGE_BYTES;
    const segment = guest.memory.bytes.slice(page + 256, page + status!);
    expect(isBlank(segment)).toBe(false);
    expect(verify(segment)).toBe(true);
  }
  await sender.end();
});

test('is changed while connected: Reconfiguring, Reconfigured, Connected; what waits comes as it is then', async () => {
  const sender = await Sender.make();
  const { lab, queue } = sender;
  sender.deliver(pattern(100, 1)); // nothing is posted: it waits
  await sender.flush();
  const change = async (headroom: number): Promise<void> => {
    await lab.run(lab.guest.store.write(`${lab.frontend.path}/xdp-headroom`, String(headroom)));
    await lab.run(lab.frontend.state(XenbusState.Reconfiguring));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Reconfigured);
    await lab.run(lab.frontend.state(XenbusState.Connected));
    await lab.settle();
    expect(await lab.backState()).toBe(XenbusState.Connected);
  };
  await change(128);
  await sender.post(16);
  expect(only(sender).statuses).toEqual([228]);
  await change(0);
  expect(await sender.send(pattern(100, 2))).toMatchObject([{ bytes: pattern(100, 2), flags: 0, slots: 1 }]);
  // The key alone changes nothing.
  await lab.run(lab.guest.store.write(`${lab.frontend.path}/xdp-headroom`, '64'));
  await lab.settle();
  expect(await sender.send(pattern(100, 3))).toMatchObject([{ bytes: pattern(100, 3), flags: 0, slots: 1 }]);
  expect(queue.rxPages.pages).toBe(64);
  await sender.end();
});

test('a backend that does not offer it leaves none', async () => {
  const sender = await Sender.make(asked(256), { netback: { features: { xdpHeadroom: false } } });
  expect(await sender.lab.key('feature-xdp-headroom')).toBe('0');
  await sender.post(4);
  expect(await sender.send(pattern(100))).toMatchObject([{ bytes: pattern(100), flags: 0, slots: 1 }]);
  await sender.lab.run(sender.lab.frontend.state(XenbusState.Reconfiguring));
  await sender.lab.settle();
  expect(await sender.send(pattern(100))).toMatchObject([{ bytes: pattern(100), flags: 0, slots: 1 }]);
  await sender.end();
});

test('a large segment goes whole to a guest that takes it, though it fills no checksums of the other kind', async () => {
  const sender = await Sender.make({ keys: { 'feature-ipv6-csum-offload': null } });
  await sender.post(16);
  const bytes = build({ payload: pattern(20_000), checksum: 'pseudo' });
  const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1448 };
  expect(await sender.send(bytes, meta)).toMatchObject([{ bytes, gso: { type: 1, size: 1448 }, slots: 6 }]);
  await sender.end();
});
