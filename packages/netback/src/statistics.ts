/**
 * What a vif counts. Every packet that is not delivered is counted under a reason of these tables, so nothing
 * is lost without a name. Totals are exact to 2^53 and never go back. Written by the frame path; read by
 * `Netback.statistics`.
 */

/** Why a packet of the guest was answered with an error, in counter order. */
export const txErrorReasons = [
  'too-short', // fewer bytes than an Ethernet header
  'too-many-slots', // more than a backend must accept
  'crosses-page', // a fragment reaches over the end of its page
  'fragments-exceed-total', // the later fragments add up to more than the first slot says
  'extra-info', // unknown type, or more of them than there are types
  'segmentation', // unknown type, no segment size, or headers that cannot be cut that way
  'checksum', // a blank checksum in a packet that has no place for one
  'copy-failed', // the guest's grant could not be copied from
  'multicast-full', // a multicast group beyond the quota
  'spoofed', // from another MAC or IP address than the vif's keys name
] as const;
/** One of {@link txErrorReasons}. */
export type TxErrorReason = (typeof txErrorReasons)[number];

/** Why a frame did not reach the guest, in counter order. */
export const rxDropReasons = [
  'not-connected', // no rings
  'stalled', // the guest posts no buffers: the carrier is down
  'queue-full', // more waits for receive buffers than may
  'expired', // it waited too long for receive buffers
  'too-short', // fewer bytes than an Ethernet header
  'too-long', // more bytes than one packet of this guest can have
  'too-many-fragments', // a chain that one batch of copies cannot take
  'too-many-segments', // it would be cut into more slots than the ring has
  'segmentation', // the guest cannot cut it, and neither can software: headers not understood
  'checksum', // the guest cannot fill its blank checksum, and neither can software
  'multicast-filtered', // a group that the guest did not ask for
  'copy-failed', // the guest's grant could not be copied to
] as const;
/** One of {@link rxDropReasons}. */
export type RxDropReason = (typeof rxDropReasons)[number];

type Numbers<Reason extends string> = Readonly<Record<Reason, number>>;

function numbered<Reason extends string>(reasons: readonly Reason[]): Numbers<Reason> {
  return Object.freeze(Object.fromEntries(reasons.map((reason, i) => [reason, i])) as Record<Reason, number>);
}

/** Counter numbers of the transmit errors. */
export const TxError = numbered(txErrorReasons);
/** Counter numbers of the receive drops. */
export const RxDrop = numbered(rxDropReasons);

/** What `Netback.statistics` answers; tx and rx are the guest's. */
export interface NetbackStatistics {
  /** Frames taken from the guest and handed to the network. */
  txFrames: number;
  /** Bytes of them. */
  txBytes: number;
  /** Frames put on the guest's receive rings; a frame cut by software counts once for each segment. */
  rxFrames: number;
  /** Bytes of them. */
  rxBytes: number;
  /** Frames that software cut because the guest takes no large segments. */
  rxCut: number;
  /** Checksums that software filled because the guest does not. */
  rxChecksumsFilled: number;
  /** Frames that waited for receive buffers. */
  rxQueued: number;
  /** Times that transmit waited for the rate limit's next credit. */
  txRateWaits: number;
  /** Times that transmit waited for buffers that the network had not given back. */
  txBufferWaits: number;
  /** Times that the guest's receiver was found stalled. */
  rxStalls: number;
  /** Events that brought no work. */
  spuriousEvents: number;
  /** Breaches of the ring protocol for which the vif was fenced. */
  breaches: number;
  /** Packets answered with an error, by reason. */
  txErrors: Record<TxErrorReason, number>;
  /** Frames not delivered to the guest, by reason. */
  rxDropped: Record<RxDropReason, number>;
}

/** The live counters of one vif. */
export class Counters {
  txFrames = 0;
  txBytes = 0;
  rxFrames = 0;
  rxBytes = 0;
  rxCut = 0;
  rxChecksumsFilled = 0;
  rxQueued = 0;
  txRateWaits = 0;
  txBufferWaits = 0;
  rxStalls = 0;
  spuriousEvents = 0;
  breaches = 0;
  /** Indexed by {@link TxError}. */
  readonly txErrors = new Float64Array(txErrorReasons.length);
  /** Indexed by {@link RxDrop}. */
  readonly rxDropped = new Float64Array(rxDropReasons.length);

  /** A copy for the caller to keep. */
  snapshot(): NetbackStatistics {
    const { txErrors, rxDropped, ...totals } = this;
    return {
      ...totals,
      txErrors: named(txErrorReasons, txErrors),
      rxDropped: named(rxDropReasons, rxDropped),
    };
  }
}

function named<Reason extends string>(
  reasons: readonly Reason[],
  counts: Float64Array,
): Record<Reason, number> {
  return Object.fromEntries(reasons.map((reason, i) => [reason, counts[i]!])) as Record<Reason, number>;
}
