/**
 * Filters of one port, as control changes them: quotas, duplicates, retargeting. Called by `PortControl` under the
 * NIC's control lock; the table itself changes under the port's lock.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import { NicError, type FilterId, type FilterState as FilterInfo, type ViId } from '../control.js';
import { filterKinds, type FilterSpec } from '../filter.js';
import { FILTER_KEY_WORDS, decodeFilterKey, encodeFilterKey } from './filter-key.js';
import { InsertRefusal, SEARCH_LIMIT } from './filter-table.js';
import type { NicCore, PortParts } from './core.js';
import { isOwnTraffic } from './spoof.js';
import {
  FilterState,
  FilterWord,
  NicWord,
  PortWord,
  UNMATCHED_MULTICAST_SLOT,
  UNMATCHED_UNICAST_SLOT,
  ViWord,
} from './state.js';

/** Changes the filters of one port. */
export class FilterControl {
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly key = new Int32Array(FILTER_KEY_WORDS);

  constructor(
    private readonly nic: NicCore,
    private readonly port: number,
  ) {
    this.words = nic.device.words;
    this.doubles = nic.device.doubles;
  }

  /**
   * Adds a filter.
   * @param id the VI whose quota it counts against, and `vi` its first word.
   * @param target VI or set.
   */
  add(id: ViId, vi: number, target: number, spec: FilterSpec): FilterId {
    const { words, doubles, nic } = this;
    const { filters, receiver } = this.parts;
    this.checkQuota(id, vi);
    this.checkOwner(id, vi, spec);
    const hashed = spec.kind === 'unmatchedMulticast' || spec.kind === 'unmatchedUnicast' ? null : spec;
    const kind = hashed === null ? filterKinds.indexOf(spec.kind) : encodeFilterKey(hashed, this.key);
    receiver.enter();
    const at = hashed === null ? this.takeUnmatched(spec.kind) : filters.insert(this.key, kind);
    let filterId = 0;
    if (at > 0) {
      words[at + FilterWord.kind] = kind;
      words[at + FilterWord.target] = target;
      words[at + FilterWord.vi] = id;
      doubles[(at + FilterWord.hits) >>> 1] = 0;
      doubles[(at + FilterWord.lastHit) >>> 1] = doubles[(nic.plan.base + NicWord.now) >>> 1]!;
      filterId = filters.giveId(at);
      words[at] = FilterState.used;
      words[vi + ViWord.filters]!++;
      words[this.nic.portWord(this.port) + PortWord.filters]!++;
    }
    receiver.leave();
    if (filterId !== 0) return filterId;
    if (at === InsertRefusal.exists)
      throw new NicError(
        'FILTER_EXISTS',
        `a key of its own expected, port ${this.port} has this one; remove it first`,
      );
    throw new NicError(
      'NO_FILTER_SPACE',
      `a free slot expected within ${SEARCH_LIMIT} of the key's hash, none seen; remove a filter that is not hit`,
    );
  }

  /** Leads a filter to VI `id`, whose first word is `to`. */
  retarget(filter: FilterId, id: ViId, to: number): void {
    const { words } = this;
    const at = this.at(filter);
    const from = this.nic.viWord(words[at + FilterWord.vi]!);
    if (from !== to) this.checkQuota(id, to);
    this.checkOwner(id, to, this.spec(at));
    this.parts.receiver.enter();
    words[at + FilterWord.target] = id;
    words[at + FilterWord.vi] = id;
    this.parts.receiver.leave();
    words[from + ViWord.filters]!--;
    words[to + ViWord.filters]!++;
  }

  /** Ends a filter. */
  remove(filter: FilterId): void {
    this.dropAt(this.at(filter));
  }

  /** Ends the filters whose target `gone` says so of. */
  drop(gone: (target: number) => boolean): void {
    this.parts.filters.each((at) => {
      if (gone(this.words[at + FilterWord.target]!)) this.dropAt(at);
    });
  }

  /** The filters that count against a VI. */
  list(id: ViId): FilterInfo[] {
    const { words, doubles } = this;
    const found: FilterInfo[] = [];
    this.parts.filters.each((at) => {
      if (words[at + FilterWord.vi] !== id) return;
      found.push({
        id: words[at + FilterWord.id]!,
        spec: this.spec(at),
        hits: doubles[(at + FilterWord.hits) >>> 1]!,
        lastHitUs: doubles[(at + FilterWord.lastHit) >>> 1]!,
      });
    });
    return found;
  }

  private get parts(): PortParts {
    return this.nic.portParts(this.port);
  }

  private takeUnmatched(kind: FilterSpec['kind']): number {
    const slot = kind === 'unmatchedMulticast' ? UNMATCHED_MULTICAST_SLOT : UNMATCHED_UNICAST_SLOT;
    const at = this.parts.filters.base + slot * FilterWord.size;
    return this.words[at] === FilterState.used ? InsertRefusal.exists : at;
  }

  private checkQuota(id: ViId, vi: number): void {
    const quota = this.words[vi + ViWord.filterQuota]!;
    if (this.words[vi + ViWord.filters]! >= quota)
      throw new NicError('FILTER_QUOTA', `at most ${quota} filters of VI ${id} expected; remove one first`);
  }

  /** @throws NicError `NOT_OWNER` when the filter would lead traffic of others to the VI. */
  checkOwner(id: ViId, vi: number, spec: FilterSpec): void {
    if (!isOwnTraffic(this.words, vi, spec))
      throw new NicError(
        'NOT_OWNER',
        `VI ${id}: a filter for its own MAC and IP addresses expected, as its antiSpoof names them, another seen`,
      );
  }

  private spec(at: number): FilterSpec {
    const { words } = this;
    const key = words.slice(at + FilterWord.key, at + FilterWord.key + FILTER_KEY_WORDS);
    return decodeFilterKey(words[at + FilterWord.kind]!, key);
  }

  private dropAt(at: number): void {
    const { receiver, filters } = this.parts;
    const vi = this.nic.viWord(this.words[at + FilterWord.vi]!);
    receiver.enter();
    filters.remove(at);
    receiver.leave();
    this.words[vi + ViWord.filters]!--;
    this.words[this.nic.portWord(this.port) + PortWord.filters]!--;
  }

  private at(id: FilterId): number {
    const at = this.parts.filters.byId(id);
    if (at === 0) throw new NicError('NO_SUCH_FILTER', `a filter of port ${this.port} expected, ${id} seen`);
    return at;
  }
}
