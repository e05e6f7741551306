// Pages that a guest has kept mapped (netif.h, "Static Grants"): asked for by the control ring, used by copies of both
// directions, given up at any moment.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { GrantCopyBatch, GrantStatus, encode } from '@netaccel/xen';
import { ControlStatus, ControlType, GrefFlag, grefEntry } from '@netaccel/xen/netif';
import { SimMachine } from '@netaccel/xen/sim';
import { describe, expect, test } from 'vitest';
import { StaticGrants } from '../src/static-grants.js';
import { Control, end } from './control-ring.js';
import { pattern } from './lab.js';
import type { VifLab } from './lab.js';

const OKAY = ControlStatus.success;
const INVALID = ControlStatus.invalidParameter;

type Entry = readonly [ref: number, flags?: number];

function write(control: Control, entries: readonly Entry[]): void {
  const bytes = new Uint8Array(entries.length * grefEntry.size);
  entries.forEach(([ref, flags = 0], i) =>
    bytes.set(encode(grefEntry, { ref, flags, status: 0xeeee }), i * grefEntry.size),
  );
  control.write(bytes);
}

async function add(control: Control, queue: number, entries: readonly Entry[]): Promise<number> {
  write(control, entries);
  return (await control.ask(ControlType.addGrefMapping, queue, control.ref, entries.length)).status;
}

/** The answer, and the status of each entry. */
async function remove(lab: VifLab, control: Control, queue: number, refs: readonly number[]) {
  write(
    control,
    refs.map((ref) => [ref]),
  );
  const { status, data } = await control.ask(ControlType.delGrefMapping, queue, control.ref, refs.length);
  const { bytes, halves } = lab.guest.memory;
  const entries = refs.map((ref, i) => {
    const at = control.data.address + i * grefEntry.size;
    expect([...bytes.subarray(at, at + 4)]).toEqual([ref & 255, ref >>> 8, 0, 0]);
    return halves[(at + grefEntry.fields.status.offset) >>> 1];
  });
  return { status, data, entries };
}

/** Grant copies of what was not mapped, from here on. */
function copiesOf(lab: VifLab): { count: number } {
  const seen = { count: 0 };
  const { foreign } = lab.back;
  const copy = foreign.copy.bind(foreign);
  foreign.copy = (peer, batch) => {
    seen.count += batch.count;
    copy(peer, batch);
  };
  return seen;
}

const make = (queues = 1, staticGrants = 64) =>
  Control.make(queues, 'write', { netback: { limits: { staticGrants } } });

describe('frames by pages that stay mapped', () => {
  test('go both ways byte for byte, without a grant copy', async () => {
    const both = await make();
    const { lab, control } = both;
    const { queue } = lab.frontend;
    expect(await control.ask(ControlType.getGrefMappingSize, 0)).toEqual({ status: OKAY, data: 64 });
    const readOnly = [...queue.txPages.refs].map((ref): Entry => [ref, GrefFlag.readOnly]);
    expect(await add(control, 0, readOnly)).toBe(OKAY);
    expect(
      await add(
        control,
        0,
        [...queue.rxPages.refs].map((ref): Entry => [ref]),
      ),
    ).toBe(OKAY);
    expect(lab.netback.describe()).toMatchObject({ staticGrants: 32 });
    const copies = copiesOf(lab);
    for (let i = 0; i < 40; i++) {
      const bytes = pattern(60 + 90 * i, i);
      queue.packet(bytes);
      queue.publish();
      await lab.settle();
      expect(queue.responses().every(({ status }) => status === 0)).toBe(true);
      expect(lab.network.frames.at(-1)!.bytes).toEqual(bytes);
    }
    queue.post(16);
    await lab.settle();
    lab.network.onDeliver = (frame) => {
      lab.netback.deliver(frame);
      lab.netback.flush();
    };
    for (let i = 0; i < 10; i++) {
      const bytes = pattern(1000 + 500 * i, i);
      queue.packet(bytes);
      queue.publish();
      await lab.settle();
      queue.responses();
      expect(queue.packets()).toMatchObject([{ bytes }]);
      queue.post(2);
    }
    expect(copies.count).toBe(0);
    await end(both);
  });

  test('and by pages that do not, in one batch: each copy has its own outcome', async () => {
    const both = await make();
    const { lab, control } = both;
    const { queue } = lab.frontend;
    expect(await add(control, 0, [[queue.txPages.refs[2]!, GrefFlag.readOnly]])).toBe(OKAY);
    const copies = copiesOf(lab);
    // Page n of the frontend's goes with slot n: by grant, in vain, by the mapping, by grant.
    queue.packet(pattern(200, 0));
    queue.request({ gref: 4000, size: 100 });
    queue.packet(pattern(200, 2));
    queue.packet(pattern(200, 3));
    queue.publish();
    await lab.settle();
    expect(queue.responses().map(({ status }) => status)).toEqual([0, -1, 0, 0]);
    expect(copies.count).toBe(3);
    expect(lab.network.frames.map(({ bytes }) => bytes)).toEqual([0, 2, 3].map((i) => pattern(200, i)));
    expect(lab.netback.statistics().txErrors['copy-failed']).toBe(1);
    await end(both);
  });

  test('a page that is unmapped between two frames is copied from by grant', async () => {
    const both = await make();
    const { lab, control } = both;
    const { queue } = lab.frontend;
    const refs = [...queue.txPages.refs];
    expect(
      await add(
        control,
        0,
        refs.map((ref): Entry => [ref, GrefFlag.readOnly]),
      ),
    ).toBe(OKAY);
    queue.packet(pattern(300, 1));
    // The request lies on the ring, unseen, when its page is unmapped.
    expect(await remove(lab, control, 0, refs)).toMatchObject({ status: OKAY, data: refs.length });
    const copies = copiesOf(lab);
    queue.publish();
    await lab.settle();
    expect(lab.network.frames[0]!.bytes).toEqual(pattern(300, 1));
    expect(copies.count).toBe(1);
    await end(both);
  });

  test('a page that is mapped to be read is never written', () => {
    const machine = new SimMachine({ pages: 1024, domains: 2 });
    const [back, guest] = [machine.createDomain(0), machine.createDomain(1)];
    const shared = guest.grants.share(0, 1, 'write');
    const grants = new StaticGrants(back, 1, 4, 8);
    expect(grants.add([{ ref: shared.refs[0]!, readOnly: true }])).toBe(true);
    const own = back.pages.allocate(1);
    back.memory.bytes.fill(7, own, own + 8);
    const batch = new GrantCopyBatch(8);
    batch.toGrant(shared.refs[0]!, 0, own, 8);
    let asked = 0;
    const copy = back.foreign.copy.bind(back.foreign);
    back.foreign.copy = (peer, of) => {
      asked++;
      copy(peer, of);
    };
    grants.copy(batch);
    expect([asked, batch.status[0]]).toEqual([1, GrantStatus.okay]); // by grant, which allows it
    // Beyond the page's end it is the grant copy, too, that says no.
    batch.clear();
    batch.fromGrant(shared.refs[0]!, PAGE_BYTES - 4, own, 8);
    grants.copy(batch);
    expect([asked, batch.status[0]]).toEqual([2, GrantStatus.badCopyArgument]);
    grants.close();
    expect(shared.release()).toBe(true);
  });
});

describe('a list', () => {
  test('is added whole or not at all', async () => {
    const both = await make(1, 8);
    const { lab, control } = both;
    const refs = [...lab.frontend.queue.rxPages.refs];
    const mappings = lab.back.ledger().mappings;
    const tx = lab.frontend.queue.txPages.refs;
    const bad: readonly (readonly Entry[])[] = [
      [[refs[0]!], [refs[1]!], [0xffff_fff0]], // not granted
      [[refs[0]!], [refs[0]!]], // twice
      [[refs[0]!], [refs[1]!, 2]], // an unknown flag
      [[refs[0]!], [tx[0]!]], // granted to be read only, and not said so
      refs.slice(0, 9).map((ref): Entry => [ref]), // one too many
    ];
    for (const entries of bad) {
      expect(await add(control, 0, entries)).toBe(INVALID);
      expect(lab.back.ledger().mappings).toBe(mappings);
    }
    expect(await add(control, 0, [])).toBe(OKAY);
    expect(
      await add(
        control,
        0,
        refs.slice(0, 8).map((ref): Entry => [ref]),
      ),
    ).toBe(OKAY);
    expect(await add(control, 0, [[refs[3]!]])).toBe(INVALID);
    expect(await add(control, 0, [[refs[9]!]])).toBe(INVALID);
    expect(lab.back.ledger().mappings).toBe(mappings + 8);
    await end(both);
  });

  test('is removed entry by entry, each with its status', async () => {
    const both = await make();
    const { lab, control } = both;
    const [a, b, c] = lab.frontend.queue.rxPages.refs;
    expect(await add(control, 0, [[a!], [b!]])).toBe(OKAY);
    expect(await remove(lab, control, 0, [a!, c!, a!, b!])).toEqual({
      status: OKAY,
      data: 2,
      entries: [OKAY, INVALID, INVALID, OKAY],
    });
    expect(await remove(lab, control, 0, [])).toMatchObject({ status: OKAY, data: 0 });
    expect(lab.frontend.queue.rxPages.refs.length).toBe(16);
    await end(both);
  });

  test('belongs to a queue, lies in one page, and must be readable', async () => {
    const both = await make(2);
    const { lab, control } = both;
    const [ref] = lab.frontend.queues[1]!.rxPages.refs;
    for (const queue of [2, 0xffff_ffff]) {
      expect(await control.ask(ControlType.getGrefMappingSize, queue)).toMatchObject({ status: INVALID });
      expect(await add(control, queue, [[ref!]])).toBe(INVALID);
      expect(await remove(lab, control, queue, [ref!])).toMatchObject({ status: INVALID });
    }
    for (const type of [ControlType.addGrefMapping, ControlType.delGrefMapping]) {
      for (const entries of [513, 0x2000_0001, 0xffff_ffff])
        expect(await control.ask(type, 0, control.ref, entries)).toEqual({ status: INVALID, data: 0 });
      expect(await control.ask(type, 0, 4000, 1)).toEqual({ status: INVALID, data: 0 });
    }
    expect(await add(control, 1, [[ref!]])).toBe(OKAY);
    expect(await add(control, 0, [[ref!]])).toBe(OKAY); // each queue its own
    expect(await remove(lab, control, 0, [ref!])).toMatchObject({ data: 1 });
    await end(both);
  });

  test('that may only be read is refused its statuses, and what it names is unmapped all the same', async () => {
    const both = await Control.make(1, 'read');
    const { lab, control } = both;
    const [ref] = lab.frontend.queue.rxPages.refs;
    expect(await add(control, 0, [[ref!]])).toBe(OKAY);
    expect(await remove(lab, control, 0, [ref!])).toMatchObject({ status: INVALID, data: 1 });
    expect(lab.netback.describe()).toMatchObject({ staticGrants: 0 });
    await end(both);
  });
});

test('XSA-371: a guest that leaves pages mapped, or takes them back unasked, gets them at the end of the connection', async () => {
  const both = await make();
  const { lab, control } = both;
  const { rxPages } = lab.frontend.queue;
  expect(
    await add(
      control,
      0,
      [...rxPages.refs].map((ref): Entry => [ref]),
    ),
  ).toBe(OKAY);
  expect(rxPages.release()).toBe(false);
  await lab.run(lab.netback.stop());
  expect(rxPages.release()).toBe(true);
  await end(both);
});

test('a guest that asks to map without end keeps nobody from his turn', async () => {
  const both = await make(1, 16);
  const { lab, control } = both;
  const refs = [...lab.frontend.queue.rxPages.refs];
  write(control, [...refs.slice(0, 15).map((ref): Entry => [ref]), [0xffff_fff0]]);
  const asked = Array.from({ length: 100 }, () =>
    control.put(ControlType.addGrefMapping, 0, control.ref, 16),
  );
  if (control.ring.publish()) control.channel.notify();
  // One list a run: whatever else is to be done has its turn between any two.
  let most = 0;
  for (let before = 0; control.ring.available() < asked.length; before = control.ring.available()) {
    lab.machine.pump(1);
    most = Math.max(most, control.ring.available() - before);
  }
  expect(most).toBe(1);
  expect((await control.publish()).map(({ id }) => id)).toEqual(asked);
  await end(both);
});

test.each([1, 2, 3])('the table of references, against a map, at its fullest (seed %i)', (seed) => {
  const machine = new SimMachine({ seed, pages: 4096, domains: 2 });
  const [back, guest] = [machine.createDomain(0), machine.createDomain(1)];
  const shared = guest.grants.share(0, 200, 'write');
  shared.refs.forEach((_, i) =>
    guest.memory.bytes.fill(i, shared.address + i * PAGE_BYTES, shared.address + (i + 1) * PAGE_BYTES),
  );
  const grants = new StaticGrants(back, 1, 64, 256);
  const held = new Set<number>();
  const own = back.pages.allocate(1);
  const batch = new GrantCopyBatch(256);
  let copied = 0;
  const copy = back.foreign.copy.bind(back.foreign);
  back.foreign.copy = (peer, of) => {
    copied += of.count;
    copy(peer, of);
  };
  let state = seed;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (let round = 0; round < 400; round++) {
    const ref = shared.refs[random(200)]!;
    if (random(2) === 0) {
      expect(grants.add([{ ref, readOnly: false }])).toBe(!held.has(ref) && held.size < 64);
      if (held.size < 64) held.add(ref);
    } else expect(grants.remove(ref)).toBe(held.delete(ref));
    expect(grants.count).toBe(held.size);
    if (round % 20 !== 0 && round !== 399) continue;
    batch.clear();
    copied = 0;
    for (let i = 0; i < 200; i++) batch.fromGrant(shared.refs[i]!, i, own + i * 4, 4);
    grants.copy(batch);
    expect(copied).toBe(held.size === 0 ? 200 : 200 - held.size);
    for (let i = 0; i < 200; i++) {
      expect(batch.status[i]).toBe(0);
      expect(back.memory.bytes[own + i * 4 + 3]).toBe(i);
    }
  }
  grants.close();
  expect(back.ledger().mappings).toBe(0);
  expect(shared.release()).toBe(true);
});
