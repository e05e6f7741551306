import { describe, expect, it } from 'vitest';
import { EventType, NicError, Register, isNicControl, type ViRequest } from '../src/index.js';
import { Nic } from '../src/model/index.js';
import { macOf, makeFrame } from './frames.js';
import { Lab } from './lab.js';

const code = (act: () => unknown): string => {
  try {
    act();
    return 'none';
  } catch (error) {
    return error instanceof NicError ? error.code : String(error);
  }
};

function pair() {
  const lab = new Lab();
  const a = lab.vi(0);
  const b = lab.vi(1);
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  return { lab, a, b };
}

describe('allocation', () => {
  it('judges every field, and a refusal changes nothing', () => {
    const { lab, b } = pair();
    const { request, control } = b;
    const fresh = { ...request, registerPage: lab.take(4096) };
    const bad: Partial<ViRequest>[] = [
      { owner: 0 },
      { owner: 65536 },
      { transmitCapacity: 63 },
      { transmitCapacity: 4096 },
      { receiveCapacity: 0 },
      { eventPages: [] },
      { eventCapacity: 512 },
      { transmitPages: [4097] },
      { receivePages: [0] },
      { registerPage: 64 << 20 },
      { registerPage: request.registerPage },
      { antiSpoof: { mac: [1] } },
      { antiSpoof: { mac: macOf(1), addresses: [[1, 2, 3]] } },
      { antiSpoof: { mac: macOf(1), addresses: new Array<number[]>(5).fill([1, 2, 3, 4]) } },
    ];
    for (const change of bad)
      expect([change, code(() => control.allocateVi({ ...fresh, ...change }))]).toEqual([
        change,
        'BAD_REQUEST',
      ]);
    expect(lab.nics[1].describe()).toMatchObject({ liveVis: 1, maxVis: 8 });
    for (let i = 0; i < 7; i++) lab.vi(1);
    expect(code(() => control.allocateVi(fresh))).toBe('NO_VI');
  });

  it('writes the register page', () => {
    const { b } = pair();
    const read = b.registers;
    expect(read.read32(Register.live)).toBe(1);
    expect(read.read32(Register.link)).toBe(1);
    expect(read.read32(Register.generation)).toBe(1);
    expect(read.read32(Register.transmitProducer)).toBe(2 ** 32 - 5);
  });
});

describe('buffers', () => {
  it('are counted against a quota, given back, and given out again', () => {
    const lab = new Lab();
    const b = lab.vi(1, { request: { bufferQuota: 90 } });
    const { control } = b;
    const pages = lab.pages(lab.take(4096 * 10), 10);
    expect(code(() => control.registerBuffers(b.id, [...pages, pages[0]!]))).toBe('BUFFER_QUOTA');
    expect(code(() => control.registerBuffers(b.id, [1]))).toBe('BAD_REQUEST');
    expect(code(() => control.registerBuffers(b.id, []))).toBe('BAD_REQUEST');
    control.unregisterBuffers(b.id, b.transmitBus, 48);
    const bus = control.registerBuffers(b.id, pages);
    expect(code(() => control.unregisterBuffers(b.id, bus, 11))).toBe('NO_SUCH_BUFFER');
    expect(code(() => control.unregisterBuffers(b.id, bus + 1, 1))).toBe('NO_SUCH_BUFFER');
    control.unregisterBuffers(b.id, bus, 10);
    expect(code(() => control.unregisterBuffers(b.id, bus, 1))).toBe('NO_SUCH_BUFFER');
  });

  it('feature 95: cannot be ended by another VI, and no DMA reaches them afterwards', () => {
    const { lab, a, b } = pair();
    const other = lab.vi(0);
    expect(code(() => other.control.unregisterBuffers(other.id, a.transmitBus, 1))).toBe('NO_SUCH_BUFFER');
    const bus = a.place(makeFrame(), 0);
    a.control.unregisterBuffers(a.id, a.transmitBus, 1);
    a.vi.transmitInit(bus, 54, 1);
    a.vi.transmitPush();
    expect(b.poll()).toEqual([]);
    expect(a.counters()['txErrors']).toBe(1);
  });

  it('hole 2.16 #15: run out, and a table in pieces is still used up to its last run', () => {
    const lab = new Lab({ nic: { bufferPages: 200 } });
    const b = lab.vi(1); // 80 pages of its own
    const pages = lab.pages(lab.take(4096 * 120), 120);
    const one = b.control.registerBuffers(b.id, pages.slice(0, 60));
    b.control.registerBuffers(b.id, pages.slice(60));
    expect(code(() => b.control.registerBuffers(b.id, pages.slice(0, 1)))).toBe('NO_BUFFER_SPACE');
    b.control.unregisterBuffers(b.id, one + 4096 * 10, 20);
    expect(code(() => b.control.registerBuffers(b.id, pages.slice(0, 21)))).toBe('NO_BUFFER_SPACE');
    expect(b.control.registerBuffers(b.id, pages.slice(0, 20))).toBe(one + 4096 * 10);
  });

  it('may be shared by two VIs of one owner', () => {
    const { lab, a, b } = pair();
    const twin = lab.vi(0, { request: { owner: a.request.owner } });
    const bus = a.place(makeFrame());
    twin.vi.transmitInit(bus, 54, 1);
    twin.vi.transmitPush();
    expect(b.poll().length).toBe(1);
  });
});

describe('a marker', () => {
  it('comes behind every frame that was there, and before every later one', () => {
    const { lab, a, b } = pair();
    const order: string[] = [];
    expect(b.vi.prime()).toBe(false);
    a.send(makeFrame());
    expect(b.control.putEvent(b.id, 0xdead_beef)).toBe(true);
    a.send(makeFrame());
    for (let n = b.vi.poll(b.batch, 1); n > 0; n = b.vi.poll(b.batch, 1))
      order.push(
        b.batch.type[0] === EventType.software
          ? `marker ${(b.batch.detail[0]! >>> 0).toString(16)}`
          : 'frame',
      );
    expect(order).toEqual(['frame', 'marker deadbeef', 'frame']);
    lab.interrupts.length = 0;
    expect(b.vi.prime()).toBe(false);
    b.control.putEvent(b.id, 1);
    expect(lab.interrupts).toEqual([b.request.vector]);
  });

  it('says when there is no room', () => {
    const lab = new Lab();
    const b = lab.vi(1, { eventCapacity: 4 });
    expect([1, 2, 3, 4, 5].map((v) => b.control.putEvent(b.id, v))).toEqual([true, true, true, false, false]);
    expect(b.counters()['eventsLost']).toBe(2);
  });
});

describe('feature 97: the end of a VI', () => {
  it('takes its filters and buffers; doorbells after it are counted and ignored', () => {
    const { lab, a, b } = pair();
    b.control.freeVi(b.id);
    expect(b.registers.read32(Register.live)).toBe(0);
    a.send(makeFrame());
    expect(b.control.portStatistics()).toMatchObject({ rxUnmatched: 1 });
    b.vi.transmitInit(0, 60, 1);
    b.vi.transmitPush();
    expect(lab.nics[1].describe().counters['staleDoorbells']).toBe(1);
    expect(code(() => b.control.freeVi(b.id))).toBe('NO_SUCH_VI');
    const next = lab.vi(1);
    expect(next.id).toBe(b.id);
    b.vi.transmitPush();
    next.control.addFilter(next.id, { kind: 'mac', mac: macOf(2) });
    a.send(makeFrame());
    expect(next.poll().length).toBe(1);
  });

  it('is clean after a flush: what was taken is reported, the rest is counted', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ delayUs: 10 });
    for (let i = 0; i < 60; i++) a.send(makeFrame());
    for (let i = 0; i < 8; i++) a.vi.transmitInit(a.place(makeFrame()), 54, 100 + i);
    expect(a.control.flushVi(a.id)).toBe(true);
    a.vi.transmitPush();
    a.poll();
    expect(a.completed.length).toBe(60);
    a.control.freeVi(a.id);
    lab.advance(10);
    expect(b.poll().length).toBe(60);
  });
});

describe('reset', () => {
  it('feature 78: takes everything, tells each VI last, and begins a new generation', () => {
    const { lab, a, b } = pair();
    const nic = lab.nics[1];
    a.send(makeFrame());
    expect(b.poll().length).toBe(1);
    expect(b.vi.prime()).toBe(false);
    nic.reset();
    expect(lab.interrupts).toEqual([b.request.vector]);
    expect(b.poll()).toEqual([]);
    expect(b.others).toMatchObject([{ type: EventType.reset }]);
    expect(b.vi.isLive).toBe(false);
    expect(b.vi.receiveInit(b.receiveBus, 2048, 0)).toBe(false);
    expect(b.control.generation).toBe(2);
    expect(code(() => b.control.filters(b.id))).toBe('NO_SUCH_VI');
    b.registers.write32(Register.transmitProducer, 3);
    nic.serviceVi(b.id);
    expect(nic.describe()).toMatchObject({
      generation: 2,
      liveVis: 0,
      counters: { resets: 1, staleDoorbells: 2 },
    });
    a.send(makeFrame());
    expect(b.control.portStatistics()['rxUnmatched']).toBe(1);
    const again = lab.vi(1);
    again.control.addFilter(again.id, { kind: 'mac', mac: macOf(2) });
    a.send(makeFrame());
    expect(again.poll().length).toBe(1);
  });

  it('while frames are under way drops none that others may have', () => {
    const { lab, a, b } = pair();
    lab.wire.set({ delayUs: 10 });
    a.send(makeFrame());
    lab.nics[1].reset();
    b.poll();
    lab.advance(10);
    expect(b.poll()).toEqual([]);
    expect(b.control.portStatistics()).toMatchObject({ rxFrames: 1, rxUnmatched: 1 });
  });
});

describe('a machine that does not notice register writes', () => {
  it('serves a VI when its doorbell channel rings', () => {
    const { lab, a, b } = pair();
    const page = a.registerPage;
    a.registers.write32 = (offset, value) => (lab.memory.words[(page + offset) >>> 2] = value);
    a.send(makeFrame());
    expect(b.poll()).toEqual([]);
    lab.nics[0].serviceVi(a.id);
    expect(b.poll().length).toBe(1);
    a.vi.transmitInit(0xffff_0000, 60, 9);
    a.vi.transmitPush();
    lab.nics[0].serviceVi(a.id);
    a.poll();
    expect(a.vi.transmitReinitialise(new Int32Array(64))).toBe(1);
    lab.nics[0].serviceVi(a.id);
    a.send(makeFrame());
    lab.nics[0].serviceVi(a.id);
    expect(b.poll().length).toBe(1);
  });
});

describe('the control interface', () => {
  it('is recognised', () => {
    const { b } = pair();
    expect(isNicControl(b.control)).toBe(true);
    for (const other of [null, undefined, 5, {}, { kind: 'netaccel.nic-vi.control/2' }])
      expect(isNicControl(other)).toBe(false);
  });

  it('feature 127: tells what the port can do, as numbers', () => {
    const { b } = pair();
    for (const value of Object.values(b.control.capabilities)) expect(typeof value).toBe('number');
    expect(b.control.capabilities).toMatchObject({ vis: 8, filters: 64, maxFrameBytes: 1518, loopback: 0 });
  });

  it('describes a VI and the NIC as plain data', () => {
    const { lab, b } = pair();
    const copy: unknown = JSON.parse(
      JSON.stringify([
        b.control.describeVi(b.id),
        lab.nics[1].describe(),
        b.vi.describe(),
        lab.wire.describe(),
      ]),
    );
    expect(copy).toMatchObject([
      { id: b.id, filterQuota: null },
      { ports: [{ mac: '02:00:00:00:00:02', link: true }] },
      { live: true },
      { transparent: true },
    ]);
  });

  it('attaches to a state that is there, and to nothing else', () => {
    const { lab, a, b } = pair();
    const options = { interrupt: () => undefined, concurrent: false };
    const attached = Nic.attach(lab.memory, lab.places[1]!, options);
    expect(attached.describe()).toMatchObject({ liveVis: 1, maxVis: 8 });
    expect(attached.control(0).filters(b.id).length).toBe(1);
    expect(() => Nic.attach(lab.memory, a.transmitAddress, options)).toThrow(/a NIC of version 2 expected/);
  });
});
