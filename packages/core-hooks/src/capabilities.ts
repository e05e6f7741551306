/**
 * What a plugin can do, as data that the host, `explain` and the conformance kit all read.
 */

/** Capabilities by name; a number is a limit or a count, and a missing one means no. */
export interface Capabilities {
  /** Receive filters per vif at most. */
  readonly receiveFilters?: number;
  /**
   * Receives all that is addressed to the guest, by filters on its MAC address: any protocol, any tag, fragments.
   * Without it each filter is for one flow of TCP or UDP.
   */
  readonly receivesAll?: boolean;
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
  /** Sends TCP and UDP over IPv6; without it every IPv6 frame is declined. */
  readonly ipv6?: boolean;
  /** Sends frames with a VLAN tag; without it they are declined. */
  readonly vlan?: boolean;
  /** Sends fragments of IP packets; without it they are declined. */
  readonly ipFragments?: boolean;
  /** Keeps to a vif's transmit rate limit by the credit that it is given; a vif with a limit is not given to others. */
  readonly transmitRate?: boolean;
  /** Longest frame in bytes, Ethernet header included, that it sends uncut; the device's MTU and header when left out. */
  readonly maxFrameBytes?: number;
}

/** Every capability, and whether it is a yes or no or a number: what a definition is judged by. */
export const capabilityKinds: Readonly<Record<keyof Capabilities, 'boolean' | 'number'>> = {
  receiveFilters: 'number',
  receivesAll: 'boolean',
  checksumIpv4: 'boolean',
  checksumIpv6: 'boolean',
  segmentationTcpv4: 'boolean',
  segmentationTcpv6: 'boolean',
  receiveMerging: 'boolean',
  zeroCopyTransmit: 'boolean',
  ipv6: 'boolean',
  vlan: 'boolean',
  ipFragments: 'boolean',
  transmitRate: 'boolean',
  maxFrameBytes: 'number',
};
