/** Frames in the one-thread machine: across the wire by each path, on one host by the slow path, and what they allocate. */
import { getHeapStatistics } from 'node:v8';
import { median } from '../demo/figures.js';
import { FramesLab } from '../demo/frames-lab.js';
import type { FramesRun } from '../demo/frames-run.js';
import { OneHostLab } from './one-host-lab.js';
import type { Path } from '../demo/result.js';
import type { Check } from '../traffic/frame-check.js';
import type { BenchCase, Figures } from './case.js';

const PLUGIN = '@netaccel/dummy-accel-backend';
const WARM_UP = 300_000;
const STRETCH_FRAMES = 15_000;
const PROFILED_FRAMES = 200_000;
/** What the allocation case sends. */
const ALLOCATION_FRAMES = 10_000_000;

/** Frames from host to host. */
export function wireCase(path: Path, size: number): BenchCase {
  return {
    name: `wire-${path}-${size}`,
    oneThread: true,
    what: `${size} B frames across the wire, ${path}`,
    run: async (stretches) => {
      const lab = await start(path, size);
      const run = lab.run(path, [size]);
      await run.send(WARM_UP);
      const figures = await frameRates(size, stretches, (frames) => run.send(frames));
      return { ...figures, ...(await stages(lab, run)) };
    },
  };
}

/** Frames between two guests of one host. */
export function oneHostCase(size: number): BenchCase {
  return {
    name: `one-host-${size}`,
    oneThread: true,
    what: `${size} B frames between two guests of one host, slow path`,
    run: async (stretches) => {
      const lab = await OneHostLab.start(size);
      await lab.send(WARM_UP);
      return frameRates(size, stretches, (frames) => lab.send(frames));
    },
  };
}

/** Ten million frames, and the heap before and after. */
export function allocationCase(path: 'slow' | 'fast'): BenchCase {
  return {
    name: `allocation-${path}`,
    node: ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=128'],
    oneThread: true,
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

interface Measured {
  readonly seconds: number;
  readonly frames: number;
  readonly check: Check;
}

/** Sends stretch after stretch; the median's rates, and the least time of any. */
export async function frameRates(
  size: number,
  stretches: number,
  send: (frames: number) => Promise<Measured>,
): Promise<Figures> {
  const times: number[] = [];
  for (let i = 0; i < stretches; i++) {
    const { seconds, frames, check } = await send(STRETCH_FRAMES);
    checked(check);
    times.push((seconds / frames) * 1e9);
  }
  const nsPerFrame = median(times);
  return { nsPerFrame, nsLeast: Math.min(...times), mpps: 1e3 / nsPerFrame, gbps: (size * 8) / nsPerFrame };
}

/** Where the time goes: CPU time of each domain, in a stretch of its own since looking costs a little. */
async function stages(lab: FramesLab, run: FramesRun): Promise<Figures> {
  const spent = await lab.profile(async () => checked((await run.send(PROFILED_FRAMES)).check));
  return Object.fromEntries(
    spent.map(({ name, nsPerFrame }) => [`ns ${name}`, nsPerFrame / PROFILED_FRAMES]),
  );
}

function checked(check: Check): void {
  if (check.lost + check.duplicated + check.reordered + check.corrupted > 0)
    throw new Error(`a benchmark that loses frames is none: ${JSON.stringify(check)}`);
}
