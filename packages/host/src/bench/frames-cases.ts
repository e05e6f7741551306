/** Frames in the one-thread machine: across the wire by each path, on one host by the slow path, and what they allocate. */
import { getHeapStatistics } from 'node:v8';
import { FramesLab } from '../demo/frames-lab.js';
import { OneHostLab } from './one-host-lab.js';
import type { Path } from '../demo/result.js';
import type { BenchCase, Figures } from './case.js';

const PLUGIN = '@netaccel/dummy-accel-backend';
const WARM_UP = 300_000;
const FRAMES = 1_500_000;
/** What the allocation case sends. */
const ALLOCATION_FRAMES = 10_000_000;

/** Frames from host to host. */
export function wireCase(path: Path, size: number): BenchCase {
  return {
    name: `wire-${path}-${size}`,
    what: `${size} B frames across the wire, ${path}`,
    run: async () => {
      const lab = await start(path, size);
      const run = lab.run(path, [size]);
      await run.send(WARM_UP);
      const stretch = await run.send(FRAMES);
      checked(stretch.check);
      return rates(stretch.seconds, stretch.frames, size);
    },
  };
}

/** Frames between two guests of one host. */
export function oneHostCase(size: number): BenchCase {
  return {
    name: `one-host-${size}`,
    what: `${size} B frames between two guests of one host, slow path`,
    run: async () => {
      const lab = await OneHostLab.start(size);
      await lab.send(WARM_UP);
      const { seconds, frames, check } = await lab.send(FRAMES);
      checked(check);
      return rates(seconds, frames, size);
    },
  };
}

/** Ten million frames, and the heap before and after. */
export function allocationCase(path: 'slow' | 'fast'): BenchCase {
  return {
    name: `allocation-${path}`,
    node: ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=128'],
    what: `heap bytes allocated a frame, ten million frames of 64 B, ${path} path`,
    run: async () => {
      const lab = await start(path, 64);
      const run = lab.run(path, [64]);
      await run.send(WARM_UP * 4);
      (globalThis as { gc?: () => void }).gc?.();
      const before = usedHeap();
      const { frames, check } = await run.send(ALLOCATION_FRAMES);
      const bytes = usedHeap() - before;
      checked(check);
      return { bytesPerFrame: bytes / frames, megabytes: bytes / 1e6 };
    },
  };
}

async function start(path: Path, size: number): Promise<FramesLab> {
  const lab = await FramesLab.start({
    seed: 1,
    mtu: Math.max(1500, size - 14),
    plugin: PLUGIN,
    pluginsFrom: process.cwd(),
  });
  if (path === 'fast') await lab.load();
  return lab;
}

/** Bytes of the heap in use. The case's young generation is so large that nothing is collected meanwhile. */
function usedHeap(): number {
  return getHeapStatistics().used_heap_size;
}

function rates(seconds: number, frames: number, size: number): Figures {
  return {
    nsPerFrame: (seconds / frames) * 1e9,
    mpps: frames / seconds / 1e6,
    gbps: (frames * size * 8) / seconds / 1e9,
  };
}

function checked(check: { lost: number; duplicated: number; reordered: number; corrupted: number }): void {
  if (check.lost + check.duplicated + check.reordered + check.corrupted > 0)
    throw new Error(`a benchmark that loses frames is none: ${JSON.stringify(check)}`);
}
