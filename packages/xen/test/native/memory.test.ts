import { describe, expect, it } from 'vitest';
import { GrantCopyBatch, GrantStatus, MachineError } from '../../src/index.js';
import { Arena } from '../../src/native/arena.js';
import { deviceError } from '../../src/native/devices.js';
import { ARENA, makeParts } from './parts.js';
import { ScriptedLibc } from './scripted-libc.js';

const SHARED_FIXED = 0x11;
const FRESH_FIXED = 0x4032;

describe('the arena', () => {
  it('gives rows of pages, joins what comes back, and says what is free when it cannot', () => {
    const arena = new Arena(new ScriptedLibc(), 65536 * 2);
    const before = arena.freePages;
    const [a, b, c] = [arena.take(4), arena.take(4), arena.take(4)] as const;
    expect(new Set([a, b, c]).size).toBe(3);
    arena.give(a, 4);
    arena.give(c, 4);
    arena.give(b, 4);
    expect(arena.freePages).toBe(before);
    expect(arena.take(before)).toBe(a);
    expect(() => arena.take(1)).toThrow(/1 pages in a row .* largest free row of the arena has 0/);
  });

  it('refuses sizes that no memory has', () => {
    for (const bytes of [0, 65537, 2 ** 32, -65536])
      expect(() => new Arena(new ScriptedLibc(), bytes)).toThrow(/arenaBytes: expected a multiple/);
  });

  it('lays a device over pages, and fresh pages over it when they go', () => {
    const libc = new ScriptedLibc();
    const arena = new Arena(libc, ARENA);
    const at = arena.take(2);
    expect(arena.lay(at, 2, 7, 8192, false)).toBeNull();
    arena.give(at, 2);
    const [laid, fresh] = libc.mappings;
    expect(laid).toEqual({
      address: arena.base + at,
      length: 8192,
      protection: 1,
      flags: SHARED_FIXED,
      descriptor: 7,
      offset: 8192,
    });
    expect(fresh).toMatchObject({
      address: arena.base + at,
      length: 8192,
      protection: 3,
      flags: FRESH_FIXED,
      descriptor: -1,
    });
  });

  it('fills the hole that a failed mapping leaves, and never one that somebody else got', () => {
    const libc = new ScriptedLibc();
    const arena = new Arena(libc, ARENA);
    const before = arena.freePages;
    libc.failures.set('mmap', 'EINVAL');
    expect(arena.lay(arena.take(3), 3, 7, 0, true)).toBe('EINVAL');
    expect(arena.freePages).toBe(before);
    libc.failures.set('mmap hole', 'EEXIST');
    expect(arena.lay(arena.take(3), 3, 7, 0, true)).toBe('EINVAL');
    expect(arena).toMatchObject({ freePages: before - 3, lostPages: 3 });
  });
});

describe('maps', () => {
  it('maps all pages of a peer with one call, and forgets them with one', () => {
    const { foreign, arena, libc, counters } = makeParts();
    const free = arena.freePages;
    const pages = foreign.map(3, [8, 9], 'write');
    expect([...pages.addresses]).toEqual([pages.addresses[0], pages.addresses[0]! + 4096]);
    expect(foreign.held).toBe(2);
    expect(libc.mappings.at(-1)).toMatchObject({
      address: arena.base + pages.addresses[0]!,
      length: 8192,
      flags: SHARED_FIXED,
    });
    pages.unmap();
    pages.unmap();
    expect(libc.mappings.at(-1)).toMatchObject({ length: 8192, flags: FRESH_FIXED });
    expect(libc.calls.filter((call) => call === 'ioctl unmapGrantRef')).toHaveLength(1);
    expect(foreign.held).toBe(0);
    expect(arena.freePages).toBe(free);
    expect(counters).toMatchObject({ grantMapCalls: 2, grantMaps: 2 });
  });

  it('maps more pages than one call takes, each at its place', () => {
    const { foreign } = makeParts();
    const refs = Uint32Array.from({ length: 900 }, (_, i) => i);
    const pages = foreign.map(3, Array.from(refs).slice(0, 500), 'read');
    expect(new Set(pages.addresses).size).toBe(500);
    pages.unmap();
    expect(foreign.held).toBe(0);
  });

  it('names the reference that failed, with its status, and keeps nothing', () => {
    const { foreign, arena, libc } = makeParts();
    const free = arena.freePages;
    libc.failures.set('mmap', 'EINVAL');
    libc.statuses.set(9, GrantStatus.badGrantRef);
    expect(() => foreign.map(3, [8, 9, 10], 'write')).toThrow(
      new MachineError(
        'BAD_GRANT',
        'reference 9 of domain 3 cannot be mapped for write: status -3 (badGrantRef)',
      ),
    );
    libc.statuses.clear();
    expect(() => foreign.map(3, [8], 'write')).toThrow(/can they be read but not written/);
    expect(foreign.held).toBe(0);
    expect(arena.freePages).toBe(free);
  });

  it('has the kernel tell the peer when the pages go', () => {
    const { foreign, events, libc } = makeParts();
    const channel = events.allocateUnbound(3, () => undefined);
    const first = foreign.map(3, [7], 'write');
    const pages = foreign.map(3, [8], 'write');
    pages.whenGone(100, channel);
    pages.whenGone(null, channel);
    expect(libc.unmapNotices).toEqual([
      { index: 4096 + 100, action: 3, port: channel.port },
      { index: 4096, action: 2, port: channel.port },
    ]);
    expect(() => pages.whenGone(4096, null)).toThrow(RangeError);
    first.unmap();
  });
});

describe('grant copies', () => {
  it('puts a batch into one call, byte for byte as gntdev.h says', () => {
    const { foreign, arena, libc, counters } = makeParts();
    const batch = new GrantCopyBatch(8);
    batch.fromGrant(77, 5, 0x20000, 1514);
    batch.toGrant(78, 4000, 0x30001, 96);
    foreign.copy(9, batch);
    const at = (address: number) => [
      (arena.base + address) % 2 ** 32,
      Math.floor((arena.base + address) / 2 ** 32),
    ];
    expect(libc.copies).toEqual([
      { source: [77, 5 | (9 << 16)], destination: at(0x20000), length: 1514, flags: 1 },
      { source: at(0x30001), destination: [78, 4000 | (9 << 16)], length: 96, flags: 2 },
    ]);
    expect([...batch.status.subarray(0, 2)]).toEqual([0, 0]);
    expect(counters).toMatchObject({ grantCopyCalls: 1, grantCopies: 2, grantCopiesFailed: 0 });
  });

  it('hands each status back, and judges itself what would spoil the whole call', () => {
    const { foreign, libc, counters } = makeParts();
    const batch = new GrantCopyBatch(8);
    libc.statuses.set(2, GrantStatus.badGrantRef);
    batch.fromGrant(1, 0, 0x20000, 10);
    batch.fromGrant(2, 0, 0x20000, 10);
    batch.fromGrant(3, 4000, 0x20000, 97);
    batch.fromGrant(4, 0, 0x20000, 5000);
    batch.fromGrant(5, 0, 0x20000, 0);
    foreign.copy(9, batch);
    expect([...batch.status.subarray(0, 5)]).toEqual([0, -3, -10, -10, 0]);
    expect(libc.copies.map(({ length }) => length)).toEqual([10, 10, 0, 0, 0]);
    expect(counters.grantCopiesFailed).toBe(3);
  });

  it('calls several times for a batch that one call has no room for', () => {
    const { foreign, libc, counters } = makeParts();
    const batch = new GrantCopyBatch(1500);
    for (let i = 0; i < 1500; i++) batch.fromGrant(i, 0, 0x20000, 64);
    libc.statuses.set(1499, GrantStatus.generalError);
    foreign.copy(9, batch);
    expect(libc.copies.map(({ source }) => source[0])).toEqual(Array.from({ length: 1500 }, (_, i) => i));
    expect(batch.status[1499]).toBe(GrantStatus.generalError);
    expect(counters.grantCopyCalls).toBe(3);
  });

  it('fails every copy of a call that the kernel refuses', () => {
    const { foreign, libc } = makeParts();
    libc.failures.set('ioctl grantCopy', 'EFAULT');
    const batch = new GrantCopyBatch(2);
    batch.fromGrant(1, 0, 0x20000, 64);
    batch.fromGrant(2, 0, 0x20000, 64);
    foreign.copy(9, batch);
    expect([...batch.status]).toEqual([GrantStatus.generalError, GrantStatus.generalError]);
  });
});

describe('shared pages', () => {
  it('are allocated, mapped and given back', () => {
    const { grants, arena, libc } = makeParts();
    const free = arena.freePages;
    const pages = grants.share(4, 3, 'write');
    expect([...pages.refs]).toEqual([1000, 1001, 1002]);
    expect([...libc.granted.values()]).toEqual([{ domain: 4, flags: 1, count: 3 }]);
    expect(libc.mappings.at(-1)).toMatchObject({ address: arena.base + pages.address, length: 3 * 4096 });
    expect(grants.held).toBe(3);
    expect(pages.release()).toBe(true);
    expect(pages.release()).toBe(true);
    expect(libc.granted.size).toBe(0);
    expect(grants.held).toBe(0);
    expect(arena.freePages).toBe(free);
  });

  it('are read-only for the peer when that is asked', () => {
    const { grants, libc } = makeParts();
    grants.share(4, 1, 'read');
    expect([...libc.granted.values()]).toEqual([{ domain: 4, flags: 0, count: 1 }]);
  });

  it('say which limit to raise when the kernel gives no more', () => {
    const { grants, arena, libc } = makeParts();
    const free = arena.freePages;
    libc.failures.set('ioctl allocate', 'ENOSPC');
    expect(() => grants.share(4, 3, 'write')).toThrow(/NO|3 pages cannot be shared .* parameters\/limit/);
    libc.failures.clear();
    libc.failures.set('mmap', 'ENOMEM');
    expect(() => grants.share(4, 3, 'write')).toThrow(/cannot be mapped: the kernel answered ENOMEM/);
    expect(libc.granted.size).toBe(0);
    expect(arena.freePages).toBe(free);
    expect(grants.held).toBe(0);
  });

  it('have the kernel tell the peer when this process dies', () => {
    const { grants, events, libc } = makeParts();
    const channel = events.allocateUnbound(4, () => undefined);
    grants.share(4, 2, 'write').whenGone(4096 + 8, channel);
    expect(libc.unmapNotices).toEqual([{ index: 4096 + 8, action: 3, port: channel.port }]);
  });
});

describe('a device that is missing', () => {
  it.each([
    ['ENOENT', false, 'NO_XEN', /does not run under Xen/],
    ['ENOENT', true, 'NO_DEVICE', /modprobe xen-gntdev/],
    ['EACCES', true, 'NO_RIGHT', /Run as root/],
    ['EBUSY', true, 'SYSTEM_CALL', /kernel's log/],
  ] as const)('%s (under Xen: %s) says what to do', (errno, underXen, code, text) => {
    const error = deviceError('/dev/xen/gntdev', errno, underXen);
    expect(error).toMatchObject({ code, errno });
    expect(error.message).toMatch(text);
    expect(error.message).toContain('/dev/xen/gntdev');
  });
});
