import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import { mailboxPair } from '@netaccel/core-hooks/testing';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  Answers,
  CONTROL_VERSIONS,
  ControlMessage,
  MAX_MISTAKES,
  MessageError,
  Refusal,
  commonVersion,
  controlLayouts,
  decodeAddress,
  decodeFence,
  decodeHello,
  decodeLink,
  decodeNothing,
  decodeRate,
  decodeStray,
  encodeAddress,
  encodeFence,
  encodeHello,
  encodeLink,
  encodeRate,
  encodeStray,
} from '../src/index.js';

const hello = { oldest: 1, newest: 3, features: 0x8000_0001, bufferPages: 384 };

describe('control messages', () => {
  it('have numbers of their own, and fit a payload', () => {
    const numbers = Object.values(ControlMessage);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const { size } of controlLayouts) expect(size).toBeLessThanOrEqual(MAILBOX_PAYLOAD_BYTES);
  });

  it('have the bytes of the table', () => {
    expect([...encodeHello(hello)]).toEqual([1, 0, 3, 0, 1, 0, 0, 0x80, 0x80, 1, 0, 0, 0, 0, 0, 0]);
    expect([...encodeAddress([2, 0, 0, 0, 0, 9])]).toEqual([2, 0, 0, 0, 0, 9, 0, 0]);
    expect([...encodeStray(0x10203)]).toEqual([3, 2, 1, 0]);
    expect([...encodeLink(true)]).toEqual([1, 0, 0, 0]);
    expect([...encodeRate(1_234_567_001)]).toEqual([0x88, 0xd6, 0x12, 0]);
    expect([...encodeFence([0xffff_fffe, 3])].slice(0, 16)).toEqual([
      2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0,
    ]);
  });

  it('come back as they went', () => {
    expect(decodeHello(encodeHello(hello))).toEqual(hello);
    expect([...decodeAddress(encodeAddress([2, 0, 0, 0, 0, 9]))]).toEqual([2, 0, 0, 0, 0, 9]);
    expect(decodeStray(encodeStray(0xffff_ffff))).toBe(0xffff_ffff);
    expect(decodeLink(encodeLink(false))).toBe(false);
    for (const fence of [[], [0xffff_ffff, 0, 5], new Array<number>(14).fill(7)])
      expect(decodeFence(encodeFence(fence))).toEqual(fence);
    for (const rate of [0, 1000, 12_500_000_000]) expect(decodeRate(encodeRate(rate))).toBe(rate);
  });

  it('have a fence of as many rings as fit, and no more', () => {
    expect(() => encodeFence(new Array<number>(15).fill(0))).toThrow(RangeError);
    expect(() => decodeFence(encodeFence([1]).fill(15, 0, 1))).toThrow(MessageError);
    expect(() => decodeFence(new Uint8Array(59))).toThrow(MessageError);
    expect(() => decodeFence(new Uint8Array(MAILBOX_PAYLOAD_BYTES + 1))).toThrow(MessageError);
  });

  it.each([
    [{ oldest: 0, newest: 1 }, 'no version 0'],
    [{ oldest: 2, newest: 1 }, 'a range backwards'],
  ])('of a range %o are refused: %s', (range) => {
    expect(() => decodeHello(encodeHello({ ...hello, ...range }))).toThrow(MessageError);
  });

  it('choose the newest version that both speak, or name both ranges', () => {
    const { oldest, newest } = CONTROL_VERSIONS;
    expect(commonVersion({ ...hello, oldest: 1, newest: 99 })).toBe(newest);
    expect(commonVersion({ ...hello, oldest, newest: oldest })).toBe(oldest);
    expect(() => commonVersion({ ...hello, oldest: 50, newest: 60 })).toThrow(/1 to \d+.*50 to 60/);
  });

  it.each([
    [[1, 3], [2, 5], 3],
    [[2, 5], [1, 3], 3],
    [[1, 1], [1, 9], 1],
    [[4, 9], [1, 4], 4],
    [[1, 2], [3, 4], null],
    [[3, 4], [1, 2], null],
  ] as const)('feature 3: %j and %j meet at %j', ([oldest, newest], [own, ownNewest], version) => {
    const meet = () => commonVersion({ oldest, newest }, { oldest: own, newest: ownNewest });
    if (version === null) expect(meet).toThrow(MessageError);
    else expect(meet()).toBe(version);
  });

  test.prop([fc.uint8Array({ maxLength: 130 })], { numRuns: 500 })(
    'of any bytes are a value or an error',
    (bytes) => {
      for (const decode of [decodeHello, decodeAddress, decodeStray, decodeLink, decodeRate]) {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MessageError);
        }
      }
    },
  );
});

describe('answers', () => {
  const nothing = new Uint8Array(0);

  it('carry a payload, a yes, a no, or a refusal that says more', async () => {
    const [peer, own] = mailboxPair();
    const answers = new Answers(own, () => undefined);
    const says: Record<number, () => Uint8Array | boolean> = {
      1: () => Uint8Array.of(7),
      2: () => true,
      3: () => false,
      4: () => {
        throw new Refusal('no such version', Uint8Array.of(9));
      },
      5: () => {
        throw new Error('what a machine says');
      },
    };
    for (const [type, say] of Object.entries(says)) answers.to(Number(type), decodeNothing, say);
    const replies: [boolean, number[]][] = [];
    for (const type of [1, 2, 3, 4, 5]) {
      const { ok, payload } = await peer.request(type, nothing);
      replies.push([ok, [...payload]]);
    }
    expect(replies).toEqual([
      [true, [7]],
      [true, []],
      [false, []],
      [false, [9]],
      [false, []],
    ]);
    // A plain no is an answer, not a mistake.
    expect([answers.mistakes, answers.lastMistake]).toEqual([2, 'message 5: what a machine says']);
  });

  it('feature 91, hole 2.16 #2: count what cannot be, and give a peer up once', async () => {
    const [peer, own] = mailboxPair();
    const told: string[] = [];
    const answers = new Answers(own, (reason) => told.push(reason));
    let acted = 0;
    answers.to(1, decodeStray, () => ++acted > 0);
    for (let i = 0; i < MAX_MISTAKES; i++) expect((await peer.request(1, nothing)).ok).toBe(false);
    expect(told).toEqual([]);
    expect((await peer.request(1, encodeStray(1))).ok).toBe(true);
    for (let i = 0; i < 5; i++) await peer.request(1, nothing);
    expect(told).toHaveLength(1);
    expect(acted).toBe(1);
  });

  it('end when they are closed', async () => {
    const [peer, own] = mailboxPair();
    const answers = new Answers(own, () => undefined);
    answers.to(1, decodeNothing, () => true);
    answers.close();
    expect((await peer.request(1, nothing)).ok).toBe(false);
    expect(answers.mistakes).toBe(0);
  });
});
