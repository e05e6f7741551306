// Advisories about what a domain may see, change and keep: what the attacker did there, and that it comes to nothing here.
import { beforeEach, describe, expect, it } from 'vitest';
import { MessageType, StoreServer, stringToBytes } from '../../src/store/index.js';
import { RawClient } from './raw-client.js';
import { expectIntact, twoGuests } from './two-guests.js';

let server: StoreServer;
let dom0: RawClient;
let guest: RawClient;
let other: RawClient;

beforeEach(() => {
  ({ server, dom0, guest, other } = twoGuests());
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
  expectIntact(server);
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
    expectIntact(server);
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
    expectIntact(server);
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
  expectIntact(server);
});

it('XSA-352: only domain 0 gives a node away, so no quota is spent on others', () => {
  guest.write('gift', '');
  expect(guest.ask('SET_PERMS', 'gift|n6|')).toBe('EPERM');
  expect(guest.ask('SET_PERMS', 'gift|n0|')).toBe('EPERM');
  expect(dom0.ask('SET_PERMS', '/local/domain/5/gift|n6|')).toBe('OK|');
  expect(guest.ask('SET_PERMS', 'gift|n5|')).toBe('EACCES');
  expectIntact(server);
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
  expectIntact(server);
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
  expectIntact(server);
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
  expectIntact(server);
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
  expectIntact(server);
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
  expectIntact(server);
});
