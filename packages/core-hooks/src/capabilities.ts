/**
 * What a plugin can do, as data that the host, `explain` and the conformance kit all read.
 */

/** Capabilities by name; a number is a limit or a count, and a missing one means no. */
export interface Capabilities {
  /** Receive filters per vif at most. */
  readonly receiveFilters?: number;
  /** Fills blank TCP and UDP checksums over IPv4. */
  readonly checksumIpv4?: boolean;
  /** Fills blank TCP and UDP checksums over IPv6. */
  readonly checksumIpv6?: boolean;
  /** Cuts TCP over IPv4. */
  readonly segmentationTcpv4?: boolean;
  /** Cuts TCP over IPv6. */
  readonly segmentationTcpv6?: boolean;
  /** Joins received TCP segments. */
  readonly receiveMerging?: boolean;
  /** Sends from the frame's own memory. */
  readonly zeroCopyTransmit?: boolean;
  /** Longest frame in bytes, Ethernet header included, that it sends uncut. */
  readonly maxFrameBytes?: number;
}
