import { FramePool } from '@netaccel/core-hooks';
import { FlatMemory, VirtualClock } from '@netaccel/core-hooks/testing';
import type { Domain } from '@netaccel/xen';
import { describe, expect, it } from 'vitest';
import { BridgeWatch, OUTGOING } from '../../src/ports/bridge-watch.js';
import type { FrameBatch } from '../../src/ports/bridge-watch.js';
import { Bridge } from '../../src/ports/bridge.js';

const NAMES = ['vif1.0', 'eth0', 'own'];

function bench() {
  const memory = new FlatMemory(64);
  const clock = new VirtualClock();
  const bridge = new Bridge(memory, clock);
  const pool = new FramePool(4, memory.allocate(2), 2048);
  const delivered: string[] = [];
  const ports = NAMES.map((name) =>
    bridge.attach(name, { deliver: () => delivered.push(name), flush: () => undefined }),
  );
  const batches: FrameBatch[] = [];
  const domain = { memory, loop: clock } as unknown as Domain;
  const watch = new BridgeWatch(
    domain,
    bridge,
    () => clock.now() * 1000,
    (batch) => batches.push(batch),
  );
  const send = (port: number, mark: number): void => {
    const first = pool.allocate()!;
    first.describe(first.home, 40);
    memory.bytes.fill(0xff, first.address, first.address + 6);
    memory.bytes.set([2, 0, 0, 0, 0, port], first.address + 6);
    memory.bytes[first.address + 12] = mark;
    const second = pool.allocate()!;
    second.describe(second.home, 20);
    memory.bytes[second.address] = mark + 1;
    first.next = second;
    first.totalBytes = 60;
    ports[port]!.input.deliver(first);
    first.release();
    second.release();
  };
  const seen = () =>
    batches.flatMap(({ ports: names, count, places, lengths }) =>
      Array.from({ length: count }, (_, i) => [
        names[places[i]! & ~OUTGOING],
        (places[i]! & OUTGOING) !== 0,
        lengths[i],
      ]),
    );
  return { watch, send, seen, batches, clock, delivered };
}

describe('the watch of a bridge', () => {
  it('copies every frame once, whole, as it comes in', () => {
    const { watch, send, seen, batches, clock } = bench();
    watch.watch({ into: null, outOf: [] });
    send(0, 7);
    send(1, 9);
    expect(batches).toEqual([]); // a batch goes a few milliseconds later
    clock.advance(5);
    expect(seen()).toEqual([
      ['vif1.0', false, 60],
      ['eth0', false, 60],
    ]);
    const [{ bytes, lost }] = batches as [FrameBatch];
    expect([bytes.length, bytes[12], bytes[40], bytes[60 + 12], bytes[60 + 40], lost]).toEqual([
      120, 7, 8, 9, 10, 0,
    ]);
  });

  it('copies both directions of one port, and delivers as before', () => {
    const { watch, send, seen, clock, delivered } = bench();
    watch.watch({ into: ['vif1.0'], outOf: ['vif1.0'] });
    send(0, 1);
    send(1, 3);
    send(2, 5);
    clock.advance(5);
    expect(seen()).toEqual([
      ['vif1.0', false, 60],
      ['vif1.0', true, 60],
      ['vif1.0', true, 60],
    ]);
    expect(delivered).toEqual(['eth0', 'own', 'vif1.0', 'own', 'vif1.0', 'eth0']);
  });

  it('sends what it has when it ends, and watches nothing more', () => {
    const { watch, send, seen, clock } = bench();
    watch.watch({ into: null, outOf: ['own'] });
    send(0, 1);
    watch.watch(null);
    expect(seen()).toHaveLength(2);
    send(0, 3);
    clock.advance(10);
    expect([seen().length, clock.pending]).toEqual([2, 0]);
  });

  it('counts what does not fit into a batch', () => {
    const { watch, send, batches, clock } = bench();
    watch.watch({ into: null, outOf: [] });
    for (let i = 0; i < 8200; i++) send(0, i & 0x7f);
    clock.advance(5);
    expect(batches.map(({ count, lost }) => [count, lost])).toEqual([[8192, 8]]);
  });
});
