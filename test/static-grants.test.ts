// Pages that stay mapped, between the real drivers: the guest asks by the control ring, frames go without a grant copy,
// and everything is given back, by a backend that answers and by one that does not.
import { Checksum } from '@netaccel/core-hooks';
import { expect, test } from 'vitest';
import { pair, tcp } from './split-pair.js';

interface Described {
  readonly connection: { readonly staticGrants: string | null };
}

/** Small, so that the backend can keep all of its pages. */
const SMALL = {
  receivePages: 80,
  transmitBuffers: { small: 64, smallBytes: 1600, large: 0 },
  fill: { least: 64, start: 64, most: 64 },
} as const;

async function linked(most: number, queues = 1) {
  const lab = await pair(
    1,
    { ...SMALL, features: { staticGrants: true, queues } },
    { limits: { staticGrants: most } },
  );
  const seen = { copies: 0 };
  const { foreign } = lab.dom0;
  const copy = foreign.copy.bind(foreign);
  foreign.copy = (peer, batch) => {
    seen.copies += batch.count;
    copy(peer, batch);
  };
  const send = async (count: number, length: number): Promise<void> => {
    for (let serial = 0; serial < count; serial++) {
      const bytes = tcp(serial, length);
      const frame = lab.left.front.allocate(bytes.length)!;
      lab.left.guest.memory.bytes.set(bytes, frame.home);
      frame.describe(frame.home, bytes.length);
      frame.checksum = Checksum.good;
      expect(lab.left.front.startXmit(frame, false)).toBe(true);
      await lab.machine.settle(0);
      expect(lab.right.stack.seen.at(-1)?.bytes).toEqual(bytes);
    }
  };
  const state = () => (lab.left.front.describe() as unknown as Described).connection.staticGrants;
  return { ...lab, send, seen, state };
}

test('a guest with all of its pages mapped: hundreds of frames, no grant copy', async () => {
  const { left, send, seen, state, end } = await linked(256);
  expect(state()).toBe('112 pages stay mapped'); // 80 that receive, 32 with two buffers each
  expect(left.back.describe()).toMatchObject({ staticGrants: 112 });
  await send(150, 1514);
  expect(seen.copies).toBe(0);
  await end();
});

test('a backend that keeps fewer: those go without a copy, the others with one', async () => {
  const { left, send, seen, state, end } = await linked(6);
  expect(state()).toBe('6 pages stay mapped');
  expect(left.back.describe()).toMatchObject({ staticGrants: 6 });
  await send(60, 60);
  expect(seen.copies).toBeGreaterThan(0);
  await end();
});

test('each queue has its own', async () => {
  const { left, state, send, end } = await linked(200, 2);
  expect(state()).toBe('224 pages stay mapped');
  expect(left.back.describe()).toMatchObject({ staticGrants: 224 });
  await send(50, 300);
  await end();
});

test('they are given back before the connection closes, and asked for again after', async () => {
  const { machine, run, left, send, state, end } = await linked(256);
  const seen: unknown[] = [];
  const { back } = left;
  const before = left.front.suspend();
  await machine.runUntil(() => {
    const { state: own, staticGrants } = back.describe();
    seen.push(`${String(own)} ${String(staticGrants)}`);
    return own === 'Closing';
  });
  expect(seen).toContain('Connected 0'); // let go of while it was still connected
  await run(before);
  await run(left.front.resume());
  await machine.settle(0);
  expect(state()).toBe('112 pages stay mapped');
  await send(10, 200);
  await end();
});

test('a backend without them, or without a control ring, is used by its grants', async () => {
  const lab = await pair(
    1,
    { ...SMALL, features: { staticGrants: true } },
    { features: { controlRing: false } },
  );
  expect((lab.left.front.describe() as unknown as Described).connection.staticGrants).toBeNull();
  expect(lab.left.front.agreed).toMatchObject({ staticGrants: false });
  await lab.end();
});

test('a backend that does not answer in time delays the close by the limit and no more', async () => {
  const { dom0, run, left, end } = await linked(256);
  const hung = left.back as unknown as { connection: { control: { fence(): void } } };
  hung.connection.control.fence();
  const before = dom0.loop.now();
  await run(left.front.suspend());
  expect(dom0.loop.now() - before).toBeGreaterThanOrEqual(1000);
  expect(dom0.loop.now() - before).toBeLessThan(3000);
  await end();
});

test('a host that hung goes on after its guest gave it up: frames into pages that are mapped still are counted', async () => {
  const { machine, run, left, right, end } = await linked(256);
  const { memory } = right.guest;
  const send = (serial: number): void => {
    const bytes = tcp(serial, 300);
    const frame = right.front.allocate(bytes.length)!;
    memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    expect(right.front.startXmit(frame, false)).toBe(true);
  };
  machine.pauseDomain(0);
  for (let serial = 0; serial < 3; serial++) send(serial);
  await run(left.front.suspend());
  const before = left.back.statistics().rxFrames;
  machine.resumeDomain(0);
  await run(left.front.resume());
  await machine.settle(0);
  expect(left.back.statistics()).toMatchObject({ rxFrames: before + 3 });
  expect(left.stack.seen).toHaveLength(0);
  expect(left.front.statistics().counters.rxUnread).toBe(3);
  await end();
});
