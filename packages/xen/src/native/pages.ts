/** A domain's private pages: taken from its arena, zeroed, and given back whole. */
import type { Address } from '@netaccel/core-hooks';
import { MachineError } from '../machine.js';
import type { PageAllocator } from '../machine.js';
import type { Arena } from './arena.js';

/** A domain's private pages. */
export class NativePages implements PageAllocator {
  /** Pages allocated now. */
  held = 0;
  private readonly runs = new Map<Address, number>();

  constructor(private readonly arena: Arena) {}

  /** Pages one after the other, zeroed. */
  allocate(pages: number): Address {
    const address = this.arena.take(pages);
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
    this.arena.give(address, pages);
  }
}
