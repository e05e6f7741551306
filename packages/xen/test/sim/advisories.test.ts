// Advisories about what a hypervisor does when something fails or ends, on the machine in memory.
import { beforeEach, describe, expect, test } from 'vitest';
import type { EventChannel } from '../../src/index.js';
import type { Faults, SimDomain } from '../../src/sim/index.js';
import { SimMachine } from '../../src/sim/index.js';

const PORTS = 256;
let faults: Faults;
let machine: SimMachine;
let back: SimDomain;
let guest: SimDomain;
let other: SimDomain;

beforeEach(() => {
  faults = {};
  machine = new SimMachine({ pages: 2048, ports: PORTS, grantPages: 1, mappings: 1024, faults, domains: 4 });
  [back, guest, other] = [0, 1, 2].map((id) => machine.createDomain(id)) as [SimDomain, SimDomain, SimDomain];
});

/** A port that the guest opened for domain 0, and the events that it had. */
function opened(): { port: EventChannel; heard: () => number } {
  let events = 0;
  const port = guest.events.allocateUnbound(0, () => {
    events++;
    port.unmask();
  });
  return { port, heard: () => events };
}

/** The rightful end binds it, and both hear each other. */
async function works({ port, heard }: ReturnType<typeof opened>): Promise<void> {
  const before = heard();
  let events = 0;
  const bound = back.events.bindInterdomain(1, port.port, () => {
    events++;
    bound.unmask();
  });
  await machine.settle();
  const first = events;
  bound.notify();
  port.notify();
  await machine.settle();
  expect([heard() - before, events - first]).toEqual([1, 1]);
}

describe('a bind that fails', () => {
  test('XSA-47: one that is not permitted leaves no trace: nobody hears of it, and the port is whose it was', async () => {
    const waiting = opened();
    const ledger = other.ledger();
    for (const port of [waiting.port.port, 0, PORTS, 0xffff_ffff])
      expect(() => other.events.bindInterdomain(1, port, () => undefined)).toThrow(
        expect.objectContaining({ code: 'BAD_PORT' }),
      );
    await machine.settle();
    expect(other.ledger()).toEqual(ledger);
    expect(waiting.heard()).toBe(0);
    await works(waiting);
  });

  test('XSA-496: one that finds no port of its own undoes nothing but itself', async () => {
    const before = opened();
    const waiting = opened();
    await works(before);
    const ledger = [back.ledger(), guest.ledger()];
    faults.exhausted = (domain, what) => domain === 0 && what === 'ports';
    expect(() => back.events.bindInterdomain(1, waiting.port.port, () => undefined)).toThrow(
      expect.objectContaining({ code: 'NO_PORTS' }),
    );
    delete faults.exhausted;
    expect([back.ledger(), guest.ledger()]).toEqual(ledger);
    // The channel that was there is as it was, and the port that was not bound can be.
    const heard = before.heard();
    before.port.notify();
    await machine.settle();
    expect(before.heard()).toBe(heard);
    await works(waiting);
  });
});

describe('a domain that dies with all it may have', () => {
  test('XSA-344: every port bound: none is left bound, and its successor can have them all', async () => {
    const ends: EventChannel[] = [];
    for (let n = 1; n < PORTS; n++) {
      const { port } = opened();
      ends.push(back.events.bindInterdomain(1, port.port, () => undefined));
    }
    const { heard, port } = otherPair();
    expect(() => opened()).toThrow(expect.objectContaining({ code: 'NO_PORTS' }));
    machine.destroyDomain(1);
    // Who has nothing to do with it notices nothing.
    port.notify();
    await machine.settle();
    expect(heard()).toBe(1);
    for (const end of ends) {
      end.notify();
      end.close();
    }
    await machine.settle();
    guest = machine.createDomain(1);
    for (let n = 1; n < PORTS; n++) opened();
    expect(guest.ledger().ports).toBe(PORTS - 1);
  });

  test('XSA-380: every grant mapped: the pages stay its mapper’s until each is let go, and are all free then', () => {
    const free = (): number => machine.lab.core.freePages;
    const before = free();
    const shared = Array.from({ length: 400 }, () => guest.grants.share(0, 1, 'write'));
    const mapped = shared.map(({ refs }) => back.foreign.map(1, [refs[0]!], 'write'));
    const addresses = mapped.map(({ addresses: [address] }) => address!);
    machine.destroyDomain(1);
    // Written and read by the mapper, and nobody else's.
    for (const [n, at] of addresses.entries()) back.memory.words[at >>> 2] = n;
    const taken = back.pages.allocate(64);
    back.memory.words.fill(0xffff_ffff, taken >>> 2, (taken + 64 * 4096) >>> 2);
    expect(addresses.map((at) => back.memory.words[at >>> 2])).toEqual(addresses.map((_, n) => n));
    back.pages.free(taken);
    for (const pages of mapped) pages.unmap();
    machine.lab.core.reap();
    expect(free()).toBe(before);
    expect(back.ledger()).toMatchObject({ mappings: 0, pages: 0 });
  });
});

/** A channel between domains 2 and 0. */
function otherPair(): { port: EventChannel; heard: () => number } {
  let events = 0;
  const end: EventChannel = other.events.allocateUnbound(2, () => {
    events++;
    end.unmask();
  });
  const port = other.events.bindInterdomain(2, end.port, () => port.unmask());
  return { port, heard: () => events };
}
