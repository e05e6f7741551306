/** A frontend's end of the control ring, by hand. */
import type { SharedPages } from '@netaccel/core-hooks';
import { FrontRing, decode, encode, initialiseRing } from '@netaccel/xen';
import type { EventChannel } from '@netaccel/xen';
import { CONTROL_RING_SLOTS, controlRequest, controlResponse } from '@netaccel/xen/netif';
import { expect } from 'vitest';
import { CLEAN_END, VifLab } from './lab.js';
import type { VifOptions } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';

/** The guest's end of the control ring. */
export class Control {
  readonly page: SharedPages;
  readonly data: SharedPages;
  readonly ring: FrontRing;
  readonly channel: EventChannel;
  private nextId = 7;

  /** @param access what the backend may do with the page of data. */
  constructor(
    private readonly lab: VifLab,
    access: 'read' | 'write',
  ) {
    const { guest } = lab;
    this.page = guest.grants.share(0, 1, 'write');
    this.data = guest.grants.share(0, 1, access);
    initialiseRing(guest.memory, this.page.address, NEAR_WRAP);
    this.ring = new FrontRing(
      guest.memory,
      this.page.address,
      CONTROL_RING_SLOTS,
      controlRequest.size,
      NEAR_WRAP,
    );
    this.channel = guest.events.allocateUnbound(0, () => this.channel.unmask());
  }

  get keys(): Record<string, string> {
    return { 'ctrl-ring-ref': String(this.page.refs[0]), 'event-channel-ctrl': String(this.channel.port) };
  }

  get ref(): number {
    return this.data.refs[0]!;
  }

  write(bytes: Uint8Array): void {
    this.lab.guest.memory.bytes.set(bytes, this.data.address);
  }

  put(type: number, data0 = 0, data1 = 0, data2 = 0): number {
    const id = this.nextId++;
    this.lab.guest.memory.bytes.set(
      encode(controlRequest, { id, type, data0, data1, data2 }),
      this.ring.slot(this.ring.produced),
    );
    this.ring.produced = (this.ring.produced + 1) >>> 0;
    return id;
  }

  async publish(): Promise<Record<string, number>[]> {
    if (this.ring.publish()) this.channel.notify();
    await this.lab.settle();
    const out: Record<string, number>[] = [];
    for (let n = this.ring.available(); n > 0; n--) {
      const at = this.ring.slot(this.ring.consumed);
      out.push(
        decode(controlResponse, this.lab.guest.memory.bytes.slice(at, at + controlRequest.size)) as Record<
          string,
          number
        >,
      );
      this.ring.consumed = (this.ring.consumed + 1) >>> 0;
    }
    this.ring.arm();
    return out;
  }

  /** One request; its status, and its data when it succeeded. */
  async ask(type: number, ...data: number[]): Promise<{ status: number; data: number }> {
    const id = this.put(type, ...data);
    const [response, ...more] = await this.publish();
    expect(more).toEqual([]);
    expect(response).toMatchObject({ id, type });
    return { status: response!['status']!, data: response!['data']! };
  }

  release(): void {
    this.channel.close();
    expect(this.page.release() && this.data.release()).toBe(true);
  }

  static async make(
    queues = 4,
    access: 'read' | 'write' = 'read',
    options: VifOptions = {},
  ): Promise<{ lab: VifLab; control: Control }> {
    const lab = await VifLab.make({ pages: 2048, ...options });
    const control = new Control(lab, access);
    await lab.run(lab.netback.start());
    expect(await lab.key('feature-ctrl-ring')).toBe('1');
    await lab.run(lab.frontend.connect({ queues, pages: 16, keys: control.keys }));
    await lab.settle();
    return { lab, control };
  }
}

export async function end({ lab, control }: { lab: VifLab; control: Control }): Promise<void> {
  await lab.run(lab.netback.stop());
  control.release();
  expect(await lab.end()).toEqual(CLEAN_END);
}
