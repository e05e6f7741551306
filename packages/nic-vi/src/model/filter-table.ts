/**
 * The filters of one port: a hash table of bounded search in the NIC's state. Looked up for each received
 * frame, most specific kind first; changed by control. All under the port's lock.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */

import { Ev } from '../bits.js';
import type { FrameHeaders } from '../headers.js';
import { FILTER_KEY_WORDS, filterWhich } from './filter-key.js';
import type { NicPlan } from './plan.js';
import {
  FIRST_HASHED_SLOT,
  FilterState,
  FilterWord,
  PortWord,
  UNMATCHED_MULTICAST_SLOT,
  UNMATCHED_UNICAST_SLOT,
} from './state.js';

/** Slots looked at for one key, as a NIC's search limit. */
export const SEARCH_LIMIT = 16;

/* eslint-disable @typescript-eslint/no-duplicate-enum-values -- an enum here is a group of names, not a set of cases */
/**
 * A key's words (`FilterKey`, behind `FilterWord.key`) and numbers (`filter-key.ts`), as the compiler can put them
 * into the code.
 */
export enum Key {
  full = 0,
  local = 1,
  macVlan = 2,
  mac = 3,
  anyVlan = 0x1fff,
  which = 2,
  mac0 = 3,
  mac1 = 4,
  ports = 5,
  destination = 6,
  source = 10,
  searchLimit = 16,
}
/** Multipliers of the hash (xxHash's primes), and the halves of `mac1` and `ports` that are the destination's. */
enum Mix {
  m1 = 0x9e37_79b1,
  m2 = 0x85eb_ca77,
  m3 = 0xc2b2_ae3d,
  firstHalf = 0xffff,
  secondHalf = ~0xffff,
}

/** What an insert answers when it did not. */
export enum InsertRefusal {
  exists = 0,
  full = -1,
}

/** One port's filters. */
export class FilterTable {
  /** First word of the table. */
  readonly base: number;
  private readonly mask: number;
  private readonly counts: number;
  private readonly port: number;

  constructor(
    private readonly words: Int32Array,
    plan: NicPlan,
    port: number,
  ) {
    this.base = plan.filterBase + port * plan.filterWords;
    this.mask = plan.filterSlots - 1;
    this.port = plan.portBase + port * PortWord.size;
    this.counts = this.port + PortWord.kindCounts;
  }

  /** The most specific filter that matches: the word where it begins, or 0. */
  lookup(h: FrameHeaders): number {
    const { words, counts } = this;
    let found = 0;
    if (h.payload !== 0) {
      if (words[counts + Key.full] !== 0) found = this.findFlow(h, Key.full);
      if (found === 0 && words[counts + Key.local] !== 0) found = this.findFlow(h, Key.local);
      if (found !== 0) return found;
    }
    if (words[counts + Key.macVlan] !== 0) found = this.findMac(h, filterWhich(Key.macVlan, 0, 0, h.vlan));
    if (found === 0 && words[counts + Key.mac] !== 0)
      found = this.findMac(h, filterWhich(Key.mac, 0, 0, Key.anyVlan));
    if (found !== 0) return found;
    const slot = (h.flags & Ev.multicast) === 0 ? UNMATCHED_UNICAST_SLOT : UNMATCHED_MULTICAST_SLOT;
    const at = this.base + slot * FilterWord.size;
    return words[at] === FilterState.used ? at : 0;
  }

  /** The filter with exactly this key, or 0. */
  find(key: Int32Array): number {
    const { words } = this;
    const hash = hashKey(key);
    for (let i = 0; i < Key.searchLimit; i++) {
      const at = this.slot(hash + i);
      const state = words[at];
      if (state === FilterState.empty) return 0;
      if (state === FilterState.used && words[at + FilterWord.hash] === hash && this.sameKey(at, key))
        return at;
    }
    return 0;
  }

  /** Takes a slot for a key: the word where it begins, or an {@link InsertRefusal}. The caller fills in the rest. */
  insert(key: Int32Array, kind: number): number {
    const { words } = this;
    if (this.find(key) !== 0) return InsertRefusal.exists;
    const hash = hashKey(key);
    for (let i = 0; i < Key.searchLimit; i++) {
      const at = this.slot(hash + i);
      if (words[at] === FilterState.used) continue;
      words[at + FilterWord.hash] = hash;
      for (let k = 0; k < FILTER_KEY_WORDS; k++) words[at + Key.which + k] = key[k]!;
      words[at + FilterWord.kind] = kind;
      words[at] = FilterState.used;
      words[this.counts + kind]!++;
      return at;
    }
    return InsertRefusal.full;
  }

  /** Frees a slot. Searches that ended behind it still go on past it, unless none can. */
  remove(at: number): void {
    const { words, base, mask } = this;
    const slot = (at - base) / FilterWord.size;
    words[at + FilterWord.id] = 0;
    if (slot < FIRST_HASHED_SLOT) {
      words[at] = FilterState.empty;
      return;
    }
    words[this.counts + words[at + FilterWord.kind]!]!--;
    words[at] = FilterState.gone;
    let hashed = slot - FIRST_HASHED_SLOT;
    if (words[this.slot(hashed + 1)] !== FilterState.empty) return;
    for (let n = 0; n <= mask && words[this.slot(hashed)] === FilterState.gone; n++, hashed--)
      words[this.slot(hashed)] = FilterState.empty;
  }

  /** The slot whose filter has this id, or 0. */
  byId(id: number): number {
    const slot = (id & ID_SLOT_MASK) - 1;
    if (slot < 0 || slot >= FIRST_HASHED_SLOT + this.mask + 1) return 0;
    const at = this.base + slot * FilterWord.size;
    return this.words[at] === FilterState.used && this.words[at + FilterWord.id] === id ? at : 0;
  }

  /** Gives the filter at `at` a new id: its slot, and a sequence number so that an old id does not name it. */
  giveId(at: number): number {
    const { words, port } = this;
    const sequence = (words[port + PortWord.filterSequence]! + 1) & ID_SEQUENCE_MASK;
    words[port + PortWord.filterSequence] = sequence;
    const id = (sequence << ID_SLOT_BITS) | ((at - this.base) / FilterWord.size + 1);
    words[at + FilterWord.id] = id;
    return id;
  }

  /** Removes all. Their ids stay used up. */
  clear(): void {
    const { words, base, counts } = this;
    words.fill(0, base, base + (FIRST_HASHED_SLOT + this.mask + 1) * FilterWord.size);
    words.fill(0, counts, counts + 4);
    words[this.port + PortWord.filters] = 0;
  }

  /** Calls `visit` with each filter in use. */
  each(visit: (at: number) => void): void {
    for (let slot = 0; slot < FIRST_HASHED_SLOT + this.mask + 1; slot++) {
      const at = this.base + slot * FilterWord.size;
      if (this.words[at] === FilterState.used) visit(at);
    }
  }

  private slot(hash: number): number {
    return this.base + (FIRST_HASHED_SLOT + (hash & this.mask)) * FilterWord.size;
  }

  private sameKey(at: number, key: Int32Array): boolean {
    for (let k = 0; k < FILTER_KEY_WORDS; k++) if (this.words[at + Key.which + k]! !== key[k]) return false;
    return true;
  }

  private findFlow(h: FrameHeaders, kind: number): number {
    const { words, base, mask } = this;
    const which = filterWhich(kind, h.version, h.protocol, h.vlan);
    const full = kind === Key.full;
    const ports = full ? h.ports : h.ports & Mix.secondHalf;
    const six = h.version === 6;
    let hash = Math.imul(h.mac0 ^ which, Mix.m1) ^ Math.imul(ports ^ h.destination0, Mix.m2);
    hash ^= Math.imul(full ? h.source0 : 0, Mix.m3) ^ (h.mac1 & Mix.firstHalf);
    if (six) {
      hash ^= Math.imul(h.destination1 ^ (h.destination2 << 1), Mix.m3) ^ Math.imul(h.destination3, Mix.m1);
      if (full) hash ^= Math.imul(h.source1 ^ (h.source2 << 1), Mix.m1) ^ Math.imul(h.source3, Mix.m2);
    }
    hash = finish(hash);
    for (let i = 0; i < Key.searchLimit; i++) {
      const at = base + (FIRST_HASHED_SLOT + ((hash + i) & mask)) * FilterWord.size;
      const state = words[at];
      if (state === FilterState.empty) return 0;
      if (
        state === FilterState.used &&
        words[at + Key.which]! === which &&
        words[at + Key.ports]! === ports &&
        words[at + Key.destination]! === h.destination0 &&
        words[at + Key.mac0]! === h.mac0 &&
        words[at + Key.mac1]! === (h.mac1 & Mix.firstHalf) &&
        (!full || words[at + Key.source]! === h.source0) &&
        (!six || this.sameIpv6(at, h, full))
      )
        return at;
    }
    return 0;
  }

  private sameIpv6(at: number, h: FrameHeaders, full: boolean): boolean {
    const { words } = this;
    const d = at + Key.destination;
    const s = at + Key.source;
    return (
      words[d + 1]! === h.destination1 &&
      words[d + 2]! === h.destination2 &&
      words[d + 3]! === h.destination3 &&
      (!full || (words[s + 1]! === h.source1 && words[s + 2]! === h.source2 && words[s + 3]! === h.source3))
    );
  }

  private findMac(h: FrameHeaders, which: number): number {
    const { words } = this;
    const hash = finish(Math.imul(h.mac0 ^ which, Mix.m1) ^ (h.mac1 & Mix.firstHalf));
    for (let i = 0; i < Key.searchLimit; i++) {
      const at = this.slot(hash + i);
      const state = words[at];
      if (state === FilterState.empty) return 0;
      if (
        state === FilterState.used &&
        words[at + Key.which]! === which &&
        words[at + Key.mac0]! === h.mac0 &&
        words[at + Key.mac1]! === (h.mac1 & Mix.firstHalf)
      )
        return at;
    }
    return 0;
  }
}

const ID_SLOT_BITS = 14;
const ID_SLOT_MASK = (1 << ID_SLOT_BITS) - 1;
const ID_SEQUENCE_MASK = 0xffff;
function finish(hash: number): number {
  hash ^= hash >>> 15;
  hash = Math.imul(hash, Mix.m2);
  return hash ^ (hash >>> 13);
}

/** The hash of a key: what `findFlow` and `findMac` compute from headers. */
function hashKey(key: Int32Array): number {
  const [which, mac0, mac1, ports] = [key[0]!, key[1]!, key[2]!, key[3]!];
  const d = Key.destination - Key.which;
  const s = Key.source - Key.which;
  let hash = Math.imul(mac0 ^ which, Mix.m1) ^ Math.imul(ports ^ key[d]!, Mix.m2);
  hash ^= Math.imul(key[s]!, Mix.m3) ^ mac1;
  hash ^= Math.imul(key[d + 1]! ^ (key[d + 2]! << 1), Mix.m3) ^ Math.imul(key[d + 3]!, Mix.m1);
  hash ^= Math.imul(key[s + 1]! ^ (key[s + 2]! << 1), Mix.m1) ^ Math.imul(key[s + 3]!, Mix.m2);
  return finish(hash);
}
