/**
 * What a domain grants to others. It owns the pages; a page whose grant cannot be ended, because the peer still
 * has it mapped or is copying just now, stays on a list, is tried again, and is never reused before that.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, SharedPages } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { DomainId, GrantTable } from '../machine.js';
import type { DomainContext } from './context.js';
import { takeZeroed } from './pages.js';

/** A grant on its way to its end. */
export interface EndingGrant {
  /** Its reference. */
  readonly ref: number;
  /** Its page. */
  readonly page: number;
  /** ended: the entry is cleared, but a copy that began before may still be under way. */
  stage: 'granted' | 'ended' | 'gone';
}

/** A domain's grants. */
export class SimGrants implements GrantTable {
  /** Pages granted now, kept ones included. */
  held = 0;
  private readonly free: Uint32Array;
  private top: number;
  private kept: EndingGrant[] = [];

  constructor(private readonly at: DomainContext) {
    this.free = at.lab.grants.freeRefs();
    this.top = this.free.length;
  }

  /** Shares fresh, zeroed pages with `peer`. */
  share(peer: DomainId, pages: number, access: 'read' | 'write'): SharedPages {
    this.retry();
    const { lab, slot } = this.at;
    if (this.top < pages || this.at.faults.exhausted?.(this.at.id, 'grants', pages) === true)
      throw new MachineError(
        'NO_GRANTS',
        `domain ${this.at.id} asked for ${pages} grants, ${this.top} are free; ` +
          `release some, or make the lab with a larger shape.grantPages`,
      );
    const address = takeZeroed(this.at, pages);
    const refs = new Uint32Array(pages);
    for (let i = 0; i < pages; i++) {
      const ref = this.free[--this.top]!;
      refs[i] = ref;
      lab.grants.grant(slot, ref, address / PAGE_BYTES + i, peer, access === 'read');
    }
    this.held += pages;
    return new SimSharedPages(this, address, pages, refs);
  }

  /** Begins to end grants: answers what {@link gone} judges. */
  end(refs: Uint32Array, address: Address): readonly EndingGrant[] {
    const first = address / PAGE_BYTES;
    const ending = Array.from(refs, (ref, i): EndingGrant => ({ ref, page: first + i, stage: 'granted' }));
    this.kept.push(...ending);
    return ending;
  }

  /** Whether these grants are ended and their pages given back, after one more try. */
  gone(ending: readonly EndingGrant[]): boolean {
    if (ending.some((grant) => grant.stage !== 'gone')) this.retry();
    return ending.every((grant) => grant.stage === 'gone');
  }

  /** Tries again to end what could not be ended. */
  retry(): void {
    if (this.kept.length === 0) return;
    const { lab, slot } = this.at;
    for (const grant of this.kept)
      if (grant.stage === 'granted' && lab.grants.end(slot, grant.ref)) grant.stage = 'ended';
    if (!this.kept.some(({ stage }) => stage === 'ended') || !lab.copiesOver()) return;
    const still: EndingGrant[] = [];
    for (const grant of this.kept) {
      if (grant.stage === 'granted') {
        still.push(grant);
        continue;
      }
      grant.stage = 'gone';
      lab.freePagesAt(grant.page, 1);
      this.free[this.top++] = grant.ref;
      this.held--;
    }
    this.kept = still;
  }
}

class SimSharedPages implements SharedPages {
  private kept: readonly EndingGrant[] | null = null;

  constructor(
    private readonly table: SimGrants,
    readonly address: Address,
    readonly pages: number,
    readonly refs: Uint32Array,
  ) {}

  release(): boolean {
    this.kept ??= this.table.end(this.refs, this.address);
    return this.table.gone(this.kept);
  }
}
