/**
 * Receive filters: which frames of a port go to which VI. Written by plugins and the driver domain, kept and
 * looked up by the NIC. Every key has the destination MAC and the VLAN, so that a guest can only draw what is
 * addressed to it.
 */
/** What both kinds of port filter name. */
export interface FlowSpec {
  /** Destination MAC, 6 bytes. */
  readonly mac: ArrayLike<number>;
  /** VLAN id, 0 to 4095; left out for frames without a tag. */
  readonly vlan?: number;
  /** Transport protocol. */
  readonly protocol: 'tcp' | 'udp';
  /** Destination address: 4 bytes for IPv4, 16 for IPv6. */
  readonly localAddress: ArrayLike<number>;
  /** Destination port. */
  readonly localPort: number;
}

/** One connection: destination and source. */
export interface FullFilter extends FlowSpec {
  /** Which kind it is. */
  readonly kind: 'full';
  /** Source address, as long as `localAddress`. */
  readonly remoteAddress: ArrayLike<number>;
  /** Source port. */
  readonly remotePort: number;
}

/** One destination port, from anywhere. */
export interface LocalFilter extends FlowSpec {
  /** Which kind it is. */
  readonly kind: 'local';
}

/** One MAC on one VLAN. */
export interface MacVlanFilter {
  /** Which kind it is. */
  readonly kind: 'macVlan';
  /** Destination MAC, 6 bytes; it may be a group's. */
  readonly mac: ArrayLike<number>;
  /** VLAN id, 0 to 4095; left out for frames without a tag. */
  readonly vlan?: number;
}

/** One MAC, with any tag or none. */
export interface MacFilter {
  /** Which kind it is. */
  readonly kind: 'mac';
  /** Destination MAC, 6 bytes; it may be a group's. */
  readonly mac: ArrayLike<number>;
}

/** Frames to groups and to broadcast that nothing else matches. */
export interface UnmatchedMulticastFilter {
  /** Which kind it is. */
  readonly kind: 'unmatchedMulticast';
}

/** All other frames that nothing else matches (promiscuous). */
export interface UnmatchedUnicastFilter {
  /** Which kind it is. */
  readonly kind: 'unmatchedUnicast';
}

/** A filter that is found by its key. */
export type KeyedFilter = FullFilter | LocalFilter | MacVlanFilter | MacFilter;

/** A filter, most specific kind first; a frame goes where the most specific one that matches says. */
export type FilterSpec = KeyedFilter | UnmatchedMulticastFilter | UnmatchedUnicastFilter;

/** Kinds of filter, most specific first; the index is the kind's number in the NIC. */
export const filterKinds = [
  'full',
  'local',
  'macVlan',
  'mac',
  'unmatchedMulticast',
  'unmatchedUnicast',
] as const;
/** A kind of filter. */
export type FilterKind = (typeof filterKinds)[number];

/** A filter specification that cannot be. */
export class FilterSpecError extends Error {
  /** Stable code for programs. */
  readonly code = 'FILTER_SPEC';
  /** @param message what was expected and what was seen. */
  constructor(message: string) {
    super(message);
    this.name = 'FilterSpecError';
  }
}
