// A guest says by the control ring how its frames are hashed and spread: the real netfront asks, the real netback
// obeys, and each frame is on the queue that the published Toeplitz vectors say.
import { Checksum } from '@netaccel/core-hooks';
import type { ReceiveHash } from '@netaccel/netfront';
import { HashType } from '@netaccel/xen/netif';
import { expect, test } from 'vitest';
import { pair, tcp } from './split-pair.js';

const KEY = Uint8Array.from(
  '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g)!,
  (hex) => parseInt(hex, 16),
);
const QUEUES = 4;

/** The published vectors (reference for receive-side scaling): addresses, ports, hash without and with ports. */
const VECTORS = [
  {
    from: [66, 9, 149, 187],
    to: [161, 142, 100, 80],
    ports: [2794, 1766],
    plain: 0x323e8fc2,
    tcp: 0x51ccc178,
  },
  {
    from: [199, 92, 111, 2],
    to: [65, 69, 140, 83],
    ports: [14230, 4739],
    plain: 0xd718262a,
    tcp: 0xc626b0ea,
  },
] as const;

interface Described {
  readonly connection: { readonly hash: string | null; readonly queues: { receive: { consumed: number } }[] };
}

async function spread(hash: ReceiveHash, backend = {}) {
  const lab = await pair(1, { features: { queues: QUEUES, hash } }, backend);
  const consumed = (): number[] =>
    (lab.right.front.describe() as unknown as Described).connection.queues.map(
      ({ receive }) => receive.consumed,
    );
  const send = async (vector: (typeof VECTORS)[number]): Promise<number[]> => {
    const before = consumed();
    const bytes = tcp(1, 100);
    bytes.set([...vector.from, ...vector.to], 26);
    new DataView(bytes.buffer).setUint16(34, vector.ports[0]);
    new DataView(bytes.buffer).setUint16(36, vector.ports[1]);
    const frame = lab.left.front.allocate(bytes.length)!;
    lab.left.guest.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    frame.checksum = Checksum.good;
    expect(lab.left.front.startXmit(frame, false)).toBe(true);
    await lab.machine.settle();
    expect(lab.right.stack.seen.at(-1)?.bytes).toEqual(bytes);
    return consumed().flatMap((now, queue) => (now === before[queue] ? [] : [queue]));
  };
  const state = (lab.right.front.describe() as unknown as Described).connection.hash;
  return { ...lab, send, state };
}

test('a frame is on the queue of its Toeplitz hash', async () => {
  const { send, state, end } = await spread({ key: KEY });
  expect(state).toBe('hashed by the backend');
  for (const vector of VECTORS) expect(await send(vector)).toEqual([vector.tcp % QUEUES]);
  await end();
});

test('without the ports where only addresses are asked for', async () => {
  const { send, end } = await spread({ key: KEY, types: HashType.ipv4 });
  for (const vector of VECTORS) expect(await send(vector)).toEqual([vector.plain % QUEUES]);
  await end();
});

test('by the guest’s own mapping, of any length up to the backend’s', async () => {
  const mapping = Array.from({ length: 128 }, (_, i) => (i * 7 + 3) % QUEUES);
  const { send, end } = await spread({ key: KEY, mapping });
  for (const vector of VECTORS) expect(await send(vector)).toEqual([mapping[vector.tcp % 128]]);
  await end();
});

test('a mapping that cannot be is said, and the backend spreads as it likes', async () => {
  for (const [mapping, said] of [
    [[0, 4], 'mapping: expected queues below 4, saw 4; change the option'],
    [Array<number>(129).fill(0), "mapping: expected at most the backend's 128 entries, saw 129"],
  ] as const) {
    const { send, state, end } = await spread({ key: KEY, mapping });
    expect(state).toBe(said);
    expect(await send(VECTORS[0])).toHaveLength(1);
    await end();
  }
});

test('a backend without a control ring is not asked', async () => {
  const { send, state, end } = await spread({ key: KEY }, { features: { controlRing: false } });
  expect(state).toBeNull();
  expect(await send(VECTORS[0])).toHaveLength(1);
  await end();
});
