import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeParts, rounds } from './parts.js';

const DEVICE = '/dev/xen/evtchn';

describe('event channels', () => {
  it('call their handlers, several events by one read', async () => {
    const { events, libc, counters } = makeParts();
    const seen: string[] = [];
    const a = events.allocateUnbound(3, () => seen.push('a'));
    const b = events.bindInterdomain(3, 17, () => seen.push('b'));
    libc.events.push(b.port, a.port, 999);
    libc.readable(DEVICE);
    await rounds();
    expect(seen).toEqual(['b', 'a']);
    expect(counters).toMatchObject({ eventReads: 1, events: 3 });
  });

  it('let through again what was handled, all of a round by one write', async () => {
    const { events, loop, libc } = makeParts();
    const task = loop.task(() => {
      a.unmask();
      a.unmask();
      b.unmask();
      return false;
    });
    const a = events.allocateUnbound(3, () => task.raise());
    const b = events.allocateUnbound(3, () => task.raise());
    libc.events.push(a.port, b.port);
    libc.readable(DEVICE);
    await rounds();
    expect(libc.unmasked).toEqual([[a.port, b.port]]);
  });

  it('notify once a round, in order, also from outside of the loop', async () => {
    const { events, libc, counters } = makeParts();
    const a = events.allocateUnbound(3, () => undefined);
    const b = events.allocateUnbound(3, () => undefined);
    a.notify();
    b.notify();
    a.notify();
    expect(libc.notified).toEqual([]);
    await rounds();
    expect(libc.notified).toEqual([a.port, b.port]);
    events.raise(events.vector(a));
    await rounds();
    expect(libc.notified).toEqual([a.port, b.port, a.port]);
    expect(counters.notifications).toBe(3);
  });

  it('say their last words before they close, and nothing after', async () => {
    const { events, libc } = makeParts();
    const channel = events.allocateUnbound(3, () => undefined);
    channel.notify();
    channel.close();
    channel.close();
    channel.notify();
    channel.unmask();
    await rounds();
    expect(libc.notified).toEqual([channel.port]);
    expect(libc.calls.slice(-2)).toEqual(['ioctl notify', 'ioctl unbind']);
    expect(libc.unmasked).toEqual([]);
    expect(libc.bound.size).toBe(0);
    expect(events.held).toBe(0);
  });

  it('of which one is spurious too often are let through later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }); // later is a timer, and time stands still here
    onTestFinished(() => void vi.useRealTimers());
    const { events, loop, libc } = makeParts();
    const channel = events.allocateUnbound(3, () => undefined);
    for (let i = 0; i < 64; i++) {
      channel.unmask(true);
      await rounds();
    }
    expect(libc.unmasked).toHaveLength(64);
    channel.unmask(true);
    await rounds();
    expect(libc.unmasked).toHaveLength(64);
    expect(loop.timers).toBe(1);
    channel.close();
    expect(loop.timers).toBe(0);
  });

  it('say what a peer did not do', () => {
    const { events, libc } = makeParts();
    libc.failures.set('ioctl bindInterdomain', 'EINVAL');
    expect(() => events.bindInterdomain(3, 17, () => undefined)).toThrow(/port 17 of domain 3 .* EINVAL/);
    libc.failures.set('ioctl bindUnbound', 'ENOSPC');
    expect(() => events.allocateUnbound(3, () => undefined)).toThrow(/no event channel for domain 3.*ENOSPC/);
    expect(events.held).toBe(0);
  });
});

describe('registers of another domain', () => {
  it('are a page, and a bell that must be bound', async () => {
    const { events, foreign, libc, arena } = makeParts();
    expect(() => foreign.mapRegisters(3, 8, 17)).toThrow(/bind the doorbell first/);
    const bell = events.bindInterdomain(3, 17, () => undefined);
    const registers = foreign.mapRegisters(3, 8, 17);
    registers.write32(64, 0xffff_fffe);
    registers.write32(68, 1);
    expect(registers.read32(64)).toBe(0xffff_fffe);
    await rounds();
    expect(libc.notified).toEqual([bell.port]);
    expect(() => {
      registers.write32(2, 1);
    }).toThrow(RangeError);
    registers.unmap();
    expect(foreign.held).toBe(0);
    // What had the page's place afterwards is not touched.
    registers.write32(64, 0x5a5a_a5a5);
    expect(arena.memory.words.includes(0x5a5a_a5a5)).toBe(false);
    expect(registers.read32(64)).toBe(0xffff_ffff);
    await rounds();
    expect(libc.notified).toEqual([bell.port]);
    bell.close();
    expect(arena.lostPages).toBe(0);
  });
});

describe('the loop', () => {
  it('runs raised tasks once a round, goes on while one has more, and rests', async () => {
    const { loop, counters } = makeParts();
    let left = 3;
    const task = loop.task((budget) => {
      expect(budget).toBe(64);
      return --left > 0;
    });
    task.raise();
    task.raise();
    await rounds();
    expect(left).toBe(0);
    const { rounds: ran } = counters;
    expect(ran).toBe(3);
    await rounds();
    expect(counters.rounds).toBe(ran);
    task.cancel();
    task.cancel();
    task.raise();
    await rounds();
    expect(left).toBe(0);
    expect(loop.tasks).toBe(0);
  });

  it('gives the event loop a turn at least each millisecond', async () => {
    const { loop, counters } = makeParts();
    let ms = 0;
    vi.spyOn(loop, 'now').mockImplementation(() => (ms += 0.4)); // each round takes as long
    let left = 12;
    const task = loop.task(() => --left > 0);
    task.raise();
    await rounds();
    expect(counters).toMatchObject({ rounds: 12, turns: 3 });
    task.cancel();
  });

  it('counts timers, and forgets all when it is closed', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { loop, libc } = makeParts();
    let ran = 0;
    const cancel = loop.after(60_000, () => ran++);
    loop.after(10, () => ran++);
    expect(loop.timers).toBe(2);
    vi.advanceTimersByTime(9);
    expect(ran).toBe(0);
    vi.advanceTimersByTime(1);
    expect(ran).toBe(1);
    cancel();
    cancel();
    expect(loop.timers).toBe(0);
    loop.after(60_000, () => ran++);
    loop.close();
    expect(loop.timers).toBe(0);
    vi.advanceTimersByTime(120_000);
    expect(ran).toBe(1);
    expect(libc.polled).toEqual([]);
  });

  it('calls who looks after a descriptor while it can be read, and not while paused', async () => {
    const { loop, libc } = makeParts();
    let seen = 0;
    const descriptor = libc.open('/dev/net/tun');
    const interest = loop.whenReadable(descriptor, () => seen++);
    libc.readable('/dev/net/tun');
    libc.readable('/dev/net/tun');
    await rounds();
    expect(seen).toBe(1);
    libc.readable('/dev/net/tun');
    interest.pause();
    await rounds();
    expect(seen).toBe(1);
    interest.resume();
    libc.readable('/dev/net/tun');
    await rounds();
    expect(seen).toBe(2);
    interest.close();
    interest.resume();
    expect(libc.polled).toEqual([DEVICE]);
  });
});
