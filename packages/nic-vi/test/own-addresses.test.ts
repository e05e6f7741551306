import { describe, expect, it } from 'vitest';
import { FrameHeaders, OwnAddresses } from '../src/index.js';
import { ip6Of, ipOf, makeFrame, type FrameSpec } from './frames.js';
import { PlainMemory } from './memory.js';

describe('feature 48: the IP addresses of a guest', () => {
  const own = new OwnAddresses([ipOf(1), ip6Of(2), ipOf(7)]);
  const memory = new PlainMemory(new ArrayBuffer(8192));
  const h = new FrameHeaders(memory);
  it.each<[FrameSpec, boolean, boolean]>([
    [{}, true, false],
    [{ source: ipOf(2), destination: ipOf(7) }, false, true],
    [{ source: ipOf(7), destination: ipOf(1) }, true, true],
    [{ version: 6 }, false, true],
    [{ version: 6, source: ip6Of(2), destination: ip6Of(1) }, true, false],
    // The same first four bytes are another address.
    [{ version: 6, source: [...ipOf(1), ...new Array<number>(12).fill(0)] }, false, true],
  ])('%j: from one of them %s, to one %s', (spec, from, to) => {
    const bytes = makeFrame(spec);
    memory.bytes.set(bytes, 64);
    h.parse(64, bytes.length, bytes.length);
    expect([own.hasSource(h), own.hasDestination(h)]).toEqual([from, to]);
  });

  it('of none are nobody’s', () => {
    expect(new OwnAddresses([]).hasSource(h)).toBe(false);
  });
});
