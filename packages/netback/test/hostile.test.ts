/** Random and lying frontends: whatever they do, only their own packets suffer, and everything is given back. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FramePool } from '@netaccel/core-hooks';
import { Random } from '@netaccel/xen/sim';
import { CLEAN_END, VifLab, pattern } from './lab.js';
import { pagesOf } from './scripted-frontend.js';
import type { VifOptions } from './lab.js';

const small: VifOptions = { pages: 1024, domains: 3, ports: 64, mappings: 64, grantPages: 1 };
const RUNS = 60;

/** Whether two byte strings are equal; `toEqual` would look at each byte as a property. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const slot = fc.record({
  gref: fc.oneof(fc.nat(20), fc.nat(0xffff_ffff)),
  offset: fc.oneof(fc.nat(4096), fc.nat(0xffff)),
  flags: fc.oneof(fc.nat(15), fc.nat(0xffff)),
  id: fc.nat(0xffff),
  size: fc.oneof(fc.nat(200), fc.nat(0xffff)),
});
const raw = fc.uint8Array({ minLength: 12, maxLength: 12 });
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('request' as const), slot, page: fc.nat(15) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('raw' as const), raw }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('good' as const), length: fc.integer({ min: 14, max: 9000 }) }),
  },
  { weight: 4, arbitrary: fc.constant({ do: 'publish' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('post' as const), count: fc.nat(40) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), length: fc.integer({ min: 14, max: 9000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('spoil' as const), at: fc.nat(8191), byte: fc.nat(255) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'time' as const }) },
);

test('a frontend that writes anything at all is served or fenced, and costs nobody else anything', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 120 }), async (actions) => {
      const lab = await VifLab.connected(small, { pages: 16 });
      const { queue } = lab.frontend;
      const address = lab.back.pages.allocate(3);
      const pool = new FramePool(1, address, 3 * 4096);
      let wanted = 0;
      for (const act of actions) {
        if (act.do === 'request')
          queue.request({
            ...act.slot,
            gref: act.slot.gref < 16 ? queue.txPages.refs[act.slot.gref]! : act.slot.gref,
          });
        else if (act.do === 'raw') queue.raw(act.raw);
        else if (act.do === 'good') queue.packet(pattern(act.length));
        else if (act.do === 'publish') queue.publish();
        else if (act.do === 'post') queue.post(act.count);
        else if (act.do === 'deliver') {
          const frame = pool.allocate();
          if (frame === null) continue;
          frame.describe(frame.home, act.length);
          lab.netback.deliver(frame);
          lab.netback.flush();
          frame.release();
          wanted++;
        } else if (act.do === 'spoil') lab.guest.memory.bytes[queue.rings.address + act.at] = act.byte;
        else await lab.machine.advance(20_000);
        await lab.settle();
      }
      const { txFrames, txErrors, rxFrames, rxDropped } = lab.netback.statistics();
      // Everything that was delivered is on the ring, waits, or is counted.
      const dropped = Object.values(rxDropped).reduce((a, b) => a + b, 0);
      const waiting = lab.netback.describe()['queuedFrames'] as number;
      if (lab.netback.statistics().breaches === 0) expect(rxFrames + dropped + waiting).toBe(wanted);
      expect(txFrames).toBe(lab.network.frames.length);
      for (const frame of lab.network.frames) expect(frame.bytes.length).toBeGreaterThanOrEqual(14);
      expect(Object.values(txErrors).every((count) => count >= 0)).toBe(true);
      expect(pool.free).toBe(1);
      lab.back.pages.free(address);
      expect(await lab.end()).toEqual(CLEAN_END);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 120_000);

test('a frontend that keeps the rules gets every byte through, however it cuts and orders things', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(0xffff_ffff), async (seed) => {
      const random = new Random(seed);
      const lab = await VifLab.connected(
        { ...small, pages: 1536, grantPages: 2, seed: seed & 0xffff },
        { pages: 256 },
      );
      const { queue } = lab.frontend;
      const address = lab.back.pages.allocate(18);
      const pool = new FramePool(6, address, 3 * 4096);
      const sent: Uint8Array[] = [];
      const down: Uint8Array[] = [];
      const got: Uint8Array[] = [];
      let requests = 0;
      let answered = 0;
      const collect = () => {
        answered += queue.responses().length;
        for (const packet of queue.packets()) got.push('bytes' in packet ? packet.bytes : new Uint8Array(0));
      };
      for (let round = 0; round < 40; round++) {
        for (let n = random.below(8); n > 0; n--) {
          const length = 14 + random.below(random.below(4) === 0 ? 12000 : 1600);
          const offset = random.below(4096);
          if (queue.tx.free < pagesOf(length, offset).length + 1) break;
          const bytes = pattern(length, sent.length);
          sent.push(bytes);
          requests += queue.packet(bytes, { offset }).length;
        }
        queue.publish();
        if (random.below(2) === 0) queue.post(random.below(queue.rx.free + 1));
        for (let n = random.below(6); n > 0; n--) {
          const frame = pool.allocate();
          if (frame === null) break;
          const bytes = pattern(14 + random.below(9000), 1000 + down.length);
          lab.back.memory.bytes.set(bytes, frame.home);
          frame.describe(frame.home, bytes.length);
          lab.netback.deliver(frame);
          if (random.below(3) === 0) lab.netback.flush();
          frame.release();
          down.push(bytes);
        }
        lab.netback.flush();
        for (let n = random.below(20); n > 0; n--) lab.machine.pump(1);
        if (random.below(3) === 0) collect();
      }
      for (let i = 0; i < 40; i++) {
        await lab.settle();
        collect();
        queue.post(Math.min(queue.rx.free, 64));
      }
      const full = lab.netback.statistics().rxDropped['queue-full'];
      expect({ seed, answered, frames: lab.network.frames.length }).toEqual({
        seed,
        answered: requests,
        frames: sent.length,
      });
      expect({ seed, same: lab.network.frames.every(({ bytes }, i) => same(bytes, sent[i]!)) }).toEqual({
        seed,
        same: true,
      });
      expect(got.length + full).toBe(down.length);
      // In order: what arrived is what was sent, less what was dropped.
      let at = 0;
      for (const bytes of got) {
        while (at < down.length && !same(down[at]!, bytes)) at++;
        expect({ seed, found: at < down.length }).toEqual({ seed, found: true });
        at++;
      }
      lab.back.pages.free(address);
      expect(await lab.end()).toEqual(CLEAN_END);
    }),
    { numRuns: 25, endOnFailure: true },
  );
}, 120_000);
