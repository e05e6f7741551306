/** What the guest's frontend can take: the part of its keys that the frame path asks about. */

/** Features of a frontend, with the defaults of netif.h applied. */
export interface PeerFeatures {
  /** Packets of several slots (`feature-sg`). */
  readonly scatterGather: boolean;
  /** Large TCP segments over IPv4 (`feature-gso-tcpv4`). */
  readonly segmentationTcpv4: boolean;
  /** Large TCP segments over IPv6 (`feature-gso-tcpv6`). */
  readonly segmentationTcpv6: boolean;
  /** Blank checksums over IPv4 (absent `feature-no-csum-offload`). */
  readonly checksumIpv4: boolean;
  /** Blank checksums over IPv6 (`feature-ipv6-csum-offload`). */
  readonly checksumIpv6: boolean;
  /** It announces receive buffers that it posts (`feature-rx-notify`). */
  readonly receiveNotify: boolean;
}
