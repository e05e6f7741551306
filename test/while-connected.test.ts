// What two real halves change while connected: room before received data, multicast groups, and a peer that offers none.
import { Checksum, PAGE_BYTES } from '@netaccel/core-hooks';
import { expect, test } from 'vitest';
import { pair, tcp } from './split-pair.js';

type Lab = Awaited<ReturnType<typeof pair>>;

async function send({ machine, left }: Lab, bytes: Uint8Array): Promise<void> {
  const frame = left.front.allocate(bytes.length)!;
  left.guest.memory.bytes.set(bytes, frame.home);
  frame.describe(frame.home, bytes.length);
  frame.checksum = Checksum.good;
  expect(left.front.startXmit(frame, false)).toBe(true);
  await machine.settle(0);
}

test('room before received data comes, changes and goes, under traffic', async () => {
  const lab = await pair(1, { features: { headroom: 256 } });
  const { run, right, machine, end } = lab;
  const places: number[] = [];
  const deliver = right.stack.deliver.bind(right.stack);
  right.stack.deliver = (frame) => {
    places.push(frame.address % PAGE_BYTES);
    deliver(frame);
  };
  for (const [headroom, expected] of [
    [256, 256],
    [64, 64],
    [5000, 455], // no more than leaves the longest packet its slots
    [0, 0],
  ] as const) {
    if (headroom !== 256) expect(await run(right.front.setHeadroom(headroom))).toBe(true);
    await machine.settle(0);
    for (const length of [60, 1514, 9000, 65000]) {
      const bytes = tcp(1, length);
      await send(lab, bytes);
      expect(right.stack.seen.at(-1)!.bytes).toEqual(bytes);
      expect(places.at(-1)).toBe(expected);
    }
  }
  await end();
});

test('groups: only those that were joined, at any time', async () => {
  const lab = await pair(1);
  const { right, machine, end } = lab;
  const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 0xfb);
  const comes = async (destination: Uint8Array): Promise<boolean> => {
    const before = right.stack.seen.length;
    const bytes = tcp(1, 100);
    bytes.set(destination);
    await send(lab, bytes);
    return right.stack.seen.length > before;
  };
  const other = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
  const broadcast = new Uint8Array(6).fill(255);
  const all = [group, other, broadcast];
  for (const [wanted, expected] of [
    [null, [true, true, true]],
    [[group], [true, false, true]],
    [[other], [false, true, true]],
    [[], [false, false, true]],
    [null, [true, true, true]],
  ] as const) {
    right.front.setGroups(wanted);
    await machine.settle(0);
    const seen: boolean[] = [];
    for (const each of all) seen.push(await comes(each));
    expect(seen).toEqual(expected);
  }
  await end();
});

test('a peer that offers none of it: frames go by what netif.h takes for granted', async () => {
  const none = {
    scatterGather: false,
    segmentationTcpv4: false,
    segmentationTcpv6: false,
    checksumIpv6: false,
    splitEventChannels: false,
    multicastControl: false,
    controlRing: false,
    xdpHeadroom: false,
  };
  const lab = await pair(
    1,
    { features: { queues: 4, headroom: 256, staticGrants: true, groups: [Uint8Array.of(1, 0, 0, 0, 0, 1)] } },
    { features: none, limits: { maxQueues: 1 } },
  );
  const { left, right, end } = lab;
  expect(left.front.agreed).toMatchObject({
    transmit: {
      scatterGather: false,
      segmentationTcpv4: false,
      segmentationTcpv6: false,
      checksumIpv6: false,
    },
    queues: 1,
    splitChannels: false,
    hash: null,
    staticGrants: false,
    headroom: null,
    multicast: 'none',
  });
  for (const length of [60, 1514]) {
    const bytes = tcp(1, length);
    await send(lab, bytes);
    expect(right.stack.seen.at(-1)!.bytes).toEqual(bytes);
  }
  await end();
});
