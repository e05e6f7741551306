// Grants: every status, revoke while mapped, zeroing, quotas, and a granter that lies in its own table.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import { GrantCopyBatch, GrantStatus } from '../../src/index.js';
import type { Faults, SimDomain } from '../../src/sim/index.js';
import { GrantFlag, SimMachine } from '../../src/sim/index.js';

const pages = 2048;
let faults: Faults;
let machine: SimMachine;
let back: SimDomain;
let guest: SimDomain;
let other: SimDomain;

beforeEach(() => {
  faults = {};
  machine = new SimMachine({ pages, grantPages: 1, mappings: 16, audit: true, faults, domains: 4 });
  back = machine.createDomain(0);
  guest = machine.createDomain(1);
  other = machine.createDomain(2);
});

/** Word index of an entry of the guest's table: what a guest that lies would write to. */
function entry(ref: number): number {
  return machine.lab.core.grants.entry(machine.lab.core.find(0, 1), ref);
}

function copyOne(domain: SimDomain, fill: (batch: GrantCopyBatch) => void): number {
  const batch = new GrantCopyBatch(1);
  batch.status[0] = 77;
  fill(batch);
  domain.foreign.copy(1, batch);
  return batch.status[0];
}

describe('sharing', () => {
  test('hole 2.16 #20: writes version 1 entries and hands over zeroed pages, whatever was in them', () => {
    const used = guest.pages.allocate(4);
    guest.memory.bytes.fill(0xee, used, used + 4 * PAGE_BYTES);
    guest.pages.free(used);
    const shared = guest.grants.share(0, 2, 'write');
    const read = guest.grants.share(2, 1, 'read');
    const zeros = guest.memory.bytes.slice(shared.address, shared.address + 2 * PAGE_BYTES);
    expect(zeros.every((byte) => byte === 0)).toBe(true);
    expect([...shared.refs]).toEqual([8, 9]); // 0 to 7 are the toolstack's
    const { bytes } = machine.memory;
    const at = entry(9) * 4;
    const page = shared.address / PAGE_BYTES + 1;
    expect([...bytes.slice(at, at + 8)]).toEqual([1, 0, 0, 0, page & 255, page >>> 8, 0, 0]);
    expect([...bytes.slice(entry(read.refs[0]!) * 4, entry(read.refs[0]!) * 4 + 4)]).toEqual([5, 0, 2, 0]);
    expect(guest.ledger()).toMatchObject({ grants: 3, pages: 0 });
  });

  test('ends with nothing left, and the reference and page are used again', () => {
    const free = machine.lab.core.freePages;
    for (let i = 0; i < 2000; i++) {
      const shared = guest.grants.share(0, 3, 'write');
      expect(shared.release()).toBe(true);
      expect(shared.release()).toBe(true);
    }
    expect(machine.lab.core.freePages).toBe(free);
    expect(guest.ledger().grants).toBe(0);
  });

  test('fails by name when there are no grants, and when there are no pages', () => {
    const all = guest.grants.share(0, 504, 'write');
    expect(() => guest.grants.share(0, 1, 'write')).toThrow(expect.objectContaining({ code: 'NO_GRANTS' }));
    all.release();
    expect(() => guest.pages.allocate(pages)).toThrow(expect.objectContaining({ code: 'NO_MEMORY' }));
    faults.exhausted = (domain, what) => domain === 1 && what === 'pages';
    expect(() => guest.grants.share(0, 1, 'write')).toThrow(expect.objectContaining({ code: 'NO_MEMORY' }));
    faults.exhausted = (domain, what) => domain === 1 && what === 'grants';
    expect(() => guest.grants.share(0, 1, 'write')).toThrow(expect.objectContaining({ code: 'NO_GRANTS' }));
    expect(guest.ledger().grants).toBe(0);
  });
});

describe('mapping', () => {
  test('XSA-217, 222, 224, 284, 287, 394: each kind of mapping is counted once, and ended once, whoever unmaps twice', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const ref = shared.refs[0]!;
    const flags = (): number => machine.memory.words[entry(ref)]! & 0xffff;
    const reader = back.foreign.map(1, [ref], 'read');
    expect(flags()).toBe(GrantFlag.permitAccess | GrantFlag.reading);
    const writer = back.foreign.map(1, [ref], 'write');
    expect(flags()).toBe(GrantFlag.permitAccess | GrantFlag.reading | GrantFlag.writing);
    expect(back.ledger().mappings).toBe(2);
    back.memory.bytes[writer.addresses[0]! + 5] = 50;
    expect(guest.memory.bytes[shared.address + 5]).toBe(50);
    writer.unmap();
    writer.unmap();
    expect(flags()).toBe(GrantFlag.permitAccess | GrantFlag.reading);
    reader.unmap();
    expect(flags()).toBe(GrantFlag.permitAccess);
    expect(back.ledger().mappings).toBe(0);
    expect(shared.release()).toBe(true);
  });

  test.each<[string, () => [number, 'read' | 'write', number]]>([
    ['badDomain', () => [8, 'read', 3]],
    ['badGrantRef', () => [512, 'read', 1]],
    ['badGrantRef', () => [0xffff_ffff, 'read', 1]],
    ['generalError', () => [20, 'read', 1]], // never granted
    ['generalError', () => [other.grants.share(1, 1, 'write').refs[0]!, 'read', 2]], // granted to another
    ['generalError', () => [guest.grants.share(0, 1, 'read').refs[0]!, 'write', 1]],
  ])('%s', (status, which) => {
    const good = guest.grants.share(0, 1, 'write');
    const [ref, access, peer] = which();
    expect(() => back.foreign.map(peer, [ref], access)).toThrow(
      expect.objectContaining({ code: 'BAD_GRANT', message: expect.stringContaining(status) as string }),
    );
    // One that fails takes the others with it.
    if (peer === 1) expect(() => back.foreign.map(1, [good.refs[0]!, ref], access)).toThrow();
    expect(back.ledger().mappings).toBe(0);
    expect(good.release()).toBe(true);
  });

  test('badPage: a guest that grants what it does not own', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const ref = shared.refs[0]!;
    const mine = back.pages.allocate(1) / PAGE_BYTES;
    for (const page of [mine, 0, pages - 1, pages, 0xffff_ffff]) {
      machine.memory.words[entry(ref) + 1] = page;
      expect(() => back.foreign.map(1, [ref], 'write')).toThrow(/badPage/);
      expect(copyOne(back, (b) => b.fromGrant(ref, 0, mine * PAGE_BYTES, 8))).toBe(GrantStatus.badPage);
    }
  });

  test('XSA-226, 411: transitive, sub-page and transfer entries are of no use to anybody here, and hold nothing', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const ref = shared.refs[0]!;
    const own = back.pages.allocate(1);
    const good = machine.memory.words[entry(ref)]!;
    for (const flags of [2, 3, GrantFlag.permitAccess | GrantFlag.subPage]) {
      machine.memory.words[entry(ref)] = (good & 0xffff_0000) | flags;
      expect(() => back.foreign.map(1, [ref], 'read')).toThrow(/generalError/);
      expect(copyOne(back, (b) => b.fromGrant(ref, 0, own, 8))).toBe(GrantStatus.generalError);
      expect(machine.memory.words[entry(ref)]! & 0xffff).toBe(flags);
    }
    machine.memory.words[entry(ref)] = good;
    expect(back.ledger().mappings).toBe(0);
    expect(shared.release()).toBe(true);
  });

  test('XSA-500: a guest that changes the entry while it is mapped changes nothing that was mapped', () => {
    const shared = guest.grants.share(0, 2, 'write');
    const mapped = back.foreign.map(1, [shared.refs[0]!], 'write');
    machine.memory.words[entry(shared.refs[0]!) + 1] = shared.address / PAGE_BYTES + 1;
    expect(mapped.addresses[0]).toBe(shared.address);
    mapped.unmap();
    expect(back.ledger().mappings).toBe(0);
  });

  test('XSA-385: a domain maps so many pages and no more; what is over maps nothing', () => {
    const shared = guest.grants.share(0, 17, 'write');
    expect(() => back.foreign.map(1, shared.refs, 'read')).toThrow(
      expect.objectContaining({ code: 'NO_GRANTS' }),
    );
    back.foreign.map(1, shared.refs.slice(0, 16), 'read').unmap();
    expect(back.ledger().mappings).toBe(0);
  });

  test('XSA-295, 316: an operation that fails says so, and nothing of it stays', () => {
    const shared = guest.grants.share(0, 2, 'write');
    faults.grant = (operation, domain, peer, ref) =>
      operation === 'map' && domain === 0 && peer === 1 && ref === shared.refs[1]
        ? GrantStatus.again
        : undefined;
    expect(() => back.foreign.map(1, shared.refs, 'read')).toThrow(/again/);
    expect(back.ledger().mappings).toBe(0);
  });
});

describe('a revoke while the peer has the page mapped', () => {
  test('XSA-396: is refused, keeps page and reference, and succeeds when the peer is done', () => {
    const shared = guest.grants.share(0, 2, 'write');
    const mapped = back.foreign.map(1, [shared.refs[1]!], 'write');
    expect(shared.release()).toBe(false);
    expect(guest.ledger().grants).toBe(1); // the other page went
    // Neither the page nor the reference is handed out again, whatever is asked for.
    const refs = new Set<number>();
    const held = [];
    for (let i = 0; i < 100; i++) {
      const next = guest.grants.share(0, 1, 'write');
      held.push(next);
      refs.add(next.refs[0]!);
      expect(next.address).not.toBe(shared.address + PAGE_BYTES);
    }
    expect(refs.has(shared.refs[1]!)).toBe(false);
    back.memory.bytes[mapped.addresses[0]!] = 1; // still the page's
    mapped.unmap();
    expect(shared.release()).toBe(true);
    for (const each of held) expect(each.release()).toBe(true);
    expect(guest.ledger().grants).toBe(0);
    expect(machine.audit.violations).toEqual([]);
  });

  test('is tried again without being asked for: with the next grant, and when all is quiet', async () => {
    const one = guest.grants.share(0, 1, 'write');
    const mapped = back.foreign.map(1, one.refs, 'read');
    one.release();
    mapped.unmap();
    guest.grants.share(0, 1, 'write').release();
    expect(guest.grants.held).toBe(0);
    const two = guest.grants.share(0, 1, 'write');
    const again = back.foreign.map(1, two.refs, 'read');
    two.release();
    again.unmap();
    await machine.settle();
    expect(guest.grants.held).toBe(0);
  });

  test('a peer that writes to a page after it was freed is found out', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const mapped = back.foreign.map(1, shared.refs, 'write');
    const at = mapped.addresses[0]!;
    mapped.unmap();
    shared.release();
    back.memory.bytes[at + 100] = 1;
    for (let i = 0; i < pages; i++) guest.grants.share(0, 1, 'write').release();
    expect(machine.audit.violations).toEqual([`page ${at / PAGE_BYTES} was written after it was freed`]);
  });
});

describe('a grant copy', () => {
  test('moves bytes each way, within the page, and nothing else', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const own = back.pages.allocate(1);
    back.memory.bytes.fill(7, own, own + 16);
    const batch = new GrantCopyBatch(4);
    batch.toGrant(shared.refs[0]!, PAGE_BYTES - 16, own, 16);
    batch.fromGrant(shared.refs[0]!, PAGE_BYTES - 8, own + 100, 8);
    back.foreign.copy(1, batch);
    expect([...batch.status]).toEqual([0, 0, 0, 0]);
    const page = guest.memory.bytes.slice(shared.address, shared.address + PAGE_BYTES);
    expect([...page.slice(-17)]).toEqual([0, ...Array<number>(16).fill(7)]);
    expect([...back.memory.bytes.slice(own + 99, own + 109)]).toEqual([0, ...Array<number>(8).fill(7), 0]);
    expect(machine.audit.violations).toEqual([]);
    expect(machine.audit.accesses.filter(({ kind }) => kind === 'copy')).toEqual([
      { domain: 0, kind: 'copy', foreign: shared.address + PAGE_BYTES - 16, local: own, length: 16 },
      { domain: 0, kind: 'copy', foreign: shared.address + PAGE_BYTES - 8, local: own + 100, length: 8 },
    ]);
  });

  test('XSA-230: leaves no trace in the entry, done or failed: the grant can be ended at once', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const own = back.pages.allocate(1);
    copyOne(back, (b) => b.toGrant(shared.refs[0]!, 0, own, 64));
    expect(copyOne(back, (b) => b.toGrant(shared.refs[0]!, PAGE_BYTES - 1, own, 64))).not.toBe(0);
    expect(shared.release()).toBe(true);
  });

  test('XSA-448: of nothing succeeds and looks at no other field', () => {
    expect(copyOne(back, (b) => b.fromGrant(0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0))).toBe(
      GrantStatus.okay,
    );
    machine.destroyDomain(1);
    expect(copyOne(back, (b) => b.toGrant(0, 0, 0, 0))).toBe(GrantStatus.okay);
  });

  test('answers each mistake with its status and copies nothing', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const [ref] = shared.refs as unknown as [number];
    const readonly = guest.grants.share(0, 1, 'read').refs[0]!;
    const foreign = guest.grants.share(2, 1, 'write').refs[0]!;
    const own = back.pages.allocate(1);
    guest.memory.bytes.fill(9, shared.address, shared.address + PAGE_BYTES);
    const cases: [number, (b: GrantCopyBatch) => void][] = [
      [GrantStatus.badGrantRef, (b) => b.fromGrant(512, 0, own, 8)],
      [GrantStatus.badGrantRef, (b) => b.fromGrant(0xffff_ffff, 0, own, 8)],
      [GrantStatus.generalError, (b) => b.fromGrant(0, 0, own, 8)],
      [GrantStatus.generalError, (b) => b.fromGrant(100, 0, own, 8)],
      [GrantStatus.generalError, (b) => b.fromGrant(foreign, 0, own, 8)],
      [GrantStatus.generalError, (b) => b.toGrant(readonly, 0, own, 8)],
      [GrantStatus.okay, (b) => b.fromGrant(readonly, 0, own, 8)],
      [GrantStatus.badCopyArgument, (b) => b.fromGrant(ref, PAGE_BYTES - 7, own, 8)],
      [GrantStatus.badCopyArgument, (b) => b.fromGrant(ref, PAGE_BYTES, own, 1)],
      [GrantStatus.badCopyArgument, (b) => b.fromGrant(ref, 0xffff_ffff, own, 2)],
      [GrantStatus.badCopyArgument, (b) => b.fromGrant(ref, 0, own, PAGE_BYTES + 1)],
      [GrantStatus.badCopyArgument, (b) => b.fromGrant(ref, 1, own, 0xffff_ffff)],
    ];
    for (const [status, fill] of cases) expect(copyOne(back, fill), fill.toString()).toBe(status);
    const untouched = back.memory.bytes.slice(own, own + PAGE_BYTES);
    expect(untouched.every((byte) => byte === 0)).toBe(true);
    shared.release();
    expect(copyOne(back, (b) => b.fromGrant(ref, 0, own, 8))).toBe(GrantStatus.generalError);
  });

  test('XSA-318: goes on after one operation of a batch failed, at the next one', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const own = back.pages.allocate(1);
    const batch = new GrantCopyBatch(3);
    batch.toGrant(shared.refs[0]!, 0, own, 8);
    batch.toGrant(99, 0, own, 8);
    batch.toGrant(shared.refs[0]!, 8, own, 8);
    faults.grant = (operation, _domain, _peer, ref) => (operation === 'copy' && ref === 99 ? -13 : undefined);
    back.foreign.copy(1, batch);
    expect([...batch.status]).toEqual([0, GrantStatus.noSpace, 0]);
  });

  test('our own wrong address throws', () => {
    const shared = guest.grants.share(0, 1, 'write');
    expect(() => copyOne(back, (b) => b.fromGrant(shared.refs[0]!, 0, 0xffff_fff0, 64))).toThrow(RangeError);
  });

  test('a page that is not the domain’s own is reported by an audit', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const foreign = guest.pages.allocate(1);
    copyOne(back, (b) => b.fromGrant(shared.refs[0]!, 0, foreign, 8));
    back.memory.clear(foreign, 4);
    back.memory.sum(foreign, 4, 0);
    back.memory.copy(foreign, foreign, 4);
    expect(machine.audit.violations).toHaveLength(5);
    expect(machine.audit.violations[0]).toMatch(
      /domain 0: the own side of a grant copy, 8 bytes at \d+: page/,
    );
  });

  test('to a domain that died and came back is to the new one', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const own = back.pages.allocate(1);
    const ref = shared.refs[0]!;
    expect(copyOne(back, (b) => b.toGrant(ref, 0, own, 8))).toBe(GrantStatus.okay);
    machine.destroyDomain(1);
    expect(copyOne(back, (b) => b.toGrant(ref, 0, own, 8))).toBe(GrantStatus.badDomain);
    guest = machine.createDomain(1);
    expect(copyOne(back, (b) => b.toGrant(ref, 0, own, 8))).toBe(GrantStatus.generalError);
    expect(guest.grants.share(0, 1, 'write').refs[0]).toBe(ref);
    expect(copyOne(back, (b) => b.toGrant(ref, 0, own, 8))).toBe(GrantStatus.okay);
  });
});
