import { describe, expect, it } from 'vitest';
import { QUOTAS, QUOTA_NAMES, StoreServer, type QuotaName } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

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
