// Grants that end in the middle of something: a batch of copies of another thread, the granter's or mapper's death.
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { beforeEach, describe, expect, test } from 'vitest';
import { GrantCopyBatch, GrantStatus } from '../../src/index.js';
import { SimForeign } from '../../src/sim/foreign.js';
import { SimGrants } from '../../src/sim/grants.js';
import type { SimDomain } from '../../src/sim/index.js';
import { Lab, SimMachine, domainRecord } from '../../src/sim/index.js';
import { SimPages } from '../../src/sim/pages.js';

const pages = 2048;
let machine: SimMachine;
let back: SimDomain;
let guest: SimDomain;

beforeEach(() => {
  machine = new SimMachine({ pages, grantPages: 1, mappings: 16, audit: true, domains: 4 });
  back = machine.createDomain(0);
  guest = machine.createDomain(1);
  machine.createDomain(2);
});

describe('a revoke while another thread copies', () => {
  // One thread stands for two: the copier's observer runs in the middle of its batch.
  function concurrent(): { granter: SimGrants; copier: SimForeign; lab: Lab; own: number } {
    const lab = Lab.create({ pages, domains: 4, grantPages: 1, ports: 64, mappings: 16 }, true);
    const [one, two] = [1, 2].map((id) => ({ lab, slot: lab.createDomain(0, id), host: 0, id, faults: {} }));
    const own = new SimPages(two!).allocate(4);
    return { lab, own, granter: new SimGrants(one!), copier: new SimForeign(two!, () => undefined) };
  }

  test('waits for the batch: the page is kept until it is over', () => {
    const { granter, copier, lab, own } = concurrent();
    const shared = granter.share(2, 1, 'write');
    const batch = new GrantCopyBatch(3);
    for (let i = 0; i < 3; i++) batch.fromGrant(shared.refs[0]!, 0, own, 64);
    const released: boolean[] = [];
    copier.observer = () => {
      released.push(shared.release());
      expect(lab.ownerOf(shared.address / PAGE_BYTES)).toBe(0);
    };
    copier.copy(1, batch);
    // The first was under way; the others saw that the grant is gone.
    expect([...batch.status]).toEqual([GrantStatus.okay, GrantStatus.generalError, GrantStatus.generalError]);
    expect(released).toEqual([false]);
    expect(granter.held).toBe(1);
    expect(shared.release()).toBe(true);
    expect(lab.ownerOf(shared.address / PAGE_BYTES)).toBe(-1);
  });

  test('so does the end of the granting domain', () => {
    const { granter, copier, lab, own } = concurrent();
    const free = lab.freePages;
    const shared = granter.share(2, 1, 'write');
    const batch = new GrantCopyBatch(2);
    for (let i = 0; i < 2; i++) batch.fromGrant(shared.refs[0]!, 0, own, 64);
    copier.observer = () => {
      lab.destroyDomain(0);
      expect(lab.ownerOf(shared.address / PAGE_BYTES)).toBe(0);
      expect(lab.reap()).toBe(false);
    };
    copier.copy(1, batch);
    expect([...batch.status]).toEqual([GrantStatus.okay, GrantStatus.generalError]);
    expect(lab.reap()).toBe(true);
    expect(lab.freePages).toBe(free);
    copier.copy(1, batch);
    expect([...batch.status]).toEqual([GrantStatus.badDomain, GrantStatus.badDomain]);
  });

  test('a copier that was ended in the middle of a batch holds nobody up once it is buried', () => {
    const { granter, copier, lab, own } = concurrent();
    const shared = granter.share(2, 1, 'write');
    const batch = new GrantCopyBatch(1);
    batch.fromGrant(shared.refs[0]!, 0, own, 64);
    copier.observer = () => {
      throw new Error('ended here'); // leaves the epoch as a terminated thread would, but for the next line
    };
    const epoch = (lab.plan.record(1) >>> 2) + (domainRecord.fields.epoch.offset >>> 2);
    expect(() => copier.copy(1, batch)).toThrow('ended here');
    lab.memory.words[epoch]! |= 1;
    expect(shared.release()).toBe(false);
    lab.destroyDomain(1);
    expect(shared.release()).toBe(true);
  });
});

describe('a domain that dies', () => {
  test('gives everything back, but for what others map', () => {
    const core = machine.lab.core;
    const before = core.freePages;
    guest.pages.allocate(10);
    const shared = guest.grants.share(0, 4, 'write');
    const granted = back.grants.share(1, 1, 'write');
    guest.foreign.map(0, granted.refs, 'write');
    const mapped = back.foreign.map(1, shared.refs.slice(1, 3), 'write');
    const twice = back.foreign.map(1, shared.refs.slice(1, 2), 'read');
    machine.destroyDomain(1);
    expect(granted.release()).toBe(true); // its mappings are gone
    expect(core.freePages).toBe(before - 2);
    back.memory.bytes[mapped.addresses[0]!] = 5;
    expect(machine.audit.violations).toEqual([]);
    mapped.unmap();
    expect(core.freePages).toBe(before - 1);
    twice.unmap();
    expect(core.freePages).toBe(before);
  });

  test('keeps its slot while others map its pages, and frees it after', () => {
    const shared = guest.grants.share(0, 1, 'write');
    const mapped = back.foreign.map(1, shared.refs, 'write');
    machine.destroyDomain(1);
    machine.createDomain(1); // the fourth and last slot
    expect(() => machine.createDomain(6)).toThrow(expect.objectContaining({ code: 'NO_MEMORY' }));
    mapped.unmap();
    expect(machine.createDomain(6).id).toBe(6);
  });
});
