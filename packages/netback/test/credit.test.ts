import { describe, expect, test } from 'vitest';
import { SimMachine } from '@netaccel/xen/sim';
import { LEAST_BURST_BYTES, parseRate } from '../src/index.js';
import { Credit } from '../src/credit.js';
import { CLEAN_END, VifLab, pattern } from './lab.js';

describe('the key "rate"', () => {
  test.each([
    ['1000,50000', { bytes: 1000, usec: 50000 }],
    [' 1 , 2 ', { bytes: 1, usec: 2 }],
    ['0,50000', null],
    ['1000,0', null],
    ['1000', null],
    ['1000,', null],
    ['-5,10', null],
    ['1e3,10', null],
    ['99999999999,10', null],
    ['', null],
  ])('%j', (text, rate) => {
    expect(parseRate(text)).toEqual(rate);
  });
});

describe('credit', () => {
  test('lets a window’s bytes through, then waits for the next; saves up to the burst', async () => {
    const machine = new SimMachine({ stepMs: 0 });
    const { loop } = machine.createDomain(0);
    const credit = new Credit(loop);
    let calls = 0;
    credit.onCredit = () => calls++;
    expect(credit.limited).toBe(false);
    credit.set({ bytes: 200_000, usec: 50_000 });
    expect(credit.bytesPerSecond).toBe(4_000_000);
    calls = 0;
    expect(credit.take(150_000)).toBe(true);
    expect(credit.take(60_000)).toBe(false);
    expect(credit.take(1)).toBe(false); // in order: nothing overtakes the packet that waits
    await machine.advance(49);
    expect(calls).toBe(0);
    await machine.advance(1);
    expect(calls).toBe(1);
    // 50 000 left and 200 000 new, but no more than the burst of one window.
    expect(credit.take(200_000)).toBe(true);
    expect(credit.take(1)).toBe(false);
    credit.stop();
  });

  test('always lets the longest packet through in the end, however small the windows', async () => {
    const machine = new SimMachine({ stepMs: 0 });
    const credit = new Credit(machine.createDomain(0).loop);
    credit.set({ bytes: 1000, usec: 1000 });
    let ms = 0;
    for (; !credit.take(65535); ms++) await machine.advance(1);
    expect(ms).toBe(65);
    await machine.advance(10_000);
    expect(credit.take(1)).toBe(true);
    expect(LEAST_BURST_BYTES).toBeGreaterThanOrEqual(65535);
  });
});

test('a vif is held to its rate, keeps its order, and takes a new rate at once', async () => {
  const lab = await VifLab.connected({ backendKeys: { rate: '100000,50000' } });
  const { queue } = lab.frontend;
  const { machine } = lab;
  await machine.advance(100);
  const start = machine.clock.now();
  let sent = 0;
  let answered = 0;
  while (machine.clock.now() - start < 2000) {
    while (queue.tx.free > 0 && sent - answered < 64) queue.packet(pattern(1000, sent++));
    queue.publish();
    await machine.advance(5);
    answered += queue.responses().length;
  }
  // 2 MB/s for two seconds, and a burst at most before that.
  expect(answered * 1000).toBeGreaterThan(3_900_000);
  expect(answered * 1000).toBeLessThan(4_000_000 + 300_000);
  expect(lab.netback.statistics().txRateWaits).toBeGreaterThan(30);
  expect(lab.network.frames.map(({ bytes }) => bytes[0])).toEqual(
    Array.from({ length: answered }, (_, i) => pattern(1, i)[0]),
  );
  expect(lab.netback.describe()).toMatchObject({ rateBytesPerSecond: 2_000_000 });

  await lab.run(lab.back.store.remove(`${lab.backPath}/rate`));
  await lab.settle();
  expect(queue.responses().length).toBe(sent - answered);
  expect(lab.netback.describe()).toMatchObject({ rateBytesPerSecond: 0 });
  await lab.run(lab.back.store.write(`${lab.backPath}/rate`, 'much'));
  await lab.settle();
  expect(lab.machine.lines.at(-1)).toMatchObject({
    level: 'warn',
    message: expect.stringContaining('much') as string,
  });
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('one limit holds for all queues together', async () => {
  const lab = await VifLab.connected({ backendKeys: { rate: '200000,50000' } }, { queues: 4, pages: 64 });
  const { machine } = lab;
  const start = machine.clock.now();
  let bytes = 0;
  while (machine.clock.now() - start < 1000) {
    for (const queue of lab.frontend.queues) {
      for (let i = queue.responses().length; i > 0; i--) bytes += 1500;
      while (queue.tx.free > 200) queue.packet(pattern(1500));
      queue.publish();
    }
    await machine.advance(2);
  }
  expect(bytes).toBeLessThan(4_000_000 + 400_000);
  expect(bytes).toBeGreaterThan(3_700_000);
  expect(await lab.end()).toEqual(CLEAN_END);
});

test('a rate does not hold back what goes to the guest', async () => {
  const lab = await VifLab.connected({ backendKeys: { rate: '1000,1000000' } });
  const { queue } = lab.frontend;
  for (let i = 0; i < 20; i++) queue.packet(pattern(1500));
  queue.publish();
  await lab.settle();
  expect(queue.responses()).toHaveLength(0);
  queue.post(4);
  await lab.settle();
  const { FramePool } = await import('@netaccel/core-hooks');
  const address = lab.back.pages.allocate(1);
  const frame = new FramePool(1, address, 2048).allocate()!;
  frame.describe(address, 60);
  lab.netback.deliver(frame);
  lab.netback.flush();
  frame.release();
  await lab.settle();
  expect(queue.packets()).toHaveLength(1);
  lab.back.pages.free(address);
  expect(await lab.end()).toEqual(CLEAN_END);
});
