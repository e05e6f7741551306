// Faults by seed: what is drawn, that it is repeatable, and that nothing a correct machine cannot do is drawn.
import { expect, test } from 'vitest';
import { GrantStatus } from '../../src/index.js';
import { SeededFaults, SimMachine, faultNames } from '../../src/sim/index.js';

const small = { pages: 2048, domains: 4, ports: 64 };
const always = Object.fromEntries(faultNames.map((name) => [name, 1]));

test('each fault is drawn at its rate, the same way for the same seed, and counted', () => {
  const draw = (seed: number): { drawn: SeededFaults['drawn']; seen: unknown[] } => {
    const faults = new SeededFaults(seed, { eventLate: 0.25, copyFails: 0.5, noPorts: 0.1 });
    const seen = Array.from({ length: 2000 }, () => [
      faults.event(1, 1),
      faults.grant('copy', 0, 1, 8),
      faults.grant('map', 0, 1, 8),
      faults.exhausted(0, 'ports', 1),
      faults.exhausted(0, 'pages', 1),
      faults.storeMessage(1),
    ]);
    return { drawn: { ...faults.drawn }, seen };
  };
  const { drawn, seen } = draw(7);
  expect(draw(7)).toEqual({ drawn, seen });
  expect(draw(8).seen).not.toEqual(seen);
  expect(drawn).toMatchObject({ eventTwice: 0, storeLate: 0, mapFails: 0, noPages: 0, noGrants: 0 });
  for (const [count, rate] of [
    [drawn.eventLate, 0.25],
    [drawn.copyFails, 0.5],
    [drawn.noPorts, 0.1],
  ] as const)
    expect(Math.abs(count / 2000 - rate)).toBeLessThan(0.05);
});

test('an event is late or doubled, and never lost: every notification is followed by its handler', async () => {
  const faults = new SeededFaults(3, { eventLate: 0.5, eventTwice: 0.5 });
  const machine = new SimMachine({ ...small, faults });
  const back = machine.createDomain(0);
  const guest = machine.createDomain(1);
  let handled = 0;
  let notified = 0;
  const channel = guest.events.allocateUnbound(0, () => {
    handled = notified;
    channel.unmask();
  });
  const other = back.events.bindInterdomain(1, channel.port, () => undefined);
  for (let i = 0; i < 200; i++) {
    notified++;
    other.notify();
    machine.pump(3);
    if (i % 20 === 0) await machine.settle();
    if (i % 20 === 0) expect(handled).toBe(notified);
  }
  expect(faults.drawn.eventLate).toBeGreaterThan(20);
  expect(faults.drawn.eventTwice).toBeGreaterThan(20);
});

test("what is exhausted or fails says so in the machine's own words, and goes well again afterwards", () => {
  const faults = new SeededFaults(1, always);
  const machine = new SimMachine({ ...small, faults });
  const back = machine.createDomain(0);
  const guest = machine.createDomain(1);
  const code = (of: string): unknown => expect.objectContaining({ code: of }) as unknown;
  expect(() => guest.pages.allocate(1)).toThrow(code('NO_MEMORY'));
  expect(() => guest.grants.share(0, 1, 'write')).toThrow(code('NO_GRANTS'));
  expect(() => guest.events.allocateUnbound(0, () => undefined)).toThrow(code('NO_PORTS'));
  faults.rates = {};
  const shared = guest.grants.share(0, 1, 'write');
  faults.rates = always;
  expect(() => back.foreign.map(1, shared.refs, 'read')).toThrow(code('BAD_GRANT'));
  expect(faults.grant('copy', 0, 1, 8)).toBe(GrantStatus.generalError);
  faults.rates = {};
  back.foreign.map(1, shared.refs, 'read').unmap();
  expect(shared.release()).toBe(true);
  for (const domain of [back, guest])
    expect(domain.ledger()).toEqual({
      pages: 0,
      grants: 0,
      mappings: 0,
      ports: 0,
      watches: 0,
      timers: 0,
      tasks: 0,
    });
});
