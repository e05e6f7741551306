/** The two bare payload copies that a slow path cannot do without: what its cost is held against. */
import { SharedMemory } from '@netaccel/xen/sim';
import type { BenchCase } from './case.js';

const PAGES = 4096;
const PAGE = 4096;
const BUFFERS = 512;
const FRAMES = 4_000_000;

/** Two copies a frame over a ring of buffers. */
export function copyCase(size: number): BenchCase {
  return {
    name: `copy-${size}`,
    oneThread: true,
    what: `two bare copies of ${size} B, buffers as far apart as a path's`,
    run: () => {
      const memory = SharedMemory.ofPages(PAGES);
      const from = PAGE;
      const middle = from + BUFFERS * PAGE;
      const to = middle + BUFFERS * PAGE;
      const copy = (frames: number): number => {
        const start = performance.now();
        for (let i = 0; i < frames; i++) {
          const at = (i & (BUFFERS - 1)) * PAGE;
          memory.copy(middle + at, from + at, size);
          memory.copy(to + at, middle + at, size);
        }
        return ((performance.now() - start) / frames) * 1e6;
      };
      copy(FRAMES / 8);
      return Promise.resolve({ nsPerFrame: copy(FRAMES) });
    },
  };
}
