import { describe, expect, it } from 'vitest';
import {
  MessageType,
  QUOTAS,
  QUOTA_NAMES,
  StoreServer,
  stringToBytes,
  type QuotaName,
} from '../../src/store/index.js';
import { RawClient } from './raw-client.js';
import { StandingClock } from './standing-clock.js';

function setUp(quotas: Partial<Record<QuotaName, number>>): {
  server: StoreServer;
  dom0: RawClient;
  guest: RawClient;
} {
  const server = new StoreServer({ quotas });
  const dom0 = new RawClient(server, 0);
  const guest = new RawClient(server, 5);
  dom0.write('/g', '');
  dom0.ask('SET_PERMS', '/g|n5|');
  return { server, dom0, guest };
}

/** A store with a clock that stands until it is told to go on. */
function clocked(quotas: Partial<Record<QuotaName, number>>) {
  const clock = new StandingClock();
  const server = new StoreServer({ quotas, clock });
  const dom0 = new RawClient(server, 0);
  const guest = new RawClient(server, 5);
  dom0.write('/g', '');
  /** Sends reads; answers a function that says how many of them have their reply. */
  const ask = (client: RawClient, count: number): (() => number) => {
    const ids = Array.from({ length: count }, () => client.send(MessageType.READ, stringToBytes('/g\0')));
    return () => {
      const there = new Set(client.received.map(({ requestId }) => requestId));
      return ids.filter((id) => there.has(id)).length;
    };
  };
  return { clock, server, dom0, guest, ask };
}

describe('a quota', () => {
  it('has a limit, a unit and what it counts', () => {
    for (const name of QUOTA_NAMES) expect(QUOTAS[name].initial).toBeGreaterThan(0);
  });

  it('of nodes counts what a domain owns, and gives back what goes', () => {
    const { server, dom0, guest } = setUp({ nodes: 4 });
    expect(guest.write('/g/a/b', '')).toBe('OK|');
    expect(guest.write('/g/c/d', '')).toBe('ENOSPC');
    expect(guest.list('/g')).toEqual(['a']);
    expect(guest.write('/g/c', '')).toBe('OK|');
    expect(guest.ask('MKDIR', '/g/d|')).toBe('ENOSPC');
    expect(guest.write('/g/c', 'other')).toBe('OK|');
    expect(guest.ask('RM', '/g/a|')).toBe('OK|');
    expect(guest.write('/g/d', '')).toBe('OK|');
    expect(dom0.write('/g/e/f', '')).toBe('OK|');
    expect(server.describe().counts[5]!.nodes).toBe(5);
    expect(server.check()).toEqual([]);
  });

  it('of nodes follows the owner', () => {
    const { server, dom0, guest } = setUp({ nodes: 2 });
    dom0.write('/a', '');
    dom0.ask('SET_PERMS', '/a|n5|');
    expect(guest.write('/g/a', '')).toBe('ENOSPC');
    dom0.ask('SET_PERMS', '/a|n6|');
    expect(guest.write('/g/a', '')).toBe('OK|');
    expect(server.describe().counts[6]!.nodes).toBe(1);
    expect(server.check()).toEqual([]);
  });

  it('of memory counts names, values, permissions and watches', () => {
    const { server, guest } = setUp({ memory: 99 });
    expect(guest.write('/g/a', 'x'.repeat(50))).toBe('OK|');
    expect(server.describe().counts[5]!.memory).toBe(1 + 8 + 1 + 50 + 8);
    expect(guest.write('/g/a', 'x'.repeat(90))).toBe('ENOSPC');
    expect(guest.read('/g/a')).toBe('x'.repeat(50));
    expect(guest.ask('SET_PERMS', '/g/a|n5|r6|r7|r8|')).toBe('OK|');
    expect(guest.ask('SET_PERMS', '/g/a|n5|r6|r7|r8|r9|')).toBe('ENOSPC');
    expect(guest.ask('WATCH', '/g|token-of-some-length|')).toBe('ENOSPC');
    expect(guest.ask('WATCH', '/g|t|')).toBe('OK|');
    expect(guest.ask('UNWATCH', '/g|t|')).toBe('OK|');
    expect(guest.write('/g/a', '')).toBe('OK|');
    expect(server.describe().counts[5]!.memory).toBe(1 + 8 + 1 + 4 * 8);
    expect(server.check()).toEqual([]);
  });

  it('of watches counts all connections of a domain', () => {
    const { server, guest } = setUp({ watches: 2 });
    const second = new RawClient(server, 5);
    expect(guest.ask('WATCH', '/a|t|')).toBe('OK|');
    expect(second.ask('WATCH', '/a|t|')).toBe('OK|');
    expect(guest.ask('WATCH', '/b|t|')).toBe('ENOSPC');
    second.connection.close();
    expect(guest.ask('WATCH', '/b|t|')).toBe('OK|');
    expect(guest.ask('WATCH', '/b|t|')).toBe('EEXIST');
    expect(server.check()).toEqual([]);
  });

  it('of transactions counts the open ones', () => {
    const { server, dom0, guest } = setUp({ transactions: 2 });
    const first = guest.begin();
    guest.begin();
    expect(guest.ask('TRANSACTION_START', '|')).toBe('ENOSPC');
    guest.end(first, 'F');
    expect(guest.ask('TRANSACTION_START', '|')).toBe('3|');
    for (let n = 0; n < 20; n++) expect(dom0.begin()).toBe(n + 1);
    expect(server.check()).toEqual([]);
  });

  it("of a transaction's nodes refuses the next one and leaves the rest working", () => {
    const { guest } = setUp({ 'transaction-nodes': 4 });
    const tx = guest.begin();
    // The node, and what was looked at above it.
    expect(guest.write('/g/a', '', tx)).toBe('OK|');
    expect(guest.write('/g/b', '', tx)).toBe('OK|');
    expect(guest.write('/g/c', '', tx)).toBe('OK|');
    expect(guest.write('/g/d', '', tx)).toBe('ENOSPC');
    expect(guest.write('/g/a', 'again', tx)).toBe('OK|');
    expect(guest.end(tx)).toBe('OK|');
    expect(guest.list('/g')).toEqual(['a', 'b', 'c']);
  });

  it("of a node's size counts value, permissions and children's names", () => {
    const { guest } = setUp({ 'node-size': 100 });
    expect(guest.write('/g/a', 'x'.repeat(92))).toBe('OK|');
    expect(guest.write('/g/a', 'x'.repeat(93))).toBe('ENOSPC');
    expect(guest.write('/g/b', 'x'.repeat(93))).toBe('ENOSPC');
    expect(guest.ask('SET_PERMS', '/g/a|n5|r6|')).toBe('ENOSPC');
    expect(guest.write(`/g/${'n'.repeat(88)}`, '')).toBe('OK|');
    expect(guest.write(`/g/${'m'.repeat(1)}`, '')).toBe('ENOSPC');
    expect(guest.write(`/g/a/${'n'.repeat(9)}`, '')).toBe('ENOSPC');
  });

  it("of a node's permissions counts entries", () => {
    const { dom0, guest } = setUp({ 'node-permissions': 2 });
    expect(guest.ask('SET_PERMS', '/g|n5|r6|')).toBe('OK|');
    expect(guest.ask('SET_PERMS', '/g|n5|r6|r7|')).toBe('ENOSPC');
    expect(dom0.ask('SET_PERMS', '/g|n5|r6|r7|')).toBe('OK|');
  });

  it('of requests answers a burst at once, then as many a second as its rate says; nothing is refused or lost', () => {
    const { clock, guest, dom0, ask } = clocked({});
    expect([QUOTAS['request-rate'].initial, QUOTAS['request-burst'].initial]).toEqual([2000, 1000]);
    const answered = ask(guest, 3000);
    const burst = answered();
    // One request too many is what puts a domain into debt.
    expect(burst).toBe(1001);
    clock.advance(100);
    expect(answered() - burst).toBeGreaterThanOrEqual(199);
    expect(answered() - burst).toBeLessThanOrEqual(201);
    // Whoever else asks is not held up.
    expect(dom0.read('/g')).toBe('');
    expect(new RawClient(dom0.server, 6).ask('GET_DOMAIN_PATH', '6|')).toBe('/local/domain/6|');
    clock.advance(899);
    expect(answered()).toBeGreaterThanOrEqual(burst + 1990);
    clock.advance(10);
    expect(answered()).toBe(3000);
  });

  it('of requests comes back with time, up to the burst, and is a domain’s, not a connection’s', () => {
    const { clock, guest, ask } = clocked({ 'request-rate': 10, 'request-burst': 5 });
    const first = ask(guest, 8);
    expect(first()).toBe(6);
    const second = new RawClient(guest.server, 5);
    const others = ask(second, 1);
    expect(others()).toBe(0);
    clock.advance(60_000);
    expect([first(), others()]).toEqual([8, 1]);
    clock.advance(60_000);
    expect(ask(guest, 50)()).toBe(6);
  });

  it('of requests does not hold domain 0 back, and a domain that comes again begins anew', () => {
    const { guest, dom0, ask } = clocked({ 'request-rate': 1, 'request-burst': 3 });
    expect(ask(dom0, 500)()).toBe(500);
    expect(ask(guest, 10)()).toBe(4);
    dom0.ask('RELEASE', '5|');
    expect(ask(new RawClient(dom0.server, 5), 10)()).toBe(4);
  });

  it('of 0 is none', () => {
    const { guest } = setUp({ nodes: 0, watches: 0 });
    for (let n = 0; n < 1500; n++) expect(guest.ask('WATCH', `/${n}|t|`)).toBe('OK|');
  });

  it('is checked again when a transaction is committed, and rolled back with one that is not', () => {
    const { server, guest } = setUp({ nodes: 3 });
    const tx = guest.begin();
    expect(guest.write('/g/a', '', tx)).toBe('OK|');
    expect(guest.write('/g/b', '', tx)).toBe('OK|');
    expect(guest.write('/g/c', '', tx)).toBe('ENOSPC');
    expect(guest.write('/g/d', '')).toBe('OK|');
    expect(guest.end(tx)).toBe('ENOSPC');
    expect(guest.list('/g')).toEqual(['d']);
    const undone = guest.begin();
    guest.ask('RM', '/g/d|', undone);
    guest.write('/g/e', '', undone);
    guest.write('/g/f', '', undone);
    expect(guest.end(undone, 'F')).toBe('OK|');
    expect(server.describe().counts[5]!.nodes).toBe(2);
    const done = guest.begin();
    guest.ask('RM', '/g/d|', done);
    guest.write('/g/e', '', done);
    guest.write('/g/f', '', done);
    expect(guest.end(done)).toBe('OK|');
    expect(server.describe().counts[5]!.nodes).toBe(3);
    expect(server.check()).toEqual([]);
  });
});
