// The vif's rate limit, shared with a plugin's fast path: both together keep to it, and neither starves.
import { describe, expect, test } from 'vitest';
import { SimMachine } from '@netaccel/xen/sim';
import { Credit } from '../src/credit.js';

/** A fast path that spends all it gets, or only saves. */
class FastPath {
  credit = 0;
  spent = 0;
  greedy = true;
  calls: [number, number][] = [];
  readonly take = (bytes: number, most: number): number => {
    this.calls.push([bytes, most]);
    if (bytes === Infinity) {
      this.credit = Infinity;
      return 0;
    }
    const before = this.credit === Infinity ? 0 : this.credit;
    this.credit = Math.min(before + bytes, most);
    const left = before + bytes - this.credit;
    if (this.greedy) this.spend();
    return Math.min(left, bytes);
  };
  private spend(): void {
    while (this.credit >= 1514) {
      this.credit -= 1514;
      this.spent += 1514;
    }
  }
}

function made(rate: { bytes: number; usec: number } | null) {
  const machine = new SimMachine({ stepMs: 0 });
  const { loop } = machine.createDomain(0);
  const credit = new Credit(loop);
  credit.set(rate);
  let slow = 0;
  const send = (): void => {
    while (slow < 1e12 && credit.take(1514)) slow += 1514;
  };
  return { machine, credit, send, slow: () => slow };
}

const RATE = { bytes: 250_000, usec: 50_000 }; // 5 MB/s
const BURST = 262_212; // either path’s half, and no less than a longest frame

describe('feature 47: a limit that two paths share', () => {
  test.each([
    ['only the fast path sends', true, false],
    ['only the slow path sends', false, true],
    ['both send', true, true],
  ])('%s: together no more than the limit, and nearly all of it', async (_what, fastSends, slowSends) => {
    const { machine, credit, send, slow } = made(RATE);
    const fast = new FastPath();
    fast.greedy = fastSends;
    if (slowSends) credit.onCredit = send;
    const end = credit.share(fast.take);
    for (let ms = 4; ms <= 1600; ms += 4) {
      await machine.advance(4);
      if (slowSends) send();
      expect(fast.spent + slow()).toBeLessThanOrEqual(5000 * ms + BURST);
    }
    const sum = fast.spent + slow();
    expect(sum).toBeGreaterThan(5000 * 1600 * 0.95);
    if (fastSends && slowSends) {
      expect(fast.spent).toBeGreaterThan(sum * 0.4);
      expect(slow()).toBeGreaterThan(sum * 0.4);
    }
    end();
    credit.stop();
  });

  test('what both save up is one burst, each half able to send the longest frame', async () => {
    const { machine, credit } = made({ bytes: 50_000, usec: 50_000 });
    const fast = new FastPath();
    fast.greedy = false;
    credit.share(fast.take);
    await machine.advance(10_000);
    expect(fast.credit).toBe(65_553);
    expect(credit.take(65_535)).toBe(true);
    expect(credit.take(1000)).toBe(false);
    credit.stop();
  });

  test('a slow path that waits is told at the next part, and a fast path that ends leaves it all', async () => {
    const { machine, credit } = made({ bytes: 100_000, usec: 100_000 });
    let told = 0;
    credit.onCredit = () => told++;
    const fast = new FastPath();
    const end = credit.share(fast.take);
    told = 0;
    while (credit.take(1000));
    expect(credit.take(1)).toBe(false); // nothing overtakes what waits
    await machine.advance(10);
    expect(told).toBe(1);
    expect(credit.take(1000)).toBe(true);
    end();
    end();
    const { spent } = fast;
    await machine.advance(1000);
    expect(fast.spent).toBe(spent);
    for (let i = 0; i < 100; i++) expect(credit.take(1000)).toBe(true);
    credit.stop();
  });

  test('a limit that comes, changes and goes is told at once', async () => {
    const { machine, credit } = made(null);
    const fast = new FastPath();
    credit.share(fast.take);
    expect(fast.calls).toEqual([[Infinity, Infinity]]);
    credit.set(RATE);
    expect(fast.calls.at(-1)).toEqual([0, 125_000]);
    await machine.advance(1000);
    expect(fast.spent).toBeGreaterThan(4_700_000);
    credit.set({ bytes: 25_000, usec: 50_000 });
    expect(fast.calls.at(-1)).toEqual([0, 65_553]);
    credit.set(null);
    expect(fast.calls.at(-1)).toEqual([Infinity, Infinity]);
    const { length } = fast.calls;
    await machine.advance(1000);
    expect(fast.calls).toHaveLength(length); // no timer without a limit
  });

  test.each([NaN, -5, 1e9, undefined])('a plugin that answers %s gains nothing by it', async (answer) => {
    const { machine, credit } = made(RATE);
    let given = 0;
    credit.share((bytes) => {
      given += bytes;
      return answer as number;
    });
    let slow = 0;
    for (let ms = 4; ms <= 800; ms += 4) {
      await machine.advance(4);
      while (credit.take(1514)) slow += 1514;
      // What was handed back as never given would come on top.
      expect(slow).toBeLessThanOrEqual(5000 * ms + BURST);
    }
    expect(given).toBeGreaterThan(0);
    credit.stop();
  });

  test('windows of any length give the rate', async () => {
    for (const usec of [50, 1000, 3333, 50_000, 1_000_000]) {
      const { machine, credit } = made({ bytes: Math.round((8e6 * usec) / 1e6), usec });
      const fast = new FastPath();
      credit.share(fast.take);
      await machine.advance(600);
      expect(fast.spent).toBeGreaterThan(4.8e6 * 0.9);
      expect(fast.spent).toBeLessThanOrEqual(4.8e6);
      credit.stop();
    }
  });
});
