/**
 * What a frontend plugin answers when it is offered a frame, and the named reasons to decline.
 *
 * A verdict is one integer, so that nothing is allocated per frame: `Sent`, `Busy`, or a decline reason
 * (any value from {@link Verdict.declined} up). Read by netfront, counted by it, shown by `netaccel explain`.
 */

/** The fixed verdicts; a value of `Verdict.declined + reason` declines. */
export const Verdict = {
  /** Taken: the plugin holds the frame and calls `completed` when the hardware is done with it. */
  sent: 0,
  /** Not taken, no room: netfront keeps the frame, stops the queue, offers it first after `wake`. */
  busy: 1,
  /** First of the declining values: the frame goes on by the slow path, untouched. */
  declined: 2,
} as const;

/** `Verdict.sent`, `Verdict.busy`, or `Verdict.declined` plus a reason of {@link declineReasons}. */
export type Verdict = number;

/**
 * Reasons to decline, in counter order. Every one is decided before anything may answer busy.
 * Plugins add their own from {@link FIRST_PLUGIN_REASON} on, by `declineReasons` in their definition.
 */
export const declineReasons = [
  'inactive', // set-up is not complete, or the fast path is being taken down
  'link-down',
  'broadcast', // broadcast and multicast go by the bridge, which delivers to each receiver once
  'unknown-destination', // not learned as being across the wire
  'malformed', // headers do not fit in the first fragment, or contradict each other
  'not-ip',
  'not-tcp-udp',
  'ip-fragment',
  'vlan',
  'segmentation', // a kind of segmentation that the hardware does not do
  'checksum', // a checksum that the hardware cannot fill
  'too-long', // more bytes or fragments than one transmit can name
  'not-registered', // the frame's memory is not known to the device
  'spoofed', // source MAC or IP is not the guest's own
  'rate', // the vif's rate limit has no credit left
] as const;

/** A standard reason's name. */
export type DeclineReason = (typeof declineReasons)[number];

/** Index of a plugin's own first reason. */
export const FIRST_PLUGIN_REASON = 32;
/** Most reasons, standard and own together; a verdict beyond is a plugin's mistake. */
export const MAX_REASONS = 64;

/**
 * The verdict that declines for a standard reason. Call it once, at set-up.
 *
 * @example
 * ```ts
 * const notIp = declined('not-ip');
 * // in startTransmit: if (etherType !== 0x0800) return notIp;
 * ```
 */
export function declined(reason: DeclineReason): Verdict {
  return Verdict.declined + declineReasons.indexOf(reason);
}

/** The verdict that declines for a plugin's own reason number `own` (0 is the first of its `declineReasons`). */
export function declinedOwn(own: number): Verdict {
  return Verdict.declined + FIRST_PLUGIN_REASON + own;
}

/** The name of a declining verdict, for counters and people; `undefined` when it is no valid verdict. */
export function reasonName(verdict: Verdict, own: readonly string[] = []): string | undefined {
  const reason = verdict - Verdict.declined;
  return reason < FIRST_PLUGIN_REASON ? declineReasons[reason] : own[reason - FIRST_PLUGIN_REASON];
}
