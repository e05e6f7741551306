// The guest's half that plugins share, and its set-up: against a driver domain's half by the book, one that refuses or
// dies at any step, and one that lies in any field. Whatever ends it, nothing is left.
import { PAGE_BYTES, Verdict } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { ControlMessage, ViFrontend, decodeBuffers, encodeFence, handoverMessage } from '../src/index.js';
import type { ViFrontendPlan } from '../src/index.js';
import { FakeGuest, FarEnd, frameOf, macOf } from '../src/testing/index.js';
import type { Script } from '../src/testing/index.js';

const empty = { shares: 0, registers: 0, ports: 0, timers: 0 };
const plan: ViFrontendPlan = {
  capabilities: {},
  receivePages: 60,
  choice: () => ({ of: () => Verdict.sent }),
};
const { hello, rings, buffers, start } = ControlMessage;
/** Receive pages in chunks of 24, then the 68 pages of transmit memory. */
const CHUNKS = [24, 24, 12, 24, 24, 20];
const REQUESTS = [hello, rings, ...CHUNKS.map(() => buffers), start];
/** Of those, the ones without which there is no device: of transmit memory it may be told in part. */
const NEEDED = REQUESTS.map((_type, i) => i).filter((i) => i < 5 || i === REQUESTS.length - 1);

/** A guest whose nth request is dealt with by the test. */
function meddled(
  nth: number,
  meddle: (guest: FakeGuest) => Promise<{ ok: boolean; payload: Uint8Array }>,
): FakeGuest {
  const guest = new FakeGuest({ pages: 60 });
  const { mailbox } = guest;
  const request = mailbox.request.bind(mailbox);
  let n = 0;
  Object.assign(mailbox, {
    request: (type: number, payload: Uint8Array) => (n++ === nth ? meddle(guest) : request(type, payload)),
  });
  return guest;
}

async function attached(script: Script = {}): Promise<{ guest: FakeGuest; device: ViFrontend }> {
  const guest = new FakeGuest({ pages: 60, ...script });
  const device = await guest.whilePolled(ViFrontend.attach(guest.services, plan));
  return { guest, device };
}

/** The same with its filter, behind a fence that has passed, and a neighbour across the wire. */
async function sending(): Promise<{ guest: FakeGuest; device: ViFrontend; far: FarEnd }> {
  const { guest, device } = await attached();
  const far = new FarEnd(guest);
  guest.control.addFilter(guest.vi, { kind: 'mac', mac: macOf(0xa) });
  await guest.backend.request(ControlMessage.open, encodeFence([1]));
  device.poll(64);
  expect(await guest.tell(macOf(0xb))).toBe(true);
  return { guest, device, far };
}

const outgoing = (id: number): Uint8Array =>
  frameOf({ to: macOf(0xb), from: macOf(0xa), payload: [id, 1, 2, 3] });

describe('set-up of the shared frontend half', () => {
  it('registers its buffers in chunks, each where the answer says, and sends from every one of them', async () => {
    const { guest, device } = await attached();
    expect(guest.mailbox.sent.map(({ type }) => type)).toEqual(REQUESTS);
    const sent = guest.mailbox.sent.filter(({ type }) => type === buffers);
    const chunks = sent.map(({ payload }) => decodeBuffers(payload));
    expect(chunks.map(({ refs }) => refs.length)).toEqual(CHUNKS);
    expect(chunks.map(({ cookie }) => cookie)).toEqual([0, 24, 48, 0, 24, 48]);
    expect(chunks.map(({ writable }) => writable)).toEqual([true, true, true, false, false, false]);
    expect(guest.control.describeVi(guest.vi)).toMatchObject({ buffers: 60 + 68 });
    expect(device.describe()).toMatchObject({ receiveBuffers: { count: 120, held: 0 } });

    const far = new FarEnd(guest);
    await guest.backend.request(ControlMessage.open, encodeFence([1]));
    device.poll(64);
    await guest.tell(macOf(0xb));
    // 64 small buffers take the first chunk and part of the second; the large ones what is behind them.
    const frames: Frame[] = [];
    for (let i = 0; i < 64; i++) frames.push(guest.frame(outgoing(i)));
    for (const large of [guest.large.allocate()!, guest.large.allocate()!]) {
      guest.memory.bytes.set(outgoing(100 + large.index), large.home + 17 * PAGE_BYTES);
      large.describe(large.home + 17 * PAGE_BYTES, outgoing(0).length);
      frames.push(large);
    }
    for (const frame of frames) expect(device.startTransmit(frame, false)).toBe(Verdict.sent);
    expect(far.look().map((bytes) => bytes[42])).toEqual([
      ...Array.from({ length: 64 }, (_, i) => i),
      100,
      101,
    ]);
    await guest.whilePolled(device.quiesce(), device);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });

  it.each(NEEDED)('leaves nothing when request %i is refused', async (nth) => {
    const guest = meddled(nth, () => Promise.resolve({ ok: false, payload: new Uint8Array(0) }));
    await expect(guest.whilePolled(ViFrontend.attach(guest.services, plan))).rejects.toThrow();
    expect(guest.ledger()).toEqual(empty);
    expect(guest.delivered).toEqual([]);
  });

  it.each(NEEDED)('leaves nothing when the other half dies before request %i', async (nth) => {
    const guest = meddled(nth, ({ backend }) => {
      backend.silent = true;
      return Promise.reject(Object.assign(new Error('no answer'), { code: 'TIMEOUT' }));
    });
    await expect(guest.whilePolled(ViFrontend.attach(guest.services, plan))).rejects.toThrow(/answer/);
    expect(guest.ledger()).toEqual(empty);
  });

  it.each(REQUESTS.map((_type, i) => i))(
    'leaves nothing when the mailbox is closed at request %i',
    async (nth) => {
      const guest = meddled(nth, () =>
        Promise.reject(Object.assign(new Error('the mailbox is closed'), { code: 'CLOSED' })),
      );
      await expect(guest.whilePolled(ViFrontend.attach(guest.services, plan))).rejects.toThrow(/closed/);
      expect(guest.ledger()).toEqual(empty);
    },
  );

  it.each([0, 1, 2].map((i) => 5 + i))(
    'goes on when a chunk of the transmit memory is refused (request %i): what lies there is declined',
    async (nth) => {
      const guest = meddled(nth, () => Promise.resolve({ ok: false, payload: new Uint8Array(0) }));
      const device = await guest.whilePolled(ViFrontend.attach(guest.services, plan));
      expect(guest.lines).toEqual([
        expect.stringMatching(/^warn: part of the transmit memory is not registered/),
      ]);
      await guest.whilePolled(device.remove());
      expect(guest.ledger()).toEqual(empty);
    },
  );

  it.each(['share', 'mapRegisters', 'events.bind'])(
    'leaves nothing when %s fails, each time it is called',
    async (what) => {
      for (let calls = 1; ; calls++) {
        const guest = new FakeGuest({ pages: 60 });
        let n = 0;
        const fail = guest.fail.bind(guest);
        guest.fail = (name) => {
          if (name === what && ++n === calls) guest.failing = what;
          fail(name);
        };
        const outcome = await guest.whilePolled(
          ViFrontend.attach(guest.services, plan).then(
            (device) => device,
            (error: unknown) => String(error),
          ),
        );
        if (typeof outcome !== 'string') {
          await guest.whilePolled(outcome.remove());
          expect(calls).toBeGreaterThan(1);
          break;
        }
        expect(outcome).toContain(`${what} fails`);
        expect(guest.ledger()).toEqual(empty);
      }
    },
  );
});

describe('a driver domain that lies', () => {
  const mac = macOf(0xc);
  it.each<[string, Script, RegExp]>([
    [
      'versions that do not meet',
      { hello: { oldest: 7, newest: 9 } },
      /speaks versions .* bring both plugins up to date/,
    ],
    ['a version that was not asked for', { hello: { oldest: 0, newest: 0 } }, /versions|version/],
    ['no page for receive buffers', { hello: { bufferPages: 0 } }, /raise limits\/max-buf-pages/],
    ['another MAC', { handover: { mac } }, /one MAC, two seen/],
    ['an mtu below the least', { handover: { mtu: 67 } }, /mtu/],
    ['no fragment', { handover: { maxFragments: 0 } }, /maxFragments/],
    ['more fragments than there can be', { handover: { maxFragments: 65 } }, /maxFragments/],
    ['no byte', { handover: { maxTransmitBytes: 67 } }, /maxTransmitBytes/],
    ['more bytes than a packet has', { handover: { maxTransmitBytes: 65_554 } }, /maxTransmitBytes/],
    ['more filters than there can be', { handover: { maxFilters: 4097 } }, /maxFilters/],
    [
      'fewer pages than were sent',
      { buffers: { count: 23 } },
      /24 pages from 0 on were sent, 23 from 0 on answered/,
    ],
    ['no page', { buffers: { count: 0 } }, /count/],
    ['more pages than a message has', { buffers: { count: 25 } }, /count/],
    ['pages of another message', { buffers: { cookie: 99 } }, /24 from 99 on answered/],
    ['a bus address within a page', { buffers: { bus: 4097 } }, /bus: a page's address expected/],
    ...[hello, rings, buffers].map((type): [string, Script, RegExp] => [
      `nothing in its answer to message ${type}`,
      { bytes: { [type]: new Uint8Array(0) } },
      /./,
    ]),
    [
      'bytes of another version in its handover',
      { bytes: { [rings]: new Uint8Array(handoverMessage.size).fill(0xff) } },
      /./,
    ],
  ])('%s: refused, and nothing is left', async (_what, script, why) => {
    const guest = new FakeGuest({ pages: 60, ...script });
    await expect(guest.whilePolled(ViFrontend.attach(guest.services, plan))).rejects.toThrow(why);
    expect(guest.ledger()).toEqual(empty);
    expect(guest.failures).toEqual([]);
  });

  it.each<[string, Script]>([
    ['wants more pages than it was asked for', { hello: { bufferPages: 0xffff } }],
    ['has no doorbell', { handover: { doorbellPort: 0 } }],
    ['says nothing of what the NIC can do', { handover: { transmitChecksum: false, segmentation: false } }],
  ])('%s: taken as far as it makes sense', async (_what, script) => {
    const { guest, device } = await attached(script);
    expect(device.describe()).toMatchObject({ receiveBuffers: { count: 120 } });
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });
});

describe('removal of the shared frontend half', () => {
  it('with frames that were taken and have no doorbell yet: they leave with quiesce, and are given back', async () => {
    const { guest, device, far } = await sending();
    for (let i = 0; i < 8; i++)
      expect(device.startTransmit(guest.frame(outgoing(i)), true)).toBe(Verdict.sent);
    expect(far.look()).toEqual([]);
    await guest.whilePolled(device.quiesce(), device);
    expect(far.look().map((bytes) => bytes[42])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(guest.completed).toHaveLength(8);
    expect(guest.pool.free).toBe(64);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
  });

  it('without quiesce, with frames in flight: the VI holds none any more, and netfront takes them back', async () => {
    const { guest, device } = await sending();
    const frames = Array.from({ length: 8 }, (_, i) => guest.frame(outgoing(i)));
    for (const frame of frames) expect(device.startTransmit(frame, true)).toBe(Verdict.sent);
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
    for (const frame of frames) expect(frame.holders).toBe(1); // netfront's own
    expect(device.startTransmit(frames[0]!, false)).toBeGreaterThanOrEqual(Verdict.declined);
  });

  it('with frames that the guest still has: waits for them, and not for ever', async () => {
    for (const gone of [true, false]) {
      const { guest, device, far } = await sending();
      guest.keeping = [];
      for (let i = 0; i < 3; i++) far.send(frameOf({ payload: [i] }));
      device.poll(64);
      expect(guest.delivered).toHaveLength(3);
      await guest.whilePolled(device.quiesce(), device);
      const removal = device.remove();
      await guest.settle();
      expect(guest.ledger()).not.toEqual(empty);
      const kept = guest.keeping;
      if (gone) for (const frame of kept.splice(0)) frame.release();
      await guest.during(removal);
      expect(guest.ledger()).toEqual(empty);
      expect(guest.lines).toEqual(
        gone ? [] : [expect.stringMatching(/warn: the guest still has 3 receive buffers; their pages go/)],
      );
      for (const frame of kept) frame.release();
    }
  });

  it('may be told to do so twice, and then takes nothing and answers nothing', async () => {
    const { guest, device, far } = await sending();
    await guest.whilePolled(device.remove());
    await guest.whilePolled(device.remove());
    expect(guest.ledger()).toEqual(empty);
    expect(await guest.tell(macOf(0xd))).toBe(false);
    far.send(frameOf());
    expect(guest.delivered).toEqual([]);
  });
});

describe('what a device with one fence knows of its neighbours', () => {
  const everybody = new Uint8Array(6).fill(0xff);

  it('goes address by address: of a half that tells of none again nobody makes it forget all', async () => {
    const { guest, device } = await sending();
    expect(await guest.tell(everybody, 'here')).toBe(false);
    expect(device.startTransmit(guest.frame(outgoing(1)), false)).toBe(Verdict.sent);
    expect(await guest.tell(macOf(0xb), 'here')).toBe(true);
    expect(device.startTransmit(guest.frame(outgoing(2)), false)).toBeGreaterThanOrEqual(Verdict.declined);
  });
});
