// One test or more for each xenstore advisory that a server of this kind can have: what the attacker did there,
// and that it comes to nothing here.
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeMessage, MessageType, stringToBytes, StoreServer } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

let server: StoreServer;
let dom0: RawClient;
let guest: RawClient;
let other: RawClient;

beforeEach(() => {
  server = new StoreServer();
  dom0 = new RawClient(server, 0);
  guest = new RawClient(server, 5);
  other = new RawClient(server, 6);
  for (const domid of [5, 6]) {
    dom0.write(`/local/domain/${domid}`, '');
    dom0.ask('SET_PERMS', `/local/domain/${domid}|n${domid}|`);
  }
});

function expectIntact(): void {
  expect(server.check()).toEqual([]);
  expect(server.describe().counters.internalErrors).toBe(0);
}

it('XSA-72: a reply that does not fit is E2BIG, and the connection goes on', () => {
  for (let n = 0; n < 500; n++) dom0.write(`/many/node-${n}`, '');
  dom0.ask('SET_PERMS', '/many|r0|');
  expect(guest.ask('DIRECTORY', '/many|')).toBe('E2BIG');
  expect(guest.ask('GET_DOMAIN_PATH', '5|')).toBe('/local/domain/5|');
  expectIntact();
});

describe('XSA-115', () => {
  it('a watch on the root does not tell of nodes that may not be seen', () => {
    guest.ask('WATCH', '/|t|');
    guest.events();
    dom0.write('/secret/key', 'v');
    other.write('data', 'v');
    dom0.ask('RM', '/secret/key|');
    const tx = dom0.begin();
    dom0.write('/secret/key', 'v', tx);
    dom0.end(tx);
    expect(guest.events()).toEqual([]);
  });

  it('who loses the right to read is told of that, and then of nothing more', () => {
    dom0.write('/shared', '');
    dom0.ask('SET_PERMS', '/shared|n0|r5|');
    guest.ask('WATCH', '/shared|t|');
    guest.events();
    dom0.ask('SET_PERMS', '/shared|n0|');
    expect(guest.events()).toEqual(['/shared t']);
    dom0.write('/shared', 'v');
    expect(guest.events()).toEqual([]);
    dom0.ask('SET_PERMS', '/shared|n0|r5|');
    expect(guest.events()).toEqual(['/shared t']);
  });

  it('who may list the directory is told of the names in it, which listing would tell, too', () => {
    dom0.write('/dir', '');
    dom0.ask('SET_PERMS', '/dir|r0|');
    dom0.write('/dir/closed', '');
    dom0.ask('SET_PERMS', '/dir/closed|n0|');
    guest.ask('WATCH', '/dir|t|');
    guest.events();
    dom0.write('/dir/closed', 'v');
    dom0.write('/dir/closed/below', 'v');
    expect(guest.events()).toEqual(['/dir/closed t']);
  });

  it('who may read a node is told of its removal', () => {
    dom0.write('/closed/readable', '');
    dom0.ask('SET_PERMS', '/closed/readable|r0|');
    guest.ask('WATCH', '/closed/readable|t|');
    guest.events();
    dom0.ask('RM', '/closed|');
    expect(guest.events()).toEqual(['/closed/readable t']);
  });

  it('IS_DOMAIN_INTRODUCED and the special watches do not tell guests of each other', () => {
    guest.ask('WATCH', '@introduceDomain|t|');
    guest.ask('WATCH', '@releaseDomain|t|1|');
    guest.events();
    server.introduceDomain(7);
    server.releaseDomain(7);
    expect(guest.events()).toEqual([]);
    expect(guest.ask('IS_DOMAIN_INTRODUCED', '6|')).toBe('EACCES');
  });

  it('the transaction of WATCH and UNWATCH is not looked at', () => {
    expect(guest.ask('WATCH', 'x|t|', 77)).toBe('OK|');
    expect(guest.ask('UNWATCH', 'x|t|', 78)).toBe('OK|');
  });
});

describe('XSA-206', () => {
  interface Timer {
    readonly atMs: number;
    readonly run: () => void;
  }
  let nowMs = 0;
  let timers: Timer[] = [];
  const clock = {
    now: () => nowMs,
    after: (ms: number, run: () => void) => {
      const timer = { atMs: nowMs + ms, run };
      timers.push(timer);
      return () => void (timers = timers.filter((one) => one !== timer));
    },
  };
  function advance(ms: number): void {
    nowMs += ms;
    const due = timers.filter(({ atMs }) => atMs <= nowMs);
    timers = timers.filter(({ atMs }) => atMs > nowMs);
    for (const { run } of due) run();
  }

  it('a guest that writes without end does not keep a transaction from ever committing', () => {
    nowMs = 0;
    timers = [];
    const store = new StoreServer({ clock });
    const [tools, aggressor] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/shared', '');
    tools.ask('SET_PERMS', '/shared|n0|b5|');
    const write = stringToBytes('/shared\0x');
    let tries = 0;
    let committed = false;
    // The aggressor writes between any two steps of the victim; a millisecond passes with each.
    const interfere = (): void => {
      advance(1);
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
    for (let ms = 0; ms < 1000; ms++) advance(1);
    expect(aggressor.received.filter(({ type }) => type === MessageType.WRITE)).toHaveLength(tries * 3);
    expect(aggressor.received.filter(({ type }) => type === MessageType.ERROR)).toHaveLength(0);
    expect(store.describe().connections[1]!.waitingRequestBytes).toBe(0);
  });

  it('writing costs nothing while no other transaction is open, nor for domain 0', () => {
    nowMs = 0;
    timers = [];
    const store = new StoreServer({ clock });
    const [tools, writer] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/shared', '');
    tools.ask('SET_PERMS', '/shared|n0|b5|');
    writer.begin();
    for (let n = 0; n < 100; n++) expect(writer.write('/shared', '')).toBe('OK|');
    for (let n = 0; n < 100; n++) expect(tools.write('/shared', '')).toBe('OK|');
    expect(timers).toEqual([]);
  });

  it('commits that change something cost, too, and a flood while held ends the connection', () => {
    nowMs = 0;
    timers = [];
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
    advance(1000);
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

it('XSA-233, XSA-484: closing, releasing and ending twice does it once', () => {
  const tx = guest.begin();
  guest.ask('WATCH', 'x|t|');
  expect([guest.end(tx), guest.end(tx)]).toEqual(['OK|', 'ENOENT']);
  guest.begin();
  guest.connection.close();
  guest.connection.close();
  server.releaseDomain(5);
  server.releaseDomain(5);
  guest.connection.close();
  expect(server.describe().counts[5]).toBeUndefined();
  expectIntact();
});

it('XSA-272: rights are looked at before quotas, and a full domain can still use what it has', () => {
  const full = new StoreServer({ quotas: { nodes: 1 } });
  const [tools, client] = [new RawClient(full, 0), new RawClient(full, 5)];
  tools.write('/own', '');
  tools.ask('SET_PERMS', '/own|n5|');
  expect(client.write('/forbidden', '')).toBe('EACCES');
  expect(client.write('/own/new', '')).toBe('ENOSPC');
  expect(client.write('/own', 'v')).toBe('OK|');
  const tx = client.begin();
  expect(client.write('/own/new', '', tx)).toBe('ENOSPC');
  expect(client.write('/own', 'w', tx)).toBe('OK|');
  expect(client.end(tx)).toBe('OK|');
});

describe('XSA-322, XSA-417', () => {
  it('a domain does not inherit the rights of the one that had its number before', () => {
    dom0.write('/for-five', 'secret');
    dom0.ask('SET_PERMS', '/for-five|n0|r5|');
    other.write('for-five', 'secret');
    other.ask('SET_PERMS', 'for-five|n6|b5|');
    expect(guest.read('/for-five')).toBe('secret');
    server.releaseDomain(5);
    const next = new RawClient(server, 5);
    expect(next.read('/for-five')).toBe('EACCES');
    expect(next.read('/local/domain/6/for-five')).toBe('EACCES');
    expectIntact();
  });

  it('nor by a transaction that was open when it went', () => {
    dom0.write('/n', '');
    const tx = dom0.begin();
    dom0.ask('SET_PERMS', '/n|n0|r5|', tx);
    dom0.write('/m', '', tx);
    dom0.ask('SET_PERMS', '/m|n5|', tx);
    server.releaseDomain(5);
    expect(dom0.end(tx)).toBe('EAGAIN');
    expect(dom0.ask('GET_PERMS', '/n|')).toBe('n0|');
    expect(dom0.read('/m')).toBe('ENOENT');
    expectIntact();
  });

  it('nor by naming it while no domain has the number', () => {
    const there = new Set([5, 6]);
    const store = new StoreServer({ domainExists: (domid) => domid === 0 || there.has(domid) });
    const [tools, sharer] = [new RawClient(store, 0), new RawClient(store, 6)];
    tools.write('/n', '');
    tools.ask('SET_PERMS', '/n|n6|');
    there.delete(5);
    sharer.ask('SET_PERMS', '/n|n6|r5|');
    there.add(5);
    expect(new RawClient(store, 5).read('/n')).toBe('EACCES');
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
  expectIntact();
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
    expectIntact();
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

it('XSA-330: RESET_WATCHES leaves nothing of a watch anywhere', () => {
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 128; n++) expect(guest.ask('WATCH', `x/${n}|t|`)).toBe('OK|');
    expect(guest.ask('WATCH', 'x/y|t|')).toBe('ENOSPC');
    expect(guest.ask('RESET_WATCHES', '|')).toBe('OK|');
  }
  guest.events();
  guest.write('x/0', '');
  expect(guest.events()).toEqual([]);
  expect(server.describe().counts[5]!.watches).toBe(0);
  expectIntact();
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

it('XSA-352: only domain 0 gives a node away, so no quota is spent on others', () => {
  guest.write('gift', '');
  expect(guest.ask('SET_PERMS', 'gift|n6|')).toBe('EPERM');
  expect(guest.ask('SET_PERMS', 'gift|n0|')).toBe('EPERM');
  expect(dom0.ask('SET_PERMS', '/local/domain/5/gift|n6|')).toBe('OK|');
  expect(guest.ask('SET_PERMS', 'gift|n5|')).toBe('EACCES');
  expectIntact();
});

it('XSA-353: the root has permissions like any node', () => {
  expect(guest.ask('SET_PERMS', '/|b5|')).toBe('EACCES');
  expect(guest.write('/', 'v')).toBe('EACCES');
  expect(guest.ask('DIRECTORY', '/|')).toBe('EACCES');
  expect(guest.ask('RM', '/|')).toBe('EACCES');
  expect(dom0.ask('GET_PERMS', '/|')).toBe('n0|');
});

it('XSA-354: what a guest keeps in the store is bounded, also by bytes', () => {
  let kept = 0;
  while (kept < 3000 && guest.write(`n/${kept}`, 'x'.repeat(1900)) === 'OK|') kept++;
  expect(kept).toBeLessThan(1000);
  expect(server.describe().counts[5]!.memory).toBeLessThanOrEqual(2_621_440);
  expectIntact();
});

describe('XSA-414, XSA-415', () => {
  it('a refused request with missing parents makes none of them', () => {
    const store = new StoreServer({ quotas: { nodes: 3, memory: 200, 'node-size': 60 } });
    const [tools, client] = [new RawClient(store, 0), new RawClient(store, 5)];
    tools.write('/own', '');
    tools.ask('SET_PERMS', '/own|n5|');
    const before = tools.dump();
    const tx = client.begin();
    for (const inside of [0, tx]) {
      expect(client.write('/own/a/b/c', '', inside)).toBe('ENOSPC');
      expect(client.write('/own/a', 'x'.repeat(61), inside)).toBe('ENOSPC');
      expect(client.write(`/own/a/${'n'.repeat(60)}`, '', inside)).toBe('ENOSPC');
      expect(client.list('/own', inside)).toEqual([]);
    }
    expect(client.end(tx)).toBe('OK|');
    expect(tools.dump()).toEqual(before);
    expect(store.check()).toEqual([]);
  });
});

it('XSA-416: what a request needed is free once it is answered, though the answer waits', () => {
  guest.write('x', 'v'.repeat(1000));
  guest.isWritable = false;
  guest.send(MessageType.READ, stringToBytes('x\0'));
  const [description] = server.describe().connections.filter(({ domid }) => domid === 5);
  expect(description).toMatchObject({
    waitingRequestBytes: 0,
    waitingReplyBytes: 16 + 1000,
    transactions: 0,
  });
});

it('XSA-418: a tree can be as deep as a path, and be walked, watched, removed and released', () => {
  const deep = `deep${'/d'.repeat(120)}`;
  expect(guest.write(deep, 'v')).toBe('OK|');
  expect(guest.write(`deep${'/d'.repeat(200)}`, 'v')).toBe('EINVAL');
  const tx = guest.begin();
  expect(guest.ask('RM', 'deep|', tx)).toBe('OK|');
  expect(guest.end(tx)).toBe('OK|');
  expect(guest.write(deep, 'v')).toBe('OK|');
  server.releaseDomain(5);
  expect(dom0.list('/local/domain')).toEqual(['6']);
  expectIntact();
});

it('XSA-419: what a guest made elsewhere goes with it, so rebooting does not fill the store', () => {
  dom0.write('/open', '');
  dom0.ask('SET_PERMS', '/open|b0|');
  const nodesOf0 = server.describe().counts[0]!.nodes;
  for (let boot = 0; boot < 5; boot++) {
    const booted = new RawClient(server, 9);
    for (let n = 0; n < 100; n++) booted.write(`/open/${boot}-${n}`, '');
    server.releaseDomain(9);
  }
  expect(dom0.list('/open')).toEqual([]);
  expect(server.describe().counts[0]!.nodes).toBe(nodesOf0);
  expectIntact();
});

it('XSA-420: no length is negative', () => {
  for (const length of [0x8000_0000, 0xffff_ffff, 0x7fff_ffff, 4097]) {
    const client = new RawClient(server, 7);
    const header = new Uint8Array(16);
    new DataView(header.buffer).setUint32(12, length, true);
    client.connection.receive(header);
    expect(client.connection.closed).toBe(true);
  }
  expectIntact();
});

it('XSA-421: nodes made and removed in one transaction are counted right, whatever else is in it', () => {
  const store = new StoreServer({ quotas: { nodes: 6 } });
  const [tools, client] = [new RawClient(store, 0), new RawClient(store, 5)];
  tools.write('/own', '');
  tools.ask('SET_PERMS', '/own|n5|');
  for (let round = 0; round < 10; round++) {
    const tx = client.begin();
    for (const name of ['a', 'b', 'c', 'd', 'e']) expect(client.write(`/own/${name}`, '', tx)).toBe('OK|');
    expect(client.write('/own/f', '', tx)).toBe('ENOSPC');
    client.ask('RM', '/own/a|', tx);
    client.ask('RM', '/own/b|', tx);
    expect(client.end(tx)).toBe('OK|');
    expect(client.list('/own')).toEqual(['c', 'd', 'e']);
    for (const name of ['c', 'd', 'e']) client.ask('RM', `/own/${name}|`);
  }
  expect(store.describe().counts[5]!.nodes).toBe(1);
  expect(store.check()).toEqual([]);
});

it('XSA-440: a transaction that clashes over removed nodes is EAGAIN, and no count goes below zero', () => {
  guest.write('a/b', '');
  const tx = guest.begin();
  guest.ask('RM', 'a|', tx);
  dom0.ask('RM', '/local/domain/5/a|');
  expect(guest.end(tx)).toBe('EAGAIN');
  expect(server.describe().counts[5]!.nodes).toBe(1);
  expectIntact();
});

it('XSA-481: every request that takes a path says EINVAL for one that is none', () => {
  for (const type of ['READ', 'DIRECTORY', 'MKDIR', 'RM', 'GET_PERMS'] as const)
    expect(guest.ask(type, '//|')).toBe('EINVAL');
  expect(guest.ask('WRITE', '//|v')).toBe('EINVAL');
  expect(guest.ask('SET_PERMS', '//|n5|')).toBe('EINVAL');
  expect(guest.ask('WATCH', '//|t|')).toBe('EINVAL');
  expect(guest.ask('UNWATCH', '//|t|')).toBe('EINVAL');
  expect(guest.ask('DIRECTORY_PART', '//|0|')).toBe('EINVAL');
  expectIntact();
});

it('XSA-483: a number that comes back starts with nothing on its account', () => {
  for (let boot = 0; boot < 3; boot++) {
    const booted = new RawClient(server, 9);
    dom0.write('/local/domain/9', '');
    dom0.ask('SET_PERMS', '/local/domain/9|n9|');
    for (let n = 0; n < 50; n++) booted.ask('WATCH', `${n}|t|`);
    booted.begin();
    let made = 1;
    while (booted.write(`n${made}`, '') === 'OK|') made++;
    expect(server.describe().counts[9]).toMatchObject({ watches: 50, transactions: 1, nodes: made });
    server.releaseDomain(9);
    expect(server.describe().counts[9]).toBeUndefined();
  }
  expectIntact();
});
