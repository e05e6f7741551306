/**
 * A backend that hung while its guest closed, and went on when the guest had given it up: its rings were mapped all
 * the time, so that it put packets on them that nobody would read. They are counted once it has let go.
 */
import { RxFlag, Status } from '@netaccel/xen/netif';
import { expect, test } from 'vitest';
import { CLEAN_END, NEAR_WRAP, VifLab } from './lab.js';
import type { BackendQueue } from './scripted-queue.js';

/** The guest was suspended, and its backend, which did not answer, has its rings still. */
async function givenUp(
  extra: (queue: BackendQueue) => void = () => undefined,
): Promise<{ lab: VifLab; queue: BackendQueue }> {
  const lab = await VifLab.connected();
  const { queue } = lab.backend;
  extra(queue);
  lab.backend.following = false;
  await lab.run(lab.front.suspend());
  return { lab, queue };
}

/** The backend sees where the guest is now, as it would have when it hung; the guest is connected again. */
async function goesOn(lab: VifLab): Promise<void> {
  lab.backend.following = true;
  await lab.run(lab.front.resume());
  await lab.settle();
}

const unread = ({ front }: VifLab): number => front.statistics().counters.rxUnread;

test('a host that hung goes on after its guest gave it up: what it puts on the rings then is counted', async () => {
  const { lab, queue } = await givenUp();
  for (let i = 0; i < 5; i++) queue.raw({ status: 60 });
  queue.publishRx();
  expect(unread(lab)).toBe(0); // there may be more
  const { rxDropped } = lab.front.statistics();
  await goesOn(lab);
  expect(unread(lab)).toBe(5);
  expect(lab.front.statistics().rxDropped).toBe(rxDropped + 5);
  expect(lab.stack.frames).toHaveLength(0);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('packets are counted, not slots; those that the backend answered with an error are in its own count', async () => {
  const { lab, queue } = await givenUp();
  queue.raw({ status: 4096, flags: RxFlag.moreData });
  queue.raw({ status: 100 });
  queue.raw({ status: 60 });
  queue.raw({ status: Status.error & 0xffff });
  queue.raw({ status: 4096, flags: RxFlag.moreData });
  queue.raw({ status: Status.error & 0xffff });
  queue.raw({ status: 4096, flags: RxFlag.moreData }); // half a packet is nobody's
  queue.publishRx();
  await goesOn(lab);
  expect(unread(lab)).toBe(2);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('what was there when the guest closed is delivered, and not counted', async () => {
  const { lab, queue } = await givenUp((queue) => {
    queue.put(new Uint8Array(60));
    queue.publishRx();
  });
  expect(lab.stack.frames).toHaveLength(1);
  queue.raw({ status: 60 });
  queue.publishRx();
  await goesOn(lab);
  expect(lab.stack.frames).toHaveLength(1);
  expect(unread(lab)).toBe(1);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('each time that it is given up, and each queue, counts', async () => {
  const lab = await VifLab.connected({ netfront: { features: { queues: 2 } } });
  for (let round = 1; round <= 3; round++) {
    const { queues } = lab.backend;
    expect(queues).toHaveLength(2);
    lab.backend.following = false;
    await lab.run(lab.front.suspend());
    for (const queue of queues) {
      queue.raw({ status: 60 });
      queue.publishRx();
    }
    await goesOn(lab);
    expect(unread(lab)).toBe(2 * round);
  }
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a backend that claims more than it was given room for is not believed: nothing is counted', async () => {
  const { lab, queue } = await givenUp();
  queue.rx.produced = (queue.rx.produced + 10_000) >>> 0;
  queue.publishRx();
  await goesOn(lab);
  expect(unread(lab)).toBe(0);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a ring full of anything at all: at most as many packets as it was given room for', async () => {
  const { lab, queue } = await givenUp();
  const { posted } = queue;
  const { words } = lab.back.memory;
  for (let i = 0; i < posted; i++) {
    const at = queue.rx.slot((NEAR_WRAP + i) >>> 0) >>> 2;
    words[at] = Math.imul(i + 1, 0x9e37_79b1);
    words[at + 1] = Math.imul(i + 7, 0x85eb_ca6b);
  }
  queue.rx.produced = (queue.rx.produced + posted) >>> 0;
  queue.publishRx();
  await goesOn(lab);
  expect(unread(lab)).toBeGreaterThan(0);
  expect(unread(lab)).toBeLessThanOrEqual(posted);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest that connects anew by itself does not wait for its backend: what that put there meanwhile counts', async () => {
  const lab = await VifLab.connected({ offers: { 'feature-multicast-control': '1' } });
  const { queue } = lab.backend;
  lab.backend.following = false;
  lab.front.setGroups([Uint8Array.of(1, 0, 0x5e, 0, 0, 1)]);
  await lab.settle();
  expect(lab.front.state.frontend).not.toBe(4);
  queue.raw({ status: 60 });
  queue.publishRx();
  lab.backend.following = true;
  await lab.run(lab.backend.stop());
  await lab.run(lab.backend.start());
  await lab.settle();
  expect(lab.front.carrier).toBe(true);
  expect(unread(lab)).toBe(1);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest that is stopped waits for nobody: all that it had is given back, a ring that is mapped as soon as it is not', async () => {
  const { lab, queue } = await givenUp();
  queue.raw({ status: 60 });
  queue.publishRx();
  await lab.run(lab.front.stop());
  expect(unread(lab)).toBe(1);
  expect(lab.guest.ledger().grants).toBeGreaterThan(0);
  expect(await lab.end()).toEqual(CLEAN_END);
});
