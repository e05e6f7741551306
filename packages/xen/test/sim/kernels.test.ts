// The kernels: that the embedded bytes are what the source assembles to, and what each does at its edges.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Random, SharedMemory } from '../../src/sim/index.js';

/** RFC 1071, the plain way. */
function plainSum(bytes: Uint8Array, initial: number): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + (sum % 0x10000);
  return sum;
}

test('kernels.ts is what kernels.wat assembles to', () => {
  const script = fileURLToPath(new URL('../../scripts/kernels.mjs', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
});

describe('a shared memory', () => {
  const memory = SharedMemory.ofPages(64);
  const { bytes } = memory;

  test('is whole WebAssembly pages, shared, and zero', () => {
    expect(bytes.length).toBe(64 * 4096);
    expect(SharedMemory.ofPages(1).bytes.length).toBe(65536);
    expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('copies ranges that overlap, either way', () => {
    bytes.set([1, 2, 3, 4, 5], 100);
    memory.copy(102, 100, 5);
    expect([...bytes.subarray(100, 107)]).toEqual([1, 2, 1, 2, 3, 4, 5]);
    memory.copy(100, 102, 5);
    expect([...bytes.subarray(100, 107)]).toEqual([1, 2, 3, 4, 5, 4, 5]);
  });

  test('clears exactly the range', () => {
    bytes.fill(9, 1000, 1010);
    memory.clear(1001, 8);
    expect([...bytes.subarray(1000, 1010)]).toEqual([9, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
  });

  test.each([0, 4, 28, 32, 60])('sees the one word of a range that differs, at byte %i', (at) => {
    memory.fill(2048, 0xdb, 64);
    expect(memory.same(2048, 0xdbdb_dbdb, 64)).toBe(true);
    bytes[2048 + at] = 0xda;
    expect(memory.same(2048, 0xdbdb_dbdb, 64)).toBe(false);
    expect(memory.same(2112, 0, 64)).toBe(true);
    memory.clear(2048, 64);
  });

  test.each([
    ['copy to', () => memory.copy(bytes.length - 3, 0, 4)],
    ['copy from', () => memory.copy(0, bytes.length, 1)],
    ['copy, far', () => memory.copy(0, 0xffff_ffff, 4)],
    ['clear', () => memory.clear(bytes.length - 1, 2)],
    ['sum', () => memory.sum(bytes.length - 1, 2, 0)],
    ['same', () => memory.same(bytes.length - 16, 0, 32)],
  ])('throws a RangeError outside of it: %s', (_, reach) => {
    expect(reach).toThrow(RangeError);
  });

  test('a range that ends where the memory ends is inside', () => {
    memory.clear(bytes.length - 8, 8);
    memory.copy(bytes.length, 0, 0);
    expect(memory.sum(bytes.length - 8, 8, 5)).toBe(5);
  });

  test('sums as RFC 1071 says: its own example, all ones, an odd byte, a large initial', () => {
    bytes.set([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 2000);
    expect(memory.sum(2000, 8, 0)).toBe(0xddf2);
    bytes.fill(0xff, 2000, 2100);
    expect(memory.sum(2000, 100, 0)).toBe(0xffff);
    expect(memory.sum(2000, 0, 0)).toBe(0);
    expect(memory.sum(2000, 1, 0)).toBe(0xff00);
    expect(memory.sum(2000, 0, 0xffff_ffff)).toBe(0xffff);
  });

  test('sums every length and alignment as the plain way does', () => {
    const seed = 0x5eed;
    const random = new Random(seed);
    for (let i = 0; i < 40_000; i++) bytes[10_000 + i] = random.next();
    const lengths = [...Array(130).keys(), 1499, 1500, 1514, 4096, 8191, 30_000];
    for (const length of lengths)
      for (const shift of [0, 1, 2, 3, 7]) {
        const initial = random.next();
        const at = 10_000 + shift;
        expect(memory.sum(at, length, initial), `seed ${seed}, ${length} at ${at}, ${initial}`).toBe(
          plainSum(bytes.slice(at, at + length), initial),
        );
      }
    bytes.fill(0xff, 0, bytes.length);
    expect(memory.sum(0, bytes.length, 0xffff)).toBe(0xffff);
    memory.clear(0, bytes.length);
  });
});
