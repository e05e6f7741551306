// Bytes from a guest that means no good: whatever it sends, others notice nothing, the books are right, and
// nothing fails inside.
import { describe, expect, it } from 'vitest';
import {
  encodeMessage,
  MessageType,
  StoreServer,
  stringToBytes,
  type MessageTypeName,
} from '../../src/store/index.js';
import { RawClient, randomNumbers, SEED } from './raw-client.js';

const TYPES = Object.values(MessageType);
const PIECES = [
  '',
  '/',
  '//',
  'x',
  '/x',
  'x/y',
  '/local/domain/5',
  '/local/domain/6/private',
  '@releaseDomain',
  '@introduceDomain/7',
  'T',
  'F',
  '0',
  '1',
  '5',
  '6',
  '-1',
  '99999',
  'n5',
  'b6',
  'r0',
  'w32757',
  'token',
  'print',
  'quota',
  'check',
  'a'.repeat(300),
  'a/'.repeat(200),
  '\u00ff\u0001',
  'nodes',
  '4294967296',
];

/** A store with a guest that must not be disturbed; returns what it can check of that. */
function lab(): {
  server: StoreServer;
  victim: RawClient;
  dom0: RawClient;
  untouched: () => void;
  logged: string[];
} {
  const logged: string[] = [];
  const server = new StoreServer({ log: (line) => logged.push(line) });
  const dom0 = new RawClient(server, 0);
  const victim = new RawClient(server, 6);
  for (const domid of [5, 6]) {
    dom0.write(`/local/domain/${domid}`, '');
    dom0.ask('SET_PERMS', `/local/domain/${domid}|n${domid}|`);
  }
  victim.write('private', 'mine');
  victim.ask('WATCH', 'private|t|');
  victim.events();
  dom0.ask('WATCH', '@releaseDomain|t|');
  dom0.events();
  const tools = dom0.dump('/local/domain/6');
  const untouched = (): void => {
    expect(dom0.dump('/local/domain/6')).toEqual(tools);
    expect(victim.read('private')).toBe('mine');
    expect(victim.events()).toEqual([]);
    expect(dom0.events()).toEqual([]);
    expect(dom0.ask('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|');
    expect(server.check()).toEqual([]);
    expect(server.describe().counters.internalErrors, logged.join('\n')).toBe(0);
  };
  return { server, victim, dom0, untouched, logged };
}

describe('a hostile guest', () => {
  it(`gets an answer to each well-framed request, whatever is in it (seed ${SEED})`, () => {
    const random = randomNumbers(SEED);
    const { server, untouched } = lab();
    let guest = new RawClient(server, 5);
    for (let n = 0; n < 20_000; n++) {
      const parts = Array.from({ length: random(5) }, () => PIECES[random(PIECES.length)]!);
      let text = parts.join('\0');
      if (random(3) > 0) text += '\0';
      const payload = stringToBytes(text.slice(0, 4096));
      for (let flips = random(8) === 0 ? 3 : 0; flips > 0 && payload.length > 0; flips--)
        payload[random(payload.length)] = random(256);
      const requestId = random(0xffff_ffff);
      const type = random(20) === 0 ? random(0xffff_ffff) : TYPES[random(TYPES.length)]!;
      const before = guest.received.length;
      guest.connection.receive(encodeMessage({ type, requestId, transactionId: random(12), payload }));
      const replies = guest.received.slice(before).filter((m) => m.type !== MessageType.WATCH_EVENT);
      expect(replies.map((m) => m.requestId)).toEqual([requestId]);
      guest.received.length = 0;
      if (random(500) === 0) {
        guest.connection.close();
        guest = new RawClient(server, 5);
      }
    }
    untouched();
  });

  it(`may send any bytes in any pieces (seed ${SEED})`, () => {
    const random = randomNumbers(SEED + 1);
    const { server, untouched } = lab();
    let cut = 0;
    for (let n = 0; n < 3000; n++) {
      const guest = new RawClient(server, 5);
      for (let piece = random(6); piece >= 0; piece--) {
        const bytes = Uint8Array.from({ length: random(200) }, () => random(256));
        // Half of them plausible: a small type and length, so that some get past the header.
        for (const zero of random(2) === 0 ? [1, 2, 3, 8, 9, 10, 11, 13, 14, 15] : [])
          if (zero < bytes.length) bytes[zero] = 0;
        guest.connection.receive(bytes);
      }
      if (guest.connection.closed) cut++;
      guest.connection.close();
    }
    expect(cut).toBeGreaterThan(100);
    expect(server.describe().counters.connectionsCut).toBe(cut);
    untouched();
  });

  it(`cannot get at what is not its own in thousands of tries with real paths (seed ${SEED})`, () => {
    const random = randomNumbers(SEED + 2);
    const { server, untouched } = lab();
    const guest = new RawClient(server, 5);
    const types: MessageTypeName[] = [
      'WRITE',
      'MKDIR',
      'RM',
      'SET_PERMS',
      'READ',
      'DIRECTORY',
      'WATCH',
      'GET_PERMS',
    ];
    const targets = [
      '/',
      '/local',
      '/local/domain/6',
      '/local/domain/6/private',
      '/local/domain/6/private/new',
      '/tool',
    ];
    let transaction = 0;
    for (let n = 0; n < 5000; n++) {
      if (random(10) === 0) transaction = random(2) === 0 ? 0 : guest.begin() || 0;
      const type = types[random(types.length)]!;
      const answer = guest.ask(
        type,
        `${targets[random(targets.length)]}|b5|`,
        Number.isNaN(transaction) ? 0 : transaction,
      );
      expect(['EACCES', 'EINVAL', 'ENOENT', 'EEXIST', 'ENOSPC', 'OK|', 'EPERM']).toContain(answer);
      if (answer === 'OK|') expect(type).toBe('WATCH');
      if (random(20) === 0 && transaction > 0) guest.end(transaction);
      guest.received.length = 0;
    }
    untouched();
  });
});
