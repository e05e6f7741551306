// The driver domain's half that plugins share (ViBackend, ViServer, GuestVi): a guest by the book, guests that ask in
// another order or lie in a field, services that fail at each call, and an end at each step. Nothing is ever left.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { MailboxReply, ReceiveFence } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import {
  CONTROL_VERSIONS,
  ControlMessage,
  MAX_MISTAKES,
  ViBackend,
  decodeBuffersReply,
  decodeFence,
  decodeHandover,
  decodeHello,
  encodeBuffers,
  encodeHello,
  encodeRings,
} from '../src/index.js';
import type { FilterId, RingsMessage, ViId, ViSteering } from '../src/index.js';
import { FakeHost, announcement, frameOf, macOf } from '../src/testing/index.js';
import type { HostOptions } from '../src/testing/index.js';

const empty = { shares: 0, maps: 0, ports: 0, subscriptions: 0, timers: 0, vis: 0 };
const nothing = new Uint8Array(0);
const { hello, rings, buffers, start, quiesce, open } = ControlMessage;

/** Leads everything to the guest, and says what it did. */
class Steering implements ViSteering {
  readonly calls: string[] = [];
  fence: () => Promise<ReceiveFence> = () => Promise.resolve([7]);
  private filter: FilterId | null = null;

  constructor(private readonly host: FakeHost) {}

  async start(vi: ViId): Promise<ReceiveFence> {
    this.calls.push('start');
    this.filter = this.host.control.addFilter(vi, { kind: 'mac', mac: macOf(0xa) });
    return this.fence();
  }

  stop(live: boolean): void {
    this.calls.push(`stop ${live ? 'live' : 'forgotten'}`);
    if (this.filter !== null && live) this.host.control.removeFilter(this.filter);
    this.filter = null;
  }

  describe(): Readonly<Record<string, unknown>> {
    return { filter: this.filter };
  }
}

function made(options: HostOptions = {}, maxReceivePages?: number) {
  const host = new FakeHost(options);
  const steering = new Steering(host);
  const backend = new ViBackend(host.services, host.control, steering, maxReceivePages);
  host.guest.handle(open, () => ({ ok: true, payload: nothing }));
  for (const type of [ControlMessage.localAddress, ControlMessage.remoteAddress])
    host.guest.handle(type, () => ({ ok: true, payload: nothing }));
  return { host, steering, backend };
}

type Ask = (host: FakeHost) => Promise<MailboxReply>;
const steps: readonly [string, Ask][] = [
  ['hello', (host) => host.hello()],
  ['rings', (host) => host.rings()],
  ['buffers', (host) => host.buffers(4)],
  ['start', (host) => host.guest.request(start, nothing)],
  ['quiesce', (host) => host.guest.request(quiesce, nothing)],
];

/** Makes a guest's half come as far as the step before `to`. */
async function upTo(host: FakeHost, to: string): Promise<void> {
  for (const [name, ask] of steps) {
    if (name === to) return;
    expect((await ask(host)).ok).toBe(true);
    await host.settle();
  }
}

describe('the shared backend half, with a guest by the book', () => {
  it('grants, makes a VI, registers, leads frames there and says behind which fence', async () => {
    const { host, steering, backend } = made();
    const welcome = decodeHello((await host.hello(8)).payload);
    expect(welcome).toMatchObject({
      oldest: CONTROL_VERSIONS.newest,
      newest: CONTROL_VERSIONS.newest,
      bufferPages: 8,
    });
    const handover = decodeHandover((await host.rings()).payload);
    expect(handover).toMatchObject({
      mtu: 1500,
      maxFilters: 8,
      mac: macOf(0xa),
      generation: host.control.generation,
    });
    expect(host.ledger()).toMatchObject({ vis: 1, ports: 2, maps: 3, shares: 1 });
    expect((await host.buffers(8)).ok).toBe(true);
    expect(steering.calls).toEqual([]);
    expect((await host.guest.request(start, nothing)).ok).toBe(true);
    await host.settle();
    expect(steering.calls).toEqual(['start']);
    expect(host.told(open).map((payload) => decodeFence(payload))).toEqual([[7]]);
    expect(backend.describe()).toMatchObject({
      step: 'started',
      vi: { number: handover.vi },
      pages: { granted: 8, receive: 8, transmit: 0 },
      peer: { mistakes: 0 },
    });
    expect((await host.guest.request(quiesce, nothing)).ok).toBe(true);
    expect(steering.calls).toEqual(['start', 'stop live']);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
    expect(host.failures).toEqual([]);
  });

  it('tells who is across the wire and who is here, and neither before the guest is ready', async () => {
    const { host, backend } = made();
    host.arrive(frameOf({ from: macOf(0xb) }));
    await upTo(host, 'quiesce');
    expect(host.told(ControlMessage.remoteAddress)).toEqual([]);
    host.arrive(frameOf({ from: macOf(0xb) }));
    host.arrive(frameOf({ to: macOf(0xe), from: macOf(0xc) })); // for somebody else
    host.arrive(announcement(macOf(0xd)));
    host.leave(frameOf({ from: macOf(0xe) }));
    await host.settle();
    expect(host.told(ControlMessage.remoteAddress).map((payload) => payload[5])).toEqual([0xb, 0xd]);
    expect(host.told(ControlMessage.localAddress).map((payload) => payload[5])).toEqual([0xe]);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it('registers in chunks up to the quota; what is too much, or fails, undoes its own chunk alone', async () => {
    const { host, backend } = made({ limits: { maxBufferPages: 60 } }, 40);
    expect(decodeHello((await host.hello(100)).payload).bufferPages).toBe(40);
    await host.rings();
    const maps = (): number => host.ledger().maps;
    const before = maps();
    const chunk = async (pages: number, writable = true): Promise<number | null> => {
      const { ok, payload } = await host.buffers(pages, writable);
      return ok ? decodeBuffersReply(payload).bus : null;
    };
    const first = await chunk(24);
    expect(first).not.toBeNull();
    host.failing = 'map';
    expect(await chunk(16)).toBeNull();
    expect(maps()).toBe(before + 1);
    const second = await chunk(16);
    expect(second).not.toBe(first);
    expect(await chunk(1)).toBeNull(); // 40 are granted
    expect(await chunk(24, false)).not.toBeNull(); // to send from
    expect(maps()).toBe(before + 3);
    expect(backend.describe()).toMatchObject({ pages: { granted: 40, receive: 40, transmit: 24 } });
    const { number } = backend.describe()['vi'] as { number: number };
    expect(host.control.describeVi(number)).toMatchObject({ buffers: 64 });
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });
});

describe('a guest that lies', () => {
  const usual = (host: FakeHost): RingsMessage => ({
    transmitRefs: host.grant(1),
    receiveRefs: host.grant(1),
    eventRefs: host.grant(2),
    transmitCapacity: 64,
    receiveCapacity: 64,
    eventCapacity: 256,
  });
  it.each<[string, (host: FakeHost) => Partial<RingsMessage>]>([
    ['a capacity that is no power of two', () => ({ transmitCapacity: 65 })],
    ['a ring of nothing', () => ({ receiveCapacity: 0 })],
    ['a queue of nothing', () => ({ eventCapacity: 0 })],
    ['more descriptors than its pages hold', () => ({ receiveCapacity: 1024 })],
    ['more events than its pages hold', () => ({ eventCapacity: 8192 })],
    ['no page', () => ({ transmitRefs: new Uint32Array(0) })],
    ['a page that it did not grant', () => ({ receiveRefs: Uint32Array.of(4000) })],
    ['a page that is granted for reading', (host) => ({ eventRefs: host.grant(2, 'read') })],
    ['no reference', () => ({ transmitRefs: Uint32Array.of(0) })],
  ])('asks for rings of %s: refused, nothing is held, and it may ask again', async (_what, lie) => {
    const { host, backend } = made();
    await host.hello();
    const before = host.ledger();
    const bytes = encodeRings({ ...usual(host), ...lie(host) });
    expect((await host.guest.request(rings, bytes)).ok).toBe(false);
    expect(host.ledger()).toEqual(before);
    expect(backend.describe()).toMatchObject({ step: 'rings', peer: { mistakes: 1 } });
    expect((await host.rings()).ok).toBe(true);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it.each<[string, number, Uint8Array]>([
    ['hello', hello, nothing],
    ['hello', hello, encodeHello({ oldest: 9, newest: 9, features: 0, bufferPages: 1 })],
    ['hello', hello, encodeHello({ oldest: 2, newest: 1, features: 0, bufferPages: 1 })],
    ['rings', rings, nothing],
    ['rings', rings, new Uint8Array(112).fill(0xff)],
    ['buffers', buffers, nothing],
    ['buffers', buffers, new Uint8Array(112).fill(0xff)],
    ['buffers', buffers, encodeBuffers({ cookie: 0, writable: true, refs: Uint32Array.of(0, 4095) })],
  ])('answers %s with message %i of bytes that cannot be: refused and counted', async (step, type, bytes) => {
    const { host, backend } = made();
    await upTo(host, step);
    const before = host.ledger();
    expect((await host.guest.request(type, bytes)).ok).toBe(false);
    expect(host.ledger()).toEqual(before);
    expect(backend.describe()).toMatchObject({ peer: { mistakes: 1 } });
    expect(host.failures).toEqual([]);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it.each(
    steps.flatMap(([at]) => steps.filter(([name]) => name !== at).map(([name]) => [at, name] as const)),
  )('at step %s it asks for %s: given up, and nothing is left', async (at, asked) => {
    // Buffers may come again, and need not come at all.
    if (asked === 'buffers' && at === 'start') return;
    if (asked === 'start' && at === 'buffers') return;
    const { host, backend } = made();
    await upTo(host, at);
    const { ok } = await steps.find(([name]) => name === asked)![1](host);
    await host.settle();
    expect(ok).toBe(false);
    expect(host.failures).toHaveLength(1);
    expect(host.failures[0]).toContain('of the set-up at step');
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it('makes mistake after mistake: given up once', async () => {
    const { host, backend } = made();
    for (let i = 0; i < 2 * MAX_MISTAKES; i++) await host.guest.request(hello, nothing);
    expect(host.failures).toEqual([expect.stringMatching(/more than 16 mistakes, the last: message/)]);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });
});

describe('the shared backend half, when something fails', () => {
  it.each(['map', 'share', 'events.open'])(
    '%s fails at each of its calls: rings are refused, nothing is held',
    async (what) => {
      for (let calls = 1; ; calls++) {
        const { host, backend } = made();
        await host.hello();
        const before = host.ledger();
        let n = 0;
        const fail = host.fail.bind(host);
        host.fail = (name) => {
          if (name === what && ++n === calls) host.failing = what;
          fail(name);
        };
        const { ok } = await host.rings();
        if (!ok) expect(host.ledger()).toEqual(before);
        await host.remove(backend);
        expect(host.ledger()).toEqual(empty);
        if (ok) break;
        expect(backend.describe()).toMatchObject({
          peer: { last: expect.stringContaining(`${what} fails`) as string },
        });
      }
    },
  );

  it('has a vif with more addresses than the NIC holds a guest to: not made, and nothing is left', () => {
    const host = new FakeHost({ addresses: [1, 2, 3, 4].map((n) => Uint8Array.of(10, 0, 0, n)) });
    expect(() => new ViBackend(host.services, host.control, new Steering(host))).toThrow(
      /the vif's key "ip" has 4/,
    );
    expect(host.ledger()).toEqual(empty);
  });

  it('finds its port gone: not made, and no guest is answered', async () => {
    const host = new FakeHost();
    host.failing = 'onReset';
    expect(() => new ViBackend(host.services, host.control, new Steering(host))).toThrow('onReset fails');
    for (const [, ask] of steps) expect((await ask(host)).ok).toBe(false);
    expect(host.ledger()).toEqual(empty);
  });

  it('cannot lead frames to the guest: says why, and is removed', async () => {
    const { host, steering, backend } = made();
    steering.fence = () => Promise.reject(new Error('no filter is left'));
    await upTo(host, 'quiesce');
    expect(host.failures).toEqual(["the guest's half was not opened: no filter is left"]);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it('is not opened by a guest that refuses the fence', async () => {
    const { host, backend } = made();
    host.guest.handle(open, () => ({ ok: false, payload: nothing }));
    await upTo(host, 'quiesce');
    expect(host.failures).toEqual(["the guest's half was not opened: it refused the fence"]);
    await host.remove(backend);
    expect(host.ledger()).toEqual(empty);
  });

  it.each(steps.map(([name]) => name))(
    'loses its NIC to a reset before step %s: says so, and forgets the VI',
    async (at) => {
      const { host, steering, backend } = made();
      await upTo(host, at);
      host.nic.reset();
      for (const tell of host.resets) tell();
      expect(host.failures).toEqual(['the NIC was reset: its VIs and filters are gone']);
      await host.remove(backend);
      expect(host.ledger()).toEqual(empty);
      expect(steering.calls.filter((call) => call === 'stop live')).toEqual([]);
    },
  );
});

describe('an end', () => {
  it.each(steps.map(([name]) => name))(
    'before step %s gives everything back, and may come twice',
    async (at) => {
      const { host, steering, backend } = made();
      await upTo(host, at);
      await host.remove(backend);
      expect(host.ledger()).toEqual(empty);
      await host.remove(backend);
      expect(host.ledger()).toEqual(empty);
      expect(steering.calls.at(-1)).toMatch(/^stop/);
      for (const [, ask] of steps) expect((await ask(host)).ok).toBe(false);
      expect(host.failures).toEqual([]);
    },
  );

  it('while the fence is awaited: the guest is not told of one that comes late', async () => {
    const { host, steering, backend } = made();
    let pass: (fence: ReceiveFence) => void = () => undefined;
    steering.fence = () => new Promise((resolve) => (pass = resolve));
    await upTo(host, 'quiesce');
    await host.remove(backend);
    pass([9]);
    await host.settle();
    expect(host.told(open)).toEqual([]);
    expect(host.failures).toEqual([]);
    expect(host.ledger()).toEqual(empty);
  });

  it('with descriptors that the NIC has not been rung for, and frames that it has written: no page goes before the VI', async () => {
    const { host, backend } = made();
    const handover = await host.setUp();
    host.send(frameOf());
    host.send(frameOf());
    const { words } = host.memory;
    const transmitRing = [...host.grants.keys()][0]! * PAGE_BYTES;
    words[transmitRing >>> 2] = 0;
    words[(handover.registerRef * PAGE_BYTES) >>> 2] = 1; // a doorbell that nobody heard
    const order: string[] = [];
    const freeVi = host.control.freeVi.bind(host.control);
    Object.assign(host.control, {
      freeVi: (id: ViId) => {
        order.push('freeVi', ...host.calls.splice(0));
        freeVi(id);
      },
    });
    host.calls.length = 0;
    await host.remove(backend);
    order.push(...host.calls);
    expect(order.indexOf('freeVi')).toBeGreaterThanOrEqual(0);
    expect(order.indexOf('unmap')).toBeGreaterThan(order.indexOf('freeVi'));
    expect(order.indexOf('share.release')).toBeGreaterThan(order.indexOf('freeVi'));
    expect(host.ledger()).toEqual(empty);
  });
});
