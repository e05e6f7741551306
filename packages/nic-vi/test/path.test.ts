import { describe, expect, it } from 'vitest';
import { EventFlag, EventType, Register, TransmitError, TransmitFlag } from '../src/index.js';
import { cutNaively, macOf, makeFrame, pattern } from './frames.js';
import { Lab, type TestVi } from './lab.js';

function pair(options = {}, viA = {}, viB = {}) {
  const lab = new Lab(options);
  const a = lab.vi(0, viA);
  const b = lab.vi(1, viB);
  const filter = b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  return { lab, a, b, filter };
}

describe('the transparent path', () => {
  it('feature 44: carries a frame from one VI to the other, byte for byte, and completes it', () => {
    const { a, b, filter } = pair();
    const frame = makeFrame({ payload: pattern(100) });
    const id = a.send(frame);
    const [got] = b.poll();
    expect(got!.bytes).toEqual(frame);
    expect(got!.filter).toBe(filter);
    expect(got!.flags & EventFlag.checksumGood).not.toBe(0);
    a.poll();
    expect(a.completed).toEqual([id]);
    expect(a.counters()).toMatchObject({ txFrames: 1, txBytes: frame.length });
    expect(b.counters()).toMatchObject({ rxFrames: 1, rxBytes: frame.length });
    expect(b.control.filters(b.id)).toMatchObject([{ id: filter, hits: 1 }]);
  });

  it('keeps order and loses nothing over many turns of the rings, indices near 2^32', () => {
    const { a, b } = pair();
    const seen: number[] = [];
    const sent: number[] = [];
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 30; i++) {
        const n = round * 30 + i;
        sent.push(n);
        a.vi.transmitInit(a.place(makeFrame({ sequence: n })), 54, n);
      }
      a.vi.transmitPush();
      for (const { bytes } of b.poll()) seen.push(new DataView(bytes.buffer).getUint32(38));
      a.poll();
    }
    expect(seen).toEqual(sent);
    expect(a.completed).toEqual(sent);
    expect(a.vi.transmitFill).toBe(0);
    expect(a.vi.badEvents + b.vi.badEvents).toBe(0);
  });

  it('feature 42, feature 43: sends a chain of fragments as one frame, whatever their lengths and alignment', () => {
    const { a, b } = pair();
    const frame = makeFrame({ payload: pattern(999) });
    const cuts = [0, 3, 14, 15, 41, 500, 1001, frame.length];
    const addresses: number[] = [];
    const lengths: number[] = [];
    for (let i = 0; i + 1 < cuts.length; i++) {
      addresses.push(a.place(frame.slice(cuts[i], cuts[i + 1]), 4096 * i + 4090 + i));
      lengths.push(cuts[i + 1]! - cuts[i]!);
    }
    expect(a.vi.transmitvInit(addresses, lengths, addresses.length, 77)).toBe(true);
    a.vi.transmitPush();
    expect(b.poll()[0]!.bytes).toEqual(frame);
    a.poll();
    expect(a.completed).toEqual([77]);
  });

  it('writes nothing when there is no space, and takes back what was not pushed', () => {
    const { a, b } = pair({}, { transmitCapacity: 4 });
    const bus = a.place(makeFrame());
    for (let i = 0; i < 4; i++) expect(a.vi.transmitInit(bus, 54, i)).toBe(true);
    expect(a.vi.transmitInit(bus, 54, 4)).toBe(false);
    a.vi.transmitUndo();
    expect(a.vi.transmitSpace).toBe(4);
    expect(a.vi.transmitvInit([bus, bus, bus, bus, bus], [54, 1, 1, 1, 1], 5, 0)).toBe(false);
    a.vi.transmitPush();
    expect(b.poll()).toEqual([]);
  });

  it('feature 66: spreads a long frame over several buffers with start and continues', () => {
    const { a, b } = pair({ nic: { mtu: 9000 }, wire: { mtu: 9000 } });
    const frame = makeFrame({ payload: pattern(8900) });
    a.vi.transmitvInit([a.place(frame, 0)], [frame.length], 1, 1);
    a.vi.transmitPush();
    const [got] = b.poll();
    expect(got!.bytes).toEqual(frame);
    expect(got!.buffers).toBe(Math.ceil(frame.length / 2048));
    expect(got!.flags & EventFlag.checksumGood).not.toBe(0);
  });

  it('fills a buffer that lies over two pages', () => {
    const { a, b } = pair({}, {}, { bufferBytes: 3000 });
    const frame = makeFrame({ payload: pattern(1400) });
    for (let i = 0; i < 10; i++) a.send(frame);
    const got = b.poll();
    expect(got.length).toBe(10);
    for (const { bytes } of got) expect(bytes).toEqual(frame);
  });
});

describe('want of room', () => {
  it('feature 71: drops and counts when there are no receive buffers, and goes on when there are', () => {
    const { a, b } = pair({}, {}, { buffers: 2 });
    for (let i = 0; i < 5; i++) a.send(makeFrame({ sequence: i }));
    expect(b.poll().length).toBe(2);
    expect(b.counters()).toMatchObject({ rxNoDescriptor: 3, rxFrames: 2 });
    a.send(makeFrame({ sequence: 9 }));
    expect(b.poll().length).toBe(1);
  });

  it('drops a long frame whole when its buffers do not suffice', () => {
    const { a, b } = pair({ nic: { mtu: 9000 }, wire: { mtu: 9000 } }, {}, { buffers: 2 });
    a.send(makeFrame({ payload: pattern(5000) }));
    a.send(makeFrame({ payload: pattern(100) }));
    const got = b.poll();
    expect(got.map(({ bytes }) => bytes.length)).toEqual([154]);
    expect(b.counters()).toMatchObject({ rxNoDescriptor: 1 });
  });

  it('feature 77: says when the event queue overflowed, drops and counts, and recovers', () => {
    const { a, b } = pair({}, {}, { eventCapacity: 8 });
    for (let i = 0; i < 20; i++) a.send(makeFrame({ sequence: i }));
    const got = b.poll();
    expect(got.length).toBe(7);
    expect(b.others).toEqual([{ type: EventType.overflow, detail: 0, reason: 0 }]);
    expect(b.counters()).toMatchObject({ rxNoEventSpace: 13, overflows: 1 });
    a.send(makeFrame({ sequence: 20 }));
    expect(b.poll().length).toBe(1);
    expect(b.vi.receiveFill).toBe(64);
  });

  it('reports transmit completions late rather than never when the event queue was full', () => {
    const { a, b } = pair({}, { eventCapacity: 4 });
    const ids: number[] = [];
    for (let i = 0; i < 40; i++) {
      ids.push(a.send(makeFrame({ sequence: i })));
      b.poll();
    }
    for (let i = 0; i < 20; i++) a.poll();
    expect(a.completed).toEqual(ids);
    expect(a.vi.transmitFill).toBe(0);
  });
});

describe('interrupts', () => {
  it('feature 75: raises one after it was armed, and none before', () => {
    const { lab, a, b } = pair();
    a.send(makeFrame());
    expect(lab.interrupts).toEqual([]);
    b.poll();
    expect(b.vi.prime()).toBe(false);
    a.send(makeFrame());
    a.send(makeFrame());
    expect(lab.interrupts).toEqual([b.request.vector]);
    expect(b.counters()['interrupts']).toBe(1);
  });

  it('feature 74: does not lose an event that came before arming', () => {
    const { lab, a, b } = pair();
    a.send(makeFrame());
    expect(b.vi.prime()).toBe(true);
    expect(lab.interrupts).toEqual([]);
    expect(b.poll().length).toBe(1);
    expect(b.vi.prime()).toBe(false);
  });

  it('is quiet when disarmed', () => {
    const { lab, a, b } = pair();
    b.vi.prime();
    b.vi.disarm();
    a.send(makeFrame());
    expect(lab.interrupts).toEqual([]);
  });

  it('feature 79: delays them when asked to, and says when it wants to be called', () => {
    const { lab, a, b } = pair();
    b.vi.moderate(50);
    b.vi.prime();
    a.send(makeFrame());
    lab.now += 10;
    a.send(makeFrame());
    expect(lab.interrupts).toEqual([]);
    expect(lab.advance(0)).toBe(50);
    expect(lab.interrupts).toEqual([]);
    expect(lab.advance(40)).toBe(Infinity);
    expect(lab.interrupts).toEqual([b.request.vector]);
  });
});

describe('a hostile VI', () => {
  const evil = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 12345];
  it('hole 2.16 #1: rings absurd doorbells: nothing is sent, each is counted', () => {
    const { lab, a, b } = pair({ startIndex: 0 });
    a.place(makeFrame());
    let bad = 0;
    for (const value of evil) {
      if (value <= 64) continue;
      a.registers.write32(Register.transmitProducer, value);
      bad++;
      expect(a.counters()['badDoorbells']).toBe(bad);
    }
    expect(b.poll()).toEqual([]);
    expect(lab.nics[0].describe().liveVis).toBe(1);
  });

  it('claims absurd receive and event indices: frames are dropped, the NIC stands', () => {
    const { a, b } = pair({ startIndex: 0 });
    b.registers.write32(Register.receiveProducer, 0x8000_0000);
    for (let i = 0; i < 70; i++) {
      a.send(makeFrame());
      a.poll();
    }
    expect(b.counters()['rxFrames']! + b.counters()['rxNoDescriptor']!).toBe(70);
    b.registers.write32(Register.eventConsumer, 0x4000_0000);
    for (let i = 0; i < 300; i++) {
      a.send(makeFrame());
      a.poll();
    }
    expect(a.completed.length).toBe(370);
  });

  it('hole 2.16 #4: does a ring of work at most for one doorbell, on garbage descriptors', () => {
    const { lab, a, b } = pair({ startIndex: 0 });
    const words = lab.memory.words;
    let seed = 12345;
    const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0);
    for (let round = 1; round <= 200; round++) {
      const first = a.rings.transmitRing >>> 2;
      for (let i = 0; i < 64 * 4; i++) words[first + i] = random();
      const before = a.counters()['txFrames']!;
      a.registers.write32(
        Register.transmitProducer,
        (words[(a.registerPage + Register.transmitRestart) >>> 2]! + 64) >>> 0,
      );
      expect(a.counters()['txFrames']! - before).toBeLessThanOrEqual(64 * 1400);
      a.registers.write32(
        Register.transmitRestart,
        words[(a.registerPage + Register.transmitProducer) >>> 2]!,
      );
    }
    expect(b.vi.badEvents).toBe(0);
  });

  it('feature 46, feature 95: names memory that it does not own: an error event, the queue stops, nothing is read', () => {
    const { lab, a, b } = pair();
    const other = lab.vi(0);
    const stolen = other.place(makeFrame({ payload: pattern(20) }));
    const good = a.place(makeFrame(), 0);
    a.vi.transmitInit(good, 54, 1);
    a.vi.transmitInit(stolen, 74, 2);
    a.vi.transmitInit(good, 54, 3);
    a.vi.transmitPush();
    expect(b.poll().length).toBe(1);
    a.poll();
    expect(a.completed).toEqual([1]);
    expect(a.others).toMatchObject([{ type: EventType.transmitError, reason: TransmitError.rights }]);
    expect(a.vi.transmitHalted).toBe(true);
    expect(a.vi.transmitInit(good, 54, 4)).toBe(false);
    const ids = new Int32Array(64);
    expect([...ids.subarray(0, a.vi.transmitReinitialise(ids))]).toEqual([2, 3]);
    a.send(makeFrame({ payload: pattern(3) }));
    expect(b.poll().length).toBe(1);
    expect(a.counters()).toMatchObject({ txErrors: 1, txFrames: 2 });
  });

  it('feature 65, feature 95: posts receive buffers that it does not own: a discard event, nothing is written', () => {
    const { lab, a, b } = pair({}, {}, { buffers: 0 });
    const other = lab.vi(1);
    const before = lab.memory.bytes.slice(other.receiveAddress, other.receiveAddress + 2048);
    b.vi.receiveInit(other.receiveBus, 2048, 5);
    b.vi.receiveInit(0xffff_f000, 2048, 6);
    b.vi.receiveInit(b.receiveBus, 2048, 0);
    b.vi.receivePush();
    for (let i = 0; i < 3; i++) a.send(makeFrame());
    expect(b.poll().length).toBe(1);
    expect(b.others.map(({ type, reason }) => [type, reason])).toEqual([
      [EventType.receiveDiscard, 1],
      [EventType.receiveDiscard, 1],
    ]);
    expect(lab.memory.bytes.slice(other.receiveAddress, other.receiveAddress + 2048)).toEqual(before);
    expect(b.counters()['rxRights']).toBe(2);
  });

  const wrong: [string, (a: TestVi) => unknown, number][] = [
    ['no length', (a) => a.vi.transmitInit(a.place(makeFrame()), 0, 1), TransmitError.descriptor],
    [
      'less than an Ethernet header',
      (a) => a.vi.transmitInit(a.place(makeFrame()), 13, 1),
      TransmitError.descriptor,
    ],
    ['more than a frame', (a) => a.vi.transmitInit(a.place(makeFrame()), 1519, 1), TransmitError.tooLong],
    [
      'a chain that never ends',
      (a) => {
        const bus = a.place(makeFrame());
        a.vi.transmitvInit([bus, bus], [20, 34], 2, 1);
        a.continueForever();
      },
      TransmitError.descriptor,
    ],
    [
      'more bytes than a transmit can have',
      (a) =>
        a.vi.transmitvInit([a.transmitBus, a.transmitBus], [65000, 554], 2, 1, TransmitFlag.segment, 1000),
      TransmitError.tooLong,
    ],
  ];
  it.each(wrong)('writes %s: an error event, and the queue stops', (_what, write, reason) => {
    const { a, b } = pair();
    write(a);
    a.vi.transmitPush();
    a.poll();
    expect(a.others.map((e) => e.reason)).toEqual([reason]);
    expect(a.vi.transmitHalted).toBe(true);
    expect(b.poll()).toEqual([]);
  });
});

describe('segmentation over the path', () => {
  it('cuts a large frame into what an independent cutter makes', () => {
    const { a, b } = pair();
    const spec = { payload: pattern(20_000), flags: 0x99, sequence: 0xffff_f000, identification: 0xfffe };
    const large = makeFrame({ ...spec, checksum: 'pseudo' });
    const id = a.send(large, TransmitFlag.segment | TransmitFlag.checksum, 1448);
    const got = b.poll().map(({ bytes }) => bytes);
    expect(got).toEqual(cutNaively(spec, 1448));
    a.poll();
    expect(a.completed).toEqual([id]);
    expect(a.counters()).toMatchObject({ txSegmented: 1, txFrames: got.length });
  });
});
