import { beforeEach, describe, expect, it } from 'vitest';
import {
  MessageType,
  StoreServer,
  type IntroduceRequest,
  type MessageTypeName,
} from '../../src/store/index.js';
import { RawClient } from './raw-client.js';

let server: StoreServer;
let dom0: RawClient;
let introduced: IntroduceRequest[];
let logged: string[];

beforeEach(() => {
  introduced = [];
  logged = [];
  server = new StoreServer({
    onIntroduce: (request) => introduced.push(request),
    log: (line) => logged.push(line),
  });
  dom0 = new RawClient(server, 0);
});

describe('domains', () => {
  it('come by INTRODUCE, with the ring they are to be met on, and go by RELEASE', () => {
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('F|');
    expect(dom0.ask('INTRODUCE', '5|-77|3|')).toBe('OK|');
    expect(introduced).toEqual([{ domid: 5, gfn: -77, port: 3 }]);
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
    expect(dom0.ask('RELEASE', '5|')).toBe('OK|');
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('F|');
    expect(dom0.ask('RELEASE', '5|')).toBe('ENOENT');
    expect(dom0.ask('RESUME', '5|')).toBe('ENOENT');
  });

  it('come by connecting, too', () => {
    dom0.ask('WATCH', '@introduceDomain|t|');
    dom0.events();
    const guest = new RawClient(server, 5);
    expect(dom0.events()).toEqual(['@introduceDomain t']);
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
    guest.connection.close();
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
  });

  it('know themselves as introduced', () => {
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '32752|')).toBe('T|');
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '0|')).toBe('T|');
  });

  it('start over on a second INTRODUCE', () => {
    const guest = new RawClient(server, 5);
    guest.ask('WATCH', '/x|t|');
    const tx = guest.begin();
    dom0.ask('INTRODUCE', '5|1|9|');
    expect(guest.end(tx)).toBe('ENOENT');
    expect(guest.ask('UNWATCH', '/x|t|')).toBe('ENOENT');
    expect(server.check()).toEqual([]);
  });

  it('lose everything when they go', () => {
    const guest = new RawClient(server, 5);
    const other = new RawClient(server, 6);
    for (const [path, permissions] of [
      ['/owned', 'n5'],
      ['/shared', 'n0|r5|b6'],
      ['/open', 'n0|b5|b6'],
    ] as const) {
      dom0.write(path, '');
      dom0.ask('SET_PERMS', `${path}|${permissions}|`);
    }
    guest.write('/owned/by/guest', '');
    guest.write('/open/guest', '');
    other.write('/open/guest-not', '');
    dom0.write('/owned/by/dom0', '');
    dom0.ask('SET_PERMS', '/owned/by/dom0|n0|r5|');
    dom0.ask('SET_PERMS', '@introduceDomain|n5|');
    dom0.ask('SET_PERMS', '/|r5|');
    guest.begin();
    dom0.ask('WATCH', '/|t|');
    guest.ask('WATCH', '/|g|');
    dom0.ask('WATCH', '@releaseDomain|r|');
    dom0.events();
    guest.events();

    server.releaseDomain(5);
    expect(guest.closedBecause).toBe('domain 5 was released');
    expect(guest.events()).toEqual([]);
    expect(dom0.events()).toEqual(['/open/guest t', '/owned t', '@releaseDomain r']);
    expect(dom0.dump()).toEqual({
      '/': ' n0|',
      '/shared': ' n0|b6|',
      '/open': ' n0|b6|',
      '/open/guest-not': ' n6|b6|',
    });
    expect(dom0.ask('GET_PERMS', '@introduceDomain|')).toBe('n0|');
    expect(server.describe().introduced).toEqual([0, 6]);
    expect(server.check()).toEqual([]);
  });

  it('0 cannot go', () => {
    expect(() => server.releaseDomain(0)).toThrow(/cannot be released/);
    expect(() => server.releaseDomain(0x7ff0)).toThrow(/cannot be released/);
    expect(() => server.introduceDomain(70_000)).toThrow(/not the number/);
    expect(() => server.connect(-1, () => undefined)).toThrow(/not the number/);
  });
});

describe('what only domain 0 may ask', () => {
  const forDom0: [MessageTypeName, string][] = [
    ['CONTROL', 'help|'],
    ['INTRODUCE', '6|1|1|'],
    ['RELEASE', '6|'],
    ['RESUME', '6|'],
    ['IS_DOMAIN_INTRODUCED', '5|'],
    ['SET_TARGET', '5|6|'],
    ['GET_FEATURE', '6|'],
    ['SET_FEATURE', '6|0|'],
    ['GET_QUOTA', 'nodes|'],
    ['SET_QUOTA', 'nodes|0|'],
  ];
  it.each(forDom0)('%s is EACCES for others', (type, text) => {
    const guest = new RawClient(server, 5);
    expect(guest.ask(type, text)).toBe('EACCES');
    expect(server.describe().introduced).toEqual([0, 5]);
  });

  it('others may ask the rest', () => {
    const guest = new RawClient(server, 5);
    expect(guest.ask('GET_DOMAIN_PATH', '5|')).toBe('/local/domain/5|');
    expect(guest.ask('GET_DOMAIN_PATH', '00006|')).toBe('/local/domain/6|');
    expect(guest.ask('GET_FEATURE')).toBe('12|');
    expect(guest.ask('GET_FEATURE', '|')).toBe('12|');
  });
});

describe('features and quotas', () => {
  it('of a domain are settled before it is introduced', () => {
    expect(dom0.ask('SET_FEATURE', '5|4|')).toBe('OK|');
    expect(dom0.ask('GET_FEATURE', '5|')).toBe('4|');
    const guest = new RawClient(server, 5);
    expect(guest.ask('GET_FEATURE')).toBe('4|');
    expect(dom0.ask('SET_FEATURE', '5|12|')).toBe('EBUSY');
    expect(dom0.ask('SET_FEATURE', '0|4|')).toBe('EBUSY');
    server.releaseDomain(5);
    expect(dom0.ask('GET_FEATURE', '5|')).toBe('12|');
  });

  it('are for everyone or for one, and forgotten with it', () => {
    expect(dom0.ask('GET_QUOTA')).toMatch(/^nodes watches transactions .*\|$/);
    expect(dom0.ask('SET_QUOTA', 'nodes|10|')).toBe('OK|');
    expect(dom0.ask('SET_QUOTA', '5|nodes|20|')).toBe('OK|');
    expect(dom0.ask('GET_QUOTA', 'nodes|')).toBe('10|');
    expect(dom0.ask('GET_QUOTA', '5|nodes|')).toBe('20|');
    expect(dom0.ask('GET_QUOTA', '6|nodes|')).toBe('10|');
    server.releaseDomain(5);
    expect(dom0.ask('GET_QUOTA', '5|nodes|')).toBe('10|');
  });

  it('are ENOENT for a domain that does not exist', () => {
    const strict = new RawClient(new StoreServer({ domainExists: (domid) => domid === 5 }), 0);
    expect(strict.ask('GET_QUOTA', '6|nodes|')).toBe('ENOENT');
    expect(strict.ask('SET_QUOTA', '6|nodes|1|')).toBe('ENOENT');
    expect(strict.ask('SET_FEATURE', '6|4|')).toBe('ENOENT');
    expect(strict.ask('GET_QUOTA', '5|nodes|')).toBe('1000|');
  });
});

describe('CONTROL', () => {
  it('prints, helps, checks and reports quotas', () => {
    expect(dom0.ask('CONTROL', 'print|hello|')).toBe('OK|');
    expect(logged).toEqual(['control: hello']);
    expect(dom0.ask('CONTROL', 'help|')).toBe('check\nhelp\nprint <string>\nquota [<domid>]|');
    expect(dom0.ask('CONTROL', 'check|')).toBe('OK|');
    expect(dom0.ask('CONTROL', 'quota|')).toContain('watches: 128 (watches of all its connections)\n');
    dom0.write('/n', 'value');
    dom0.ask('SET_PERMS', '/n|n5|');
    expect(dom0.ask('CONTROL', 'quota|5|')).toContain('Domain 5:\nnodes: 1 of 1000\nmemory: 14 of');
  });
});

it('every type that the header knows is answered, or is ENOSYS', () => {
  for (const type of Object.keys(MessageType) as MessageTypeName[]) {
    const answer = dom0.ask(type, 'x|');
    if (['WATCH_EVENT', 'ERROR', 'INVALID'].includes(type)) expect(answer, type).toBe('ENOSYS');
    else expect(answer, type).not.toBe('ENOSYS');
  }
});

describe('the server as a whole', () => {
  it('describes itself, and ends all connections when it is closed', () => {
    const guest = new RawClient(server, 5);
    guest.ask('WATCH', '/x|t|');
    guest.begin();
    const { connections, counters } = server.describe();
    expect(connections).toEqual([
      { domid: 0, transactions: 0, watches: 0, waitingRequestBytes: 0, waitingReplyBytes: 0 },
      { domid: 5, transactions: 1, watches: 1, waitingRequestBytes: 0, waitingReplyBytes: 0 },
    ]);
    expect(counters).toMatchObject({ requests: 2, refusals: 0, internalErrors: 0, eventsQueued: 1 });
    server.close();
    expect([dom0.closedBecause, guest.closedBecause]).toEqual(Array(2).fill('the store was shut down'));
    expect(server.describe().connections).toEqual([]);
    expect(server.check()).toEqual([]);
    guest.connection.receive(new Uint8Array(16));
    guest.connection.drain();
    guest.connection.close();
  });

  it('answers EIO, and says so in the log, when something of its own fails', () => {
    const failing = new StoreServer({
      log: (line) => logged.push(line),
      onIntroduce: () => {
        throw new Error('no ring');
      },
    });
    const tools = new RawClient(failing, 0);
    expect(tools.ask('INTRODUCE', '5|1|1|')).toBe('EIO');
    expect(logged).toEqual([expect.stringMatching(/^INTRODUCE failed inside: Error: no ring\n/)]);
    expect(failing.describe().counters.internalErrors).toBe(1);
    expect(tools.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
  });

  it('takes calls from within a send after the request at hand', () => {
    const order: string[] = [];
    let calledBack = false;
    const connection = server.connect(0, (bytes) => {
      order.push(`reply ${bytes[0]}`);
      if (calledBack) return;
      calledBack = true;
      server.releaseDomain(6);
      order.push('asked');
    });
    new RawClient(server, 6);
    dom0.ask('WATCH', '@releaseDomain|t|');
    dom0.events();
    connection.receive(Uint8Array.from([23, ...Array<number>(15).fill(0)]));
    expect(order).toEqual(['reply 23', 'asked']);
    expect(dom0.events()).toEqual(['@releaseDomain t']);
  });

  it('ends the connection whose transport throws, and no other', () => {
    const reasons: string[] = [];
    let broken = false;
    const connection = server.connect(
      0,
      () => {
        if (broken) throw new Error('no wire');
      },
      { onClosed: (reason) => reasons.push(reason) },
    );
    connection.receive(Uint8Array.from([4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 47, 97, 0, 116, 0]));
    broken = true;
    expect(dom0.write('/a', 'v')).toBe('OK|');
    expect(dom0.read('/a')).toBe('v');
    expect(reasons).toEqual(['the transport failed: Error: no wire']);
    expect(connection.closed).toBe(true);
    expect(server.check()).toEqual([]);
  });
});
