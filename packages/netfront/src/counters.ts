/**
 * One device's totals: what was moved, what was refused, and why. Numbers are exact to 2^53 and never fall
 * while the device lives, whatever backends and plugins come and go. Written by both paths, read by
 * `statistics()`.
 */

/** Totals of one device. */
export class Counters {
  /** Frames put on a transmit ring. */
  txSlowFrames = 0;
  /** Bytes of them. */
  txSlowBytes = 0;
  /** Frames that the backend answered with an error. */
  txErrors = 0;
  /** Frames that the backend answered as dropped. */
  txDropped = 0;
  /** Frames shorter than an Ethernet header, or longer than the protocol can say: not sent. */
  txBadLength = 0;
  /** Frames of a kind that the backend did not offer to take (segmented, or in several pieces): not sent. */
  txUnsupported = 0;
  /** Frames copied because they lay outside the transmit memory or in too many pieces. */
  txCopied = 0;
  /** Frames whose blank checksum was filled in here, because the backend does not. */
  txChecksummed = 0;
  /** Times that the queue was stopped. */
  txStops = 0;
  /** Frames on the transmit ring when the backend went: whether they were sent is not known. */
  txUnanswered = 0;
  /** Notifications sent to the backend, both directions. */
  notifications = 0;

  /** Frames delivered from a receive ring. */
  rxSlowFrames = 0;
  /** Bytes of them. */
  rxSlowBytes = 0;
  /** Packets that the backend answered with an error instead of data. */
  rxErrors = 0;
  /** Packets with an offset, a length, a flag or a count of slots that cannot be. */
  rxMalformed = 0;
  /** Packets with extra information that cannot be. */
  rxBadExtra = 0;
  /** Packets shorter than an Ethernet header, or longer than the protocol allows. */
  rxBadLength = 0;
  /** Segmented packets without a blank checksum: the pseudo header was summed here. */
  rxGsoFixed = 0;
  /** Packets dropped because no private buffer was left to copy them to (untrusted backend). */
  rxNoBuffer = 0;
  /** Packets that a backend put on a ring after the connection was closed here: one that hung, or was not waited for. */
  rxUnread = 0;
  /** Events that brought no work. */
  spuriousEvents = 0;

  /** Frames that a plugin took. */
  fastSent = 0;
  /** Bytes of them. */
  fastSentBytes = 0;
  /** Frames that a plugin completed. */
  fastCompleted = 0;
  /** Frames that a plugin took and never completed: taken back when it went. */
  fastTakenBack = 0;
  /** Times that a plugin had no room. */
  fastBusy = 0;
  /** Frames not offered, because earlier ones of their flow were on the slow path. */
  fastBehindSlow = 0;
  /** Times that the queue stood still until a flow's slow frames were gone, so that it could go fast. */
  fastDrains = 0;
  /** Times that a declined frame waited for its flow's fast frames. */
  fastWaits = 0;
  /** Frames that a plugin delivered. */
  fastReceived = 0;
  /** Bytes of them. */
  fastReceivedBytes = 0;
  /** Frames that a plugin delivered beyond all bounds: dropped, and the plugin detached. */
  fastOverrun = 0;
}
