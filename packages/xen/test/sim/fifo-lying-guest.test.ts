// FIFO event channels of a guest that asks for what cannot be, or writes nonsense into its own words; reset and death.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import type { SimDomain } from '../../src/sim/index.js';
import { FifoBit, Random } from '../../src/sim/index.js';
import { FifoRig, portsOf } from './fifo-rig.js';
import type { Ends } from './fifo-rig.js';

let rig: FifoRig;

beforeEach(async () => {
  rig = await FifoRig.make();
});

describe('XSA-107: no FIFO without a control block', () => {
  test('expand_array and set_priority before init_control are refused, and events go the 2-level way', async () => {
    const other = rig.machine.createDomain(2);
    const otherSlot = rig.machine.lab.core.find(0, 2);
    const page = other.pages.allocate(1) / PAGE_BYTES;
    const closed = expect.objectContaining({ code: 'CLOSED' }) as unknown;
    expect(() => {
      rig.ports.fifo.expandArray(otherSlot, page);
    }).toThrow(closed);
    const opened = other.events.allocateUnbound(0, () => rig.seen.push(opened.port));
    expect(() => {
      rig.ports.fifo.setPriority(otherSlot, opened.port, 0);
    }).toThrow(closed);
    const to = rig.back.events.bindInterdomain(2, opened.port, () => to.unmask());
    to.notify();
    await rig.machine.settle();
    expect(rig.seen).toEqual([opened.port]);
    expect(rig.machine.memory.same(page * PAGE_BYTES, 0, PAGE_BYTES)).toBe(true);
  });

  test('init_control comes once, and before the first port', () => {
    const inUse = expect.objectContaining({ code: 'IN_USE' }) as unknown;
    const init = (domain: SimDomain): void => {
      rig.ports.fifo.initControl(rig.machine.lab.core.find(0, domain.id), domain.pages.allocate(1));
    };
    expect(() => {
      init(rig.guest);
    }).toThrow(inUse);
    rig.back.events.allocateUnbound(1, () => undefined);
    expect(() => {
      init(rig.back);
    }).toThrow(inUse);
  });

  test.each<[string, (own: number, foreign: number) => number]>([
    ["another's page", (_, foreign) => foreign],
    ["the machine's", () => 0],
    ['no page of the lab', () => 0xffff_f000],
    ['a page that nobody has', () => 2047 * PAGE_BYTES],
    ['no multiple of 8', (own) => own + 4],
    ['too near to the end of its page', (own) => own + PAGE_BYTES - 64],
  ])('a control block in %s is refused', (_, where) => {
    const other = rig.machine.createDomain(2);
    const address = where(other.pages.allocate(1), rig.back.pages.allocate(1));
    expect(() => {
      rig.ports.fifo.initControl(rig.machine.lab.core.find(0, 2), address);
    }).toThrow(expect.objectContaining({ code: 'BAD_PAGE' }));
    expect(rig.ports.limit(rig.machine.lab.core.find(0, 2))).toBe(4096);
    expect(other.events.form).toBe('2-level');
  });

  test("event words in another's page, and more of them than ports, are refused", () => {
    expect(() => {
      rig.ports.fifo.expandArray(rig.slot, rig.back.pages.allocate(1) / PAGE_BYTES);
    }).toThrow(expect.objectContaining({ code: 'BAD_PAGE' }));
    for (let i = 1; i < 4; i++)
      rig.ports.fifo.expandArray(rig.slot, rig.guest.pages.allocate(1) / PAGE_BYTES);
    expect(() => {
      rig.ports.fifo.expandArray(rig.slot, rig.guest.pages.allocate(1) / PAGE_BYTES);
    }).toThrow(/at most 4 pages for the 4096 ports/);
  });

  test('a priority beyond 15 and a port that is not open have none', () => {
    const opened = rig.guest.events.allocateUnbound(0, () => undefined);
    for (const priority of [-1, 16, 1.5]) expect(() => opened.setPriority(priority)).toThrow(RangeError);
    for (const port of [0, opened.port + 1, 4096, 0xffff_ffff])
      expect(() => {
        rig.ports.fifo.setPriority(rig.slot, port, 3);
      }).toThrow(expect.objectContaining({ code: 'BAD_PORT' }));
    opened.close();
    expect(opened.setPriority(3)).toBe(false);
  });
});

describe('a guest that writes nonsense into its pages', () => {
  const nonsense: readonly [string, (ends: readonly Ends[]) => void][] = [
    ['a link to itself', ([a]) => rig.poke(rig.eventAt(a!.from.port), FifoBit.linked | a!.from.port)],
    [
      'a link back',
      ([a, , c]) => rig.poke(rig.eventAt(c!.from.port), rig.word(rig.eventAt(c!.from.port)) | a!.from.port),
    ],
    [
      'a link to no port',
      ([a]) => rig.poke(rig.eventAt(a!.from.port), rig.word(rig.eventAt(a!.from.port)) | FifoBit.link),
    ],
    ['every bit', (ends) => ends.forEach(({ from }) => rig.poke(rig.eventAt(from.port), 0xffff_ffff))],
    ['no bit', (ends) => ends.forEach(({ from }) => rig.poke(rig.eventAt(from.port), 0))],
    [
      'busy for ever',
      ([a]) => rig.poke(rig.eventAt(a!.from.port), rig.word(rig.eventAt(a!.from.port)) | FifoBit.busy),
    ],
    ['a head that is no port', () => rig.poke(rig.headAt(7), 0xffff_ffff)],
    ['a head that is not in use', () => rig.poke(rig.headAt(7), 4000)],
    ['ready, all of it', () => rig.poke(rig.readyAt(), 0xffff_ffff)],
    ['nothing ready', () => rig.poke(rig.readyAt(), 0)],
  ];

  test.each(nonsense)('%s: only that guest may miss events, and it hears new ones', async (_, spoil) => {
    const ends = await rig.channels(3);
    const other = rig.machine.createDomain(2, 'other', { eventChannels: 'fifo' });
    let heard = 0;
    const opened = other.events.allocateUnbound(0, () => {
      heard++;
      opened.unmask();
    });
    const to = rig.back.events.bindInterdomain(2, opened.port, () => to.unmask());
    for (let round = 0; round < 3; round++) {
      for (const end of ends) end.to.notify();
      spoil(ends);
      for (const end of ends) end.to.notify();
      to.notify();
      await rig.machine.settle();
      expect(heard).toBe(round + 1);
    }
    // As a kernel would that begins anew.
    for (const { from } of ends) rig.poke(rig.eventAt(from.port), 0);
    rig.poke(rig.readyAt(), 0);
    rig.seen.length = 0;
    for (const end of ends) end.to.notify();
    await rig.machine.settle();
    expect(new Set(rig.seen)).toEqual(new Set(portsOf(ends)));
    for (const end of ends) {
      end.to.close();
      end.from.close();
    }
    expect(rig.machine.lab.core.holdings(rig.slot).ports).toBe(0);
    expect(rig.machine.audit.violations).toEqual([]);
  });

  test('words at random, for a while', async () => {
    const random = new Random(107);
    const ends = await rig.channels(8);
    const kept = rig.arrayPages();
    for (let round = 0; round < 2000; round++) {
      const end = ends[random.below(ends.length)]!;
      const what = random.below(6);
      if (what === 0) rig.poke(rig.eventAt(end.from.port), random.next());
      else if (what === 1) rig.poke(rig.headAt(random.below(16)), random.below(12));
      else if (what === 2) rig.poke(rig.readyAt(), random.next());
      else if (what === 3) end.from.setPriority(random.below(16));
      else end.to.notify();
      if (random.below(3) === 0) await rig.machine.settle(0);
    }
    expect(rig.arrayPages()).toEqual(kept);
    expect(rig.machine.audit.violations).toEqual([]);
    expect(rig.back.ledger().ports).toBe(8);
  });

  test('a page that it gives away is not written any more', async () => {
    const other = rig.machine.createDomain(2);
    const { core } = rig.machine.lab;
    const otherSlot = core.find(0, 2);
    const [block, words] = [other.pages.allocate(1), other.pages.allocate(1)];
    rig.ports.fifo.initControl(otherSlot, block);
    rig.ports.fifo.expandArray(otherSlot, words / PAGE_BYTES);
    rig.ports.open(otherSlot, 1, 0);
    const to = rig.back.events.bindInterdomain(2, 1, () => to.unmask());
    await rig.machine.settle();
    to.notify();
    expect(rig.word(words + 4)).toBe((FifoBit.pending | FifoBit.linked) >>> 0);
    expect(rig.word(block)).toBe(1 << 7);
    for (const [given, left] of [
      [block, words],
      [words, block],
    ] as const) {
      other.pages.free(given);
      rig.machine.memory.clear(left, PAGE_BYTES);
      to.notify();
      rig.ports.fifo.unmask(otherSlot, 1);
      rig.ports.close(otherSlot, 1);
      rig.machine.audit.checkFreePages();
      expect(rig.machine.audit.violations).toEqual([]);
    }
  });
});

describe('reset and death', () => {
  test('XSA-343: after a reset no port is open, and the slot is 2-level, also with events in all queues', async () => {
    const ends = await rig.channels(16);
    for (const [i, { from }] of ends.entries()) from.setPriority(i);
    for (const { to } of ends) to.notify();
    rig.ports.closeAll(rig.slot);
    for (const { to } of ends) to.notify();
    expect(rig.machine.lab.core.holdings(rig.slot)).toMatchObject({ ports: 0 });
    expect(rig.control()).toBe(0);
    expect(rig.ports.waiting(rig.slot)).toBe(false);
    for (const { to } of ends) to.close();
    expect(rig.back.ledger().ports).toBe(0);
  });

  test('XSA-505: an expand that comes after a reset is refused, and a new control block begins without event words', async () => {
    const [one] = await rig.channels(1);
    const was = rig.eventAt(one!.from.port);
    rig.ports.closeAll(rig.slot);
    const page = rig.guest.pages.allocate(1) / PAGE_BYTES;
    expect(() => {
      rig.ports.fifo.expandArray(rig.slot, page);
    }).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    rig.ports.fifo.initControl(rig.slot, rig.guest.pages.allocate(1));
    rig.ports.open(rig.slot, 1, 0);
    const before = rig.word(was);
    const again = rig.back.events.bindInterdomain(1, 1, () => again.unmask());
    again.notify();
    expect(rig.word(was)).toBe(before);
    expect(rig.word(rig.readyAt())).toBe(0);
    // The event waited in the hypervisor until there was a word for it.
    rig.ports.fifo.expandArray(rig.slot, page);
    expect(rig.word(rig.eventAt(1))).toBe((FifoBit.pending | FifoBit.linked) >>> 0);
    expect(rig.word(rig.headAt(7))).toBe(1);
  });

  test('a slot is used by one form after the other; nothing of the domain before is left, nor a page', async () => {
    const free = rig.machine.lab.core.freePages;
    for (let round = 0; round < 6; round++) {
      const form = round % 2 === 0 ? 'fifo' : '2-level';
      const next = rig.machine.createDomain(2, form, { eventChannels: form });
      expect(rig.machine.lab.core.find(0, 2)).toBe(2);
      let heard = 0;
      const opened = next.events.allocateUnbound(0, () => {
        heard++;
        opened.unmask();
      });
      const to = rig.back.events.bindInterdomain(2, opened.port, () => to.unmask());
      await rig.machine.settle();
      expect(heard).toBe(0);
      to.notify();
      await rig.machine.settle();
      expect(heard).toBe(1);
      to.notify();
      rig.machine.destroyDomain(2);
      to.notify();
      to.close();
      rig.machine.audit.checkFreePages();
      expect(rig.machine.lab.core.freePages).toBe(free);
    }
    expect(rig.machine.audit.violations).toEqual([]);
  });
});
