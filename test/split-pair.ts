/**
 * Two guests with the real netfront, a driver domain with the real netback for each, and a wire between the two
 * backends: what no package may put together by itself, because neither driver may know the other.
 */
import type { Frame, FrameSink } from '@netaccel/core-hooks';
import { Netback } from '@netaccel/netback';
import type { NetbackOptions } from '@netaccel/netback';
import { Netfront } from '@netaccel/netfront';
import type { NetfrontOptions } from '@netaccel/netfront';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain } from '@netaccel/xen/sim';
import { expect } from 'vitest';

const NOTHING_HELD = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };
const FIRST_INDEX = 0xffff_ffc0;

async function makeVif(dom0: SimDomain, guest: number): Promise<void> {
  const { store } = dom0;
  const front = `/local/domain/${guest}/device/vif/0`;
  const back = `/local/domain/0/backend/vif/${guest}/0`;
  const common = { handle: '0', mac: `00:16:3e:00:00:0${guest}`, state: '1' };
  await store.transaction(async (tx) => {
    const directory = async (path: string, owner: number, reader: number, values: Record<string, string>) => {
      const permissions = [
        { domid: owner, access: 'none' },
        { domid: reader, access: 'read' },
      ] as const;
      await store.mkdir(path, tx);
      await store.setPermissions(path, permissions, tx);
      for (const [key, value] of Object.entries(values)) {
        await store.write(`${path}/${key}`, value, tx);
        await store.setPermissions(`${path}/${key}`, permissions, tx);
      }
    };
    await directory(`/local/domain/${guest}/error`, guest, 0, {});
    await directory(front, guest, 0, { ...common, backend: back, 'backend-id': '0' });
    await directory(back, 0, guest, {
      ...common,
      frontend: front,
      'frontend-id': String(guest),
      online: '1',
    });
  });
}

/** Remembers what it was given. */
export class Stack implements FrameSink {
  readonly seen: { bytes: Uint8Array; checksum: number; segmentation: number; segmentBytes: number }[] = [];
  constructor(readonly domain: SimDomain) {}
  deliver(frame: Frame): void {
    const bytes = new Uint8Array(frame.totalBytes);
    let at = 0;
    for (let f: Frame | null = frame; f !== null; at += f.length, f = f.next)
      bytes.set(this.domain.memory.bytes.subarray(f.address, f.address + f.length), at);
    const { checksum, segmentation, segmentBytes } = frame;
    this.seen.push({ bytes, checksum, segmentation, segmentBytes });
  }
  flush(): void {}
}

/** Both sides, connected. */
export async function pair(
  seed: number,
  options: Partial<NetfrontOptions> = {},
  backend: Partial<NetbackOptions> = {},
) {
  const machine = new SimMachine({ seed, pages: 8192, audit: true });
  const dom0 = machine.createDomain(0);
  const run = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const done = () => (over = true);
    work.then(done, done);
    await machine.runUntil(() => over);
    return work;
  };
  const sides: { guest: SimDomain; back: Netback; stack: Stack; front: Netfront }[] = [];
  const wire: { a: Netback; b: Netback }[] = [];
  for (const id of [1, 2]) {
    const guest = machine.createDomain(id);
    await run(makeVif(dom0, id));
    const network: FrameSink = {
      deliver: (frame) => (id === 1 ? wire[0]!.b : wire[0]!.a).deliver(frame),
      flush: () => (id === 1 ? wire[0]!.b : wire[0]!.a).flush(),
    };
    const back = new Netback({ domain: dom0, frontend: id, handle: 0, network, ...backend });
    const stack = new Stack(guest);
    const front = new Netfront({ domain: guest, handle: 0, stack, firstIndex: FIRST_INDEX, ...options });
    sides.push({ guest, back, stack, front });
  }
  const [left, right] = sides as [(typeof sides)[0], (typeof sides)[0]];
  wire.push({ a: left.back, b: right.back });
  await run(Promise.all(sides.flatMap(({ back, front }) => [back.start(), front.start()])));
  await machine.settle(0);
  const end = async (): Promise<void> => {
    await run(Promise.all(sides.map(({ front }) => front.stop())));
    await run(Promise.all(sides.map(({ back }) => back.stop())));
    await machine.settle(0);
    for (const { guest } of sides) expect(guest.ledger()).toEqual(NOTHING_HELD);
    expect(dom0.ledger()).toEqual(NOTHING_HELD);
    expect(machine.audit.violations).toEqual([]);
  };
  return { machine, dom0, run, left, right, end };
}

const NOISE = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31 + (i >>> 8) * 7) & 0xff);

/** A TCP frame whose ports say the flow, and whose sequence number the serial. */
export function tcp(serial: number, length: number): Uint8Array {
  const bytes = NOISE.slice(serial % 251, (serial % 251) + length);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0x16, 0x3e, 0, 0, 2, 0, 0x16, 0x3e, 0, 0, 1, 0x08, 0x00, 0x45, 0]);
  view.setUint16(16, length - 14);
  view.setUint32(18, 0);
  bytes.set([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 22);
  view.setUint16(34, 40000 + (serial % 7));
  view.setUint16(36, 80);
  view.setUint32(38, serial);
  bytes[46] = 0x50;
  return bytes;
}
