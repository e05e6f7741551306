/**
 * Private copies of received frames, for a backend that is not trusted (the `trusted` key, XSA-403): it could
 * change a granted page while the stack reads it. Made by the connection when it is needed, used by the
 * receive rings.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import type { Domain } from '@netaccel/xen';
import { PagePool } from './page-pool.js';

/** Copies chains fragment by fragment into pages that nobody else can see. */
export class BouncePages {
  private readonly pool: PagePool;
  private readonly memory: Domain['memory'];

  /**
   * @param domain whose private pages.
   * @param count how many.
   */
  constructor(domain: Domain, count: number) {
    const home = domain.pages.allocate(count);
    this.memory = domain.memory;
    this.pool = new PagePool(
      count,
      home,
      () => domain.pages.free(home),
      () => undefined,
    );
  }

  /** A copy of a chain, held once; null when the pages do not suffice. */
  copy(head: Frame): Frame | null {
    let first: Frame | null = null;
    let last: Frame | null = null;
    for (let f: Frame | null = head; f !== null; f = f.next) {
      const page = this.pool.take();
      if (page === null) {
        for (let p = first; p !== null;) {
          const next: Frame | null = p.next;
          this.pool.put(p);
          p = next;
        }
        return null;
      }
      page.holders = 1;
      // At the same place of its page: whoever asked for room before the data has it.
      const at = page.home + (f.address & (PAGE_BYTES - 1));
      page.describe(at, f.length);
      this.memory.copy(at, f.address, f.length);
      if (last === null) first = page;
      else last.next = page;
      last = page;
    }
    if (first !== null) {
      first.totalBytes = head.totalBytes;
      first.checksum = head.checksum;
      first.segmentation = head.segmentation;
      first.segmentBytes = head.segmentBytes;
    }
    return first;
  }

  /** The connection is over: the pages go when the last copy is released. */
  retire(): void {
    this.pool.retire();
  }
}
