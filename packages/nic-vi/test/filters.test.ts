import { describe, expect, it } from 'vitest';
import { NicError, type FilterSpec } from '../src/index.js';
import { ip6Of, ipOf, macOf, makeFrame } from './frames.js';
import { Lab, type TestVi } from './lab.js';

const code = (act: () => unknown): string => {
  try {
    act();
    return 'none';
  } catch (error) {
    return error instanceof NicError ? error.code : String(error);
  }
};
const flow = { mac: macOf(2), protocol: 'tcp', localAddress: ipOf(2), localPort: 80 } as const;
const local: FilterSpec = { kind: 'local', ...flow };
const full: FilterSpec = { kind: 'full', ...flow, remoteAddress: ipOf(1), remotePort: 1000 };

describe('filters', () => {
  it('feature 61: lead a frame where the most specific one says', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const specs: FilterSpec[] = [
      { kind: 'unmatchedUnicast' },
      { kind: 'mac', mac: macOf(2) },
      { kind: 'macVlan', mac: macOf(2) },
      local,
      full,
    ];
    const vis = specs.map(() => lab.vi(1));
    const { control } = vis[0]!;
    const ids: number[] = [];
    specs.forEach((spec, i) => {
      ids.push(control.addFilter(vis[i]!.id, spec));
      a.send(makeFrame());
      expect(vis.map((vi) => vi.poll().map(({ filter }) => filter))).toEqual(
        vis.map((_, k) => (k === i ? [ids[i]] : [])),
      );
    });
    for (let i = specs.length - 1; i > 0; i--) {
      control.removeFilter(ids[i]!);
      a.send(makeFrame());
      expect(vis.map((vi) => vi.poll().length)).toEqual(vis.map((_, k) => (k === i - 1 ? 1 : 0)));
    }
  });

  it('say whose a frame would be, without a count or an event', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const b = lab.vi(1);
    const nic = lab.nics[1];
    const frame = makeFrame();
    const at = lab.take(frame.length);
    lab.memory.bytes.set(frame, at);
    expect(nic.visOf(0)).toEqual([b.id]);
    expect(nic.receiverOf(0, at, frame.length)).toBeNull();
    b.control.addFilter(b.id, local);
    expect(nic.receiverOf(0, at, frame.length)).toBe(b.id);
    expect(nic.receiverOf(0, at, 10)).toBeNull();
    expect(b.poll()).toEqual([]);
    expect(b.control.portStatistics()['rxUnmatched']).toBe(0);
    a.send(frame);
    expect(b.poll()).toHaveLength(1);
  });

  const others: [string, Parameters<typeof makeFrame>[0]][] = [
    ['port', { destinationPort: 81 }],
    ['protocol', { protocol: 'udp' }],
    ['address', { destination: ipOf(3) }],
    ['MAC', { to: macOf(3) }],
    ['VLAN', { vlan: 5 }],
    ['version', { version: 6 }],
    ['source port', { sourcePort: 1001 }],
    ['source address', { source: ipOf(9) }],
  ];
  it.each(others)('feature 53, hole 2.16 #10: do not match a frame with another %s', (_what, change) => {
    const lab = new Lab();
    const a = lab.vi(0);
    const b = lab.vi(1);
    b.control.addFilter(b.id, full);
    a.send(makeFrame(change));
    expect(b.poll()).toEqual([]);
    expect(b.control.portStatistics()).toMatchObject({ rxUnmatched: 1, rxFrames: 1 });
    a.send(makeFrame());
    expect(b.poll().length).toBe(1);
  });

  it('feature 61: match IPv6 with all of its addresses', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const b = lab.vi(1);
    const spec = { ...flow, localAddress: ip6Of(2), vlan: 7 };
    const l = b.control.addFilter(b.id, { kind: 'local', ...spec });
    const f = b.control.addFilter(b.id, { kind: 'full', ...spec, remoteAddress: ip6Of(1), remotePort: 1000 });
    a.send(makeFrame({ version: 6, vlan: 7 }));
    a.send(makeFrame({ version: 6, vlan: 7, source: ip6Of(5) }));
    a.send(makeFrame({ version: 6, vlan: 7, source: [...ip6Of(1).slice(0, 5), 1, ...ip6Of(1).slice(6)] }));
    a.send(
      makeFrame({ version: 6, vlan: 7, destination: [...ip6Of(2).slice(0, 9), 1, ...ip6Of(2).slice(10)] }),
    );
    expect(b.poll().map(({ filter }) => filter)).toEqual([f, l, l]);
  });

  it('feature 38, hole 2.16 #11: take no port of a fragment', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const [b, fallback] = [lab.vi(1), lab.vi(1)];
    b.control.addFilter(b.id, local);
    b.control.addFilter(fallback.id, { kind: 'mac', mac: macOf(2) });
    const fragment = makeFrame();
    fragment[20] = 0;
    fragment[21] = 1;
    a.send(fragment);
    expect([b.poll().length, fallback.poll().length]).toEqual([0, 1]);
  });

  it('feature 61, feature 63: lead groups and broadcast to their own default, or to a filter of the group', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const [host, unicast, member] = [lab.vi(1), lab.vi(1), lab.vi(1)];
    const { control } = host;
    control.addFilter(host.id, { kind: 'unmatchedMulticast' });
    control.addFilter(unicast.id, { kind: 'unmatchedUnicast' });
    const group = [1, 0, 0x5e, 0, 0, 9];
    control.addFilter(member.id, { kind: 'mac', mac: group });
    const counts = () => [host, unicast, member].map((vi) => vi.poll().length);
    a.send(makeFrame({ to: [255, 255, 255, 255, 255, 255] }));
    expect(counts()).toEqual([1, 0, 0]);
    a.send(makeFrame({ to: macOf(77) }));
    expect(counts()).toEqual([0, 1, 0]);
    a.send(makeFrame({ to: group }));
    expect(counts()).toEqual([0, 0, 1]);
  });

  it('feature 57: are refused twice, beyond the quota, and without a sound specification; nothing changes', () => {
    const lab = new Lab();
    const b = lab.vi(1, { request: { filterQuota: 2 } });
    const { control } = b;
    const id = control.addFilter(b.id, local);
    expect(code(() => control.addFilter(b.id, local))).toBe('FILTER_EXISTS');
    expect(code(() => control.addFilter(b.id, { ...local, localPort: 70000 }))).toMatch(/localPort/);
    expect(code(() => control.addFilter(b.id, { ...local, mac: [1, 2] }))).toMatch(/mac/);
    expect(code(() => control.addFilter(b.id, { ...local, vlan: 4096 }))).toMatch(/vlan/);
    expect(code(() => control.addFilter(99, local))).toBe('NO_SUCH_VI');
    control.addFilter(b.id, full);
    expect(code(() => control.addFilter(b.id, { kind: 'unmatchedUnicast' }))).toBe('FILTER_QUOTA');
    expect(
      control
        .filters(b.id)
        .map(({ spec }) => spec.kind)
        .sort(),
    ).toEqual(['full', 'local']);
    control.removeFilter(id);
    expect(code(() => control.removeFilter(id))).toBe('NO_SUCH_FILTER');
    control.addFilter(b.id, { kind: 'unmatchedUnicast' });
    expect(code(() => control.addFilter(b.id, { kind: 'unmatchedUnicast' }))).toBe('FILTER_QUOTA');
  });

  it('tell what they were made of', () => {
    const lab = new Lab();
    const b = lab.vi(1);
    const specs: FilterSpec[] = [
      full,
      { ...local, vlan: 3, protocol: 'udp', localAddress: ip6Of(4) },
      { kind: 'macVlan', mac: macOf(9), vlan: 4095 },
      { kind: 'mac', mac: macOf(9) },
    ];
    const bytes = (spec: FilterSpec) =>
      JSON.parse(
        JSON.stringify(spec, (_k, v: unknown) => (v instanceof Uint8Array ? [...v] : v)),
      ) as FilterSpec;
    for (const spec of specs) {
      const id = b.control.addFilter(b.id, spec);
      expect(bytes(b.control.filters(b.id).find((f) => f.id === id)!.spec)).toEqual(spec);
    }
  });

  it('feature 58: fill the table and leave it as they found it, again and again', () => {
    const lab = new Lab({ nic: { filters: 64 } });
    const a = lab.vi(0);
    const b = lab.vi(1);
    const { control } = b;
    for (let round = 0; round < 20; round++) {
      const ids: number[] = [];
      for (let port = 1; ids.length < 200; port++) {
        const spec = { ...local, localPort: round * 1000 + port };
        const refused = code(() => ids.push(control.addFilter(b.id, spec)));
        if (refused !== 'none') {
          expect(refused).toBe('NO_FILTER_SPACE');
          break;
        }
      }
      expect(ids.length).toBeGreaterThanOrEqual(64);
      for (let i = 0; i < ids.length; i++)
        a.vi.transmitInit(a.place(makeFrame({ destinationPort: round * 1000 + i + 1 })), 54, i);
      if (round === 0) expect(a.vi.transmitFill).toBe(64);
      a.vi.transmitPush();
      expect(b.poll().map(({ filter }) => filter)).toEqual(ids.slice(0, 64));
      a.poll();
      // Odd ones first, then the rest: searches go on past what is gone.
      for (const [i, id] of ids.entries()) if (i % 2 === 1) control.removeFilter(id);
      expect(control.filters(b.id).length).toBe(Math.ceil(ids.length / 2));
      for (const [i, id] of ids.entries()) if (i % 2 === 0) control.removeFilter(id);
      expect(control.filters(b.id)).toEqual([]);
    }
  });

  it('feature 62: move to another VI at once, and remember when they were hit', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const [b, c]: [TestVi, TestVi] = [lab.vi(1), lab.vi(1, { request: { filterQuota: 1 } })];
    const { control } = b;
    const id = control.addFilter(b.id, local);
    lab.now = 700;
    a.send(makeFrame());
    expect(control.filters(b.id)).toMatchObject([{ hits: 1, lastHitUs: 700 }]);
    expect(lab.nics[1].filterCount(0)).toBe(1);
    control.retargetFilter(id, c.id);
    a.send(makeFrame());
    expect([b.poll().length, c.poll().length]).toEqual([1, 1]);
    expect(control.filters(b.id)).toEqual([]);
    expect(control.filters(c.id)).toMatchObject([{ id, hits: 2 }]);
    const other = control.addFilter(b.id, full);
    expect(code(() => control.retargetFilter(other, c.id))).toBe('FILTER_QUOTA');
    expect(lab.nics[1].filterCount(0)).toBe(2);
    control.freeVi(c.id);
    expect(lab.nics[1].filterCount(0)).toBe(1);
    lab.nics[1].reset();
    expect(lab.nics[1].filterCount(0)).toBe(0);
  });
});

describe('feature 54: a VI that is held to its own addresses', () => {
  const antiSpoof = { mac: macOf(2), addresses: [ipOf(2), ip6Of(2)] };

  it('gets filters for those and for groups, and for nothing else', () => {
    const lab = new Lab();
    const { control, id } = lab.vi(1, { request: { antiSpoof } });
    const good: FilterSpec[] = [
      local,
      full,
      { ...full, localAddress: ip6Of(2), remoteAddress: ip6Of(1) },
      { ...local, vlan: 5 },
      { kind: 'mac', mac: macOf(2) },
      { kind: 'macVlan', mac: macOf(2), vlan: 7 },
      { kind: 'mac', mac: [1, 0, 0x5e, 0, 0, 1] },
    ];
    for (const spec of good) expect(code(() => control.addFilter(id, spec))).toBe('none');
    const bad: FilterSpec[] = [
      { ...local, mac: macOf(3) },
      { ...local, localAddress: ipOf(3) },
      { ...full, localAddress: ip6Of(3), remoteAddress: ip6Of(1) },
      { kind: 'mac', mac: macOf(3) },
      { kind: 'macVlan', mac: [2, 0, 0, 1, 0, 2], vlan: 7 },
      { kind: 'unmatchedUnicast' },
      { kind: 'unmatchedMulticast' },
    ];
    const before = control.filters(id);
    for (const spec of bad) expect(code(() => control.addFilter(id, spec))).toBe('NOT_OWNER');
    expect(control.filters(id)).toEqual(before);
  });

  it('is not led others’ traffic by a set, nor by moving a filter', () => {
    const lab = new Lab();
    const own = lab.vi(1, { request: { antiSpoof } });
    const other = lab.vi(1, { request: { antiSpoof: { mac: macOf(3) } } });
    const { control } = own;
    const set = control.allocateSet([own.id, other.id]);
    expect(code(() => control.addSetFilter(set, local))).toBe('NOT_OWNER');
    const id = control.addFilter(own.id, local);
    expect(code(() => control.retargetFilter(id, other.id))).toBe('NOT_OWNER');
    lab.vi(0).send(makeFrame());
    expect([own.poll().length, other.poll().length]).toEqual([1, 0]);
  });
});
