/** Sleeping and waking, on real eventfds. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Kicker, Waiter, loadLibc, probeTap } from '../../src/tap/index.js';
import type { Libc } from '../../src/tap/index.js';

const probe = await probeTap();
const noLibc =
  !probe.available && (probe.missing === 'linux' || probe.missing === 'koffi') ? probe.detail : undefined;

describe('Waiter', () => {
  let libc: Libc;
  let waiter: Waiter;
  let device: Waiter;

  beforeEach(async (context) => {
    if (noLibc !== undefined) context.skip(noLibc);
    libc = await loadLibc();
    // An eventfd is as good as a TAP to be waited for.
    device = new Waiter(libc, []);
    waiter = new Waiter(libc, [device.kickDescriptor]);
  });
  afterEach(() => {
    if (noLibc !== undefined) return;
    waiter.close();
    device.close();
  });

  test('returns 0 when there is nothing', () => {
    expect(waiter.wait(0)).toBe(0);
    expect(waiter.wait(1)).toBe(0);
  });

  test('never waits without end', () => {
    expect(waiter.wait(-1)).toBe(0);
  });

  test('takes kicks that came before as one', () => {
    const kicker = new Kicker(libc, waiter.kickDescriptor);
    kicker.kick();
    kicker.kick();
    expect(waiter.wait(1000)).toBe(1);
    expect(waiter.wait(0)).toBe(0);
  });

  test('says which descriptor has something, until it is read', () => {
    new Kicker(libc, device.kickDescriptor).kick();
    expect(waiter.wait(1000)).toBe(2);
    expect(waiter.wait(1000)).toBe(2);
    expect(device.wait(0)).toBe(1);
    expect(waiter.wait(0)).toBe(0);
  });

  test('says both at once', () => {
    new Kicker(libc, device.kickDescriptor).kick();
    new Kicker(libc, waiter.kickDescriptor).kick();
    expect(waiter.wait(1000)).toBe(3);
  });

  test('reports a descriptor that has failed instead of sleeping over it', () => {
    device.close();
    expect(waiter.wait(1000)).toBe(2);
    waiter.ignore(0);
    expect(waiter.wait(0)).toBe(0);
    new Kicker(libc, waiter.kickDescriptor).kick();
    expect(waiter.wait(1000)).toBe(1);
  });

  test('does not wake for what nobody can read now, and does again when somebody can', () => {
    new Kicker(libc, device.kickDescriptor).kick();
    waiter.ignore(0);
    expect(waiter.wait(0)).toBe(0);
    waiter.heed(0);
    expect(waiter.wait(1000)).toBe(2);
  });

  test('refuses more descriptors than its answer has bits', () => {
    expect(() => new Waiter(libc, new Array<number>(31).fill(0))).toThrow(/at most 30/);
  });
});

describe('addresses', () => {
  test('are those of the memory, through any view', async (context) => {
    if (noLibc !== undefined) context.skip(noLibc);
    const libc = await loadLibc();
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      const start = libc.addressOf(new Uint8Array(buffer));
      expect(Number.isSafeInteger(start)).toBe(true);
      expect(libc.addressOf(new Uint32Array(buffer, 16, 2))).toBe(start + 16);
      expect(libc.addressOf(new DataView(buffer, 63))).toBe(start + 63);
    }
  });
});
