/** A domain's private pages: taken from the lab's, zeroed, and given back whole. */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { PageAllocator } from '../machine.js';
import type { DomainContext } from './context.js';

/** A domain's private pages. */
export class SimPages implements PageAllocator {
  /** Pages allocated now. */
  held = 0;
  private readonly runs = new Map<Address, number>();

  constructor(private readonly at: DomainContext) {}

  /** Pages one after the other, zeroed. */
  allocate(pages: number): Address {
    const address = takeZeroed(this.at, pages);
    this.runs.set(address, pages);
    this.held += pages;
    return address;
  }

  /** Gives back what one `allocate` gave. */
  free(address: Address): void {
    const pages = this.runs.get(address);
    if (pages === undefined)
      throw new MachineError(
        'CLOSED',
        `free(${address}): expected what allocate() gave and nobody freed yet`,
      );
    this.runs.delete(address);
    this.held -= pages;
    this.at.lab.freePagesAt(address / PAGE_BYTES, pages);
  }
}

/** Pages one after the other, all zero. */
export function takeZeroed(at: DomainContext, pages: number): Address {
  const first = at.faults.exhausted?.(at.id, 'pages', pages) === true ? -1 : at.lab.takePages(at.slot, pages);
  if (first < 0)
    throw new MachineError(
      'NO_MEMORY',
      `domain ${at.id} asked for ${pages} pages in a row; ${at.lab.freePages} are free in the lab; ` +
        `free some, or make the lab with a larger shape.pages`,
    );
  at.lab.memory.clear(first * PAGE_BYTES, pages * PAGE_BYTES);
  return first * PAGE_BYTES;
}
