// Frames that wait for a guest to post buffers: in order, within bounds, only so long; and fences that wait for them.
import { describe, expect, test } from 'vitest';
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import { build } from './frames.js';
import { pattern } from './lab.js';
import { NEAR_WRAP } from './scripted-frontend.js';
import type { Packet } from './scripted-frontend.js';
import { Sender, plain } from './sender.js';

describe('too few posted buffers', () => {
  test('frames wait in order in the vif’s own memory and follow when the guest posts, told by its event', async () => {
    const sender = await Sender.make();
    await sender.post(3);
    const sent = [pattern(60, 1), pattern(5000, 2), pattern(60, 3), pattern(9000, 4), pattern(60, 5)];
    for (const bytes of sent) sender.deliver(bytes);
    await sender.flush();
    // Nobody else's buffer is kept.
    expect(sender.pool.free).toBe(40);
    const got = sender.queue.packets();
    expect(got).toHaveLength(2);
    // The next needs one more: the event index asks for exactly that.
    expect(sender.lab.netback.describe()).toMatchObject({ queuedFrames: 3 });
    await sender.post(1);
    got.push(...sender.queue.packets());
    expect(got).toHaveLength(3);
    await sender.post(2);
    expect(sender.queue.packets()).toEqual([]);
    await sender.post(1);
    got.push(...sender.queue.packets());
    await sender.post(1);
    got.push(...sender.queue.packets());
    expect(got.map((packet) => (packet as Packet).bytes)).toEqual(sent);
    expect(sender.lab.netback.statistics()).toMatchObject({ rxFrames: 5, rxQueued: 3 });
    await sender.end();
  });

  test('a large segment waits for the buffer that its extra info uses up', async () => {
    const sender = await Sender.make();
    await sender.post(3);
    const large = build({ payload: pattern(9000), checksum: 'pseudo' });
    const meta = { checksum: Checksum.blank, segmentation: Segmentation.tcpv4, segmentBytes: 1400 };
    expect(await sender.send(large, meta)).toEqual([]);
    await sender.post(1);
    expect(sender.queue.packets()).toMatchObject([{ bytes: large, slots: 4 }]);
    await sender.end();
  });

  test('metadata survives the wait', async () => {
    const sender = await Sender.make();
    const large = build({ payload: pattern(9000), checksum: 'pseudo' });
    await sender.send(large, {
      checksum: Checksum.blank,
      segmentation: Segmentation.tcpv4,
      segmentBytes: 1400,
      fragments: [20, 34, 8000, large.length - 8054],
    });
    await sender.post(4);
    expect(sender.queue.packets()).toMatchObject([
      { bytes: large, slots: 4, gso: { type: 1, size: 1400 }, flags: 15 },
    ]);
    await sender.end();
  });

  test('XSA-392: what waits is bounded by frames and by bytes, and what is over is counted', async () => {
    const sender = await Sender.make({}, { netback: { limits: { backlogFrames: 4, backlogBytes: 65536 } } });
    for (let i = 0; i < 10; i++) sender.deliver(pattern(60, i));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 6]]);
    await sender.post(20);
    expect(sender.queue.packets()).toHaveLength(4);
    // Sixteen buffers are left: two longest packets want seventeen each.
    await sender.post(1);
    expect(await sender.send(pattern(65535))).toHaveLength(1);
    for (let i = 0; i < 3; i++) sender.deliver(pattern(30000, i));
    await sender.flush();
    expect(sender.dropped()).toEqual([['queue-full', 7]]);
    await sender.post(100);
    expect(sender.queue.packets()).toHaveLength(2);
    await sender.end();
  });

  test('XSA-392: what waits too long is dropped; a guest that posts nothing loses its carrier until it does', async () => {
    const sender = await Sender.make();
    const { lab } = sender;
    const start = lab.machine.clock.now();
    await sender.send(pattern(60, 1));
    await lab.machine.advance(9_900);
    expect(sender.dropped()).toEqual([]);
    await lab.machine.advance(200);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    while (lab.machine.clock.now() - start < 59_000) {
      sender.deliver(pattern(60, 2));
      sender.lab.netback.flush();
      await lab.machine.advance(1000);
    }
    expect(lab.netback.statistics().rxStalls).toBe(0);
    sender.deliver(pattern(60, 2));
    await lab.machine.advance(2000);
    expect(lab.netback.statistics().rxStalls).toBe(1);
    expect(await lab.key('carrier')).toBe('0');
    sender.deliver(pattern(60, 3));
    expect(sender.dropped()).toContainEqual(['stalled', 1]);
    // Stalled, it costs no timer.
    expect(lab.back.ledger().timers).toBe(0);
    await sender.post(1);
    expect(await lab.key('carrier')).toBe('1');
    expect(await sender.send(pattern(60, 4))).toEqual([{ ...plain, bytes: pattern(60, 4) }]);
    await sender.end();
  });

  test('a guest that is short for a while but makes progress is not stalled', async () => {
    const sender = await Sender.make();
    for (let second = 0; second < 120; second += 5) {
      sender.deliver(pattern(60));
      sender.deliver(pattern(60));
      sender.lab.netback.flush();
      await sender.post(1);
      sender.queue.packets();
      await sender.lab.machine.advance(5000);
    }
    expect(sender.lab.netback.statistics().rxStalls).toBe(0);
    await sender.end();
  });

  test('a guest without feature-rx-notify is looked at by a short timer, and never called stalled', async () => {
    const sender = await Sender.make({ keys: { 'feature-rx-notify': null } });
    const { lab } = sender;
    await sender.send(pattern(60, 1));
    await lab.machine.advance(31);
    expect(sender.dropped()).toEqual([['expired', 1]]);
    sender.deliver(pattern(60, 2));
    await sender.flush();
    // It posts and says nothing.
    sender.queue.rxChannel.notify = () => undefined;
    sender.queue.post(1);
    await lab.machine.advance(31);
    expect(sender.queue.packets()).toEqual([{ ...plain, bytes: pattern(60, 2) }]);
    await lab.machine.advance(100_000);
    expect(lab.netback.statistics().rxStalls).toBe(0);
    await sender.end();
  });

  test('XSA-39: a producer index beyond the ring fences the vif from this side too', async () => {
    const sender = await Sender.make();
    sender.queue.poke('rx', 'req_prod', (NEAR_WRAP + 300) >>> 0);
    sender.deliver(pattern(60));
    await sender.flush();
    expect(sender.lab.states.at(-1)).toBe('Closing');
    expect(sender.lab.netback.statistics().breaches).toBe(1);
    sender.deliver(pattern(60));
    expect(sender.dropped()).toContainEqual(['not-connected', 2]);
    await sender.end();
  });

  test('XSA-374: malformed packets while frames wait, then the end of the guest: nothing of the queue is touched after', async () => {
    const sender = await Sender.make();
    for (let i = 0; i < 5; i++) sender.deliver(pattern(60));
    await sender.flush();
    sender.queue.poke('tx', 'req_prod', 1000);
    sender.queue.txChannel.notify();
    sender.lab.machine.destroyDomain(1);
    await sender.lab.settle();
    sender.deliver(pattern(60));
    await sender.lab.machine.advance(100_000);
    await sender.lab.run(sender.lab.netback.stop());
    expect(sender.pool.free).toBe(40);
    expect(sender.lab.back.ledger()).toMatchObject({
      mappings: 0,
      ports: 0,
      timers: 0,
      tasks: 0,
      watches: 0,
    });
    expect(sender.lab.machine.audit.violations).toEqual([]);
  });
});

describe('a fence', () => {
  test('without a backlog is passed as soon as what was delivered is flushed', async () => {
    const sender = await Sender.make();
    await sender.post(10);
    sender.deliver(pattern(60));
    sender.deliver(pattern(5000));
    expect(await sender.lab.run(sender.lab.netback.fence())).toEqual([(NEAR_WRAP + 3) >>> 0]);
    expect(sender.queue.packets()).toHaveLength(2);
    await sender.end();
  });

  test('waits for the backlog as it was, not for what comes after', async () => {
    const sender = await Sender.make();
    await sender.post(1);
    for (let i = 0; i < 3; i++) sender.deliver(pattern(60, i));
    let passed: readonly number[] | null = null;
    void sender.lab.netback.fence().then((fence) => (passed = fence));
    sender.deliver(pattern(60, 9));
    await sender.flush();
    expect(passed).toBeNull();
    await sender.post(1);
    expect(passed).toBeNull();
    await sender.post(1);
    expect(passed).toEqual([(NEAR_WRAP + 3) >>> 0]);
    expect(sender.queue.packets()).toHaveLength(3);
    await sender.end();
  });

  test('is passed when what it waited for is dropped, and refused when the connection goes', async () => {
    const sender = await Sender.make();
    sender.deliver(pattern(60));
    let passed: readonly number[] | null = null;
    void sender.lab.netback.fence().then((fence) => (passed = fence));
    await sender.lab.machine.advance(11_000);
    expect(passed).toEqual([NEAR_WRAP]);
    sender.deliver(pattern(60));
    const refused = expect(sender.lab.netback.fence()).rejects.toMatchObject({ code: 'FENCE_CLOSED' });
    await sender.lab.run(sender.lab.netback.stop());
    await refused;
    expect(await sender.lab.netback.fence()).toEqual([]);
    await sender.end();
  });
});
