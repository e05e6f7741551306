/**
 * Grant tables of all domains: version 1 entries in shared pages, as Xen's, and the hypervisor's rules on them.
 *
 * A granter writes frame and domid, then the flags; it ends a grant by compare-and-swap of the first word and
 * never while that says reading or writing (XSA-396). A mapper sets those bits and counts itself.
 *
 * A copy sets no bits: two atomic operations a frame would cost more than the copy. Instead the copier's epoch
 * word is odd while it carries out a batch, and it looks at entries only after that; the granter clears the
 * entry first and looks at the epochs after that. Both sides' order is sequentially consistent, so either the
 * copier sees the cleared entry or the granter sees the odd epoch, and then waits for it to change before the
 * page is anybody else's. On one thread a batch never overlaps anything and there is nothing to wait for.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { GrantStatus } from '../grant-copy.js';
import type { Lab } from './lab.js';
import {
  DomainState,
  GrantFlag,
  MAPPED_REF_SHIFT,
  MAPPED_SLOT,
  MAPPED_WRITABLE,
  RESERVED_GRANTS,
  grantEntry,
} from './plan.js';

const ENTRY_WORDS = grantEntry.size >>> 2;
const FRAME = grantEntry.fields.frame.offset >>> 2;
const DOMID_SHIFT = grantEntry.fields.domid.offset * 8;
const MAPPING_WORDS = 2;
/** Looks at a grant that its granter changes all the time before the map is refused. */
const MAP_TRIES = 64;
const IN_USE = GrantFlag.reading | GrantFlag.writing;
/** Bits of an entry's first word that decide whether a domain may read by it, and by adding `readonly`, write. */
export const GRANT_COMPARED = (0xffff << DOMID_SHIFT) | GrantFlag.typeMask | GrantFlag.subPage | 0;

/** What those bits must be for `domid`. */
export function grantFor(domid: number): number {
  return (domid << DOMID_SHIFT) | GrantFlag.permitAccess;
}

/** The hypervisor's side of grants. */
export class GrantTables {
  /** @param lab whose memory the tables are in. */
  constructor(private readonly lab: Lab) {}

  /** Word index of an entry. */
  entry(slot: number, ref: number): number {
    return (this.lab.plan.grantTable(slot) >>> 2) + ref * ENTRY_WORDS;
  }

  /** Writes a grant: frame first, then domid and flags in one word. */
  grant(slot: number, ref: number, page: number, peer: number, readonly: boolean): void {
    const { words } = this.lab.memory;
    const at = this.entry(slot, ref);
    Atomics.store(words, at + FRAME, page);
    Atomics.store(words, at, (grantFor(peer) | (readonly ? GrantFlag.readonly : 0)) >>> 0);
  }

  /** Takes a grant back; false when a peer has it mapped: the page must not be touched. */
  end(slot: number, ref: number): boolean {
    const { words } = this.lab.memory;
    const at = this.entry(slot, ref);
    for (;;) {
      const seen = Atomics.load(words, at);
      if ((seen & IN_USE) !== 0) return false;
      if (Atomics.compareExchange(words, at, seen, 0) === seen) return true;
    }
  }

  /**
   * Maps one grant of the domain in `slot` for the domain `me` in `mySlot`, as its mapping number `handle`.
   * Answers a status.
   *
   * The mapping is noted before the entry's bits are set and before a last look at whether the granter lives:
   * so whoever ends a domain, mapper or granter, finds all that there is to undo or to keep.
   */
  map(slot: number, ref: number, me: number, mySlot: number, handle: number, write: boolean): number {
    if (slot < 0) return GrantStatus.badDomain;
    if (ref >= this.lab.plan.grants) return GrantStatus.badGrantRef;
    const { words } = this.lab.memory;
    const at = this.entry(slot, ref);
    const compared = GRANT_COMPARED | (write ? GrantFlag.readonly : 0);
    const wanted = GrantFlag.reading | (write ? GrantFlag.writing : 0);
    const mapping = this.mapping(mySlot, handle);
    for (let tries = 0; ; tries++) {
      const seen = Atomics.load(words, at);
      const page = Atomics.load(words, at + FRAME);
      const status =
        (seen & compared) !== grantFor(me) || tries === MAP_TRIES
          ? GrantStatus.generalError
          : this.lab.ownerOf(page) !== slot
            ? GrantStatus.badPage
            : GrantStatus.okay;
      if (status !== GrantStatus.okay) {
        Atomics.store(words, mapping, 0);
        return status;
      }
      Atomics.store(words, mapping + 1, page);
      Atomics.store(
        words,
        mapping,
        ((slot + 1) | (write ? MAPPED_WRITABLE : 0) | (ref << MAPPED_REF_SHIFT)) >>> 0,
      );
      if (Atomics.compareExchange(words, at, seen, (seen | wanted) >>> 0) !== seen) continue;
      // From here on it is in use, and stays as it is. It may be a later grant than the one that was looked at, by the
      // same number and for the same domain, of another page: the first words of the two are alike.
      if (Atomics.load(words, at + FRAME) === page) break;
      this.unmap(mySlot, handle);
    }
    if (this.lab.state(slot) === DomainState.alive) return GrantStatus.okay;
    this.unmap(mySlot, handle);
    return GrantStatus.badDomain;
  }

  /**
   * Ends one mapping, and takes back those of the entry's bits that no other mapping of this domain needs.
   * @param used its mappings have numbers below this.
   */
  unmap(mySlot: number, handle: number, used = this.lab.plan.shape.mappings): void {
    const { words } = this.lab.memory;
    const mapping = this.mapping(mySlot, handle);
    const kind = words[mapping]!;
    if (kind === 0) return;
    Atomics.store(words, mapping, 0);
    // A version 1 grant is for one domain: no other one's mappings count.
    const same = ~MAPPED_WRITABLE;
    let needed = 0;
    const end = this.mapping(mySlot, used);
    for (let other = this.mapping(mySlot, 0); other < end; other += MAPPING_WORDS)
      if ((words[other]! & same) === (kind & same))
        needed |= GrantFlag.reading | ((words[other]! & MAPPED_WRITABLE) !== 0 ? GrantFlag.writing : 0);
    const at = this.entry((kind & MAPPED_SLOT) - 1, kind >>> MAPPED_REF_SHIFT);
    Atomics.and(words, at, ~(IN_USE & ~needed));
  }

  /** Address of the page that a mapping shows: the page at the time of the map, whatever the entry says now. */
  addressOf(mySlot: number, handle: number): Address {
    return this.lab.memory.words[this.mapping(mySlot, handle) + 1]! * PAGE_BYTES;
  }

  /** Ends all mappings of a domain that died. */
  unmapAll(mySlot: number): void {
    for (let handle = 0; handle < this.lab.plan.shape.mappings; handle++) this.unmap(mySlot, handle);
  }

  /** Ends all grants of a domain that died. */
  endAll(slot: number): void {
    for (let ref = 0; ref < this.lab.plan.grants; ref++)
      Atomics.store(this.lab.memory.words, this.entry(slot, ref), 0);
  }

  /** Entries in use and mappings made. */
  count(slot: number): { grants: number; mappings: number } {
    const { words } = this.lab.memory;
    let grants = 0;
    let mappings = 0;
    for (let ref = RESERVED_GRANTS; ref < this.lab.plan.grants; ref++)
      if ((words[this.entry(slot, ref)]! & GrantFlag.typeMask) !== 0) grants++;
    for (let handle = 0; handle < this.lab.plan.shape.mappings; handle++)
      if (words[this.mapping(slot, handle)] !== 0) mappings++;
    return { grants, mappings };
  }

  /** Whether the domain in `mySlot` has `page` mapped: for audits. */
  hasMapped(mySlot: number, page: number): boolean {
    const { words } = this.lab.memory;
    const first = this.mapping(mySlot, 0);
    for (let at = first; at < first + this.lab.plan.shape.mappings * MAPPING_WORDS; at += MAPPING_WORDS)
      if (words[at] !== 0 && words[at + 1] === page) return true;
    return false;
  }

  /** Pages of the domain in `slot` that others have mapped. */
  mappedPages(slot: number): Set<number> {
    const { words } = this.lab.memory;
    const pages = new Set<number>();
    for (let other = 0; other < this.lab.plan.shape.domains; other++) {
      if (this.lab.state(other) !== DomainState.alive) continue;
      const first = this.mapping(other, 0);
      for (let at = first; at < first + this.lab.plan.shape.mappings * MAPPING_WORDS; at += MAPPING_WORDS)
        if ((words[at]! & MAPPED_SLOT) === slot + 1) pages.add(words[at + 1]!);
    }
    return pages;
  }

  private mapping(slot: number, handle: number): number {
    return (this.lab.plan.mappings(slot) >>> 2) + handle * MAPPING_WORDS;
  }

  /** References that a domain may hand out, lowest last: a stack. */
  freeRefs(): Uint32Array {
    const { grants } = this.lab.plan;
    const refs = new Uint32Array(grants - RESERVED_GRANTS);
    for (let i = 0; i < refs.length; i++) refs[i] = grants - 1 - i;
    return refs;
  }
}
