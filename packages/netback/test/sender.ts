/** A network that sends frames to a vif: chains at odd addresses, with every kind of metadata. */
import { Checksum, FramePool, PAGE_BYTES, Segmentation, releaseChain } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { expect } from 'vitest';
import { CLEAN_END, VifLab } from './lab.js';
import type { VifOptions } from './lab.js';
import type { FrontendOptions, Packet } from './scripted-frontend.js';

/** What is known of a frame besides its bytes. */
export interface Meta {
  checksum?: Checksum;
  segmentation?: Segmentation;
  segmentBytes?: number;
  /** Lengths of the chain's fragments; one when left out. */
  fragments?: readonly number[];
}

/** A received packet of one slot that says nothing besides its bytes. */
export const plain = { flags: 0, slots: 1, gso: null };

/** A vif and a pool of frames to send it. */
export class Sender {
  readonly pool: FramePool;
  private readonly address: number;

  constructor(readonly lab: VifLab) {
    this.address = lab.back.pages.allocate((40 * 0x10000) / PAGE_BYTES);
    this.pool = new FramePool(40, this.address, 0x10000);
  }

  static async make(frontend: FrontendOptions = {}, options: VifOptions = {}): Promise<Sender> {
    return new Sender(await VifLab.connected(options, frontend));
  }

  get queue() {
    return this.lab.frontend.queue;
  }

  frame(bytes: Uint8Array, meta: Meta = {}): Frame {
    const { memory } = this.lab.back;
    let head: Frame | null = null;
    let last: Frame | null = null;
    let at = 0;
    for (const length of meta.fragments ?? [bytes.length]) {
      const part = this.pool.allocate()!;
      // Odd addresses, so that nothing rests on alignment.
      part.describe(part.home + 1, length);
      memory.bytes.set(bytes.subarray(at, at + length), part.home + 1);
      at += length;
      if (last === null) head = part;
      else last.next = part;
      last = part;
    }
    head!.totalBytes = bytes.length;
    head!.checksum = meta.checksum ?? Checksum.unknown;
    head!.segmentation = meta.segmentation ?? Segmentation.none;
    head!.segmentBytes = meta.segmentBytes ?? 0;
    return head!;
  }

  /** Delivers without flushing; the frame is the driver's alone from then on. */
  deliver(bytes: Uint8Array, meta: Meta = {}): void {
    const frame = this.frame(bytes, meta);
    this.lab.netback.deliver(frame);
    releaseChain(frame);
  }

  async flush(): Promise<void> {
    this.lab.netback.flush();
    await this.lab.settle();
  }

  async send(bytes: Uint8Array, meta: Meta = {}): Promise<(Packet | { readonly error: number })[]> {
    this.deliver(bytes, meta);
    await this.flush();
    return this.queue.packets();
  }

  async post(count: number): Promise<void> {
    this.queue.post(count);
    await this.lab.settle();
  }

  async end(): Promise<void> {
    expect(this.pool.free).toBe(40);
    this.lab.back.pages.free(this.address);
    expect(await this.lab.end()).toEqual(CLEAN_END);
  }

  dropped(): [string, number][] {
    return Object.entries(this.lab.netback.statistics().rxDropped).filter(([, count]) => count > 0);
  }
}
