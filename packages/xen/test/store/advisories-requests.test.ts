// Advisories about what a domain may send and leave unread: what the attacker did there, and that it comes to nothing here.
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeMessage, MessageType, stringToBytes, StoreServer } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';
import { StandingClock } from './standing-clock.js';
import { expectIntact, twoGuests } from './two-guests.js';

let server: StoreServer;
let dom0: RawClient;
let guest: RawClient;
let other: RawClient;

beforeEach(() => {
  ({ server, dom0, guest, other } = twoGuests());
});

it('XSA-72: a reply that does not fit is E2BIG, and the connection goes on', () => {
  for (let n = 0; n < 500; n++) dom0.write(`/many/node-${n}`, '');
  dom0.ask('SET_PERMS', '/many|r0|');
  expect(guest.ask('DIRECTORY', '/many|')).toBe('E2BIG');
  expect(guest.ask('GET_DOMAIN_PATH', '5|')).toBe('/local/domain/5|');
  expectIntact(server);
});

describe('XSA-206', () => {
  it('a guest that writes without end does not keep a transaction from ever committing', () => {
    const clock = new StandingClock();
    const store = new StoreServer({ clock });
    const [tools, aggressor] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/shared', '');
    tools.ask('SET_PERMS', '/shared|n0|b5|');
    const write = stringToBytes('/shared\0x');
    let tries = 0;
    let committed = false;
    // The aggressor writes between any two steps of the victim; a millisecond passes with each.
    const interfere = (): void => {
      clock.advance(1);
      aggressor.send(MessageType.WRITE, write);
    };
    while (!committed && tries < 50) {
      tries++;
      const tx = tools.begin();
      interfere();
      tools.read('/shared', tx);
      interfere();
      tools.write('/shared', 'mine', tx);
      interfere();
      committed = tools.end(tx) === 'OK|';
    }
    expect(committed).toBe(true);
    expect(tries).toBeLessThan(10);
    // Held back, not refused: when nobody is disturbed any more, all is answered.
    for (let ms = 0; ms < 1000; ms++) clock.advance(1);
    expect(aggressor.received.filter(({ type }) => type === MessageType.WRITE)).toHaveLength(tries * 3);
    expect(aggressor.received.filter(({ type }) => type === MessageType.ERROR)).toHaveLength(0);
    expect(store.describe().connections[1]!.waitingRequestBytes).toBe(0);
  });

  it('writing costs nothing while no other transaction is open, nor for domain 0', () => {
    const clock = new StandingClock();
    const store = new StoreServer({ clock });
    const [tools, writer] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/shared', '');
    tools.ask('SET_PERMS', '/shared|n0|b5|');
    writer.begin();
    for (let n = 0; n < 100; n++) expect(writer.write('/shared', '')).toBe('OK|');
    for (let n = 0; n < 100; n++) expect(tools.write('/shared', '')).toBe('OK|');
    expect(clock.waiting).toBe(0);
  });

  it('commits that change something cost, too, and a flood while held ends the connection', () => {
    const clock = new StandingClock();
    const store = new StoreServer({ clock, quotas: { 'write-burst': 2, outstanding: 1000 } });
    const [tools, aggressor] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/shared', '');
    tools.ask('SET_PERMS', '/shared|n0|b5|');
    tools.begin();
    for (let n = 0; n < 3; n++) {
      const tx = aggressor.begin();
      aggressor.write('/shared', '', tx);
      expect(aggressor.end(tx)).toBe('OK|');
    }
    expect(aggressor.read('/shared')).toBe('no reply');
    const read = stringToBytes('/shared\0');
    for (let n = 0; n < 50; n++) aggressor.send(MessageType.READ, read);
    expect(aggressor.closedBecause).toBe('more than 1000 bytes of requests wait');
    expect(tools.read('/shared')).toBe('');
    clock.advance(1000);
    expect(store.check()).toEqual([]);
  });

  it('two transactions that fill one directory do not get in each other’s way', () => {
    dom0.write('/dir', '');
    dom0.ask('SET_PERMS', '/dir|n0|b5|b6|');
    const [one, two] = [guest.begin(), other.begin()];
    guest.write('/dir/five', '', one);
    other.write('/dir/six', '', two);
    expect([guest.end(one), other.end(two)]).toEqual(['OK|', 'OK|']);
    expect(dom0.list('/dir')).toEqual(['five', 'six']);
  });
});

describe('XSA-323', () => {
  it('a path is limited as it was sent and as it is after that', () => {
    const longest = `${'x'.repeat(1000)}/${'y'.repeat(1000)}/${'z'.repeat(46)}`;
    expect(guest.write(longest, '')).toBe('OK|');
    expect(dom0.read(`/local/domain/5/${longest}`)).toBe('');
    expect(guest.write(`${longest}z`, '')).toBe('EINVAL');
    expect(guest.write('x'.repeat(2049), '')).toBe('EINVAL');
    expect(guest.write(`/${'x'.repeat(3072)}`, '')).toBe('EINVAL');
    expect(guest.ask('WATCH', `${'x'.repeat(2049)}|t|`)).toBe('EINVAL');
  });
});

it('XSA-324: an event that does not fit into a message is dropped, and counted', () => {
  expect(guest.ask('WATCH', `x|${'t'.repeat(4000)}|`)).toBe('OK|');
  guest.events();
  expect(guest.write(`x/${'y'.repeat(200)}`, '')).toBe('OK|');
  expect(guest.events()).toEqual([]);
  expect(server.describe().counters.eventsTooLong).toBe(1);
  expect(guest.write('x/y', '')).toBe('OK|');
  expect(guest.events()).toHaveLength(1);
});

it('XSA-325: a breach ends the connection only; the domain is still there until it is released', () => {
  dom0.ask('WATCH', '@releaseDomain|t|');
  guest.ask('WATCH', 'x|t|');
  other.ask('WATCH', 'y|t|');
  dom0.events();
  other.events();
  guest.connection.receive(new Uint8Array(16).fill(0xff));
  expect(guest.closedBecause).toBe('a message with a payload of more than 4096 bytes');
  expect(dom0.events()).toEqual([]);
  expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
  other.write('y', '');
  expect(other.events()).toEqual(['y t']);
  server.releaseDomain(5);
  expect(dom0.events()).toEqual(['@releaseDomain t']);
  expect(server.describe().counters.connectionsCut).toBe(1);
  expectIntact(server);
});

describe('XSA-326', () => {
  it('a client that does not read its replies is not answered any further', () => {
    const limit = 65_536;
    guest.write('big', 'x'.repeat(2000));
    guest.isWritable = false;
    const read = stringToBytes('big\0');
    const wanted = 60;
    for (let n = 0; n < wanted; n++) guest.send(MessageType.READ, read);
    const [description] = server.describe().connections.filter(({ domid }) => domid === 5);
    expect(description!.waitingReplyBytes).toBeLessThan(limit + 4112);
    expect(description!.waitingRequestBytes).toBeGreaterThan(0);
    expect(other.ask('GET_DOMAIN_PATH', '6|')).toBe('/local/domain/6|');
    guest.isWritable = true;
    guest.connection.drain();
    expect(guest.received.filter(({ type }) => type === MessageType.READ)).toHaveLength(wanted);
  });

  it('and if it goes on asking, it is cut off', () => {
    guest.write('big', 'x'.repeat(2000));
    guest.isWritable = false;
    const read = stringToBytes('big\0');
    for (let n = 0; n < 5000 && !guest.connection.closed; n++) guest.send(MessageType.READ, read);
    expect(guest.closedBecause).toBe('more than 65536 bytes of requests wait');
    expectIntact(server);
  });

  it('one write of many requests is worked off as it comes, however long', () => {
    const one = encodeMessage({
      type: MessageType.WRITE,
      requestId: 1,
      transactionId: 0,
      payload: stringToBytes(`x\0${'v'.repeat(2000)}`),
    });
    const many = new Uint8Array(one.length * 100);
    for (let n = 0; n < 100; n++) many.set(one, n * one.length);
    guest.connection.receive(many);
    expect(guest.received).toHaveLength(100);
    expect(guest.connection.closed).toBe(false);
  });

  it('events for a client that does not read are bounded in bytes', () => {
    guest.ask('WATCH', `/|${'t'.repeat(1000)}|`);
    guest.received.length = 0;
    guest.isWritable = false;
    dom0.write('/dir', '');
    dom0.ask('SET_PERMS', '/dir|r0|');
    for (let n = 0; n < 500; n++) dom0.write(`/dir/${n}`, '');
    const { connections, counters } = server.describe();
    expect(connections.find(({ domid }) => domid === 5)!.waitingReplyBytes).toBeLessThan(65_536 + 4112);
    expect(counters.eventsDropped).toBeGreaterThan(0);
  });

  it('one slow client does not cost others their events', () => {
    guest.ask('WATCH', '/|t|');
    other.ask('WATCH', '/|t|');
    other.events();
    guest.isWritable = false;
    dom0.write('/dir', '');
    dom0.ask('SET_PERMS', '/dir|r0|');
    expect(other.events()).toEqual(['/dir t']);
  });
});

it('XSA-349: the same event is not queued twice while it waits', () => {
  guest.ask('WATCH', 'x|t|');
  guest.ask('WATCH', 'x|u|');
  guest.received.length = 0;
  guest.isWritable = false;
  for (let n = 0; n < 1000; n++) dom0.write('/local/domain/5/x', String(n));
  expect(server.describe().counters.eventsCoalesced).toBe(2 * 999);
  guest.isWritable = true;
  guest.connection.drain();
  expect(guest.events()).toEqual(['x t', 'x u']);
  dom0.write('/local/domain/5/x', 'again');
  expect(guest.events()).toEqual(['x t', 'x u']);
});

it('XSA-420: no length is negative', () => {
  for (const length of [0x8000_0000, 0xffff_ffff, 0x7fff_ffff, 4097]) {
    const client = new RawClient(server, 7);
    const header = new Uint8Array(16);
    new DataView(header.buffer).setUint32(12, length, true);
    client.connection.receive(header);
    expect(client.connection.closed).toBe(true);
  }
  expectIntact(server);
});

it('XSA-481: every request that takes a path says EINVAL for one that is none', () => {
  for (const type of ['READ', 'DIRECTORY', 'MKDIR', 'RM', 'GET_PERMS'] as const)
    expect(guest.ask(type, '//|')).toBe('EINVAL');
  expect(guest.ask('WRITE', '//|v')).toBe('EINVAL');
  expect(guest.ask('SET_PERMS', '//|n5|')).toBe('EINVAL');
  expect(guest.ask('WATCH', '//|t|')).toBe('EINVAL');
  expect(guest.ask('UNWATCH', '//|t|')).toBe('EINVAL');
  expect(guest.ask('DIRECTORY_PART', '//|0|')).toBe('EINVAL');
  expectIntact(server);
});
