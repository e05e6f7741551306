import { beforeEach, describe, expect, it } from 'vitest';
import { StoreServer } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

let server: StoreServer;
let dom0: RawClient;
let guest: RawClient;

beforeEach(() => {
  server = new StoreServer();
  dom0 = new RawClient(server, 0);
  guest = new RawClient(server, 5);
  dom0.write('/local/domain/5/device', '');
  dom0.ask('SET_PERMS', '/local/domain/5/device|n5|');
});

describe('a watch', () => {
  it('fires once when it is set, after the reply, whether the node is there or not', () => {
    const id = guest.send(4, new TextEncoder().encode('/none/at/all\0t\0'));
    expect(guest.received.map(({ requestId, type }) => [type, requestId])).toEqual([
      [4, id],
      [15, 0],
    ]);
    expect(guest.events()).toEqual(['/none/at/all t']);
  });

  it('fires for the node and all under it, for making, writing, permissions and removal', () => {
    dom0.ask('WATCH', '/a|t|');
    dom0.events();
    dom0.write('/a', '');
    dom0.write('/a/b/c', '');
    dom0.ask('MKDIR', '/a/d|');
    dom0.ask('MKDIR', '/a/d|');
    dom0.ask('SET_PERMS', '/a/d|r0|');
    dom0.ask('RM', '/a/d|');
    dom0.ask('RM', '/a/d|');
    dom0.write('/ab', '');
    dom0.read('/a');
    expect(dom0.events()).toEqual(['/a t', '/a/b/c t', '/a/d t', '/a/d t', '/a/d t']);
  });

  it('comes before the reply of the request that caused it', () => {
    dom0.ask('WATCH', '/a|t|');
    dom0.received.length = 0;
    dom0.send(11, new TextEncoder().encode('/a\0v'));
    expect(dom0.received.map(({ type }) => type)).toEqual([15, 11]);
  });

  it('on the root sees every node', () => {
    dom0.ask('WATCH', '/|t|');
    dom0.events();
    dom0.write('/x/y', '');
    dom0.ask('SET_PERMS', '@releaseDomain|n0|r5|');
    expect(dom0.events()).toEqual(['/x/y t']);
  });

  it('is told of its own path when a node above it is removed', () => {
    dom0.write('/a/b/c', '');
    dom0.ask('WATCH', '/a|above|');
    dom0.ask('WATCH', '/a/b/c|below|');
    dom0.events();
    dom0.ask('RM', '/a|');
    expect(dom0.events()).toEqual(['/a/b/c below', '/a above']);
  });

  it('reports relative paths if it was set with one', () => {
    guest.ask('WATCH', 'device|t|');
    guest.ask('WATCH', '/local/domain/5/device|u|');
    expect(guest.events()).toEqual(['device t', '/local/domain/5/device u']);
    guest.write('device/vif/0', '');
    expect(guest.events()).toEqual(['device/vif/0 t', '/local/domain/5/device/vif/0 u']);
    expect(guest.ask('UNWATCH', '/local/domain/5/device|t|')).toBe('OK|');
    expect(guest.ask('UNWATCH', 'device|u|')).toBe('OK|');
    guest.write('device/vif/0', '');
    expect(guest.events()).toEqual([]);
  });

  it('is known by path and token together', () => {
    expect(dom0.ask('WATCH', '/a|t|')).toBe('OK|');
    expect(dom0.ask('WATCH', '/a|t|')).toBe('EEXIST');
    expect(dom0.ask('WATCH', '/a|u|')).toBe('OK|');
    expect(dom0.ask('WATCH', '/b|t|')).toBe('OK|');
    expect(dom0.ask('UNWATCH', '/a|none|')).toBe('ENOENT');
    expect(dom0.ask('UNWATCH', '/a|t|')).toBe('OK|');
    expect(dom0.ask('UNWATCH', '/a|t|')).toBe('ENOENT');
    dom0.events();
    dom0.write('/a', '');
    expect(dom0.events()).toEqual(['/a u']);
  });

  it('belongs to its connection alone', () => {
    const other = new RawClient(server, 0);
    dom0.ask('WATCH', '/a|t|');
    expect(other.ask('UNWATCH', '/a|t|')).toBe('ENOENT');
    expect(other.ask('WATCH', '/a|t|')).toBe('OK|');
    expect(other.ask('RESET_WATCHES', '|')).toBe('OK|');
    other.events();
    dom0.events();
    dom0.write('/a', '');
    expect([dom0.events(), other.events()]).toEqual([['/a t'], []]);
  });

  it('may have an empty token, and takes no part in a transaction', () => {
    const tx = dom0.begin();
    expect(dom0.ask('WATCH', '/a||', tx + 1)).toBe('OK|');
    expect(dom0.events()).toEqual(['/a ']);
  });

  it('ends with the connection', () => {
    guest.ask('WATCH', 'device|t|');
    guest.events();
    guest.connection.close();
    dom0.write('/local/domain/5/device/x', '');
    expect(guest.events()).toEqual([]);
    expect(server.describe().counts[5]!.watches).toBe(0);
    expect(server.check()).toEqual([]);
  });

  it('set by RESET_WATCHES to nothing leaves transactions gone, too', () => {
    const tx = guest.begin();
    guest.ask('WATCH', 'device|t|');
    expect(guest.ask('RESET_WATCHES', '|')).toBe('OK|');
    expect(guest.end(tx)).toBe('ENOENT');
    expect(server.check()).toEqual([]);
  });
});

describe('a watch with a depth', () => {
  it.each([
    [0, ['/a t']],
    [1, ['/a t', '/a/b t']],
    [2, ['/a t', '/a/b t', '/a/b/c t']],
  ])('of %i sees that many levels', (depth, expected) => {
    dom0.ask('WATCH', `/a|t|${depth}|`);
    dom0.events();
    for (const path of ['/a', '/a/b', '/a/b/c']) dom0.write(path, '');
    expect(dom0.events()).toEqual(expected);
  });

  it('of 0 on the root sees the root alone', () => {
    dom0.ask('WATCH', '/|t|0|');
    dom0.events();
    dom0.write('/a', '');
    dom0.write('/', 'v');
    expect(dom0.events()).toEqual(['/ t']);
  });

  it('needs the feature', () => {
    dom0.ask('SET_FEATURE', '6|0|');
    const old = new RawClient(server, 6);
    expect(old.ask('WATCH', '/a|t|1|')).toBe('EINVAL');
    expect(old.ask('WATCH', '/a|t|')).toBe('OK|');
  });
});

describe('special watches', () => {
  it('fire when a domain comes and when it goes, and name it at depth 1', () => {
    for (const path of ['@introduceDomain', '@releaseDomain']) {
      dom0.ask('WATCH', `${path}|plain|`);
      dom0.ask('WATCH', `${path}|named|1|`);
    }
    dom0.ask('WATCH', '@releaseDomain/7|seven|');
    dom0.events();
    server.introduceDomain(7);
    server.introduceDomain(7);
    expect(dom0.events()).toEqual(['@introduceDomain plain', '@introduceDomain/7 named']);
    server.releaseDomain(7);
    expect(dom0.events()).toEqual([
      '@releaseDomain plain',
      '@releaseDomain/7 named',
      '@releaseDomain/7 seven',
    ]);
    server.releaseDomain(7);
    expect(dom0.events()).toEqual([]);
  });

  it('fire once for a shutdown, and again after RESUME', () => {
    dom0.ask('WATCH', '@releaseDomain|t|');
    dom0.events();
    server.shutDownDomain(5);
    server.shutDownDomain(5);
    expect(dom0.events()).toEqual(['@releaseDomain t']);
    expect(dom0.ask('RESUME', '5|')).toBe('OK|');
    server.shutDownDomain(5);
    expect(dom0.events()).toEqual(['@releaseDomain t']);
    server.shutDownDomain(9);
    expect(dom0.events()).toEqual([]);
  });

  it('are for domain 0, and for whom it lets read them', () => {
    guest.ask('WATCH', '@releaseDomain|t|');
    guest.events();
    server.introduceDomain(7);
    server.releaseDomain(7);
    expect(guest.events()).toEqual([]);
    dom0.ask('SET_PERMS', '@releaseDomain|n0|r5|');
    guest.events();
    server.introduceDomain(7);
    server.releaseDomain(7);
    expect(guest.events()).toEqual(['@releaseDomain t']);
  });

  it('of a name that nothing fires are set, and stay silent', () => {
    expect(dom0.ask('WATCH', '@whatever|t|')).toBe('OK|');
    expect(dom0.events()).toEqual(['@whatever t']);
  });
});

describe('events that cannot be taken yet', () => {
  it('wait in order with the replies', () => {
    dom0.ask('WATCH', '/a|t|');
    dom0.received.length = 0;
    dom0.isWritable = false;
    const id = dom0.send(11, new TextEncoder().encode('/a/b\0v'));
    expect(dom0.received).toEqual([]);
    expect(server.describe().connections[0]!.waitingReplyBytes).toBe(16 + 7 + 16 + 3);
    dom0.isWritable = true;
    dom0.connection.drain();
    expect(dom0.received.map(({ type, requestId }) => [type, requestId])).toEqual([
      [15, 0],
      [11, id],
    ]);
    expect(server.describe().connections[0]!.waitingReplyBytes).toBe(0);
  });

  it('may be taken from within send', () => {
    const seen: number[] = [];
    let room = 0;
    const connection = server.connect(
      0,
      (bytes) => {
        seen.push(bytes[0]!);
        room--;
        connection.drain();
      },
      { writable: () => room > 0 },
    );
    const id = (n: number): Uint8Array => Uint8Array.from([23, 0, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (const n of [1, 2, 3]) connection.receive(id(n));
    room = 2;
    connection.drain();
    expect(seen).toEqual([23, 23]);
  });
});
