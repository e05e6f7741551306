/**
 * A device's totals as the outside sees them: the slow path's, which this driver counts, and the fast path's,
 * which the plugin counts, each frame in one of them. A plugin's totals count from its attachment; they are read
 * before its hooks are cleared, and for what it let go of once more when it is removed, and kept.
 */
import type { AcceleratorStatistics } from '@netaccel/core-hooks';
import type { Counters } from './counters.js';
import type { Hooks } from './hooks.js';

/** Totals of nothing. */
export function zeroTotals(): AcceleratorStatistics {
  return { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0, txErrors: 0, rxErrors: 0 };
}

/** Adds totals. */
export function addTotals(into: AcceleratorStatistics, totals: AcceleratorStatistics): void {
  for (const key of Object.keys(into) as (keyof AcceleratorStatistics)[]) into[key] += totals[key];
}

/** What one attachment moved: by the plugin's word, and by this driver's own count for a plugin at fault. */
export class FastShare {
  private readonly before: Counters;
  /** What the plugin said when it was asked last, before any fault. */
  private said = zeroTotals();

  /** @param counters the device's totals, at the moment of attachment. */
  constructor(private readonly counters: Counters) {
    this.before = Object.assign({}, counters);
  }

  /** The totals until now, while the hooks are live. A fault does not take back what was said before it. */
  now(hooks: Hooks): AcceleratorStatistics {
    const totals = zeroTotals();
    hooks.statistics(totals);
    if (hooks.fault === null) return (this.said = totals);
    const { counters, before, said } = this;
    return {
      txFrames: counters.fastSent - before.fastSent,
      txBytes: counters.fastSentBytes - before.fastSentBytes,
      rxFrames: counters.fastReceived - before.fastReceived,
      rxBytes: counters.fastReceivedBytes - before.fastReceivedBytes,
      txErrors: said.txErrors,
      rxErrors: said.rxErrors,
    };
  }

  /**
   * The last totals, after `remove`. What arrived and was let go of only the plugin knows, also one at fault.
   * @param told what {@link now} said before the hooks were cleared.
   */
  last(told: AcceleratorStatistics, hooks: Hooks): AcceleratorStatistics {
    const word = hooks.lastWord();
    if (word === null) return told;
    return { ...told, rxErrors: Math.max(told.rxErrors, word.rxErrors) };
  }
}

/** What `statistics()` answers. */
export interface NetfrontStatistics extends AcceleratorStatistics {
  /** Frames that were not sent, for whatever reason that a counter names. */
  txDropped: number;
  /** Frames that were not delivered, for whatever reason that a counter names. */
  rxDropped: number;
  /** The part of the totals that a plugin moved. */
  readonly accelerated: AcceleratorStatistics;
  /** Frames that the present plugin declined, by reason. */
  readonly declines: Readonly<Record<string, number>>;
  /** Every counter of the driver. */
  readonly counters: Readonly<Counters>;
}

/** Merges both paths' totals. */
export function merge(
  counters: Counters,
  accelerated: AcceleratorStatistics,
  declines: Readonly<Record<string, number>>,
): NetfrontStatistics {
  const c = counters;
  return {
    txFrames: c.txSlowFrames + accelerated.txFrames,
    txBytes: c.txSlowBytes + accelerated.txBytes,
    rxFrames: c.rxSlowFrames + accelerated.rxFrames,
    rxBytes: c.rxSlowBytes + accelerated.rxBytes,
    txErrors: c.txErrors + accelerated.txErrors,
    rxErrors: c.rxErrors + accelerated.rxErrors,
    txDropped: c.txDropped + c.txBadLength + c.txUnsupported,
    rxDropped: c.rxMalformed + c.rxBadExtra + c.rxBadLength + c.rxNoBuffer + c.rxUnread + c.fastOverrun,
    accelerated,
    declines,
    counters: Object.assign({}, counters),
  };
}
