// FIFO event channels: order and priority, what a guest may write into its own words, and the pages it gives.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import { SimEvents } from '../../src/sim/events.js';
import type { Faults, PortTables, SimDomain, SimEventChannel } from '../../src/sim/index.js';
import {
  FIFO_WORDS_PER_PAGE,
  FifoBit,
  Lab,
  Random,
  SimMachine,
  domainRecord,
  fifoControlBlock,
} from '../../src/sim/index.js';

const CONTROL = domainRecord.fields.control.offset;
const ARRAY = domainRecord.fields.array.offset;

let faults: Faults;
let machine: SimMachine;
let back: SimDomain;
let guest: SimDomain;
let slot: number;
let ports: PortTables;
let seen: number[];

beforeEach(async () => {
  faults = {};
  machine = new SimMachine({ pages: 2048, domains: 4, ports: 4096, faults, audit: true });
  back = machine.createDomain(0);
  guest = machine.createDomain(1, 'guest', { eventChannels: 'fifo' });
  await machine.settle();
  ({ ports } = machine.lab.core);
  slot = machine.lab.core.find(0, 1);
  seen = [];
});

interface Ends {
  readonly from: SimEventChannel;
  readonly to: SimEventChannel;
}

/** So many channels from domain 0 to the guest, which notes the port of each event. */
async function channels(count: number, onEvent: (port: number) => void = () => undefined): Promise<Ends[]> {
  const ends = Array.from({ length: count }, () => {
    const from = guest.events.allocateUnbound(0, () => {
      seen.push(from.port);
      onEvent(from.port);
      from.unmask();
    });
    const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
    return { from, to };
  });
  await machine.settle();
  return ends;
}

const word = (address: number): number => machine.memory.words[address >>> 2]!;
const record = (): number => machine.lab.core.plan.record(slot);
const control = (): number => word(record() + CONTROL);
const readyAt = (): number => control() + fifoControlBlock.fields.ready.offset;
const headAt = (priority: number): number => control() + fifoControlBlock.fields.heads.offset + priority * 4;
/** Address of a port's event word. */
const eventAt = (port: number): number =>
  word(record() + ARRAY + Math.floor(port / FIFO_WORDS_PER_PAGE) * 4) * PAGE_BYTES +
  (port % FIFO_WORDS_PER_PAGE) * 4;
const poke = (address: number, value: number): void => {
  machine.memory.words[address >>> 2] = value;
};

const portsOf = (ends: readonly Ends[]): number[] => ends.map(({ from }) => from.port);

describe('order', () => {
  test('of one priority it is first come, first served, whatever the ports are', async () => {
    const ends = await channels(40);
    const random = new Random(5);
    for (let round = 0; round < 20; round++) {
      seen.length = 0;
      const order = ends
        .map((end) => ({ end, key: random.next() }))
        .sort((a, b) => a.key - b.key)
        .map(({ end }) => end);
      for (const { to } of order) {
        to.notify();
        to.notify();
      }
      await machine.settle();
      expect(seen).toEqual(portsOf(order));
    }
  });

  test('a higher priority goes first, 0 before 7 before 15, and what comes meanwhile goes before what is queued', async () => {
    const ends = await channels(6, (port) => {
      if (port === portsOf(ends)[2]) ends[5]!.to.notify();
    });
    for (const [i, priority] of [15, 15, 7, 7, 3, 0].entries())
      expect(ends[i]!.from.setPriority(priority)).toBe(true);
    for (const i of [0, 1, 2, 3]) ends[i]!.to.notify();
    await machine.settle();
    const [low, lower, usual, usual2, , first] = portsOf(ends);
    expect(seen).toEqual([usual, first, usual2, low, lower]);
  });

  test('a priority holds from the next event on; a port that moves to another queue takes nothing along', async () => {
    const [a, b, c] = (await channels(3)) as [Ends, Ends, Ends];
    a.to.notify();
    a.from.setPriority(0); // it waits in the queue of 7
    b.to.notify();
    await machine.settle();
    expect(seen).toEqual(portsOf([a, b]));
    seen.length = 0;
    // b was the last of 7's queue: its word now belongs to another one.
    b.from.setPriority(2);
    b.to.notify();
    c.to.notify();
    a.to.notify();
    await machine.settle();
    expect(seen).toEqual(portsOf([a, b, c]));
  });

  test('a port that closes has the usual priority when it opens again, and no event, also when it is in a queue', async () => {
    const [a, b, c] = (await channels(3)) as [Ends, Ends, Ends];
    b.from.setPriority(0);
    for (const { to } of [a, b, c]) to.notify();
    b.from.close();
    const reopened = guest.events.allocateUnbound(0, () => {
      seen.push(-1);
      reopened.unmask();
    });
    expect(reopened.port).toBe(b.from.port);
    await machine.settle();
    expect(seen).toEqual(portsOf([a, c]));
    const again = back.events.bindInterdomain(1, reopened.port, () => again.unmask());
    await machine.settle();
    seen.length = 0;
    a.to.notify();
    again.notify();
    await machine.settle();
    expect(seen).toEqual([a.from.port, -1]);
  });

  test('other work has its turn between events that never end', async () => {
    let turns = 0;
    const ends = await channels(1, () => {
      if (turns === 0) ends[0]!.to.notify();
    });
    const task = guest.loop.task(() => {
      turns++;
      return false;
    });
    ends[0]!.to.notify();
    task.raise();
    await machine.settle();
    expect(turns).toBe(1);
    expect(seen.length).toBeGreaterThan(0);
    task.cancel();
  });
});

describe('ports', () => {
  test('131071 of them: a page of event words is given for each 1024, when the first of them is opened', async () => {
    machine = new SimMachine({ pages: 4096, domains: 2, ports: 1 << 17 });
    back = machine.createDomain(0, 'back', { eventChannels: 'fifo' });
    guest = machine.createDomain(1, 'guest', { eventChannels: 'fifo' });
    slot = machine.lab.core.find(0, 1);
    const free = machine.lab.core.freePages;
    const opened = Array.from({ length: (1 << 17) - 1 }, () =>
      guest.events.allocateUnbound(0, () => seen.push(1)),
    );
    expect(free - machine.lab.core.freePages).toBe(127);
    const last = opened.at(-1)!;
    expect(last.port).toBe(0x1_ffff);
    const to = back.events.bindInterdomain(1, last.port, () => to.unmask());
    await machine.settle();
    machine.raise(back.events.vector(to));
    await machine.settle();
    expect(seen).toEqual([1]);
    expect(machine.lab.core.ports.target(slot, last.port)).toEqual({ slot: 0, port: to.port });
    expect(guest.ledger()).toMatchObject({ pages: 0, ports: (1 << 17) - 1 });
  });

  test('without memory for a page of event words the port is not opened, and nothing is held', () => {
    const opened = Array.from({ length: FIFO_WORDS_PER_PAGE - 1 }, () =>
      guest.events.allocateUnbound(0, () => undefined),
    );
    faults.exhausted = (_domain, what) => what === 'pages';
    expect(() => guest.events.allocateUnbound(0, () => undefined)).toThrow(
      expect.objectContaining({ code: 'NO_MEMORY' }),
    );
    expect(guest.ledger().ports).toBe(opened.length);
    faults.exhausted = () => false;
    expect(guest.events.allocateUnbound(0, () => undefined).port).toBe(FIFO_WORDS_PER_PAGE);
  });

  test.each([1, 2])(
    'a kernel without memory for page %i of FIFO goes on with 2-level, says so, and keeps none',
    (which) => {
      let asked = 0;
      faults.exhausted = (_domain, what) => what === 'pages' && ++asked >= which;
      const free = machine.lab.core.freePages;
      const poor = machine.createDomain(2, 'poor', { eventChannels: 'fifo' });
      expect(poor.describe()).toMatchObject({ eventChannels: '2-level' });
      expect(machine.lines.at(-1)).toMatchObject({
        domain: 2,
        level: 'warn',
        message: 'no memory for fifo event channels: 2-level ones are used',
      });
      expect(machine.lab.core.freePages).toBe(free);
    },
  );
});

describe('XSA-107: no FIFO without a control block', () => {
  test('expand_array and set_priority before init_control are refused, and events go the 2-level way', async () => {
    const other = machine.createDomain(2);
    const otherSlot = machine.lab.core.find(0, 2);
    const page = other.pages.allocate(1) / PAGE_BYTES;
    const closed = expect.objectContaining({ code: 'CLOSED' }) as unknown;
    expect(() => {
      ports.fifo.expandArray(otherSlot, page);
    }).toThrow(closed);
    const opened = other.events.allocateUnbound(0, () => seen.push(opened.port));
    expect(() => {
      ports.fifo.setPriority(otherSlot, opened.port, 0);
    }).toThrow(closed);
    const to = back.events.bindInterdomain(2, opened.port, () => to.unmask());
    to.notify();
    await machine.settle();
    expect(seen).toEqual([opened.port]);
    expect(machine.memory.same(page * PAGE_BYTES, 0, PAGE_BYTES)).toBe(true);
  });

  test('init_control comes once, and before the first port', () => {
    const inUse = expect.objectContaining({ code: 'IN_USE' }) as unknown;
    const init = (domain: SimDomain): void => {
      ports.fifo.initControl(machine.lab.core.find(0, domain.id), domain.pages.allocate(1));
    };
    expect(() => {
      init(guest);
    }).toThrow(inUse);
    back.events.allocateUnbound(1, () => undefined);
    expect(() => {
      init(back);
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
    const other = machine.createDomain(2);
    const address = where(other.pages.allocate(1), back.pages.allocate(1));
    expect(() => {
      ports.fifo.initControl(machine.lab.core.find(0, 2), address);
    }).toThrow(expect.objectContaining({ code: 'BAD_PAGE' }));
    expect(ports.limit(machine.lab.core.find(0, 2))).toBe(4096);
    expect(other.events.form).toBe('2-level');
  });

  test("event words in another's page, and more of them than ports, are refused", () => {
    expect(() => {
      ports.fifo.expandArray(slot, back.pages.allocate(1) / PAGE_BYTES);
    }).toThrow(expect.objectContaining({ code: 'BAD_PAGE' }));
    for (let i = 1; i < 4; i++) ports.fifo.expandArray(slot, guest.pages.allocate(1) / PAGE_BYTES);
    expect(() => {
      ports.fifo.expandArray(slot, guest.pages.allocate(1) / PAGE_BYTES);
    }).toThrow(/at most 4 pages for the 4096 ports/);
  });

  test('a priority beyond 15 and a port that is not open have none', () => {
    const opened = guest.events.allocateUnbound(0, () => undefined);
    for (const priority of [-1, 16, 1.5]) expect(() => opened.setPriority(priority)).toThrow(RangeError);
    for (const port of [0, opened.port + 1, 4096, 0xffff_ffff])
      expect(() => {
        ports.fifo.setPriority(slot, port, 3);
      }).toThrow(expect.objectContaining({ code: 'BAD_PORT' }));
    opened.close();
    expect(opened.setPriority(3)).toBe(false);
  });
});

describe('a guest that writes nonsense into its pages', () => {
  const nonsense: readonly [string, (ends: readonly Ends[]) => void][] = [
    ['a link to itself', ([a]) => poke(eventAt(a!.from.port), FifoBit.linked | a!.from.port)],
    ['a link back', ([a, , c]) => poke(eventAt(c!.from.port), word(eventAt(c!.from.port)) | a!.from.port)],
    ['a link to no port', ([a]) => poke(eventAt(a!.from.port), word(eventAt(a!.from.port)) | FifoBit.link)],
    ['every bit', (ends) => ends.forEach(({ from }) => poke(eventAt(from.port), 0xffff_ffff))],
    ['no bit', (ends) => ends.forEach(({ from }) => poke(eventAt(from.port), 0))],
    ['busy for ever', ([a]) => poke(eventAt(a!.from.port), word(eventAt(a!.from.port)) | FifoBit.busy)],
    ['a head that is no port', () => poke(headAt(7), 0xffff_ffff)],
    ['a head that is not in use', () => poke(headAt(7), 4000)],
    ['ready, all of it', () => poke(readyAt(), 0xffff_ffff)],
    ['nothing ready', () => poke(readyAt(), 0)],
  ];

  test.each(nonsense)('%s: only that guest may miss events, and it hears new ones', async (_, spoil) => {
    const ends = await channels(3);
    const other = machine.createDomain(2, 'other', { eventChannels: 'fifo' });
    let heard = 0;
    const opened = other.events.allocateUnbound(0, () => {
      heard++;
      opened.unmask();
    });
    const to = back.events.bindInterdomain(2, opened.port, () => to.unmask());
    for (let round = 0; round < 3; round++) {
      for (const end of ends) end.to.notify();
      spoil(ends);
      for (const end of ends) end.to.notify();
      to.notify();
      await machine.settle();
      expect(heard).toBe(round + 1);
    }
    // As a kernel would that begins anew.
    for (const { from } of ends) poke(eventAt(from.port), 0);
    poke(readyAt(), 0);
    seen.length = 0;
    for (const end of ends) end.to.notify();
    await machine.settle();
    expect(new Set(seen)).toEqual(new Set(portsOf(ends)));
    for (const end of ends) {
      end.to.close();
      end.from.close();
    }
    expect(machine.lab.core.holdings(slot).ports).toBe(0);
    expect(machine.audit.violations).toEqual([]);
  });

  test('words at random, for a while', async () => {
    const random = new Random(107);
    const ends = await channels(8);
    const kept = [...Array(8).keys()].map((i) => word(record() + domainRecord.fields.array.offset + i * 4));
    for (let round = 0; round < 2000; round++) {
      const end = ends[random.below(ends.length)]!;
      const what = random.below(6);
      if (what === 0) poke(eventAt(end.from.port), random.next());
      else if (what === 1) poke(headAt(random.below(16)), random.below(12));
      else if (what === 2) poke(readyAt(), random.next());
      else if (what === 3) end.from.setPriority(random.below(16));
      else end.to.notify();
      if (random.below(3) === 0) await machine.settle(0);
    }
    expect(
      [...Array(8).keys()].map((i) => word(record() + domainRecord.fields.array.offset + i * 4)),
    ).toEqual(kept);
    expect(machine.audit.violations).toEqual([]);
    expect(back.ledger().ports).toBe(8);
  });

  test('a page that it gives away is not written any more', async () => {
    const other = machine.createDomain(2);
    const { core } = machine.lab;
    const otherSlot = core.find(0, 2);
    const [block, words] = [other.pages.allocate(1), other.pages.allocate(1)];
    ports.fifo.initControl(otherSlot, block);
    ports.fifo.expandArray(otherSlot, words / PAGE_BYTES);
    ports.open(otherSlot, 1, 0);
    const to = back.events.bindInterdomain(2, 1, () => to.unmask());
    await machine.settle();
    to.notify();
    expect(word(words + 4)).toBe((FifoBit.pending | FifoBit.linked) >>> 0);
    expect(word(block)).toBe(1 << 7);
    for (const [given, left] of [
      [block, words],
      [words, block],
    ] as const) {
      other.pages.free(given);
      machine.memory.clear(left, PAGE_BYTES);
      to.notify();
      ports.fifo.unmask(otherSlot, 1);
      ports.close(otherSlot, 1);
      machine.audit.checkFreePages();
      expect(machine.audit.violations).toEqual([]);
    }
  });
});

describe('reset and death', () => {
  test('XSA-343: after a reset no port is open, and the slot is 2-level, also with events in all queues', async () => {
    const ends = await channels(16);
    for (const [i, { from }] of ends.entries()) from.setPriority(i);
    for (const { to } of ends) to.notify();
    ports.closeAll(slot);
    for (const { to } of ends) to.notify();
    expect(machine.lab.core.holdings(slot)).toMatchObject({ ports: 0 });
    expect(control()).toBe(0);
    expect(ports.waiting(slot)).toBe(false);
    for (const { to } of ends) to.close();
    expect(back.ledger().ports).toBe(0);
  });

  test('XSA-505: an expand that comes after a reset is refused, and a new control block begins without event words', async () => {
    const [one] = await channels(1);
    const was = eventAt(one!.from.port);
    ports.closeAll(slot);
    const page = guest.pages.allocate(1) / PAGE_BYTES;
    expect(() => {
      ports.fifo.expandArray(slot, page);
    }).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    ports.fifo.initControl(slot, guest.pages.allocate(1));
    ports.open(slot, 1, 0);
    const before = word(was);
    const again = back.events.bindInterdomain(1, 1, () => again.unmask());
    again.notify();
    expect(word(was)).toBe(before);
    expect(word(readyAt())).toBe(0);
    // The event waited in the hypervisor until there was a word for it.
    ports.fifo.expandArray(slot, page);
    expect(word(eventAt(1))).toBe((FifoBit.pending | FifoBit.linked) >>> 0);
    expect(word(headAt(7))).toBe(1);
  });

  test('a slot is used by one form after the other; nothing of the domain before is left, nor a page', async () => {
    const free = machine.lab.core.freePages;
    for (let round = 0; round < 6; round++) {
      const form = round % 2 === 0 ? 'fifo' : '2-level';
      const next = machine.createDomain(2, form, { eventChannels: form });
      expect(machine.lab.core.find(0, 2)).toBe(2);
      let heard = 0;
      const opened = next.events.allocateUnbound(0, () => {
        heard++;
        opened.unmask();
      });
      const to = back.events.bindInterdomain(2, opened.port, () => to.unmask());
      await machine.settle();
      expect(heard).toBe(0);
      to.notify();
      await machine.settle();
      expect(heard).toBe(1);
      to.notify();
      machine.destroyDomain(2);
      to.notify();
      to.close();
      machine.audit.checkFreePages();
      expect(machine.lab.core.freePages).toBe(free);
    }
    expect(machine.audit.violations).toEqual([]);
  });
});

describe('a sender in another thread', () => {
  let lab: Lab;
  let events: SimEvents;
  let me: number;
  let peer: number;
  const clock = { now: () => 0, after: () => () => undefined };

  beforeEach(() => {
    lab = Lab.create({ pages: 2048, domains: 4, grantPages: 1, ports: 4096, mappings: 16 }, true);
    me = lab.createDomain(0, 1);
    peer = lab.createDomain(0, 2);
    events = new SimEvents({ lab, slot: me, host: 0, id: 1, faults: {} }, clock, 'fifo');
  });

  /** Opens channels and has the other domain bind each. */
  function open(count: number): SimEventChannel[] {
    return Array.from({ length: count }, (_, i) => {
      const channel = events.allocateUnbound(2, () => {
        seen.push(channel.port);
        channel.unmask();
      });
      lab.ports.bind(peer, i + 1, 2, me, 1, channel.port);
      return channel;
    });
  }

  test('posts, and touches no page of the guest; the guest finds the events in the order in which they came', () => {
    const opened = open(10);
    const [address] = [lab.memory.words[(lab.plan.record(me) + CONTROL) >>> 2]!];
    let signals = 0;
    lab.onSignal = (which) => (signals += Number(which === me));
    for (const { port } of [...opened].reverse()) lab.ports.notify(peer, port);
    for (const { port } of opened) lab.ports.notify(peer, port);
    expect(signals).toBe(10);
    expect(lab.memory.same(address, 0, PAGE_BYTES)).toBe(true);
    expect(lab.ports.waiting(me)).toBe(true);
    events.deliver();
    expect(seen).toEqual(opened.map(({ port }) => port).reverse());
    expect(lab.ports.waiting(me)).toBe(false);
  });

  test('more events than there is room to note the order of: none is lost', () => {
    const opened = open(3000);
    for (let round = 0; round < 3; round++) {
      seen.length = 0;
      for (const { port } of opened) lab.ports.notify(peer, port);
      while (lab.ports.waiting(me)) events.deliver();
      expect([...seen].sort((a, b) => a - b)).toEqual(opened.map(({ port }) => port));
    }
  });

  test('a sender that is not done noting its port delays nobody: what was posted is found all the same', () => {
    const opened = open(3);
    const posts = lab.plan.record(me) + domainRecord.fields.posts.offset;
    for (const { port } of opened) lab.ports.notify(peer, port);
    lab.memory.words[posts >>> 2] = 0; // the first has its ticket, and has noted nothing yet
    events.deliver();
    expect([...seen].sort((a, b) => a - b)).toEqual(opened.map(({ port }) => port));
    lab.memory.words[posts >>> 2] = opened[0]!.port; // now it has
    expect(lab.ports.waiting(me)).toBe(false);
    lab.ports.notify(peer, opened[1]!.port);
    events.deliver();
    expect(seen.slice(3)).toEqual([opened[1]!.port]);
  });

  test('a sender that dies between the bit and its ticket: the event is found when its death is known', () => {
    const [opened] = open(1);
    lab.memory.words[lab.plan.posted(me) >>> 2] = 1 << opened!.port;
    lab.ports.notify(peer, opened!.port); // as one who raises a device's vector: it is posted already
    expect(lab.ports.waiting(me)).toBe(false);
    lab.destroyDomain(peer);
    expect(lab.ports.waiting(me)).toBe(true);
    events.deliver();
    expect(seen).toEqual([opened!.port]);
  });

  test('what was posted for a port that closed meanwhile is forgotten', () => {
    const [opened] = open(1);
    lab.ports.notify(peer, opened!.port);
    opened!.close();
    lab.ports.send(me, opened!.port); // had looked before the close
    events.deliver();
    expect(seen).toEqual([]);
    const again = events.allocateUnbound(2, () => seen.push(-1));
    events.deliver();
    expect([again.port, seen]).toEqual([opened!.port, []]);
  });
});
