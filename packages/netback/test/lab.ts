/**
 * One vif in a one-thread machine: a toolstack that writes its keys, the real Netback, a scripted frontend, and
 * a network that remembers what it was given.
 */
import { releaseChain, holdChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { XenbusState, parseState } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain, SimMachineOptions } from '@netaccel/xen/sim';
import { Netback } from '../src/index.js';
import type { NetbackOptions } from '../src/index.js';
import { ScriptedFrontend } from './scripted-frontend.js';
import type { FrontendOptions } from './scripted-frontend.js';

export const NOTHING_HELD = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };

export interface SeenFrame {
  readonly bytes: Uint8Array;
  readonly checksum: number;
  readonly segmentation: number;
  readonly segmentBytes: number;
  /** Deliveries since the last flush when it came. */
  readonly inBatch: number;
}

/** Remembers frames; can hold them, and can do something at each delivery or flush. */
export class RecordingNetwork implements FrameSink {
  readonly frames: SeenFrame[] = [];
  flushes = 0;
  holding = false;
  readonly held: Frame[] = [];
  onDeliver: (frame: Frame) => void = () => undefined;
  onFlush: () => void = () => undefined;
  private inBatch = 0;

  constructor(private readonly memory: Memory) {}

  deliver(frame: Frame): void {
    this.frames.push({
      bytes: this.memory.bytes.slice(frame.address, frame.address + frame.length),
      checksum: frame.checksum,
      segmentation: frame.segmentation,
      segmentBytes: frame.segmentBytes,
      inBatch: this.inBatch++,
    });
    if (frame.next !== null || frame.length !== frame.totalBytes) throw new Error('not in one piece');
    this.onDeliver(frame);
    if (this.holding) {
      holdChain(frame);
      this.held.push(frame);
    }
  }

  flush(): void {
    this.flushes++;
    this.inBatch = 0;
    this.onFlush();
  }

  releaseHeld(): void {
    for (const frame of this.held.splice(0)) releaseChain(frame);
  }
}

export interface VifOptions extends Omit<SimMachineOptions, 'lab'> {
  readonly netback?: Partial<NetbackOptions>;
  /** Keys that the toolstack writes into the backend directory besides. */
  readonly backendKeys?: Readonly<Record<string, string>>;
  readonly machine?: SimMachine;
  readonly guestId?: number;
  readonly handle?: number;
}

/** The toolstack's part of making a vif: both directories with their permissions, in one transaction. */
export async function makeVif(
  dom0: SimDomain,
  backend: number,
  guest: number,
  handle: number,
  keys: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { store } = dom0;
  const frontPath = `/local/domain/${guest}/device/vif/${handle}`;
  const backPath = `/local/domain/${backend}/backend/vif/${guest}/${handle}`;
  await store.transaction(async (transaction) => {
    const directory = async (path: string, owner: number, reader: number, values: Record<string, string>) => {
      const permissions = [
        { domid: owner, access: 'none' },
        { domid: reader, access: 'read' },
      ] as const;
      await store.mkdir(path, transaction);
      await store.setPermissions(path, permissions, transaction);
      for (const [key, value] of Object.entries(values)) {
        await store.write(`${path}/${key}`, value, transaction);
        await store.setPermissions(`${path}/${key}`, permissions, transaction);
      }
    };
    await directory(frontPath, guest, backend, {
      backend: backPath,
      'backend-id': String(backend),
      handle: String(handle),
      mac: `00:16:3e:00:00:${guest.toString(16).padStart(2, '0')}`,
      state: '1',
    });
    await directory(backPath, backend, guest, {
      frontend: frontPath,
      'frontend-id': String(guest),
      online: '1',
      handle: String(handle),
      mac: `00:16:3e:00:00:${guest.toString(16).padStart(2, '0')}`,
      state: '1',
      ...keys,
    });
  });
}

/** A vif and all around it. */
export class VifLab {
  readonly network: RecordingNetwork;
  readonly netback: Netback;
  readonly frontend: ScriptedFrontend;
  readonly backPath: string;
  readonly states: string[] = [];
  gone = 0;

  constructor(
    readonly machine: SimMachine,
    readonly back: SimDomain,
    readonly guest: SimDomain,
    handle: number,
    options: VifOptions,
  ) {
    this.network = new RecordingNetwork(back.memory);
    this.frontend = new ScriptedFrontend(guest, back.id, handle);
    this.backPath = `/local/domain/${back.id}/backend/vif/${guest.id}/${handle}`;
    this.netback = new Netback({
      domain: back,
      frontend: guest.id,
      handle,
      network: this.network,
      onState: (state) => this.states.push(state),
      onGone: () => this.gone++,
      ...options.netback,
    });
  }

  static async make(options: VifOptions = {}): Promise<VifLab> {
    const machine = options.machine ?? new SimMachine({ audit: true, pages: 2048, domains: 4, ...options });
    const back = machine.domain(0) ?? machine.createDomain(0);
    const guest = machine.createDomain(options.guestId ?? 1);
    const handle = options.handle ?? 0;
    const lab = new VifLab(machine, back, guest, handle, options);
    await lab.run(makeVif(back, back.id, guest.id, handle, options.backendKeys));
    return lab;
  }

  /** Made, started and connected. */
  static async connected(options: VifOptions = {}, frontend: FrontendOptions = {}): Promise<VifLab> {
    const lab = await VifLab.make(options);
    await lab.run(lab.netback.start());
    await lab.run(lab.frontend.connect(frontend));
    await lab.settle();
    const state = await lab.backState();
    if (state !== XenbusState.Connected)
      throw new Error(`not connected: ${JSON.stringify(lab.netback.describe())}`);
    return lab;
  }

  /** Runs the machine until `work` is done. */
  async run<T>(work: Promise<T>, withinMs?: number): Promise<T> {
    let over = false;
    const done = () => {
      over = true;
    };
    work.then(done, done);
    await this.machine.runUntil(() => over, withinMs);
    return work;
  }

  /** Runs until nothing can run without the clock going on. */
  settle(): Promise<void> {
    return this.machine.settle(0);
  }

  async backState(): Promise<XenbusStateValue> {
    return parseState(await this.run(this.back.store.readOptional(`${this.backPath}/state`)));
  }

  key(name: string): Promise<string | null> {
    return this.run(this.back.store.readOptional(`${this.backPath}/${name}`));
  }

  /** Publishes what the guest wrote on its first transmit ring and answers the responses. */
  async exchange(): Promise<{ id: number; status: number }[]> {
    this.frontend.queue.publish();
    await this.settle();
    return this.frontend.queue.responses();
  }

  /** Every queue of the guest sends a frame; each comes to the network, and is answered. */
  async talks(): Promise<boolean> {
    for (const queue of this.frontend.queues) {
      const before = this.network.frames.length;
      queue.packet(pattern(60));
      queue.publish();
      await this.settle();
      if (queue.responses().length !== 1 || this.network.frames.length !== before + 1) return false;
    }
    return true;
  }

  /** Stops the backend; afterwards both ledgers must show nothing. */
  async end(): Promise<{ back: object; guest: object; violations: readonly string[] }> {
    await this.run(this.netback.stop());
    this.frontend.release();
    await this.settle();
    return {
      back: this.back.ledger(),
      guest: this.guest.ledger(),
      violations: this.machine.audit.violations,
    };
  }
}

export const CLEAN_END = { back: NOTHING_HELD, guest: NOTHING_HELD, violations: [] };

/** `length` bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) * 7 + seed * 13 + 5) & 0xff);
}
