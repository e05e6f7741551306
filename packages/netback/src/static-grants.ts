/**
 * Pages of one queue's guest that stay mapped (netif.h, "Static Grants"): frames are copied out of and into them
 * without a grant operation. What is not among them is copied by grant, as ever.
 *
 * The rule for buffers in use: a mapping is looked at by {@link StaticGrants.copy} alone, which begins and ends within
 * one run of the queue's task. So when a guest's request to unmap is answered, nothing here reads or writes the page,
 * and requests on a ring that still name it are copied by grant. Changed by the control ring, asked once a batch.
 */
import type { Address, MappedPages } from '@netaccel/core-hooks';
import { MachineError, GrantCopyBatch, GrantStatus, withinPage } from '@netaccel/xen';
import type { Domain, DomainId } from '@netaccel/xen';

/** A page to keep mapped. */
export interface StaticGrant {
  readonly ref: number;
  /** It is only read. */
  readonly readOnly: boolean;
}

/** Spreads references over the table. */
const MULTIPLIER = 0x9e37_79b1;

/** The static grants of one queue. */
export class StaticGrants {
  private readonly held = new Map<number, MappedPages>();
  /** Open addressing: by place, a reference, its page here (0: nothing), and whether it may be written. */
  private refs = new Uint32Array(0);
  private pages = new Uint32Array(0);
  private writable = new Uint8Array(0);
  private mask = 0;
  /** What a batch has besides, and which operations of the batch those are. */
  private rest: GrantCopyBatch | null = null;
  private restOf = new Uint16Array(0);

  /**
   * @param domain the driver domain.
   * @param guest whose pages.
   * @param most how many.
   * @param batchCapacity operations of the largest batch.
   */
  constructor(
    private readonly domain: Domain,
    private readonly guest: DomainId,
    readonly most: number,
    private readonly batchCapacity: number,
  ) {}

  /** How many are mapped. */
  get count(): number {
    return this.held.size;
  }

  /** Maps pages: all, or none and false when one is mapped already, cannot be mapped, or is one too many. */
  add(grants: readonly StaticGrant[]): boolean {
    if (this.held.size + grants.length > this.most) return false;
    this.prepare();
    const done: number[] = [];
    for (const { ref, readOnly } of grants) {
      if (this.held.has(ref) || !this.map(ref, readOnly)) {
        for (const each of done) this.remove(each);
        return false;
      }
      done.push(ref);
    }
    return true;
  }

  /** Unmaps a page; false when it is not mapped. */
  remove(ref: number): boolean {
    const pages = this.held.get(ref);
    if (pages === undefined) return false;
    this.held.delete(ref);
    this.forget(ref);
    pages.unmap();
    return true;
  }

  /** Carries out a batch, as `ForeignGrants.copy` does, without a grant operation for pages that are mapped. */
  copy(batch: GrantCopyBatch): void {
    const { rest } = this;
    if (rest === null || this.held.size === 0) {
      this.domain.foreign.copy(this.guest, batch);
      return;
    }
    const { memory } = this.domain;
    const { refs, offsets, addresses, lengths, intoGrant, status } = batch;
    rest.clear();
    for (let op = 0; op < batch.count; op++) {
      const ref = refs[op]!;
      const offset = offsets[op]!;
      const length = lengths[op]!;
      const into = intoGrant[op]!;
      const place = this.find(ref);
      if (this.pages[place] === 0 || into > this.writable[place]! || !withinPage(offset, length)) {
        this.restOf[rest.count] = op;
        if (into === 0) rest.fromGrant(ref, offset, addresses[op]!, length);
        else rest.toGrant(ref, offset, addresses[op]!, length);
        continue;
      }
      const there = this.pages[place]! + offset;
      if (into === 0) memory.copy(addresses[op]!, there, length);
      else memory.copy(there, addresses[op]!, length);
      status[op] = GrantStatus.okay;
    }
    if (rest.count === 0) return;
    this.domain.foreign.copy(this.guest, rest);
    for (let n = 0; n < rest.count; n++) status[this.restOf[n]!] = rest.status[n]!;
  }

  /** Unmaps all. Idempotent. */
  close(): void {
    for (const pages of this.held.values()) pages.unmap();
    this.held.clear();
    this.pages.fill(0);
  }

  /** The tables, with the first page: a guest that asks for none costs none. */
  private prepare(): void {
    if (this.rest !== null) return;
    const places = 2 ** Math.ceil(Math.log2(2 * this.most));
    this.refs = new Uint32Array(places);
    this.pages = new Uint32Array(places);
    this.writable = new Uint8Array(places);
    this.mask = places - 1;
    this.rest = new GrantCopyBatch(this.batchCapacity);
    this.restOf = new Uint16Array(this.batchCapacity);
  }

  private map(ref: number, readOnly: boolean): boolean {
    try {
      const pages = this.domain.foreign.map(this.guest, [ref], readOnly ? 'read' : 'write');
      this.held.set(ref, pages);
      this.note(ref, pages.addresses[0]!, readOnly ? 0 : 1);
      return true;
    } catch (error) {
      if (error instanceof MachineError) return false;
      throw error;
    }
  }

  /** The place of a reference, or the free one where it would be: half of the places are always free. */
  private find(ref: number): number {
    const { refs, pages, mask } = this;
    let place = (Math.imul(ref, MULTIPLIER) >>> 7) & mask;
    while (pages[place] !== 0 && refs[place] !== ref) place = (place + 1) & mask;
    return place;
  }

  private note(ref: number, page: Address, writable: number): void {
    const place = this.find(ref);
    this.refs[place] = ref;
    this.pages[place] = page;
    this.writable[place] = writable;
  }

  /** Takes a reference out; those behind it that were pushed on by it are put anew. */
  private forget(ref: number): void {
    const { refs, pages, writable, mask } = this;
    let place = this.find(ref);
    pages[place] = 0;
    for (place = (place + 1) & mask; pages[place] !== 0; place = (place + 1) & mask) {
      const page = pages[place]!;
      pages[place] = 0;
      this.note(refs[place]!, page, writable[place]!);
    }
  }
}
