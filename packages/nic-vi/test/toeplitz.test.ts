import { describe, expect, it } from 'vitest';
import { Toeplitz } from '../src/index.js';
import { ipOf, macOf, makeFrame } from './frames.js';
import { Lab } from './lab.js';

// Published with Microsoft's RSS; reference, section 4.5.
const v6 = (text: string) =>
  text.split('::').length === 2 ? expand(text.split('::')[0]!, text.split('::')[1]!) : expand(text, '');
function expand(head: string, tail: string): number[] {
  const words = (part: string) => (part === '' ? [] : part.split(':').map((w) => parseInt(w, 16)));
  const [a, b] = [words(head), words(tail)];
  const all = [...a, ...new Array<number>(8 - a.length - b.length).fill(0), ...b];
  return all.flatMap((w) => [w >>> 8, w & 255]);
}
const vectors = [
  {
    source: [66, 9, 149, 187],
    port: 2794,
    destination: [161, 142, 100, 80],
    to: 1766,
    two: 0x323e8fc2,
    four: 0x51ccc178,
  },
  {
    source: [199, 92, 111, 2],
    port: 14230,
    destination: [65, 69, 140, 83],
    to: 4739,
    two: 0xd718262a,
    four: 0xc626b0ea,
  },
  {
    source: v6('3ffe:2501:200:1fff::7'),
    port: 2794,
    destination: v6('3ffe:2501:200:3::1'),
    to: 1766,
    two: 0x2cc18cd5,
    four: 0x40207d3d,
  },
];

describe('feature 68: Toeplitz', () => {
  const hash = new Toeplitz();
  it.each(vectors)(
    'hashes the published vector of port $port',
    ({ source, port, destination, to, two, four }) => {
      const addresses = [...source, ...destination];
      expect(hash.hash(Uint8Array.from(addresses), addresses.length)).toBe(two);
      const ports = [port >>> 8, port & 255, to >>> 8, to & 255];
      expect(hash.hash(Uint8Array.from([...addresses, ...ports]), addresses.length + 4)).toBe(four);
    },
  );

  it('pads a short key with zeros and refuses a long one', () => {
    expect(new Toeplitz([0x6d]).hash(Uint8Array.of(0x80), 1)).toBe(0x6d000000);
    expect(() => new Toeplitz(new Uint8Array(41))).toThrow(RangeError);
  });
});

describe('feature 68: a set of VIs', () => {
  it('receives each flow of a MAC on the VI that the hash says, and only there', () => {
    const lab = new Lab();
    const a = lab.vi(0);
    const vis = [lab.vi(1), lab.vi(1), lab.vi(1)];
    const { control } = vis[0]!;
    const set = control.allocateSet(vis.map(({ id }) => id));
    control.addSetFilter(set, { kind: 'mac', mac: macOf(2) });
    const expected = [0, 0, 0];
    for (let port = 1000; port < 1030; port++) {
      const hash = new Toeplitz().hash(
        Uint8Array.from([...ipOf(1), ...ipOf(2), port >>> 8, port & 255, 0, 80]),
        12,
      );
      expected[hash % 3]!++;
      a.send(makeFrame({ sourcePort: port }));
    }
    expect(vis.map((vi) => vi.poll().length)).toEqual(expected);
    control.freeSet(set);
    a.send(makeFrame());
    expect(vis.map((vi) => vi.poll().length)).toEqual([0, 0, 0]);
    expect(control.portStatistics()['rxUnmatched']).toBe(1);
  });

  it('is gone with its filters when one of its VIs is freed', () => {
    const lab = new Lab();
    const vis = [lab.vi(1), lab.vi(1)];
    const { control } = vis[0]!;
    const set = control.allocateSet(vis.map(({ id }) => id));
    control.addSetFilter(set, { kind: 'mac', mac: macOf(2) });
    control.freeVi(vis[1]!.id);
    expect(control.filters(vis[0]!.id)).toEqual([]);
    expect(() => control.addSetFilter(set, { kind: 'mac', mac: macOf(2) })).toThrow(/a set of port 0/);
  });
});
