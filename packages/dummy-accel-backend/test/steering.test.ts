// Which flows get a filter, when and in which order the guest is told, and which give way.
import { ControlMessage, decodeFilter, encodeStray } from '@netaccel/nic-vi';
import type { FilterState, FlowSpec } from '@netaccel/nic-vi';
import type { ReceiveFence } from '@netaccel/core-hooks';
import { MailboxError } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { announcement, broadcast, frameOf, macOf } from '@netaccel/nic-vi/testing';
import type { FrameSpec, FakeHost } from '@netaccel/nic-vi/testing';
import { started } from './attached.js';

const nothing = new Uint8Array(0);
const ok = { ok: true, payload: nothing };

const ports = (filters: FilterState[]): number[] =>
  filters.map(({ spec }) => (spec as FlowSpec).localPort).sort((a, b) => a - b);
const changes = (host: FakeHost): { added: boolean; filter: number; localPort: number }[] =>
  host.told(ControlMessage.filter).map((payload) => {
    const { added, filter, localPort } = decodeFilter(payload);
    return { added, filter, localPort };
  });

describe('a flow seen on the slow path', () => {
  it('feature 52, feature 51: gets a filter for its destination, and the guest is told behind a fence', async () => {
    const { host, vi } = await started();
    host.calls.length = 0;
    let release: (fence: ReceiveFence) => void = () => undefined;
    host.fence = () => new Promise((resolve) => (release = resolve));
    host.arrive(frameOf({ port: 0x1234 }));
    expect(host.control.filters(vi)).toEqual([]); // nothing is done in the frame's way
    await host.settle();
    const [filter] = host.control.filters(vi);
    expect(filter!.spec).toEqual({
      kind: 'local',
      mac: macOf(0xa),
      protocol: 'udp',
      localAddress: Uint8Array.of(10, 0, 0, 2),
      localPort: 0x1234,
    });
    expect(host.calls).toEqual(['received', 'fence']);
    expect(changes(host)).toEqual([]);
    release([0xffff_fffe, 3]);
    await host.settle();
    const told = decodeFilter(host.told(ControlMessage.filter)[0]!);
    expect(told).toMatchObject({
      added: true,
      filter: filter!.id,
      protocol: 'udp',
      localPort: 0x1234,
      fence: [0xffff_fffe, 3],
    });
    expect([...told.localAddress]).toEqual([10, 0, 0, 2]);
  });

  it.each<[string, FrameSpec, Partial<FlowSpec>]>([
    ['TCP', { protocol: 6 }, { protocol: 'tcp' }],
    ['a VLAN', { vlan: 7 }, { vlan: 7 }],
    [
      'IPv6',
      { version: 6, protocol: 6 },
      { protocol: 'tcp', localAddress: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2) },
    ],
  ])('of %s has that in its filter', async (_what, spec, expected) => {
    const { host, vi } = await started();
    host.arrive(frameOf(spec));
    await host.settle();
    expect(host.control.filters(vi)[0]!.spec).toMatchObject(expected);
  });

  it('feature 57: is one flow whatever its source, and has one filter', async () => {
    const { host, vi } = await started();
    host.arrive(frameOf({ version: 6 })); // leaves its long address in the parser
    for (let i = 0; i < 20; i++) host.arrive(frameOf({ sourcePort: 1000 + i, from: macOf(20 + i) }));
    await host.settle();
    for (let i = 0; i < 20; i++) host.arrive(frameOf({ sourcePort: i }));
    await host.settle();
    expect(host.control.filters(vi)).toHaveLength(2);
    expect(changes(host)).toHaveLength(2);
  });

  it.each<[string, Uint8Array]>([
    ['another guest', frameOf({ to: macOf(0xc) })],
    ['everybody', frameOf({ to: broadcast })],
    ['a group', frameOf({ to: [1, 0, 0x5e, 0, 0, 1] })],
    ['it as a first fragment', frameOf({ fragment: 0x2000 })],
    ['it as a later fragment', frameOf({ fragment: 0x00b9 })],
    ['it by another protocol', frameOf({ protocol: 1 })],
    ['it, cut off within the ports', frameOf().slice(0, 36)],
    ['it, with a length that cannot be', frameOf().fill(0xff, 16, 18)],
    ['it, with a header that cannot be', frameOf().fill(0x41, 14, 15)],
    ['it, without a header', macOf(0xa).slice()],
    ['it, by ARP', Uint8Array.from([...macOf(0xa), ...announcement(macOf(0xb)).slice(6)])],
  ])('gets none for a frame to %s', async (_what, bytes) => {
    const { host, vi } = await started();
    host.arrive(bytes);
    host.arrive(bytes);
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
    expect(changes(host)).toEqual([]);
  });

  it('feature 58: stays slow when the NIC has the key already, and is not tried without end', async () => {
    const { host, vi } = await started();
    const pages = host.memory.allocate(4);
    const other = host.control.allocateVi({
      owner: 2,
      transmitPages: [pages],
      transmitCapacity: 2,
      receivePages: [pages + 4096],
      receiveCapacity: 2,
      eventPages: [pages + 8192],
      eventCapacity: 8,
      registerPage: pages + 12288,
      vector: 0,
    });
    const flow = { mac: macOf(0xa), protocol: 'udp' as const, localAddress: [10, 0, 0, 2], localPort: 80 };
    host.control.addFilter(other, { kind: 'local', ...flow });
    host.arrive(frameOf());
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
    expect(changes(host)).toEqual([]);
    expect(host.failures).toEqual([]);
    host.control.freeVi(other);
    host.arrive(frameOf());
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([80]);
  });

  it('allocates nothing once its filter is there', async () => {
    const { host } = await started();
    host.arrive(frameOf());
    await host.settle();
    const before = host.calls.length;
    for (let i = 0; i < 1000; i++) host.arrive(frameOf());
    expect(host.calls).toHaveLength(before);
    await host.settle();
    expect(changes(host)).toHaveLength(1);
  });
});

describe('one change at a time', () => {
  it('the next filter comes when the guest has taken the one before', async () => {
    const { host, vi } = await started();
    const answers: (() => void)[] = [];
    host.guest.handle(ControlMessage.filter, () => new Promise((resolve) => answers.push(() => resolve(ok))));
    for (const port of [1, 2, 3]) host.arrive(frameOf({ port }));
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1]);
    answers.shift()!();
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1, 2]);
    expect(changes(host).map(({ localPort }) => localPort)).toEqual([1, 2]);
  });

  it('a filter that the guest refuses is taken back', async () => {
    const { host, vi } = await started();
    host.guest.handle(ControlMessage.filter, () => ({ ok: false, payload: nothing }));
    host.arrive(frameOf());
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
    expect(host.failures).toEqual([]);
  });

  it('feature 86, hole 2.16 #6: a guest that does not answer is told again, and does not stop its removal', async () => {
    const { host, vi } = await started();
    host.arrive(announcement(macOf(0xb)));
    await host.settle();
    host.guest.silent = true;
    host.arrive(frameOf());
    await host.settle();
    await host.advance(200, 10);
    const [first, ...more] = changes(host);
    expect(more.length).toBeGreaterThan(1);
    expect(new Set(more.map(({ filter }) => filter))).toEqual(new Set([first!.filter]));
    host.guest.silent = false;
    await host.advance(200, 10);
    const told = changes(host).length;
    await host.advance(200, 10);
    expect(changes(host)).toHaveLength(told);
    expect(ports(host.control.filters(vi))).toEqual([80]);
    host.guest.silent = true; // for the removal after this test
    host.arrive(frameOf({ port: 81 }));
    await host.settle();
  });

  it('a mailbox that is closed ends it', async () => {
    const { host } = await started();
    Object.assign(host.services.mailbox, {
      request: () => Promise.reject(new MailboxError('CLOSED', 'the other half is gone')),
    });
    host.arrive(frameOf());
    await host.settle();
    expect(host.failures).toEqual(['the other half is gone']);
  });

  it('quiesce waits for the filter that is under way, then ends all, and draws no more', async () => {
    const { host, vi } = await started();
    let take: () => void = () => undefined;
    host.arrive(frameOf({ port: 1 }));
    await host.settle();
    host.guest.handle(ControlMessage.filter, () => new Promise((resolve) => (take = () => resolve(ok))));
    host.arrive(frameOf({ port: 2 }));
    host.arrive(frameOf({ port: 3 }));
    await host.settle();
    let quiet = false;
    const answer = host.guest.request(ControlMessage.quiesce, nothing).then((reply) => {
      quiet = true;
      return reply;
    });
    await host.settle();
    expect(quiet).toBe(false);
    expect(ports(host.control.filters(vi))).toEqual([1, 2]);
    take();
    expect((await answer).ok).toBe(true);
    expect(host.control.filters(vi)).toEqual([]);
    expect(host.ledger().subscriptions).toBe(0);
    await host.advance(20_000, 1000);
    expect(host.control.filters(vi)).toEqual([]);
  });

  it('feature 59, feature 87, hole 2.16 #12: a hint takes the filter away, and the guest hears of it', async () => {
    const { host, vi } = await started();
    host.arrive(frameOf());
    await host.settle();
    const [{ id }] = host.control.filters(vi) as [FilterState];
    expect((await host.guest.request(ControlMessage.stray, encodeStray(id))).ok).toBe(true);
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
    expect(changes(host).at(-1)).toEqual({ added: false, filter: id, localPort: 80 });
    expect((await host.guest.request(ControlMessage.stray, encodeStray(id))).ok).toBe(false);
  });
});

describe('the quota', () => {
  async function full(quota = 2): Promise<{ host: FakeHost; vi: number }> {
    const made = await started({ limits: { maxFilters: quota } });
    for (let port = 1; port <= quota; port++) made.host.arrive(frameOf({ port }));
    await made.host.settle();
    expect(made.host.control.filters(made.vi)).toHaveLength(quota);
    return made;
  }

  it('feature 55, hole 2.16 #14: is never exceeded, however many flows there are', async () => {
    const { host, vi } = await full(4);
    for (let port = 10; port < 500; port++) host.arrive(frameOf({ port }));
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1, 2, 3, 4]);
    expect(host.failures).toEqual([]);
  });

  it('of none keeps everything slow', async () => {
    const { host, vi } = await started({ limits: { maxFilters: 0 } });
    for (let i = 0; i < 5; i++) host.arrive(frameOf());
    await host.settle();
    expect(host.control.filters(vi)).toEqual([]);
  });

  it('feature 56: the filter that was idle for longest gives way, to a flow that was seen twice', async () => {
    const { host, vi } = await full();
    await host.advance(500);
    host.send(frameOf({ port: 1 })); // a fast frame
    expect(host.control.filters(vi).find(({ hits }) => hits === 1)).toBeDefined();
    await host.advance(600);
    host.arrive(frameOf({ port: 3 }));
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1, 2]);
    host.arrive(frameOf({ port: 3 }));
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1, 3]);
    expect(changes(host).slice(-2)).toMatchObject([
      { added: false, localPort: 2 },
      { added: true, localPort: 3 },
    ]);
  });

  it('two frames that are far apart are not twice', async () => {
    const { host, vi } = await full();
    for (let i = 0; i < 5; i++) {
      await host.advance(2000);
      host.arrive(frameOf({ port: 3 }));
      await host.settle();
    }
    expect(ports(host.control.filters(vi))).toEqual([1, 2]);
  });

  it('feature 56: more busy flows than filters do not push each other out in turns', async () => {
    const { host, vi } = await full();
    for (let round = 0; round < 200; round++) {
      const fast = ports(host.control.filters(vi));
      for (const port of [1, 2, 3, 4]) {
        const bytes = frameOf({ port });
        if (!fast.includes(port)) host.arrive(bytes);
        else if (round % 4 === 0) host.send(bytes);
      }
      await host.advance(20);
    }
    expect(ports(host.control.filters(vi))).toEqual([1, 2]);
    expect(changes(host).filter(({ added }) => !added)).toEqual([]);
  });

  it('feature 56: an idle filter goes after half a minute; one in use stays', async () => {
    const { host, vi } = await full();
    for (let t = 0; t < 40; t++) {
      host.send(frameOf({ port: 1 }));
      await host.advance(1000);
    }
    expect(ports(host.control.filters(vi))).toEqual([1]);
    expect(changes(host).at(-1)).toMatchObject({ added: false, localPort: 2 });
    host.arrive(frameOf({ port: 2 }));
    await host.settle();
    expect(ports(host.control.filters(vi))).toEqual([1, 2]); // it can come back
  });
});
