// Two and four guests, each a real thread, drive the same two NICs at once over one shared WebAssembly memory.
import { Worker } from 'node:worker_threads';
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { Nic, Wire, nicStateBytes, wireStateBytes } from '../src/model/index.js';
import { macOf } from './frames.js';
import { PlainMemory } from './memory.js';

// @types/node declares WebAssembly only as far as it uses it.
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => {
    buffer: SharedArrayBuffer;
  };
};

interface Result {
  sent: number;
  received: number;
  sleeps: number;
  timeouts: number;
  wakes: number;
  bad: number;
}

async function run(pairs: number, frames: number, startIndex: number): Promise<Result[]> {
  const { buffer } = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
  const memory = new PlainMemory(buffer);
  let next = PAGE_BYTES;
  const take = (bytes: number): number => {
    const at = next;
    next += Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    return at;
  };
  const pages = (at: number, bytes: number) =>
    Array.from({ length: Math.ceil(bytes / PAGE_BYTES) }, (_, i) => at + i * PAGE_BYTES);
  const config = { vis: 4, bufferPages: 1024, filters: 16, sets: 0 };
  const options = { interrupt: () => undefined };
  const places = [take(nicStateBytes(config)), take(nicStateBytes(config))];
  const [a, b] = places.map((at) => Nic.create(memory, at, options, config)) as [Nic, Nic];
  const wire = take(wireStateBytes());
  Wire.create(memory, wire, { nic: a, port: 0 }, { nic: b, port: 0 });
  const flags = take(PAGE_BYTES);
  const guests = Array.from({ length: pairs * 2 }, (_, me) => {
    const control = (me % 2 === 0 ? a : b).control(0);
    const rings = {
      transmitRing: take(128 * 16),
      transmitCapacity: 128,
      receiveRing: take(512 * 8),
      receiveCapacity: 512,
      eventQueue: take(1024 * 16),
      eventCapacity: 1024,
      startIndex,
    };
    const registerPage = take(PAGE_BYTES);
    const id = control.allocateVi({
      owner: me + 1,
      transmitPages: pages(rings.transmitRing, 128 * 16),
      transmitCapacity: 128,
      receivePages: pages(rings.receiveRing, 512 * 8),
      receiveCapacity: 512,
      eventPages: pages(rings.eventQueue, 1024 * 16),
      eventCapacity: 1024,
      registerPage,
      vector: me,
      antiSpoof: { mac: macOf(10 + me) },
      startIndex,
    });
    control.addFilter(id, { kind: 'mac', mac: macOf(10 + me) });
    const receiveAddress = take(512 * 2048);
    const transmitAddress = take(64 * 2048);
    return {
      control,
      id,
      place: {
        nic: me % 2,
        registerPage,
        rings,
        vector: me,
        from: macOf(10 + me),
        to: macOf(10 + (me ^ 1)),
        receiveAddress,
        receiveBus: control.registerBuffers(id, pages(receiveAddress, 512 * 2048)),
        transmitAddress,
        transmitBus: control.registerBuffers(id, pages(transmitAddress, 64 * 2048)),
      },
    };
  });
  const results = await Promise.all(
    guests.map(
      ({ place }, me) =>
        new Promise<Result>((resolve, reject) => {
          const workerData = {
            buffer,
            nics: places,
            wire,
            me,
            guests: guests.length,
            vi: place,
            frames,
            window: 256,
            flags,
          };
          const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    ),
  );
  for (const { control, id } of guests) {
    expect(control.viStatistics(id)).toMatchObject({
      rxNoDescriptor: 0,
      rxNoEventSpace: 0,
      rxChanged: 0,
      txSpoofed: 0,
      txErrors: 0,
    });
  }
  return results;
}

describe('guests in threads of their own', () => {
  it.each([
    ['two', 1, 40_000],
    ['four', 2, 15_000],
  ])(
    '%s send and receive at once, in order, asleep when idle, and lose nothing',
    async (_name, pairs, frames) => {
      for (const result of await run(pairs, frames, 2 ** 32 - 1000))
        expect(result).toMatchObject({ sent: frames, received: frames, timeouts: 0, bad: 0 });
    },
    60_000,
  );
});
