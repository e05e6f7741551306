// Where other addresses are: learned from the other half and from frames, and forgotten again.
import { FramePool } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import { FlatMemory } from '@netaccel/core-hooks/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { Neighbours } from '../src/index.js';

const OWN = [2, 0, 0, 0, 0, 1];
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 2);
const GROUP = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
const EVERYBODY = new Uint8Array(6).fill(0xff);

const memory = new FlatMemory(2);
const address = memory.allocate(1);
const lying = new FramePool(1, address, 60).allocate()!;
lying.length = lying.totalBytes = 60;
let neighbours: Neighbours;

/** A frame from one address to another lies there. */
function frame(to: ArrayLike<number>, from: ArrayLike<number>): Frame {
  memory.bytes.set(Uint8Array.from(to), address);
  memory.bytes.set(Uint8Array.from(from), address + 6);
  return lying;
}

/** As a plugin asks for each frame that the guest sends. */
function isAcross(mac: ArrayLike<number>, from: ArrayLike<number> = OWN): boolean {
  frame(mac, from);
  return neighbours.isUsual(address) || neighbours.isAcross(address);
}

beforeEach(() => {
  neighbours = new Neighbours(memory, OWN);
});

describe('neighbours', () => {
  it('are across the wire once one was heard from there, for as long as it is not silent', () => {
    expect(isAcross(OTHER)).toBe(false);
    neighbours.hear(frame(OWN, OTHER));
    expect(isAcross(OTHER)).toBe(true);
    expect(neighbours.describe()).toEqual([{ mac: '02:00:00:00:00:02', ageMs: 0 }]);
    neighbours.now = 300_001;
    expect(isAcross(OTHER)).toBe(false);
    expect(neighbours.describe()).toEqual([]);
  });

  it('are where the other half says, at once, whatever a frame under way says', () => {
    expect(neighbours.across(OTHER)).toBe(true);
    expect(isAcross(OTHER)).toBe(true); // and is remembered as the last one
    expect(neighbours.here(OTHER)).toBe(true);
    expect(isAcross(OTHER)).toBe(false);
    neighbours.hear(frame(OWN, OTHER));
    expect(isAcross(OTHER)).toBe(false);
    expect(neighbours.across(OTHER)).toBe(true);
    expect(isAcross(OTHER)).toBe(true);
  });

  it('are all forgotten when the other half says so of a group', () => {
    neighbours.across(OTHER);
    expect(isAcross(OTHER)).toBe(true);
    expect(neighbours.here(EVERYBODY)).toBe(true);
    expect(isAcross(OTHER)).toBe(false);
  });

  it('are told from one to the next by every byte of both addresses', () => {
    neighbours.across(OTHER);
    expect(isAcross(OTHER)).toBe(true);
    expect(neighbours.isUsual(address)).toBe(true);
    for (let i = 0; i < 12; i++) {
      frame(OTHER, OWN);
      memory.bytes[address + i]! ^= 0x10;
      expect(neighbours.isUsual(address)).toBe(false);
      expect(neighbours.isAcross(address)).toBe(i >= 6);
      frame(OTHER, OWN);
      expect(neighbours.isUsual(address)).toBe(true); // a false source is never taken for the usual one
    }
    neighbours.now = 1001;
    expect(neighbours.isUsual(address)).toBe(false);
  });

  it('are heard only in frames for the guest, by every byte of its address', () => {
    expect(neighbours.hear(frame(OWN, OTHER))).toBe(true);
    expect(neighbours.hear(frame(OWN, OTHER))).toBe(true);
    const stranger = Uint8Array.of(2, 0, 0, 0, 0, 3);
    for (let i = 0; i < 6; i++) {
      frame(OWN, stranger);
      memory.bytes[address + i]! ^= 0x10;
      expect(neighbours.hear(lying)).toBe(false);
    }
    expect(isAcross(stranger)).toBe(false);
    expect(neighbours.hear(frame(OWN, stranger))).toBe(true);
    expect(isAcross(stranger)).toBe(true);
  });

  it('are never a group, nor the guest itself', () => {
    expect(neighbours.across(GROUP)).toBe(false);
    expect(neighbours.across(Uint8Array.from(OWN))).toBe(false);
    expect(neighbours.here(Uint8Array.from(OWN))).toBe(false);
    neighbours.hear(frame(OWN, GROUP));
    expect(isAcross(GROUP)).toBe(false);
    frame(OTHER, OWN);
    expect([neighbours.isOwn(address), neighbours.isOwn(address + 6)]).toEqual([false, true]);
  });
});
