// Event channels of both forms: merging, masking, late acknowledge, the looks that must follow an arm, and ends that go
// away. What is FIFO's alone is in fifo.test.ts.
import { beforeEach, describe, expect, test } from 'vitest';
import type { EventChannel } from '../../src/index.js';
import type { EventChannelForm, Faults, SimDomain } from '../../src/sim/index.js';
import { SimMachine } from '../../src/sim/index.js';

let faults: Faults;
let machine: SimMachine;
let back: SimDomain;
let guest: SimDomain;

/** A bound pair that counts; `unmask` says whether the guest's handler acknowledges by itself. */
async function pair(unmask: boolean): Promise<{ to: EventChannel; from: EventChannel; seen: () => number }> {
  let seen = 0;
  const from = guest.events.allocateUnbound(0, () => {
    seen++;
    if (unmask) from.unmask();
  });
  const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
  await machine.settle();
  return { to, from, seen: () => seen };
}

const forms: readonly EventChannelForm[] = ['2-level', 'fifo'];

describe.each(forms)('%s event channels:', (form) => {
  beforeEach(() => {
    faults = {};
    machine = new SimMachine({ pages: 2048, domains: 4, ports: 64, faults });
    back = machine.createDomain(0, 'back', { eventChannels: form });
    guest = machine.createDomain(1, 'guest', { eventChannels: form });
  });

  describe('delivery', () => {
    test('the side that binds is pending at once, the side that opened is not', async () => {
      const heard: string[] = [];
      const from = guest.events.allocateUnbound(0, () => heard.push('opened'));
      await machine.settle();
      back.events.bindInterdomain(1, from.port, () => heard.push('bound'));
      await machine.settle();
      expect(heard).toEqual(['bound']);
    });

    test('notifies before the event is taken merge into one', async () => {
      const { to, seen } = await pair(true);
      for (let i = 0; i < 10; i++) to.notify();
      await machine.settle();
      expect(seen()).toBe(1);
      to.notify();
      await machine.settle();
      expect(seen()).toBe(2);
    });

    test('an event that comes while masked is delivered at the unmask, once', async () => {
      const { to, from, seen } = await pair(false);
      to.notify();
      await machine.settle();
      expect(seen()).toBe(1);
      to.notify();
      to.notify();
      await machine.settle();
      expect(seen()).toBe(1);
      from.unmask();
      await machine.settle();
      expect(seen()).toBe(2);
      from.unmask();
      from.unmask();
      await machine.settle();
      expect(seen()).toBe(2);
    });

    test('work that comes while the handler runs is not lost', async () => {
      let seen = 0;
      const from = guest.events.allocateUnbound(0, () => {
        seen++;
        if (seen === 1) to.notify(); // pending was cleared before the handler ran
        from.unmask();
      });
      const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
      await machine.settle();
      to.notify();
      await machine.settle();
      expect(seen).toBe(2);
    });

    test('XSA-342: every port of the table works, port 0 is none, and there are no more', async () => {
      const channels: EventChannel[] = [];
      const seen: number[] = [];
      for (let i = 1; i < 64; i++) {
        const from = guest.events.allocateUnbound(0, () => {
          seen.push(from.port);
          from.unmask();
        });
        const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
        channels.push(to, from);
      }
      await machine.settle();
      for (const channel of channels) if (channels.indexOf(channel) % 2 === 0) channel.notify();
      await machine.settle();
      expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 63 }, (_, i) => i + 1));
      expect(() => guest.events.allocateUnbound(0, () => undefined)).toThrow(
        expect.objectContaining({ code: 'NO_PORTS' }),
      );
      for (const channel of channels) channel.close();
      expect([guest.ledger().ports, back.ledger().ports]).toEqual([0, 0]);
      guest.events.allocateUnbound(0, () => undefined).close();
    });

    test('a device raises a vector as if the channel had notified', async () => {
      const { to, seen } = await pair(true);
      const vector = back.events.vector(to);
      machine.raise(vector);
      await machine.settle();
      expect(seen()).toBe(1);
      to.close();
      machine.raise(vector);
      await machine.settle();
      expect(seen()).toBe(1);
    });

    test('a vector may be taken before the other end is bound', async () => {
      const opened = guest.events.allocateUnbound(0, () => opened.unmask());
      const vector = guest.events.vector(opened);
      machine.raise(vector);
      let seen = 0;
      const bound = back.events.bindInterdomain(1, opened.port, () => {
        seen++;
        bound.unmask();
      });
      await machine.settle();
      machine.raise(vector);
      await machine.settle();
      expect(seen).toBe(2);
    });
  });

  describe('an event storm', () => {
    test('of events without work is let through later and later, and forgotten with the first that has work', async () => {
      let seen = 0;
      let spurious = true;
      const from = guest.events.allocateUnbound(0, () => {
        seen++;
        from.unmask(spurious);
      });
      const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
      await machine.settle();
      const storm = async (ms: number): Promise<number> => {
        const before = seen;
        const end = machine.clock.now() + ms;
        while (machine.clock.now() < end) {
          to.notify();
          await machine.advance(0.1);
        }
        return seen - before;
      };
      expect(await storm(2000)).toBeLessThan(64 + 20);
      expect(guest.ledger().timers).toBe(1);
      spurious = false;
      await machine.advance(300);
      expect(await storm(10)).toBeGreaterThan(90);
      from.close();
      expect(guest.ledger().timers).toBe(0);
    });
  });

  describe('ends that go away', () => {
    test('closing one end leaves the other unbound: its notifies go nowhere, and it may be bound again', async () => {
      const { to, from, seen } = await pair(true);
      to.close();
      to.close();
      to.notify();
      from.notify();
      await machine.settle();
      expect(seen()).toBe(0);
      const again = back.events.bindInterdomain(1, from.port, () => again.unmask());
      again.notify();
      await machine.settle();
      expect(seen()).toBe(1);
    });

    test('XSA-331, 441: a channel closed in its own handler, and one closed with an event pending, stay silent', async () => {
      let seen = 0;
      const from = guest.events.allocateUnbound(0, () => {
        seen++;
        from.close();
        from.unmask();
      });
      const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
      await machine.settle();
      to.notify();
      await machine.settle();
      to.notify();
      await machine.settle();
      expect(seen).toBe(1);

      const second = await pair(true);
      second.to.notify();
      second.from.close();
      // The next owner of the port hears nothing of it.
      let heard = 0;
      const reused = guest.events.allocateUnbound(0, () => heard++);
      expect(reused.port).toBe(second.from.port);
      await machine.settle();
      expect([second.seen(), heard]).toEqual([0, 0]);
    });

    test.each<[string, () => number]>([
      ['a port nobody opened', () => 5],
      ['port 0', () => 0],
      ['a port beyond the table', () => 64],
      ['a port far beyond it', () => 0xffff_ffff],
      ['a port opened for another', () => guest.events.allocateUnbound(2, () => undefined).port],
      [
        'a port bound already',
        () =>
          guest.events.bindInterdomain(
            0,
            back.events.allocateUnbound(1, () => undefined).port,
            () => undefined,
          ).port,
      ],
    ])('BAD_PORT: %s', (_, which) => {
      const port = which();
      const before = back.ledger().ports;
      expect(() => back.events.bindInterdomain(1, port, () => undefined)).toThrow(
        expect.objectContaining({ code: 'BAD_PORT' }),
      );
      expect(() => back.events.bindInterdomain(9, port, () => undefined)).toThrow(/no such domain/);
      expect(back.ledger().ports).toBe(before);
    });

    test('XSA-343: a domain that dies unbinds its peers, and its successor begins without ports', async () => {
      const { to, from } = await pair(true);
      machine.destroyDomain(1);
      to.notify();
      await machine.settle();
      const next = machine.createDomain(1);
      expect(() => next.events.bindInterdomain(0, to.port, () => undefined)).not.toThrow();
      from.notify();
      to.close();
      expect(back.ledger().ports).toBe(0);
    });
  });

  describe('faults', () => {
    test('an event lost, delayed and doubled', async () => {
      const { to, seen } = await pair(true);
      const plan: (number | 'lose' | 'double')[] = ['lose', 5, 'double'];
      faults.event = (target) => (target === 1 ? plan.shift() : undefined);
      to.notify();
      await machine.settle();
      expect(seen()).toBe(0);
      to.notify();
      await machine.advance(4);
      expect(seen()).toBe(0);
      await machine.advance(2);
      expect(seen()).toBe(1);
      to.notify();
      await machine.settle();
      expect(seen()).toBe(3);
      faults.exhausted = (_domain, what) => what === 'ports';
      expect(() => guest.events.allocateUnbound(0, () => undefined)).toThrow(
        expect.objectContaining({ code: 'NO_PORTS' }),
      );
    });
  });

  test('a notify that was under way when its port closed does not silence the next owner of the port', async () => {
    const { to, from } = await pair(true);
    const { port } = from;
    const { core } = machine.lab;
    const slot = core.find(0, 1);
    from.close();
    core.ports.send(slot, port); // what a sender on another thread does that had looked before the close
    await machine.settle();
    let seen = 0;
    const next = guest.events.allocateUnbound(0, () => {
      seen++;
      next.unmask();
    });
    expect(next.port).toBe(port);
    to.close();
    const again = back.events.bindInterdomain(1, next.port, () => again.unmask());
    again.notify();
    await machine.settle();
    expect(seen).toBe(1);
  });
});

describe('2-level and FIFO in one lab', () => {
  beforeEach(() => {
    faults = {};
    machine = new SimMachine({ pages: 4096, domains: 4, ports: 8192, faults });
  });

  test('a domain of either form notifies one of the other', async () => {
    for (const [one, other] of [forms, [...forms].reverse()]) {
      back = machine.createDomain(0, 'back', { eventChannels: one! });
      guest = machine.createDomain(1, 'guest', { eventChannels: other! });
      const { to, from, seen } = await pair(true);
      for (let i = 0; i < 3; i++) {
        to.notify();
        from.notify();
        await machine.settle();
      }
      expect(seen()).toBe(3);
      expect(back.describe()).toMatchObject({ eventChannels: one, eventsDelivered: 4 });
      machine.destroyDomain(0);
      machine.destroyDomain(1);
    }
  });

  test('XSA-342: how many ports there are is up to the form: 4095 of 2-level, and one of FIFO that is beyond is no 2-level port', () => {
    const [least, most] = [32, 1 << 17];
    for (const ports of [0, 31, most + 32])
      expect(() => new SimMachine({ pages: 4096, domains: 2, ports })).toThrow(
        /multiple of 32 up to 131072 expected/,
      );
    for (const ports of [least, most]) new SimMachine({ pages: 4096, domains: 2, ports });
    back = machine.createDomain(0, 'back', { eventChannels: 'fifo' });
    guest = machine.createDomain(1, 'guest');
    const open = (domain: SimDomain, count: number): EventChannel[] =>
      Array.from({ length: count }, () => domain.events.allocateUnbound(1 - domain.id, () => undefined));
    open(guest, 4095);
    expect(() => open(guest, 1)).toThrow(/all 4096 ports in use that 2-level .* make it with FIFO/);
    const all = open(back, 8191);
    expect(() => open(back, 1)).toThrow(/all 8192 ports in use that fifo .* raise shape.ports/);
    all.at(-1)!.close();
    // The port table has room for it; the domain's form has not.
    const { core } = machine.lab;
    const slot = core.find(0, 1);
    expect(() => core.ports.open(slot, 4096, 0)).toThrow(expect.objectContaining({ code: 'NO_PORTS' }));
    expect(() => back.events.bindInterdomain(1, 4096, () => undefined)).toThrow(
      expect.objectContaining({ code: 'BAD_PORT' }),
    );
    expect(guest.ledger().ports).toBe(4095);
  });

  test('a vector that names no slot or no port of the lab raises nothing', async () => {
    back = machine.createDomain(0, 'back');
    guest = machine.createDomain(1, 'guest', { eventChannels: 'fifo' });
    const { to, seen } = await pair(true);
    machine.raise(back.events.vector(to) | (200 << 17));
    machine.raise(back.events.vector(to) | (1 << 13));
    machine.raise(0xffff_ffff);
    await machine.settle();
    expect(seen()).toBe(0);
    machine.raise(back.events.vector(to));
    await machine.settle();
    expect(seen()).toBe(1);
  });

  test('2-level: what is pending together comes by port, not by time', async () => {
    back = machine.createDomain(0, 'back');
    guest = machine.createDomain(1, 'guest');
    const seen: number[] = [];
    const ends = Array.from({ length: 40 }, () => {
      const from = guest.events.allocateUnbound(0, () => {
        seen.push(from.port);
        from.unmask();
      });
      const to = back.events.bindInterdomain(1, from.port, () => to.unmask());
      return { from, to };
    });
    await machine.settle();
    for (const end of [...ends].reverse()) end.to.notify();
    await machine.settle();
    expect(seen).toEqual(ends.map(({ from }) => from.port).sort((a, b) => a - b));
    expect(guest.events.allocateUnbound(0, () => undefined).setPriority(0)).toBe(false);
  });
});
