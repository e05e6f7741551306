// The rules of ring.h, each by hand, on a ring that begins at 0 and on one whose indices wrap: what a header holds,
// how many slots are free or wait, who is notified when, and which of the peer's indices cannot be.
import { beforeEach, describe, expect, test } from 'vitest';
import { BackRing, FrontRing, decode, encode, initialiseRing, ringHeader } from '../src/index.js';
import { SimMachine } from '../src/sim/index.js';

const SLOTS = 8;
const SLOT_BYTES = 12;

test('a ring page begins with the header of ring.h, byte for byte', () => {
  const bytes = Uint8Array.from(
    '01020304 05060708 090a0b0c 0d0e0f10 11121314'.replaceAll(' ', '').match(/../g)!,
    (pair) => parseInt(pair, 16),
  );
  const whole = new Uint8Array(64);
  whole.set(bytes);
  const values = {
    req_prod: 0x04030201,
    req_event: 0x08070605,
    rsp_prod: 0x0c0b0a09,
    rsp_event: 0x100f0e0d,
    private: [0x11, 0x12, 0x13, 0x14],
    pad: new Array<number>(44).fill(0),
  };
  expect(encode(ringHeader, values)).toEqual(whole);
  expect(decode(ringHeader, whole)).toEqual(values);
});

describe.each([0, 0xffff_fffd])('a ring that begins at %i', (start) => {
  let words: Uint32Array;
  let header: number;
  let front: FrontRing;
  let back: BackRing;
  const at = (past: number): number => (start + past) >>> 0;
  const word = (name: keyof typeof ringHeader.fields): number =>
    header + (ringHeader.fields[name].offset >>> 2);
  const produce = (count: number): boolean => {
    front.produced = (front.produced + count) >>> 0;
    return front.publish();
  };
  /** The backend takes `count` requests and answers them. */
  const answer = (count: number): boolean => {
    back.consumed = (back.consumed + count) >>> 0;
    back.produced = back.consumed;
    return back.publish();
  };

  beforeEach(() => {
    const machine = new SimMachine({ seed: 1, pages: 256, domains: 1 });
    const domain = machine.createDomain(0);
    const page = domain.pages.allocate(1);
    ({ words } = domain.memory);
    header = page >>> 2;
    initialiseRing(domain.memory, page, start);
    front = new FrontRing(domain.memory, page, SLOTS, SLOT_BYTES, start);
    back = new BackRing(domain.memory, page, SLOTS, SLOT_BYTES);
  });

  test('init: producers at the start, both events one after, the rest zero', () => {
    expect([...words.subarray(header, header + 16)]).toEqual([
      at(0),
      at(1),
      at(0),
      at(1),
      ...new Array<number>(12).fill(0),
    ]);
  });

  test('slots follow the header, and an index finds its slot modulo the size', () => {
    const first = 4 * header + 64;
    for (const index of [0, 1, 7, 8, 9, 0xffff_ffff])
      expect(front.slot(index)).toBe(first + (index % SLOTS) * SLOT_BYTES);
  });

  test('free requests: the size less what is not answered', () => {
    expect(front.free).toBe(8);
    produce(8);
    expect(front.free).toBe(0);
    answer(3);
    front.consumed = at(2);
    expect(front.free).toBe(2);
  });

  test('unconsumed requests and responses, read from the other side’s producer', () => {
    produce(5);
    expect(back.available()).toBe(5);
    answer(2);
    expect([back.available(), front.available()]).toEqual([3, 2]);
    front.consumed = at(1);
    expect(front.available()).toBe(1);
  });

  test('notify: only when the index passes the event that the other side asked for', () => {
    // The first entry always notifies; more do not until they are asked for.
    expect(produce(1)).toBe(true);
    expect(produce(1)).toBe(false);
    back.consumed = at(2);
    back.arm();
    expect(produce(3)).toBe(true);
    expect(produce(1)).toBe(false);
    // Batching: an event further ahead is passed by the entry that reaches it.
    front.arm(3);
    expect(answer(1)).toBe(true); // three are there: the two taken before, and this one
    front.consumed = at(3);
    front.arm(2);
    expect(answer(1)).toBe(false);
    expect(answer(1)).toBe(true);
  });

  test('sleep: the event is one after what was taken, and what came before it was set is seen', () => {
    expect(back.arm()).toBe(0);
    expect(words[word('req_event')]).toBe(at(1));
    produce(2);
    expect(back.arm()).toBe(2);
    back.consumed = at(2);
    expect(back.arm()).toBe(0);
    expect(words[word('req_event')]).toBe(at(3));
    front.arm(4);
    expect(words[word('rsp_event')]).toBe(at(4));
  });

  test('hostile requests: a producer further ahead of the responses than the ring holds', () => {
    produce(8);
    answer(2);
    words[word('req_prod')] = at(10);
    expect(back.available()).toBe(8);
    for (const index of [at(11), at(1), at(0x8000_0000)]) {
      words[word('req_prod')] = index;
      expect(back.available()).toBe(-1);
      expect(back.arm()).toBe(-1);
    }
  });

  test('hostile responses: more answers than there are requests', () => {
    produce(3);
    words[word('rsp_prod')] = at(3);
    expect(front.available()).toBe(3);
    for (const index of [at(4), at(0xffff_ffff)]) {
      words[word('rsp_prod')] = index;
      expect(front.available()).toBe(-1);
      expect(front.arm()).toBe(-1);
    }
  });

  test('never trusted: own producers, once they are in the shared page', () => {
    produce(2);
    words[word('req_prod')] = at(7);
    expect(produce(1)).toBe(false);
    expect(words[word('req_prod')]).toBe(at(3));
    answer(1);
    words[word('rsp_prod')] = at(5);
    answer(1);
    expect(words[word('rsp_prod')]).toBe(at(2));
  });

  test('a backend that attaches to a ring in use begins where its predecessor’s responses end', () => {
    produce(5);
    answer(3);
    const next = new BackRing({ words } as never, 4 * header, SLOTS, SLOT_BYTES);
    expect([next.consumed, next.produced, next.available()]).toEqual([at(3), at(3), 2]);
  });
});
