/** What this backend offers, as rows of the store keys that say so. Written with InitWait, in one transaction. */

/** Features that can be left out, by what they do. */
export interface BackendFeatures {
  /** Packets of several slots. */
  readonly scatterGather: boolean;
  /** Large TCP segments over IPv4. */
  readonly segmentationTcpv4: boolean;
  /** Large TCP segments over IPv6. */
  readonly segmentationTcpv6: boolean;
  /** Blank checksums over IPv6. */
  readonly checksumIpv6: boolean;
  /** A channel per direction. */
  readonly splitEventChannels: boolean;
  /** The guest may choose its multicast groups, and change them at any time. */
  readonly multicastControl: boolean;
  /** The guest may say how its frames are hashed and spread over its queues. */
  readonly controlRing: boolean;
  /** The guest may ask for room before the data of each received slot. */
  readonly xdpHeadroom: boolean;
}

/** Each feature's keys. */
export const featureKeys: Readonly<Record<keyof BackendFeatures, readonly string[]>> = {
  scatterGather: ['feature-sg'],
  segmentationTcpv4: ['feature-gso-tcpv4'],
  segmentationTcpv6: ['feature-gso-tcpv6'],
  checksumIpv6: ['feature-ipv6-csum-offload'],
  splitEventChannels: ['feature-split-event-channels'],
  multicastControl: ['feature-multicast-control', 'feature-dynamic-multicast-control'],
  controlRing: ['feature-ctrl-ring'],
  xdpHeadroom: ['feature-xdp-headroom'],
};

/** Everything. */
export const allFeatures: BackendFeatures = {
  scatterGather: true,
  segmentationTcpv4: true,
  segmentationTcpv6: true,
  checksumIpv6: true,
  splitEventChannels: true,
  multicastControl: true,
  controlRing: true,
  xdpHeadroom: true,
};

/** The keys that say so. Page flipping is history; copying is what there is. */
export function featureValues(features: BackendFeatures, maxQueues: number): Record<string, string> {
  const values: Record<string, string> = {
    'feature-rx-copy': '1',
    'feature-rx-flip': '0',
    'multi-queue-max-queues': String(maxQueues),
    carrier: '1',
  };
  for (const [feature, keys] of Object.entries(featureKeys))
    for (const key of keys) values[key] = features[feature as keyof BackendFeatures] ? '1' : '0';
  return values;
}
