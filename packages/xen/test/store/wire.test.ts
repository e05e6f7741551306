import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToString,
  decodeMessage,
  encodeMessage,
  joinStrings,
  MAX_PAYLOAD_BYTES,
  MessageDecoder,
  MessageType,
  messageTypeName,
  splitStrings,
  StoreServer,
  stringToBytes,
  type Message,
} from '../../src/store/index.js';
import { SEED } from './raw-client.js';

/** Header words in hex (bytes as they lie in memory), then the payload's text. */
function bytes(header: string, text: string): Uint8Array {
  const head = header.replaceAll(' ', '').match(/../g) ?? [];
  return Uint8Array.from([...head.map((pair) => parseInt(pair, 16)), ...stringToBytes(text)]);
}

describe('a message on the wire', () => {
  it('is type, request, transaction and length in little-endian words, then the payload (xs_wire.h)', () => {
    const message: Message = {
      type: MessageType.WRITE,
      requestId: 0x01020304,
      transactionId: 0xfffefdfc,
      payload: stringToBytes('/a\0xyz'),
    };
    const encoded = encodeMessage(message);
    expect(encoded).toEqual(bytes('0b000000 04030201 fcfdfeff 06000000', '/a\0xyz'));
    expect(decodeMessage(encoded)).toEqual(message);
  });

  it('has the type numbers of xs_wire.h', () => {
    const names = [
      'CONTROL DIRECTORY READ GET_PERMS WATCH UNWATCH TRANSACTION_START TRANSACTION_END INTRODUCE RELEASE',
      'GET_DOMAIN_PATH WRITE MKDIR RM SET_PERMS WATCH_EVENT ERROR IS_DOMAIN_INTRODUCED RESUME SET_TARGET',
      '- RESET_WATCHES DIRECTORY_PART GET_FEATURE SET_FEATURE GET_QUOTA SET_QUOTA',
    ];
    const byNumber = names.join(' ').split(' ');
    for (const [number, name] of byNumber.entries())
      expect(messageTypeName(number)).toBe(name === '-' ? `type ${number}` : name);
    expect(Object.keys(MessageType)).toHaveLength(byNumber.length);
    expect(MessageType.INVALID).toBe(65535);
  });

  it('of more than 4096 bytes is not sent', () => {
    const over = new Uint8Array(MAX_PAYLOAD_BYTES + 1);
    const message = { type: 2, requestId: 1, transactionId: 0 };
    expect(() => encodeMessage({ ...message, payload: over })).toThrow(/E2BIG|at most 4096/);
    expect(encodeMessage({ ...message, payload: over.subarray(1) })).toHaveLength(16 + 4096);
  });

  it('is decoded whole or not at all', () => {
    const whole = bytes('02000000 01000000 00000000 02000000', 'a\0');
    expect(decodeMessage(whole.subarray(0, 15))).toBeUndefined();
    expect(decodeMessage(whole.subarray(0, 17))).toBeUndefined();
    expect(decodeMessage(Uint8Array.from([...whole, 0]))).toBeUndefined();
    expect(decodeMessage(bytes('02000000 01000000 00000000 01100000', 'x'.repeat(4097)))).toBeUndefined();
  });
});

describe('every request and its reply, byte for byte', () => {
  const OK = 'OK\0';
  const h = (type: number, id: number, tx: number, length: number): string =>
    [type, id, tx, length].map((word) => word.toString(16).padStart(2, '0') + '000000').join('');
  // What domain 0 sends, one after the other on one connection, and all that comes back.
  const exchanges: [name: string, request: [number, number, string], replies: [number, number, string][]][] =
    [
      ['CONTROL', [0, 0, 'print\0hello\0'], [[0, 0, OK]]],
      ['WRITE', [11, 0, '/a/b\0value'], [[11, 0, OK]]],
      ['MKDIR', [12, 0, '/a/c\0'], [[12, 0, OK]]],
      ['DIRECTORY', [1, 0, '/a\0'], [[1, 0, 'b\0c\0']]],
      ['READ', [2, 0, '/a/b\0'], [[2, 0, 'value']]],
      ['GET_PERMS', [3, 0, '/a/b\0'], [[3, 0, 'n0\0']]],
      ['SET_PERMS', [14, 0, '/a/b\0r0\0b5\0w6\0'], [[14, 0, OK]]],
      ['GET_PERMS after it', [3, 0, '/a/b\0'], [[3, 0, 'r0\0b5\0w6\0']]],
      [
        'WATCH',
        [4, 0, '/a\0tok\0'],
        [
          [4, 0, OK],
          [15, 0, '/a\0tok\0'],
        ],
      ],
      [
        'WATCH_EVENT',
        [11, 0, '/a/b\0next'],
        [
          [15, 0, '/a/b\0tok\0'],
          [11, 0, OK],
        ],
      ],
      ['UNWATCH', [5, 0, '/a\0tok\0'], [[5, 0, OK]]],
      ['TRANSACTION_START', [6, 0, '\0'], [[6, 0, '1\0']]],
      ['WRITE in it', [11, 1, '/a/b\0last'], [[11, 1, OK]]],
      ['TRANSACTION_END', [7, 1, 'T\0'], [[7, 1, OK]]],
      ['INTRODUCE', [8, 0, '5\x001234\x007\0'], [[8, 0, OK]]],
      ['IS_DOMAIN_INTRODUCED', [17, 0, '5\0'], [[17, 0, 'T\0']]],
      ['IS_DOMAIN_INTRODUCED of another', [17, 0, '6\0'], [[17, 0, 'F\0']]],
      ['GET_DOMAIN_PATH', [10, 0, '5\0'], [[10, 0, '/local/domain/5\0']]],
      ['RESUME', [18, 0, '5\0'], [[18, 0, OK]]],
      ['INTRODUCE another', [8, 0, '6\x001235\x008\0'], [[8, 0, OK]]],
      ['SET_TARGET', [19, 0, '5\x006\0'], [[19, 0, OK]]],
      ['RELEASE', [9, 0, '5\0'], [[9, 0, OK]]],
      ['RM', [13, 0, '/a/c\0'], [[13, 0, OK]]],
      ['ERROR', [2, 0, '/a/c\0'], [[16, 0, 'ENOENT\0']]],
      ['RESET_WATCHES', [21, 0, '\0'], [[21, 0, OK]]],
      ['DIRECTORY_PART', [22, 0, '/a\x000\0'], [[22, 0, 'G\0b\0\0']]],
      ['GET_FEATURE', [23, 0, ''], [[23, 0, '12\0']]],
      ['SET_FEATURE', [24, 0, '7\x004\0'], [[24, 0, OK]]],
      ['GET_QUOTA', [25, 0, 'nodes\0'], [[25, 0, '1000\0']]],
      ['SET_QUOTA', [26, 0, '7\0nodes\x00500\0'], [[26, 0, OK]]],
      ['RESTRICT, which is gone', [20, 0, '5\0'], [[16, 0, 'ENOSYS\0']]],
      ['a type that nobody knows', [27, 0, ''], [[16, 0, 'ENOSYS\0']]],
      ['a reply sent as a request', [15, 0, '/a\0tok\0'], [[16, 0, 'ENOSYS\0']]],
    ];

  it('matches', () => {
    const server = new StoreServer();
    let received: Uint8Array[] = [];
    const connection = server.connect(0, (message) => received.push(message));
    for (const [at, [name, [type, tx, text], replies]] of exchanges.entries()) {
      received = [];
      connection.receive(bytes(h(type, at + 1, tx, text.length), text));
      const seen = received.map((message) => {
        // A generation is the server's own business: any decimal number.
        return type === 22 ? bytesToString(message).replace(/(.{16})\d+/s, '$1G') : bytesToString(message);
      });
      const expected = replies.map(([replyType, replyTx, reply]) => {
        const id = replyType === 15 ? 0 : at + 1;
        const length = type === 22 ? seen[0]!.charCodeAt(12) : reply.length;
        return bytesToString(bytes(h(replyType, id, replyTx, length), reply));
      });
      expect(seen, name).toEqual(expected);
    }
  });
});

describe('the decoder', () => {
  const message = (size: number): Message => ({
    type: 2,
    requestId: size,
    transactionId: 3,
    payload: new Uint8Array(size).fill(size),
  });

  it(`finds the same messages however the stream is cut (seed ${SEED})`, () => {
    const sizes = fc.array(fc.oneof(fc.nat(40), fc.constantFrom(0, 4095, 4096)), { maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.integer({ min: 1, max: 2000 })), (wanted, cuts) => {
        const stream = wanted.flatMap((size) => [...encodeMessage(message(size))]);
        const decoder = new MessageDecoder();
        const seen: Message[] = [];
        for (let at = 0; at < stream.length;) {
          const length = cuts.next().value as number;
          expect(decoder.push(Uint8Array.from(stream.slice(at, at + length)), (m) => seen.push(m))).toBe(
            true,
          );
          at += length;
        }
        expect(seen).toEqual(wanted.map(message));
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it('hands out what came before an oversized message, and nothing after it', () => {
    const decoder = new MessageDecoder();
    const seen: number[] = [];
    const note = ({ requestId }: Message): number => seen.push(requestId);
    const oversized = bytes('02000000 07000000 00000000 01100000', '');
    const stream = Uint8Array.from([
      ...encodeMessage(message(5)),
      ...oversized,
      ...encodeMessage(message(6)),
    ]);
    expect(decoder.push(stream, note)).toBe(false);
    expect(decoder.push(encodeMessage(message(8)), note)).toBe(false);
    expect(seen).toEqual([5]);
  });

  it('XSA-420: takes a length of 0xffffffff for oversized, not for negative', () => {
    expect(new MessageDecoder().push(bytes('02000000 07000000 00000000 ffffffff', ''), () => undefined)).toBe(
      false,
    );
  });

  it('keeps its own copy of the payload', () => {
    const source = encodeMessage(message(4));
    let seen: Message | undefined;
    new MessageDecoder().push(source, (m) => (seen = m));
    source.fill(0);
    expect(seen?.payload).toEqual(Uint8Array.from([4, 4, 4, 4]));
  });
});

describe('text', () => {
  it('is one byte per character, both ways, for every byte', () => {
    const all = Uint8Array.from({ length: 256 }, (_, at) => at);
    expect(stringToBytes(bytesToString(all))).toEqual(all);
    expect(() => stringToBytes('caf\u00e9 \u2615')).toThrow(/is no byte/);
  });

  it('may be longer than a payload', () => {
    expect(bytesToString(new Uint8Array(10_000).fill(65))).toBe('A'.repeat(10_000));
  });

  it('makes lists with a NUL after each string', () => {
    expect(joinStrings(['a', '', 'bc'])).toEqual(stringToBytes('a\0\0bc\0'));
    expect(splitStrings(stringToBytes('a\0\0bc\0rest'))).toEqual({
      strings: ['a', '', 'bc'],
      rest: stringToBytes('rest'),
    });
    expect(splitStrings(new Uint8Array(0)).strings).toEqual([]);
    expect(() => joinStrings(['a\0b'])).toThrow(/NUL/);
  });
});
