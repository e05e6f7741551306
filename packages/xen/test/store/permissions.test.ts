import { describe, expect, it } from 'vitest';
import { formatPermission, parsePermission, StoreServer } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

describe('a permission', () => {
  it.each(['n0', 'r5', 'w32751', 'b1'])('%s survives', (text) => {
    expect(formatPermission(parsePermission(text)!)).toBe(text);
  });

  it.each(['', 'r', 'x5', '5', 'rr5', 'r-1', 'r65536', 'r1e1', 'r 5', 'r0x5'])('%j is none', (text) => {
    expect(parsePermission(text)).toBeUndefined();
  });
});

describe('what may be done with a node', () => {
  // Entries of the node /n (and of the root above it: nothing), who asks, and the answers to READ, WRITE,
  // GET_PERMS, SET_PERMS.
  const matrix: [permissions: string, domid: number, read: boolean, write: boolean, own: boolean][] = [
    ['n0', 0, true, true, true],
    ['n0', 5, false, false, false],
    ['r0', 5, true, false, false],
    ['w0', 5, false, true, false],
    ['b0', 5, true, true, false],
    ['n5', 0, true, true, true],
    ['n5', 5, true, true, true],
    ['r5', 5, true, true, true],
    ['n5', 6, false, false, false],
    ['r5', 6, true, false, false],
    ['n0|r5', 5, true, false, false],
    ['n0|w5', 5, false, true, false],
    ['n0|b5', 5, true, true, false],
    ['n0|b5', 6, false, false, false],
    ['b0|n5', 5, false, false, false],
    ['b0|n5', 6, true, true, false],
    ['n0|r5|b5', 5, true, false, false],
    ['n5|n6|r7', 7, true, false, false],
    ['n0|r32757', 5, true, false, false],
    ['n0|n5|b32757', 5, false, false, false],
    ['n0|n5|b32757', 6, true, true, false],
  ];

  it.each(matrix)('%s for domain %i: read %s, write %s, own %s', (permissions, domid, read, write, own) => {
    const server = new StoreServer();
    const dom0 = new RawClient(server, 0);
    const client = domid === 0 ? dom0 : new RawClient(server, domid);
    dom0.write('/n', 'v');
    expect(dom0.ask('SET_PERMS', `/n|${permissions}|`)).toBe('OK|');
    expect(client.read('/n')).toBe(read ? 'v' : 'EACCES');
    expect(client.ask('GET_PERMS', '/n|')).toBe(read ? `${permissions}|` : 'EACCES');
    expect(client.ask('DIRECTORY', '/n|')).toBe(read ? '' : 'EACCES');
    expect(client.ask('SET_PERMS', `/n|${permissions}|`)).toBe(own ? 'OK|' : 'EACCES');
    expect(client.ask('MKDIR', '/n|')).toBe(write ? 'OK|' : 'EACCES');
    expect(client.write('/n', 'w')).toBe(write ? 'OK|' : 'EACCES');
    expect(client.write('/n/child', 'w')).toBe(write ? 'OK|' : 'EACCES');
    expect(client.ask('RM', '/n|')).toBe(write ? 'OK|' : 'EACCES');
    expect(dom0.read('/n')).toBe(write ? 'ENOENT' : 'v');
    expect(server.check()).toEqual([]);
  });

  it('does not let on whether a node exists that may not be read: EACCES for both', () => {
    const server = new StoreServer();
    const dom0 = new RawClient(server, 0);
    const guest = new RawClient(server, 5);
    dom0.write('/closed/there', '');
    dom0.write('/open', '');
    dom0.ask('SET_PERMS', '/open|r0|');
    expect(guest.read('/closed/there')).toBe('EACCES');
    expect(guest.read('/closed/absent')).toBe('EACCES');
    expect(guest.read('/closed/absent/deeper')).toBe('EACCES');
    expect(guest.read('/open/absent')).toBe('ENOENT');
    expect(guest.read('/open/absent/deeper')).toBe('ENOENT');
    expect(guest.write('/open/absent', '')).toBe('EACCES');
  });

  it('is inherited by new nodes, and an unprivileged maker owns them', () => {
    const server = new StoreServer();
    const dom0 = new RawClient(server, 0);
    const guest = new RawClient(server, 5);
    dom0.write('/d', '');
    dom0.ask('SET_PERMS', '/d|n0|b5|r6|');
    dom0.write('/d/a', '');
    guest.write('/d/b/c', '');
    expect(dom0.ask('GET_PERMS', '/d/a|')).toBe('n0|b5|r6|');
    expect(dom0.ask('GET_PERMS', '/d/b|')).toBe('n5|b5|r6|');
    expect(dom0.ask('GET_PERMS', '/d/b/c|')).toBe('n5|b5|r6|');
  });

  it('goes to a domain for its target, too (SET_TARGET)', () => {
    const server = new StoreServer();
    const dom0 = new RawClient(server, 0);
    const stubdom = new RawClient(server, 7);
    server.introduceDomain(5);
    dom0.write('/owned', 'o');
    dom0.ask('SET_PERMS', '/owned|n5|');
    dom0.write('/granted', 'g');
    dom0.ask('SET_PERMS', '/granted|n0|r5|');
    expect([stubdom.read('/owned'), stubdom.read('/granted')]).toEqual(['EACCES', 'EACCES']);
    expect(dom0.ask('SET_TARGET', '7|5|')).toBe('OK|');
    expect([stubdom.read('/owned'), stubdom.read('/granted')]).toEqual(['o', 'g']);
    expect(stubdom.ask('SET_PERMS', '/owned|r5|')).toBe('OK|');
    expect(stubdom.write('/granted', '')).toBe('EACCES');
    server.releaseDomain(5);
    dom0.write('/owned', 'o');
    dom0.ask('SET_PERMS', '/owned|n5|');
    expect(stubdom.read('/owned')).toBe('EACCES');
  });

  it('leaves out entries for domains that do not exist, and refuses such an owner', () => {
    const server = new StoreServer({ domainExists: (domid) => domid < 6 });
    const dom0 = new RawClient(server, 0);
    dom0.write('/n', '');
    expect(dom0.ask('SET_PERMS', '/n|n0|r5|r6|')).toBe('OK|');
    expect(dom0.ask('GET_PERMS', '/n|')).toBe('n0|r5|');
    expect(dom0.ask('SET_PERMS', '/n|n6|')).toBe('ENOENT');
    expect(dom0.ask('SET_PERMS', '/n|n32757|')).toBe('ENOENT');
  });

  it('can name any domain only with the feature for it', () => {
    const server = new StoreServer();
    const dom0 = new RawClient(server, 0);
    dom0.ask('SET_FEATURE', '5|4|');
    const guest = new RawClient(server, 5);
    dom0.write('/n', '');
    dom0.ask('SET_PERMS', '/n|n5|');
    expect(guest.ask('SET_PERMS', '/n|n5|r32757|')).toBe('OK|');
    expect(dom0.ask('GET_PERMS', '/n|')).toBe('n5|');
  });
});
