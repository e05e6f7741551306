/**
 * Receive rings of a connection that ended before its backend was known to have let go of them: the backend hung and was
 * given up, or was not waited for. As long as it has the rings mapped it may put packets on them, into pages that it
 * keeps mapped besides (static grants), and takes them for delivered. Nobody will read them, so they are counted here,
 * once the backend has let go. Owned by the device, outside of the frame path.
 */
import type { SharedPages } from '@netaccel/core-hooks';
import type { Counters } from './counters.js';
import type { ReceiveRing } from './receive-ring.js';

/** One device's. */
export class UnreadRings {
  private readonly kept: { readonly ring: ReceiveRing; readonly page: SharedPages }[] = [];

  /** @param counters the device's totals. */
  constructor(private readonly counters: Counters) {}

  /** Takes over a ring that nothing is received from any more, and the page that it lies in. */
  keep(ring: ReceiveRing, page: SharedPages): void {
    this.kept.push({ ring, page });
  }

  /** Nobody puts anything there any more, or nobody waits for that: counts what is there, and gives the pages back. */
  settle(): void {
    for (const { ring, page } of this.kept.splice(0)) {
      this.counters.rxUnread += ring.unread();
      page.release();
    }
  }
}
