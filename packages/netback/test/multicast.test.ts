import { expect, test } from 'vitest';
import { FramePool } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { Status, TxFlag } from '@netaccel/xen/netif';
import { MulticastGroups } from '../src/multicast.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';

const GROUP = [0x01, 0x00, 0x5e, 1, 2, 3];
const OTHER = [0x33, 0x33, 0, 0, 0, 9];
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const UNICAST = [0x02, 0, 0, 0, 0, 1];

async function receives(lab: VifLab, destination: readonly number[]): Promise<boolean> {
  const { queue } = lab.frontend;
  if (queue.rx.free === 256) queue.post(64);
  await lab.settle();
  const address = lab.back.pages.allocate(1);
  const frame = new FramePool(1, address, 2048).allocate()!;
  lab.back.memory.bytes.set([...destination, ...pattern(60)], address);
  frame.describe(address, 60);
  lab.netback.deliver(frame);
  lab.netback.flush();
  frame.release();
  await lab.settle();
  lab.back.pages.free(address);
  return queue.packets().length === 1;
}

async function control(lab: VifLab, join: boolean, address: readonly number[]): Promise<number[]> {
  const { queue } = lab.frontend;
  queue.request({ flags: TxFlag.extraInfo, size: 0 });
  queue.multicastExtra(join, address);
  queue.publish();
  await lab.settle();
  return queue.responses().map(({ status }) => status);
}

test('a guest that does not ask for control gets every group', async () => {
  const lab = await VifLab.connected();
  for (const destination of [GROUP, OTHER, BROADCAST, UNICAST])
    expect(await receives(lab, destination)).toBe(true);
  expect(await control(lab, true, GROUP)).toEqual([Status.okay, Status.null]);
  expect(await receives(lab, OTHER)).toBe(true);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a guest that controls its groups gets those, broadcast and its own', async () => {
  const lab = await VifLab.connected({}, { keys: { 'request-multicast-control': '1' } });
  expect(await receives(lab, GROUP)).toBe(false);
  expect(await receives(lab, BROADCAST)).toBe(true);
  expect(await receives(lab, UNICAST)).toBe(true);
  expect(await control(lab, true, GROUP)).toEqual([Status.okay, Status.null]);
  expect(await receives(lab, GROUP)).toBe(true);
  expect(await receives(lab, OTHER)).toBe(false);
  expect(await control(lab, false, GROUP)).toEqual([Status.okay, Status.null]);
  expect(await control(lab, false, GROUP)).toEqual([Status.okay, Status.null]);
  expect(await receives(lab, GROUP)).toBe(false);
  expect(lab.netback.statistics().rxDropped['multicast-filtered']).toBe(3);
  expect(lab.network.frames).toEqual([]);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('control may be asked for and given up while connected', async () => {
  const lab = await VifLab.connected();
  const ask = (value: string) =>
    lab.run(lab.guest.store.write(`${lab.frontend.path}/request-multicast-control`, value));
  await ask('1');
  await lab.settle();
  expect(await receives(lab, GROUP)).toBe(false);
  await ask('0');
  await lab.settle();
  expect(await receives(lab, GROUP)).toBe(true);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a new connection begins without groups', async () => {
  const lab = await VifLab.connected({}, { keys: { 'request-multicast-control': '1' } });
  await control(lab, true, GROUP);
  await lab.run(lab.frontend.state(XenbusState.Initialising));
  await lab.settle();
  lab.frontend.release();
  await lab.run(lab.frontend.connect());
  await lab.settle();
  expect(lab.netback.describe()).toMatchObject({ multicastGroups: [] });
  expect(await receives(lab, GROUP)).toBe(false);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('groups are bounded, and one with data is malformed', async () => {
  const lab = await VifLab.connected(
    { netback: { limits: { multicastGroups: 2 } } },
    { keys: { 'request-multicast-control': '1' } },
  );
  for (const last of [1, 2, 1]) expect(await control(lab, true, [1, 0, 0, 0, 0, last])).toEqual([0, 1]);
  expect(await control(lab, true, [1, 0, 0, 0, 0, 3])).toEqual([Status.error, Status.null]);
  expect(lab.netback.statistics().txErrors['multicast-full']).toBe(1);
  const { queue } = lab.frontend;
  queue.request({ flags: TxFlag.extraInfo | TxFlag.moreData, size: 60 });
  queue.multicastExtra(true, GROUP);
  queue.request({ size: 30 });
  queue.publish();
  await lab.settle();
  expect(queue.responses().map(({ status }) => status)).toEqual([Status.error, Status.null, Status.error]);
  expect(lab.netback.describe()).toMatchObject({
    multicastGroups: ['01:00:00:00:00:01', '01:00:00:00:00:02'],
  });
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a removed group leaves no gap', () => {
  const groups = new MulticastGroups(3);
  groups.controlled = true;
  const address = (n: number) => Uint8Array.from([1, 0, 0, 0, 0, n]);
  for (const n of [1, 2, 3]) groups.join(address(n));
  groups.leave(address(1));
  expect(groups.describe()).toEqual(['01:00:00:00:00:03', '01:00:00:00:00:02']);
  expect([1, 2, 3].map((n) => groups.wants(address(n), 0))).toEqual([false, true, true]);
  groups.clear();
  expect(groups.describe()).toEqual([]);
});
