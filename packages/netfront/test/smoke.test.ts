import { expect, test } from 'vitest';
import { CLEAN_END, VifLab, pattern } from './lab.js';

test('both directions, and a clean end', async () => {
  const lab = await VifLab.connected();
  expect(lab.front.carrier).toBe(true);
  const one = pattern(60, 1);
  const two = pattern(9000, 2);
  expect(lab.send(one, true)).toBe(true);
  expect(lab.send(two)).toBe(true);
  await lab.settle();
  const { queue } = lab.backend;
  const packets = queue.take();
  expect(packets.map(({ bytes }) => bytes)).toEqual([one, two]);
  queue.answer(packets);
  queue.put(one);
  queue.put(two);
  queue.publishRx();
  await lab.settle();
  expect(lab.stack.frames.map(({ bytes }) => bytes)).toEqual([one, two]);
  expect(await lab.end()).toEqual(CLEAN_END);
});
