/**
 * What the domains of a lab hold at its end: all zero when nothing leaked. Each domain reads its own once its programs
 * have stopped and those of its neighbours have, too; the lab collects them.
 */
import type { Ledger } from '@netaccel/xen';

/** What one domain holds. */
export interface DomainLedger extends Ledger {
  /**
   * Frames of the bridge's side that somebody still has when their memory goes. Those of netfront and netback are not
   * among them: they keep their memory, so one that is still out shows as pages and grants.
   */
  readonly frames: number;
}

/** A domain of a lab at its end. */
export interface LabLedgerEntry {
  /** The host that it was on. */
  readonly host: string;
  /** The guest, or null for the driver domain. */
  readonly guest: string | null;
  /** What it held; null when it did not answer and was ended by force. */
  readonly held: DomainLedger | null;
}

/** What is not zero, one line a domain: empty when nothing leaked. */
export function leaksOf(ledger: readonly LabLedgerEntry[]): string[] {
  return ledger.flatMap(({ host, guest, held }) => {
    const name = guest === null ? `the driver domain of ${host}` : `guest ${guest} on ${host}`;
    if (held === null) return [`${name} did not say what it holds: it was ended by force`];
    const left = Object.entries(held).filter(([, count]) => count !== 0);
    if (left.length === 0) return [];
    return [`${name} still holds ${left.map(([what, count]) => `${String(count)} ${what}`).join(', ')}`];
  });
}
