/**
 * One vif in a one-thread machine: a toolstack that writes its keys, a scripted backend, the real Netfront, and
 * a stack that remembers what it was given.
 */
import { expect } from 'vitest';
import { holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain, SimMachineOptions } from '@netaccel/xen/sim';
import { Netfront } from '../src/index.js';
import type { NetfrontOptions } from '../src/index.js';
import { ScriptedBackend } from './scripted-backend.js';

export const NOTHING_HELD = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };
export const CLEAN_END = { guest: NOTHING_HELD, back: NOTHING_HELD, violations: [] };
/** Rings begin here, so that every index wraps within the first hundred slots. */
export const NEAR_WRAP = 0xffff_ffc0;

export interface SeenFrame {
  readonly bytes: Uint8Array;
  readonly checksum: number;
  readonly segmentation: number;
  readonly segmentBytes: number;
  readonly fragments: number;
}

/** Remembers frames; can hold them, and can do something at each delivery or flush. */
export class RecordingStack implements FrameSink {
  readonly frames: SeenFrame[] = [];
  readonly held: Frame[] = [];
  flushes = 0;
  ready = 0;
  holding = false;
  onDeliver: (frame: Frame) => void = () => undefined;
  onReady: () => void = () => undefined;

  constructor(readonly memory: Memory) {}

  deliver(frame: Frame): void {
    const parts: number[] = [];
    let fragments = 0;
    for (let f: Frame | null = frame; f !== null; f = f.next) {
      parts.push(...this.memory.bytes.subarray(f.address, f.address + f.length));
      fragments++;
    }
    if (parts.length !== frame.totalBytes)
      throw new Error(`totalBytes ${frame.totalBytes}, chain ${parts.length}`);
    this.frames.push({
      bytes: Uint8Array.from(parts),
      checksum: frame.checksum,
      segmentation: frame.segmentation,
      segmentBytes: frame.segmentBytes,
      fragments,
    });
    this.onDeliver(frame);
    if (this.holding) {
      holdChain(frame);
      this.held.push(frame);
    }
  }

  flush(): void {
    this.flushes++;
  }

  releaseHeld(): void {
    for (const frame of this.held.splice(0)) releaseChain(frame);
  }
}

export interface VifOptions extends Omit<SimMachineOptions, 'lab'> {
  readonly netfront?: Partial<NetfrontOptions>;
  /** Keys that the toolstack writes into the frontend directory besides; null leaves one out. */
  readonly frontendKeys?: Readonly<Record<string, string | null>>;
  /** What the backend offers; see `MODERN_BACKEND`. */
  readonly offers?: Readonly<Record<string, string | null>>;
}

/** The toolstack's part of making a vif: both directories with their permissions. */
export async function makeVif(
  dom0: SimDomain,
  backend: number,
  guest: number,
  handle: number,
  keys: Readonly<Record<string, string | null>> = {},
): Promise<void> {
  const { store } = dom0;
  const frontPath = `/local/domain/${guest}/device/vif/${handle}`;
  const backPath = `/local/domain/${backend}/backend/vif/${guest}/${handle}`;
  const mac = `00:16:3e:00:00:${guest.toString(16).padStart(2, '0')}`;
  await store.transaction(async (transaction) => {
    const directory = async (
      path: string,
      owner: number,
      reader: number,
      values: Readonly<Record<string, string | null>>,
    ) => {
      const permissions = [
        { domid: owner, access: 'none' },
        { domid: reader, access: 'read' },
      ] as const;
      await store.mkdir(path, transaction);
      await store.setPermissions(path, permissions, transaction);
      for (const [key, value] of Object.entries(values)) {
        if (value === null) continue;
        await store.write(`${path}/${key}`, value, transaction);
        await store.setPermissions(`${path}/${key}`, permissions, transaction);
      }
    };
    const both = { handle: String(handle), mac, state: '1' };
    await directory(`/local/domain/${guest}/error`, guest, backend, {});
    await directory(frontPath, guest, backend, {
      backend: backPath,
      'backend-id': String(backend),
      ...both,
      ...keys,
    });
    await directory(backPath, backend, guest, {
      frontend: frontPath,
      'frontend-id': String(guest),
      online: '1',
      ...both,
    });
  });
}

/** What tests read of a connection's description. */
export interface DescribedConnection {
  readonly polls: number;
  readonly freeBuffers: { readonly small: number; readonly large: number };
  readonly queues: readonly { readonly receive: { readonly target: number; readonly heldPages: number } }[];
}

/** A vif and all around it. */
export class VifLab {
  readonly stack: RecordingStack;
  readonly front: Netfront;
  readonly states: string[] = [];
  readonly frontPath: string;

  private constructor(
    readonly machine: SimMachine,
    readonly guest: SimDomain,
    readonly back: SimDomain,
    readonly backend: ScriptedBackend,
    options: VifOptions,
  ) {
    this.stack = new RecordingStack(guest.memory);
    this.frontPath = `/local/domain/${guest.id}/device/vif/0`;
    this.front = new Netfront({
      domain: guest,
      handle: 0,
      stack: this.stack,
      firstIndex: NEAR_WRAP,
      onReady: () => {
        this.stack.ready++;
        this.stack.onReady();
      },
      onState: ({ frontend, backend: other, accelerator }) => {
        const line = `${frontend}/${other} ${accelerator}`;
        if (this.states.at(-1) !== line) this.states.push(line);
      },
      ...options.netfront,
    });
  }

  /** Directories are there; the backend is in Initialising and does nothing. */
  static async make(options: VifOptions = {}): Promise<VifLab> {
    const machine = new SimMachine({ audit: true, pages: 4096, ...options });
    const back = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const backend = new ScriptedBackend(back, guest.id, 0, options.offers ?? {});
    const lab = new VifLab(machine, guest, back, backend, options);
    await lab.run(makeVif(back, back.id, guest.id, 0, options.frontendKeys));
    return lab;
  }

  /** Connected, with a backend that follows the handshake by itself. */
  static async connected(options: VifOptions = {}): Promise<VifLab> {
    const lab = await VifLab.make(options);
    await lab.run(lab.backend.start());
    await lab.run(lab.front.start());
    await lab.settle();
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

  /** What `describe` says of the connection. */
  get connection(): DescribedConnection {
    return (this.front.describe() as { connection: DescribedConnection }).connection;
  }

  key(name: string): Promise<string | null> {
    return this.run(this.back.store.readOptional(`${this.frontPath}/${name}`));
  }

  /** A frame with these bytes in a transmit buffer. */
  frame(bytes: Uint8Array): Frame {
    const frame = this.front.allocate(bytes.length);
    if (frame === null) throw new Error('no transmit buffer');
    this.guest.memory.bytes.set(bytes, frame.home);
    frame.describe(frame.home, bytes.length);
    return frame;
  }

  /** Sends one frame, all at once. */
  send(bytes: Uint8Array, more = false): boolean {
    const frame = this.frame(bytes);
    const taken = this.front.startXmit(frame, more);
    if (!taken) frame.release();
    return taken;
  }

  /** The backend publishes these receive responses, whatever they say. */
  async put(...responses: Parameters<ScriptedBackend['queue']['raw']>[0][]): Promise<void> {
    for (const response of responses) this.backend.queue.raw(response);
    this.backend.queue.publishRx();
    await this.settle();
  }

  /** Stops the device; afterwards both ledgers must show nothing. */
  async end(): Promise<{ guest: object; back: object; violations: readonly string[] }> {
    this.stack.releaseHeld();
    await this.run(this.front.stop());
    await this.run(this.backend.stop());
    await this.settle();
    return {
      guest: this.guest.ledger(),
      back: this.back.ledger(),
      violations: this.machine.audit.violations,
    };
  }
}

/** The device still works, and takes nothing of what came before for part of this; then it ends, and nothing is left. */
export async function stillWorks(lab: VifLab): Promise<void> {
  const before = lab.stack.frames.length;
  expect(lab.backend.queue.put(pattern(100, 9))).toBe(true);
  lab.backend.queue.publishRx();
  await lab.settle();
  expect(lab.stack.frames.slice(before).map((f) => f.bytes)).toEqual([pattern(100, 9)]);
  expect(await lab.end()).toEqual(CLEAN_END);
}

/** `length` bytes that differ from place to place and from seed to seed. */
export function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) * 7 + seed * 13 + 5) & 0xff);
}

/** An Ethernet, IPv4 and TCP frame: `flow` chooses its ports, `serial` its first payload word. */
export function tcpFrame(flow: number, serial: number, length = 64): Uint8Array {
  const bytes = pattern(length, serial);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0x16, 0x3e, 0, 0, 2, 0, 0x16, 0x3e, 0, 0, 1, 0x08, 0x00, 0x45, 0]);
  view.setUint16(16, length - 14);
  view.setUint32(18, 0);
  bytes.set([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 22);
  view.setUint16(34, 40000 + flow);
  view.setUint16(36, 80);
  bytes[46] = 0x50;
  view.setUint32(54, flow);
  view.setUint32(58, serial);
  return bytes;
}

/** Flow and serial of a frame that `tcpFrame` made. */
export function serialOf(bytes: Uint8Array): { flow: number; serial: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { flow: view.getUint32(54), serial: view.getUint32(58) };
}
