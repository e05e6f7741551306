// What hosts say of a guest on its way: byte for byte RFC 903, and taken from its sender alone.
import { Frame, FreeFrames } from '@netaccel/core-hooks';
import { describe, expect, it } from 'vitest';
import { announcementOf, farewellOf, isSaid } from '../../src/ports/announcement.js';

const GUEST = Uint8Array.of(0x00, 0x16, 0x3e, 0x01, 0x02, 0x03);
const HOME = 64;
const RARP_END = 42;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Whether a frame of these bytes, and as long, is taken for what was said. */
function isTaken(bytes: Uint8Array, said: Uint8Array, length = bytes.length): boolean {
  const memory = new Uint8Array(256);
  memory.set(bytes, HOME);
  const frame = new Frame(new FreeFrames(), 0, HOME, 128);
  frame.describe(HOME, length);
  return isSaid(memory, frame, said);
}

describe('what hosts say of a guest on its way', () => {
  it('is a reverse ARP request from its address, and a reply from another one', () => {
    expect(hex(announcementOf(GUEST))).toBe(
      'ffffffffffff' +
        '00163e010203' +
        '8035' +
        '0001080006040003' +
        '00163e010203' +
        '00000000' +
        '00163e010203' +
        '00000000' +
        '00'.repeat(18),
    );
    expect(hex(farewellOf(GUEST))).toBe(
      'ffffffffffff' +
        '06163e010203' +
        '8035' +
        '0001080006040004' +
        '06163e010203' +
        '00000000' +
        '00163e010203' +
        '00000000' +
        '00'.repeat(18),
    );
  });

  it.each([
    ['announcement', announcementOf],
    ['farewell', farewellOf],
  ])('an %s is known, and nothing that differs from it in any bit', (_name, said) => {
    const bytes = said(GUEST);
    expect(isTaken(bytes, bytes)).toBe(true);
    for (let at = 0; at < RARP_END * 8; at++) {
      const other = Uint8Array.from(bytes);
      other[at >>> 3]! ^= 1 << (at & 7);
      expect(isTaken(other, bytes)).toBe(false);
    }
    expect(isTaken(bytes, bytes, RARP_END)).toBe(true);
    expect(isTaken(bytes, bytes, RARP_END - 1)).toBe(false);
  });

  it('a farewell has another sender than its guest, whatever the address', () => {
    for (let first = 0; first < 256; first += 2) {
      const mac = Uint8Array.of(first, 1, 2, 3, 4, 5);
      const sender = farewellOf(mac)[6]!;
      expect([sender === first, sender & 3]).toEqual([false, 2]);
    }
  });
});
