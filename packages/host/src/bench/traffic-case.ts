/**
 * What the traffic itself costs: the source and the check of every frames case, joined by nothing. Part of each
 * path's figure, and the same for all of them; the claims are made without taking it off.
 */
import { FramePool, PAGE_BYTES } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { SimMachine } from '@netaccel/xen/sim';
import { macBytes } from '../demo/addresses.js';
import { FrameCheck } from '../traffic/frame-check.js';
import { FrameSource } from '../traffic/frame-source.js';
import type { Transmitter } from '../traffic/transmitter.js';
import type { BenchCase } from './case.js';
import { frameRates } from './frames-cases.js';

const FLOWS = 4;
const WINDOW = 256;
const BUFFER_BYTES = 2048;
const PAGES = 2048;

/** Frames of one size from the source straight into the check. */
export function trafficCase(size: number): BenchCase {
  return {
    name: `traffic-${size}`,
    oneThread: true,
    what: `the source and the check of ${size} B frames alone, no path between them`,
    run: async (stretches) => {
      const machine = new SimMachine({ seed: 1, pages: PAGES, name: 'alone' });
      const domain = machine.createDomain(0, 'alone');
      const check = new FrameCheck(domain.memory, FLOWS);
      const pages = domain.pages.allocate((WINDOW * BUFFER_BYTES) / PAGE_BYTES);
      const source = new FrameSource(domain.memory, domain.loop, new Direct(pages, check), {
        endpoints: {
          sourceMac: macBytes('02:00:00:00:00:0a'),
          destinationMac: macBytes('02:00:00:00:00:0b'),
          sourceIp: Uint8Array.of(10, 77, 0, 11),
          destinationIp: Uint8Array.of(10, 77, 0, 12),
        },
        flows: FLOWS,
        sizes: [size],
        window: WINDOW,
        arrived: () => check.received,
      });
      check.onProgress = () => {
        source.resume();
      };
      return frameRates(size, stretches, async (frames) => {
        const before = check.received;
        const start = performance.now();
        source.start(frames);
        while (check.received - before < frames) if (machine.lab.pump(128) === 0) await machine.lab.turn();
        return { seconds: (performance.now() - start) / 1000, frames, check: check.result(source.sent) };
      });
    },
  };
}

/** No path: a frame that is sent has arrived. */
class Direct implements Transmitter {
  private readonly pool: FramePool;

  constructor(
    address: number,
    private readonly check: FrameCheck,
  ) {
    this.pool = new FramePool(WINDOW, address, BUFFER_BYTES);
  }

  allocate(): Frame | null {
    return this.pool.allocate();
  }

  startXmit(frame: Frame, more: boolean): boolean {
    this.check.deliver(frame);
    frame.release();
    if (!more) this.flush();
    return true;
  }

  flush(): void {
    this.check.flush();
  }
}
