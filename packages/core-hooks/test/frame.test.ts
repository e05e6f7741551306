import { describe, expect, it } from 'vitest';
import { FramePool, holdChain, releaseChain } from '../src/index.js';
import type { Frame } from '../src/index.js';

describe('FramePool', () => {
  it('hands out each frame once and takes it back at the last release', () => {
    const pool = new FramePool(2, 4096, 2048);
    const a = pool.allocate()!;
    const b = pool.allocate()!;
    expect([a.home, b.home]).toEqual([4096, 6144]);
    expect(pool.allocate()).toBeNull();
    a.hold();
    a.release();
    expect(pool.free).toBe(0);
    a.release();
    expect(pool.free).toBe(1);
    expect(pool.allocate()).toBe(a);
    expect(b.holders).toBe(1);
  });

  it('says so when a frame is released twice', () => {
    const pool = new FramePool(1, 0, 64);
    const frame = pool.allocate()!;
    frame.release();
    expect(() => {
      frame.release();
    }).toThrow(/frame 0 was released by someone who did not hold it/);
    expect(pool.free).toBe(1);
  });

  it('comes back described as an ordinary empty frame', () => {
    const pool = new FramePool(1, 128, 64);
    const frame = pool.allocate()!;
    frame.checksum = 3;
    frame.segmentation = 1;
    frame.segmentBytes = 1448;
    frame.address = 7;
    frame.release();
    const again = pool.allocate()!;
    expect({ ...pick(again) }).toEqual({
      address: 128,
      length: 0,
      totalBytes: 0,
      checksum: 0,
      segmentation: 0,
      segmentBytes: 0,
    });
  });

  it('holds and releases whole chains, though a reclaimed fragment loses its next', () => {
    const pool = new FramePool(3, 0, 64);
    const [a, b, c] = [pool.allocate()!, pool.allocate()!, pool.allocate()!];
    a.next = b;
    b.next = c;
    holdChain(a);
    releaseChain(a);
    expect(pool.free).toBe(0);
    releaseChain(a);
    expect(pool.free).toBe(3);
  });
});

function pick(f: Frame): object {
  const { address, length, totalBytes, checksum, segmentation, segmentBytes } = f;
  return { address, length, totalBytes, checksum, segmentation, segmentBytes };
}
