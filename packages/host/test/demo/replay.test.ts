import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { FlatMemory } from '@netaccel/core-hooks/testing';
import { FrameHeaders } from '@netaccel/nic-vi';
import { FramesLab } from '../../src/demo/frames-lab.js';
import { ReplayCheck, flowOf, replayBothWays } from '../../src/demo/replay.js';

const GUEST_A = '02 00 00 00 00 0a';
const GUEST_B = '02 00 00 00 00 0b';
const ALL_NODES_OF_B = '33 33 ff 00 00 0b';
/** Of two neighbours: they differ in the last byte alone. */
const address = (last: string): string => `fd 00 77 00 00 00 00 00 00 00 00 00 00 00 00 ${last}`;

function hex(...parts: string[]): Uint8Array {
  return Uint8Array.from(Buffer.from(parts.join('').replaceAll(' ', ''), 'hex'));
}

/** An ICMPv6 message in VLAN 6; the payload is four bytes of it. */
function icmp6(to: string, destination: string, source: string, payload: string): Uint8Array {
  return hex(to, GUEST_A, '8100 0006 86dd', '6000 0000 0004 3a ff', source, destination, payload);
}

/** A TCP segment with `payload`, whose number `id` is in the IP header. */
function tcp(ports: string, id: string, payload: string): Uint8Array {
  const length = (40 + payload.length / 2).toString(16).padStart(4, '0');
  const ip = `45 00 ${length} ${id} 40 00 40 06 00 00 0a 4d 00 0b 0a 4d 00 0c`;
  return hex(GUEST_B, GUEST_A, '0800', ip, ports, '00000001 00000001 50 10 ffff 0000 0000', payload);
}

/** What the check says when `frames` arrive in another order than the one they were sent in. */
function reorderedWhen(frames: readonly Uint8Array[], order: readonly number[]): number {
  const memory = new FlatMemory(2);
  const at = memory.allocate(1);
  const headers = new FrameHeaders(memory);
  const check = new ReplayCheck();
  for (const bytes of frames) {
    memory.bytes.set(bytes, at);
    headers.parse(at, bytes.length, bytes.length);
    check.sent(bytes, flowOf(headers));
  }
  for (const i of order) check.arrived(frames[i]!);
  const { reordered, ...rest } = check.result();
  expect(rest).toEqual({
    sent: frames.length,
    received: frames.length,
    lost: 0,
    duplicated: 0,
    corrupted: 0,
  });
  return reordered;
}

describe('the check of a replay', () => {
  it('replay: reordered 1, of a solicitation to a group that came behind a message to the guest', () => {
    const toGroup = icmp6(ALL_NODES_OF_B, address('ff'), address('0a'), '87000000');
    const toGuest = icmp6(GUEST_B, address('0b'), address('0a'), '88000000');
    expect(reorderedWhen([toGroup, toGuest], [1, 0])).toBe(0);
  });

  it('counts a segment that came behind a later one of its connection, of another length', () => {
    const ports = '1f90 c350';
    expect(reorderedWhen([tcp(ports, '0001', '01'), tcp(ports, '0002', '0203')], [1, 0])).toBe(1);
    expect(reorderedWhen([tcp(ports, '0001', '01'), tcp('1f91 c350', '0002', '0203')], [1, 0])).toBe(0);
  });

  it('counts a late frame once, and not those behind it that are in order', () => {
    const segments = ['01', '02', '03', '04'].map((payload, i) => tcp('1f90 c350', `000${i}`, payload));
    expect(reorderedWhen(segments, [1, 0, 2, 3])).toBe(1);
    expect(reorderedWhen(segments, [3, 0, 1, 2])).toBe(3);
  });

  it('tells a frame that came again from one that was never sent', () => {
    const check = new ReplayCheck();
    const frame = tcp('1f90 c350', '0001', '01');
    check.sent(frame, 'flow');
    check.arrived(frame);
    check.arrived(frame);
    check.arrived(tcp('1f90 c350', '0001', '02'));
    expect(check.result()).toEqual({
      sent: 1,
      received: 1,
      lost: 0,
      duplicated: 1,
      reordered: 0,
      corrupted: 1,
    });
  });
});

describe('a replay in a lab', () => {
  let lab: FramesLab;
  beforeEach(async () => {
    lab = await FramesLab.start({
      seed: 1,
      mtu: 9000,
      plugin: '@netaccel/dummy-accel-backend',
      pluginsFrom: process.cwd(),
    });
  });
  afterEach(() => lab.stop());

  test('the slow half is slow, also when a plugin was loaded before', async () => {
    await lab.load();
    const { slow, fast } = await replayBothWays(lab);
    expect(slow.accelerated).toMatchObject({ txSent: 0, rxFast: 0, txDeclined: 0 });
    expect(fast.accelerated.txSent).toBeGreaterThan(0);
    expect(fast.accelerated.rxFast).toBeGreaterThan(0);
    for (const { accelerated: _, ...check } of [slow, fast])
      expect(check).toEqual({
        sent: check.sent,
        received: check.sent,
        lost: 0,
        duplicated: 0,
        reordered: 0,
        corrupted: 0,
      });
    expect(lab.acceleratedGuests()).toBe(2);
  });
});
