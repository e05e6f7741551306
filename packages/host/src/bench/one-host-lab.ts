/** One host with two guests, in one thread: the whole slow path, guest to guest, without a NIC. */
import { macBytes } from '../demo/addresses.js';
import { OneThreadLab } from '../machine/one-thread-lab.js';
import { announce } from '../traffic/announce.js';
import { FrameCheck } from '../traffic/frame-check.js';
import type { Check } from '../traffic/frame-check.js';
import { FrameSource } from '../traffic/frame-source.js';

const FLOWS = 4;
const WINDOW = 256;
const PAGES = 16 * 1024;
const MACS = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'] as const;

/** The lab. */
export class OneHostLab {
  private constructor(
    private readonly lab: OneThreadLab,
    private readonly source: FrameSource,
    private readonly check: FrameCheck,
  ) {}

  /** Starts it for frames of one size. */
  static async start(size: number): Promise<OneHostLab> {
    const mtu = Math.max(1500, size - 14);
    const lab = await OneThreadLab.start({
      seed: 1,
      pages: PAGES,
      hosts: [
        {
          name: 'alpha',
          nic: { ports: ['eth0'], config: { ports: 1, mtu } },
          bridged: ['eth0'],
          guests: MACS.map((mac, i) => ({ name: `g${i}`, mac, mtu, accel: null, queues: 1, limits: null })),
        },
      ],
      wires: [],
      merging: false,
      pluginsFrom: process.cwd(),
    });
    const { guests } = lab.host('alpha');
    const [from, to] = [guests.get('g0')!, guests.get('g1')!];
    const check = new FrameCheck(lab.lab.memory, FLOWS);
    const source = new FrameSource(lab.lab.memory, from.domain.loop, from.guest.netfront, {
      endpoints: {
        sourceMac: macBytes(MACS[0]),
        destinationMac: macBytes(MACS[1]),
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
    from.stack.onReady = () => {
      source.resume();
    };
    to.stack.to = check;
    // A receiver that nobody ever heard of would have every frame flooded, to the NIC as well.
    announce(lab.lab.memory, to.guest.netfront, macBytes(MACS[1]), Uint8Array.of(10, 77, 0, 12));
    await lab.lab.settle(50);
    return new OneHostLab(lab, source, check);
  }

  /** Sends frames and waits for all of them. */
  async send(frames: number): Promise<{ seconds: number; frames: number; check: Check }> {
    const before = this.check.received;
    const start = performance.now();
    this.source.start(frames);
    await this.lab.pump(() => this.check.received - before >= frames);
    return {
      seconds: (performance.now() - start) / 1000,
      frames,
      check: this.check.result(this.source.sent),
    };
  }
}
