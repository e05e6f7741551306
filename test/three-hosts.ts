// A lab of three hosts in a row, for guests that move: alpha with the reference plugin, beta with another one, gamma
// without any. Checked frames flow both ways between two guests while tests do to them what they like.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FrameCheck, FrameSource, OneThreadLab } from '@netaccel/host';
import type { Check, RunningGuest } from '@netaccel/host';

const HERE = dirname(fileURLToPath(import.meta.url));
const LIMITS = { filters: 8, bufferPages: 384, multicasts: 8 };
export const MACS = { a: '02:00:00:00:00:0a', b: '02:00:00:00:00:0b' } as const;
export type GuestName = keyof typeof MACS;
const IPS = { a: 11, b: 12 };
const FLOWS = 4;
const SIZES = [60, 300, 1514];

export interface LabOptions {
  readonly seed: number;
  readonly window?: number;
  readonly delayUs?: number;
  readonly bitsPerSecond?: number;
  /** Pages of accelerator buffers that guest a may have. */
  readonly bufferPages?: number;
  /** The only addresses that guest a may send from. */
  readonly addresses?: readonly string[];
}

/** One direction of checked frames. */
export class Flow {
  readonly source: FrameSource;
  readonly check: FrameCheck;

  constructor(lab: OneThreadLab, from: RunningGuest, to: RunningGuest, window: number) {
    this.check = new FrameCheck(lab.lab.memory, FLOWS, 1);
    const name = (guest: RunningGuest) => guest.plan.name as GuestName;
    this.source = new FrameSource(lab.lab.memory, from.domain.loop, from.guest.netfront, {
      endpoints: {
        sourceMac: bytesOf(MACS[name(from)]),
        destinationMac: bytesOf(MACS[name(to)]),
        sourceIp: Uint8Array.of(10, 77, 0, IPS[name(from)]),
        destinationIp: Uint8Array.of(10, 77, 0, IPS[name(to)]),
      },
      flows: FLOWS,
      sizes: SIZES,
      window,
      arrived: () => this.check.received,
    });
    this.check.onProgress = () => {
      this.source.resume();
    };
    to.stack.to = this.check;
  }

  result(): Check {
    return this.check.result(this.source.sent);
  }
}

/** The lab, with traffic. */
export class ThreeHosts {
  readonly flows: readonly [Flow, Flow];

  private constructor(
    readonly lab: OneThreadLab,
    window: number,
  ) {
    const a = this.guest('a');
    const b = this.guest('b');
    this.flows = [new Flow(lab, a, b, window), new Flow(lab, b, a, window)];
    for (const [guest, flow] of [
      [a, this.flows[0]],
      [b, this.flows[1]],
    ] as const) {
      guest.stack.onReady = () => {
        flow.source.resume();
      };
    }
  }

  static async start(options: LabOptions): Promise<ThreeHosts> {
    const { seed, window = 64, delayUs = 0, bitsPerSecond = 0, bufferPages = LIMITS.bufferPages } = options;
    const guest = (name: GuestName, accel: string, pages = LIMITS.bufferPages) => ({
      ...(name === 'a' && options.addresses !== undefined && { addresses: options.addresses }),
      name,
      mac: MACS[name],
      mtu: 1500,
      accel,
      queues: 1,
      limits: { ...LIMITS, bufferPages: pages },
    });
    const host = (name: string, guests: ReturnType<typeof guest>[]) => ({
      name,
      nic: { ports: ['eth0', 'eth1'], config: { ports: 2, mtu: 1500 } },
      bridged: ['eth0', 'eth1'],
      guests,
    });
    const settings = { delayUs, bitsPerSecond };
    const lab = await OneThreadLab.start({
      seed,
      pages: 32 * 1024,
      hosts: [
        host('alpha', [guest('a', 'eth0', bufferPages)]),
        host('beta', [guest('b', 'eth0')]),
        host('gamma', []),
      ],
      wires: [
        { ends: [[0, 0], [1, 0]], settings, mtu: 1500 }, // prettier-ignore
        { ends: [[1, 1], [2, 0]], settings, mtu: 1500 }, // prettier-ignore
      ],
      merging: false,
      pluginsFrom: HERE,
    });
    const three = new ThreeHosts(lab, window);
    await lab.lab.during(lab.host('alpha').driver.load('@netaccel/dummy-accel-backend'));
    await lab.lab.during(lab.host('beta').driver.load('./plugins/other-backend.mjs'));
    await lab.lab.runUntil(() => three.path('a') === 'live' && three.path('b') === 'live', 20_000);
    return three;
  }

  guest(name: GuestName): RunningGuest {
    for (const { guests } of this.lab.hosts.values()) {
      const guest = guests.get(name);
      if (guest !== undefined) return guest;
    }
    throw new Error(`no guest ${name}`);
  }

  /** Where a guest's accelerator stands. */
  path(name: GuestName): string {
    return this.guest(name).guest.netfront.state.accelerator;
  }

  /** The plugin that a guest has, or null. */
  plugin(name: GuestName): unknown {
    const slot = this.guest(name).guest.netfront.describe()['accelerator'] as {
      state: string;
      named: unknown;
    } | null;
    return slot?.state === 'live' ? slot.named : null;
  }

  /** Lets both directions send without end. */
  begin(): void {
    for (const { source } of this.flows) source.start(Number.MAX_SAFE_INTEGER / 2);
  }

  /** Runs until so many frames more have arrived in each direction. */
  async flow(frames: number): Promise<void> {
    const goals = this.flows.map(({ check }) => check.received + frames);
    const done = (): boolean => this.flows.every(({ check }, i) => check.received >= goals[i]!);
    await this.lab.lab.runUntil(done, 20_000);
  }

  /**
   * Runs until each direction keeps to one path: so many frames have come by the same one. What is promised about order
   * when a guest moves is promised to such flows (machine/migration.ts).
   */
  async calm(frames = 200): Promise<void> {
    const taken = (): number[] =>
      (['a', 'b'] as const).flatMap((name) => {
        const { accelerated, counters } = this.guest(name).guest.netfront.statistics();
        return [accelerated.rxFrames, counters.rxSlowFrames];
      });
    for (;;) {
      const before = taken();
      await this.flow(frames);
      const [aFast, aSlow, bFast, bSlow] = taken().map((n, i) => n - before[i]!);
      if (Math.min(aFast!, aSlow!) === 0 && Math.min(bFast!, bSlow!) === 0) return;
    }
  }

  /** Lets what is under way arrive; the outcome of both directions. */
  async settled(): Promise<Check[]> {
    for (const { source } of this.flows) source.pause();
    await this.lab.lab.settle(200);
    return this.flows.map((flow) => flow.result());
  }

  /** Takes it down; answers what any domain still holds. */
  async stop(): Promise<Record<string, unknown>> {
    for (const { source } of this.flows) source.stop();
    await this.lab.stop();
    await this.lab.lab.settle(100);
    const left: Record<string, unknown> = {};
    for (const { name, machine, driver } of this.lab.hosts.values()) {
      if (driver.framesLeft !== 0) left[`${name} frames`] = driver.framesLeft;
      for (let id = 0; id < 8; id++) {
        const domain = machine.domain(id);
        if (domain === undefined) continue;
        for (const [what, count] of Object.entries(domain.ledger()))
          if (count !== 0) left[`${name}/${id} ${what}`] = count;
      }
    }
    return left;
  }
}

/** What a check says when every frame arrived once and in order. */
export function perfect({ sent }: Check): Check {
  return { sent, received: sent, lost: 0, duplicated: 0, reordered: 0, corrupted: 0 };
}

function bytesOf(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => parseInt(byte, 16));
}
