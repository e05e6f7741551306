/**
 * Proof for tests that a domain touches only what is its own or was granted to it.
 *
 * The kernels of an audited domain's memory, its maps and its grant copies are checked page by page, and freed
 * pages are poisoned so that a later store shows when the page is taken again. A plain read or store through
 * `bytes` or `words` at a live foreign page cannot be caught.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, Memory } from '@netaccel/core-hooks';
import type { DomainId } from '../machine.js';
import type { DomainContext } from './context.js';
import type { AccessObserver } from './foreign.js';
import type { Lab } from './lab.js';

/** One access by grant. */
export interface Access {
  /** Who. */
  readonly domain: DomainId;
  /** How. */
  readonly kind: 'map' | 'unmap' | 'copy';
  /** Address on the granter's side. */
  readonly foreign: Address;
  /** Address on the own side; 0 for a map. */
  readonly local: Address;
  /** Bytes. */
  readonly length: number;
}

/** What was seen. */
export class Audit {
  /** Each access by grant, in order. */
  readonly accesses: Access[] = [];
  /** What nobody may do; empty at the end of a good test. */
  readonly violations: string[] = [];
  /** Called where a violation is seen, while the stack still says whose it is. */
  onViolation: (what: string) => void = () => undefined;

  /**
   * @param lab what to watch.
   * @param keep whether {@link accesses} is kept.
   */
  constructor(
    private readonly lab: Lab,
    private readonly keep: boolean,
  ) {
    lab.onWrittenAfterFree = (page) => this.violation(`page ${page} was written after it was freed`);
  }

  /** Looks at every free page: what was written after it was freed becomes a violation now, not at the next use. */
  checkFreePages(): void {
    this.lab.checkFreePages();
  }

  /** Watches one domain's accesses by grant. */
  observer(at: DomainContext): AccessObserver {
    return (domain, kind, foreign, local, length) => {
      if (this.keep) this.accesses.push({ domain, kind, foreign, local, length });
      if (kind === 'copy') this.check(at, 'the own side of a grant copy', local, length);
    };
  }

  /** A domain's memory whose kernels are checked. */
  memory(at: DomainContext): Memory {
    const { memory } = at.lab;
    const { bytes, halves, words } = memory;
    const check = (what: string, address: Address, length: number): void =>
      this.check(at, what, address, length);
    return {
      bytes,
      halves,
      words,
      copy: (to, from, length) => {
        check('copy to', to, length);
        check('copy from', from, length);
        memory.copy(to, from, length);
      },
      clear: (address, length) => {
        check('clear', address, length);
        memory.clear(address, length);
      },
      sum: (address, length, initial) => {
        check('sum', address, length);
        return memory.sum(address, length, initial);
      },
    };
  }

  private violation(what: string): void {
    this.violations.push(what);
    this.onViolation(what);
  }

  private check(at: DomainContext, what: string, address: Address, length: number): void {
    if (length === 0) return;
    const { lab, slot, id } = at;
    const last = Math.floor((address + length - 1) / PAGE_BYTES);
    for (let page = Math.floor(address / PAGE_BYTES); page <= last; page++) {
      const owner = lab.ownerOf(page);
      if (owner === slot || lab.grants.hasMapped(slot, page)) continue;
      const whose = owner < 0 ? 'nobody' : `slot ${owner}`;
      this.violation(
        `domain ${id}: ${what}, ${length} bytes at ${address}: page ${page} belongs to ${whose} and is not mapped`,
      );
      return;
    }
  }
}
