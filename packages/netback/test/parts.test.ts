/** Parts that can be looked at alone. */
import { describe, expect, test } from 'vitest';
import { Frame, FramePool, FreeFrames } from '@netaccel/core-hooks';
import { Random, SimMachine } from '@netaccel/xen/sim';
import { Backlog } from '../src/backlog.js';
import { sumChain } from '../src/checksum.js';
import { flowHash } from '../src/flow.js';
import { Headers } from '../src/headers.js';
import { parseMac } from '../src/identity.js';
import { parseNumber } from '../src/keys.js';
import { checkLimits, defaultLimits } from '../src/limits.js';
import { Worker } from '@netaccel/xen';
import { build, locate } from './frames.js';
import { pattern } from './lab.js';

const SEEDS = [1, 2, 3, 4, 5];

describe('the backlog', () => {
  test.each(SEEDS)('is a queue, whatever the lengths; seed %i', (seed) => {
    const random = new Random(seed);
    const back = new SimMachine({ pages: 256, domains: 2 }).createDomain(0);
    const { memory } = back;
    const count = 7;
    const backlog = new Backlog(memory, back.pages, 8192, count);
    const address = back.pages.allocate(2);
    const frame = new FramePool(1, address, 8192).allocate()!;
    const model: Uint8Array[] = [];
    let refused = 0;
    for (let n = 0; n < 800; n++) {
      if (random.below(2) === 0) {
        const bytes = pattern(1 + random.below(random.below(4) === 0 ? 5000 : 300), n);
        memory.bytes.set(bytes, address);
        frame.describe(address, bytes.length);
        frame.tag = n;
        const refuses = backlog.refuses(bytes.length);
        if (backlog.push(frame, n)) {
          model.push(bytes);
          expect(refuses).toBe(false);
        } else {
          refused++;
          expect(backlog.refuses(bytes.length)).toBe(true);
          // Never when it is empty, and room that was given back is found again.
          expect(model.length).toBeGreaterThan(0);
        }
      } else if (backlog.length > 0) {
        const first = backlog.peek();
        const expected = model.shift()!;
        expect(memory.bytes.slice(first.address, first.address + first.length)).toEqual(expected);
        // Sometimes the bytes are needed a little longer.
        const held = random.below(2) === 0;
        if (held) first.hold();
        backlog.shift();
        if (held) first.release();
      }
      expect(backlog.length).toBe(model.length);
      expect(backlog.bytes).toBeLessThanOrEqual(8192);
    }
    expect(refused).toBeGreaterThan(0);
    while (backlog.length > 0) backlog.shift();
    expect(backlog.bytes).toBe(0);
    backlog.close();
    back.pages.free(address);
    expect(back.ledger().pages).toBe(0);
  });
});

describe('a worker', () => {
  const make = (step: () => Promise<void>, failed: (error: unknown) => boolean = () => false) => {
    const machine = new SimMachine({ pages: 64, domains: 2 });
    const domain = machine.createDomain(0);
    return { machine, domain, worker: new Worker(domain.loop, step, failed) };
  };
  const microtasks = async (n: number) => {
    for (let i = 0; i < n; i++) await Promise.resolve();
  };

  test('never overlaps itself, and makes one more pass for any number of wakes during one', async () => {
    let passes = 0;
    let inside = 0;
    const { worker } = make(async () => {
      passes++;
      expect(++inside).toBe(1);
      await microtasks(5);
      inside--;
    });
    for (let i = 0; i < 1000; i++) worker.wake();
    await microtasks(2);
    for (let i = 0; i < 1000; i++) worker.wake();
    await worker.rest();
    expect(passes).toBe(2);
  });

  test('loses no wake, at whatever moment it comes', async () => {
    for (let delay = 0; delay < 20; delay++) {
      let seen = 0;
      let truth = 1;
      const { worker } = make(async () => {
        const now = truth;
        await microtasks(3);
        seen = now;
      });
      worker.wake();
      await microtasks(delay);
      truth = 2;
      worker.wake();
      await worker.rest();
      expect({ delay, seen }).toEqual({ delay, seen: 2 });
    }
  });

  test('tries a failed pass again after a second, unless told not to', async () => {
    let passes = 0;
    let again = true;
    const { machine, domain, worker } = make(
      () => {
        passes++;
        return Promise.reject(new Error('no'));
      },
      () => again,
    );
    worker.wake();
    await machine.advance(3_500);
    expect(passes).toBe(4);
    again = false;
    await machine.advance(10_000);
    expect(passes).toBe(5);
    expect(domain.ledger().timers).toBe(0);
  });

  test('stops after the pass at hand, and releases who waits for one', async () => {
    let passes = 0;
    const { domain, worker } = make(async () => {
      passes++;
      await microtasks(3);
    });
    const first = worker.pass();
    const second = worker.pass();
    await worker.stop();
    await Promise.all([first, second, worker.pass()]);
    worker.wake();
    await worker.rest();
    expect(passes).toBe(1);
    expect(domain.ledger().timers).toBe(0);
  });
});

test.each(SEEDS)('a chain sums like one piece, at odd lengths and offsets too; seed %i', (seed) => {
  const random = new Random(seed);
  const back = new SimMachine({ pages: 64, domains: 2 }).createDomain(0);
  const { memory } = back;
  const address = back.pages.allocate(4);
  const bytes = pattern(900, seed);
  memory.bytes.set(bytes, address);
  const home = new FreeFrames();
  for (let n = 0; n < 200; n++) {
    let at = 0;
    let head: Frame | null = null;
    let last: Frame | null = null;
    while (at < 900) {
      const length = Math.min(random.below(200), 900 - at);
      const part = new Frame(home, 0, 0, 0);
      part.describe(address + at, length);
      at += length;
      if (last === null) head = part;
      else last.next = part;
      last = part;
    }
    const offset = random.below(900);
    const length = random.below(900 - offset);
    const [seen, expected] = [
      sumChain(memory, head!, offset, length, 0x1234),
      memory.sum(address + offset, length, 0x1234),
    ];
    expect({ n, sum: seen % 0xffff }).toEqual({ n, sum: expected % 0xffff });
  }
});

describe('headers', () => {
  const parse = (frame: Uint8Array, length = frame.length) => {
    const headers = new Headers();
    return headers.parse(frame, 0, length, frame.length) ? headers : null;
  };

  test('are found where they are', () => {
    for (const version of [4, 6] as const)
      for (const protocol of ['tcp', 'udp'] as const)
        for (const tags of [0, 1, 2])
          for (const ipOptions of [0, 8])
            for (const tcpOptions of [0, 12]) {
              const frame = build({ version, protocol, tags, ipOptions, tcpOptions, payload: pattern(50) });
              const { network, transport, payload, checksum } = locate(frame);
              expect(parse(frame)).toMatchObject({
                version,
                network,
                transport,
                payload,
                checksum,
                end: frame.length,
              });
            }
  });

  test('cut short anywhere are not found, and no byte behind the end is asked for', () => {
    for (const version of [4, 6] as const)
      for (const ipOptions of [0, 8]) {
        const frame = build({ version, ipOptions, tags: 1, tcpOptions: 8 });
        for (let length = 0; length < frame.length; length++) {
          const bytes = new Proxy(frame, {
            get: (target, key) => {
              if (typeof key === 'string' && Number(key) >= length)
                throw new Error(`byte ${key} of ${length}`);
              return Reflect.get(target, key) as unknown;
            },
          });
          expect(new Headers().parse(bytes, 0, length, length)).toBe(false);
        }
      }
  });

  test('that contradict themselves are refused', () => {
    const spoiled: Record<string, (frame: Uint8Array) => void> = {
      'another IP version': (frame) => (frame[14] = 0x55),
      'a header of less than five words': (frame) => (frame[14] = 0x44),
      'a header longer than the packet': (frame) => (frame[14] = 0x4f),
      'a packet longer than the frame': (frame) => (frame[17]! += 1),
      'a packet shorter than its headers': (frame) => (frame[17] = 30),
      'more fragments': (frame) => (frame[20] = 0x20),
      'a fragment offset': (frame) => (frame[21] = 1),
      'another protocol': (frame) => (frame[23] = 47),
      'a TCP header of less than five words': (frame) => (frame[46] = 0x40),
      'a TCP header longer than the packet': (frame) => (frame[46] = 0xf0),
      'another EtherType': (frame) => (frame[12] = 0x88),
      'too many tags': (frame) => frame.set([0x81, 0, 0, 0, 0x81, 0, 0, 0, 0x81, 0], 12),
    };
    expect(parse(build())).not.toBeNull();
    for (const [name, spoil] of Object.entries(spoiled)) {
      const frame = build();
      spoil(frame);
      expect({ name, found: parse(frame) !== null }).toEqual({ name, found: false });
    }
    // A chain of IPv6 extensions that leads out of the frame, or in circles of no length.
    for (const length of [0xff, 0]) {
      const frame = build({ version: 6, ipOptions: 8 });
      frame[54] = 60;
      frame[55] = length;
      expect(parse(frame)).toBeNull();
    }
  });
});

test('a flow has one queue: the parts that name it count, and nothing else', () => {
  const hash = (frame: Uint8Array) => flowHash(frame, 0, frame.length);
  for (const version of [4, 6] as const) {
    const one = hash(build({ version }));
    expect(hash(build({ version, payload: pattern(700), sequence: 99, tcpFlags: 2, id: 5 }))).toBe(one);
    expect(hash(build({ version, ports: [1001, 2000] }))).not.toBe(one);
    const udp = hash(build({ version, protocol: 'udp' }));
    expect(hash(build({ version, protocol: 'udp', ports: [9, 9] }))).toBe(udp);
  }
  const first = build({ protocol: 'udp', payload: pattern(100) });
  const later = first.slice();
  later[21] = 5;
  expect(hash(later)).toBe(hash(first));
  for (let length = 0; length < 60; length++)
    expect(flowHash(pattern(60), 0, length)).toBeGreaterThanOrEqual(0);
  for (const ports of [(i: number) => [1000 + i, 80], (i: number) => [80, 1000 + i]] as const) {
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 400; i++) counts[hash(build({ ports: ports(i) as [number, number] })) % 4]!++;
    for (const count of counts) expect(Math.abs(count - 100)).toBeLessThan(40);
  }
});

test('numbers and addresses are parsed strictly', () => {
  expect(parseNumber('0')).toBe(0);
  expect(parseNumber('4294967295')).toBe(0xffff_ffff);
  for (const text of [null, '', '4294967296', '-1', '1.5', '0x10', ' 1', '1 ', '99999999999'])
    expect(parseNumber(text)).toBeNull();
  expect([...parseMac('00:16:3E:0a:bb:ff')!]).toEqual([0, 0x16, 0x3e, 0x0a, 0xbb, 0xff]);
  for (const text of ['', '00:16:3e:0a:bb', '00:16:3e:0a:bb:ff:00', '0:16:3e:0a:bb:ff', '00-16-3e-0a-bb-ff'])
    expect(parseMac(text)).toBeNull();
});

test('limits that cannot be kept to are refused', () => {
  expect(checkLimits(defaultLimits)).toBe(defaultLimits);
  for (const [name, value] of [
    ['maxQueues', 0],
    ['smallBuffers', 1.5],
    ['stallTimeoutMs', -1],
    ['budget', NaN],
    ['backlogBytes', 65536 + 1],
    ['backlogBytes', 4096],
  ] as const)
    expect(() => checkLimits({ ...defaultLimits, [name]: value })).toThrow(name);
});
