/**
 * The two real drivers against each other: two guests, one driver domain, a wire between their backends. What no
 * package may test by itself, because neither driver may know the other.
 */
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import type { Frame, FrameSink } from '@netaccel/core-hooks';
import { Netback } from '@netaccel/netback';
import { Netfront } from '@netaccel/netfront';
import type { NetfrontOptions } from '@netaccel/netfront';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain } from '@netaccel/xen/sim';
import { describe, expect, test } from 'vitest';

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

class Stack implements FrameSink {
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

async function pair(seed: number, options: Partial<NetfrontOptions> = {}) {
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
    const back = new Netback({ domain: dom0, frontend: id, handle: 0, network });
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
  return { machine, run, left, right, end };
}

const NOISE = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31 + (i >>> 8) * 7) & 0xff);

function tcp(serial: number, length: number): Uint8Array {
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

describe.each([
  ['one queue', {}],
  ['one channel', { features: { splitChannels: false } }],
  ['three queues', { features: { queues: 3 } }],
  ['no scatter-gather', { features: { scatterGather: false } }],
  ['an untrusted backend', { features: { trusted: false } }],
] as [string, Partial<NetfrontOptions>][])('%s', (name, options) => {
  test.each([1, 2, 3])('thousands of frames, every size, both ways (seed %i)', async (seed) => {
    const { machine, left, right, end } = await pair(seed, options);
    const sizes = name === 'no scatter-gather' ? [60, 64, 65, 1514] : [60, 64, 65, 1514, 4096, 9000, 65000];
    const sent = [0, 0];
    for (let i = 0; i < 1200; i++) {
      for (const [n, { front, guest }] of [left, right].entries()) {
        const bytes = tcp(sent[n]!, sizes[(i + n) % sizes.length]!);
        const frame = front.allocate(bytes.length);
        if (frame === null) continue;
        guest.memory.bytes.set(bytes, frame.home);
        frame.describe(frame.home, bytes.length);
        frame.checksum = Checksum.good;
        if (front.startXmit(frame, i % 8 !== 7)) sent[n]!++;
        else frame.release();
      }
      machine.pump(6);
    }
    left.front.flush();
    right.front.flush();
    await machine.settle();
    for (const [n, { stack }] of [right, left].entries()) {
      const { counters } = (n === 0 ? left : right).front.statistics();
      expect(stack.seen.length).toBe(sent[n]! - counters.txDropped - counters.txErrors);
      expect(counters.txDropped + counters.txErrors).toBe(0);
      const serials = stack.seen.map(({ bytes }) => new DataView(bytes.buffer).getUint32(38));
      // One queue keeps the order of all; several that of each flow (the port says which).
      for (let flow = 0; flow < 7; flow++) {
        const own = serials.filter((serial) => serial % 7 === flow);
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
      const wrong = stack.seen.filter(
        ({ bytes }, i) => Buffer.compare(bytes, tcp(serials[i]!, bytes.length)) !== 0,
      );
      expect(wrong).toEqual([]);
      expect(sent[n]).toBeGreaterThan(200);
    }
    await end();
  });
});

test('a large segment with a blank checksum arrives as it was sent', async () => {
  const { machine, left, right, end } = await pair(1);
  const bytes = tcp(1, 60000);
  const frame = left.front.allocate(bytes.length)!;
  left.guest.memory.bytes.set(bytes, frame.home);
  frame.describe(frame.home, bytes.length);
  frame.checksum = Checksum.blank;
  frame.segmentation = Segmentation.tcpv4;
  frame.segmentBytes = 1448;
  expect(left.front.startXmit(frame, false)).toBe(true);
  await machine.settle();
  expect(right.stack.seen).toEqual([
    { bytes, checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1448 },
  ]);
  await end();
});

test.each([1, 2, 3, 4, 5, 6])(
  'reconnects: the frontend, and the backend, in turn (seed %i)',
  async (seed) => {
    const { machine, run, left, right, end } = await pair(seed);
    const ping = async (serial: number): Promise<void> => {
      const frame = left.front.allocate(64)!;
      left.guest.memory.bytes.set(tcp(serial, 64), frame.home);
      frame.describe(frame.home, 64);
      expect(left.front.startXmit(frame, false)).toBe(true);
      await machine.settle();
      expect(right.stack.seen.at(-1)?.bytes).toEqual(tcp(serial, 64));
    };
    await ping(1);
    await run(left.front.suspend());
    await run(left.front.resume());
    await machine.settle();
    await ping(2);
    // A frontend that begins anew without a word.
    const second = new Netfront({ domain: left.guest, handle: 0, stack: left.stack });
    await run(second.start());
    await run(second.stop());
    await machine.settle();
    expect(left.front.carrier).toBe(false);
    await run(left.front.stop());
    await run(left.front.start());
    await machine.settle();
    await ping(3);
    await end();
  },
);
