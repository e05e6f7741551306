/** The fill target by itself; its effect on a ring is in receive.test.ts. */
import { expect, test } from 'vitest';
import { FillTarget } from '../src/receive-fill.js';

test('the figures of linux-2.6.18-xen', () => {
  const fill = new FillTarget({}, false);
  expect(fill.target).toBe(64);
  expect(fill.want(0)).toBe(64);
  fill.posted(0);
  expect(fill.target).toBe(64); // the first fill is not late
  expect(fill.want(33)).toBe(0); // less than half a target is not worth a batch
  expect(fill.want(32)).toBe(32);
  fill.posted(16);
  expect(fill.target).toBe(64);
  fill.posted(15); // under a quarter left
  expect(fill.target).toBe(128);
  fill.posted(0);
  fill.posted(0);
  expect(fill.target).toBe(256);
  fill.drained(192);
  expect(fill.target).toBe(256);
  fill.drained(193); // more than three quarters unused
  expect(fill.target).toBe(255);
  for (let i = 0; i < 1000; i++) fill.drained(256);
  expect(fill.target).toBe(8);
});

test('the largest packet always finds room: no half batch is held back below that', () => {
  const fill = new FillTarget({ least: 8, start: 8 }, true);
  expect(fill.target).toBe(19);
  expect(fill.want(18)).toBe(1);
  expect(fill.want(19)).toBe(0);
});

test.each([
  [{ least: 0 }, 1, 64],
  [{ least: 300 }, 256, 256],
  [{ most: 4 }, 8, 8],
  [{ start: 1000 }, 8, 256],
  [{ least: 100, most: 50, start: 10 }, 100, 100],
])('bounds that contradict themselves: %o', (options, least, start) => {
  const fill = new FillTarget(options, false);
  expect(fill.target).toBe(start);
  for (let i = 0; i < 1000; i++) fill.drained(256);
  expect(fill.target).toBe(least);
});
