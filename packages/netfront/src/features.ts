/**
 * What the two halves agree on: the feature keys as one table, what the backend offered, and what this side
 * says in return. Used once for each connection, before rings are made.
 *
 * The keys and their defaults are those of netif.h; a value that is no number counts as absent, as in Linux.
 */
import { MAX_XDP_HEADROOM } from '@netaccel/xen/netif';
import type { Store } from '@netaccel/xen/store';
import type { TransmitFeatures } from './transmit.js';
import type { ReceiveFeatures } from './receive-scan.js';
import type { ReceiveHash } from './control.js';

/** What this side is willing to do; all true when left out. */
export interface NetfrontFeatures {
  /** Packets in several pieces. */
  readonly scatterGather: boolean;
  /** Segments of TCP over IPv4 that are cut later; needs `scatterGather`. */
  readonly segmentationTcpv4: boolean;
  /** The same over IPv6. */
  readonly segmentationTcpv6: boolean;
  /** Blank checksums over IPv4. */
  readonly checksumIpv4: boolean;
  /** Blank checksums over IPv6. */
  readonly checksumIpv6: boolean;
  /** Transmit and receive events on channels of their own. */
  readonly splitChannels: boolean;
  /** Queues at most: 1 when left out. One thread serves them all; more help a backend with threads. */
  readonly queues: number;
  /** False: the backend is not trusted, whatever the `trusted` key says. */
  readonly trusted: boolean;
  /** How the backend shall hash received frames and spread them over the queues; null leaves it to the backend. */
  readonly hash: ReceiveHash | null;
  /** The backend is asked to keep pages mapped, as many as it takes; false when left out. */
  readonly staticGrants: boolean;
  /** Bytes of room that are wanted before the data of each received page (`xdp-headroom`); 0 when left out. */
  readonly headroom: number;
  /**
   * Group addresses that frames are wanted of, six bytes each: the backend is asked to keep the others back. Null, when
   * left out: all groups.
   */
  readonly groups: readonly Uint8Array[] | null;
}

/** All that this side can do. */
export const ALL_FEATURES: NetfrontFeatures = {
  scatterGather: true,
  segmentationTcpv4: true,
  segmentationTcpv6: true,
  checksumIpv4: true,
  checksumIpv6: true,
  splitChannels: true,
  queues: 1,
  trusted: true,
  hash: null,
  staticGrants: false,
  headroom: 0,
  groups: null,
};

/** What the backend may send. */
export interface AgreedReceive extends ReceiveFeatures {
  /** Packets in several pieces. */
  readonly scatterGather: boolean;
}

/** What both sides do. */
export interface Agreement {
  /** What the backend takes. */
  readonly transmit: TransmitFeatures;
  /** What the backend may send. */
  readonly receive: AgreedReceive;
  /** Queues. */
  readonly queues: number;
  /** The backend knows of several queues, so their number is written even if it is one. */
  readonly multiQueue: boolean;
  /** Transmit and receive have channels of their own. */
  readonly splitChannels: boolean;
  /** Received frames may be read in pages that the backend can write. */
  readonly trusted: boolean;
  /** There is a control ring, by which the backend is told how to hash. */
  readonly hash: ReceiveHash | null;
  /** There is a control ring, by which the backend is asked to keep pages mapped. */
  readonly staticGrants: boolean;
  /** Bytes of room that are asked for before received data; null when the backend leaves none. */
  readonly headroom: number | null;
  /** How the backend lets group frames be chosen: not at all, for the whole of a connection, or at any time. */
  readonly multicast: MulticastControl;
}

/** What a backend offers of multicast control (netif.h). */
export type MulticastControl = 'none' | 'static' | 'dynamic';

/** Keys of the backend's directory that are read, and what holds when one is absent. */
export const BACKEND_KEYS = {
  'feature-sg': 0,
  'feature-gso-tcpv4': 0,
  'feature-gso-tcpv6': 0,
  'feature-no-csum-offload': 0,
  'feature-ipv6-csum-offload': 0,
  'feature-split-event-channels': 0,
  'feature-rx-copy': 0,
  'feature-ctrl-ring': 0,
  'feature-xdp-headroom': 0,
  'feature-multicast-control': 0,
  'feature-dynamic-multicast-control': 0,
  'multi-queue-max-queues': 1,
} as const;

/** The value of a numeric key: decimal, at most 32 bits. */
export function parseKey(text: string | null, absent: number): number {
  if (text === null || !/^\d{1,10}$/.test(text)) return absent;
  const value = Number(text);
  return value <= 0xffff_ffff ? value : absent;
}

/** The backend does not offer what no frontend can do without. */
export class BackendUnfitError extends Error {
  /** Stable code for programs. */
  readonly code = 'BACKEND_UNFIT';
  /** @param message which key, what was expected, what was seen. */
  constructor(message: string) {
    super(message);
    this.name = 'BackendUnfitError';
  }
}

/**
 * Reads what a backend offers, and settles what both sides do.
 * @param store this domain's.
 * @param backend the backend's directory.
 * @param own what this side is willing to do.
 * @param trustedKey value of the frontend's `trusted` key.
 * @throws BackendUnfitError when it can not copy, StoreError.
 */
export async function agree(
  store: Store,
  backend: string,
  own: NetfrontFeatures,
  trustedKey: string | null,
): Promise<Agreement> {
  const values = await Promise.all(
    Object.entries(BACKEND_KEYS).map(async ([key, absent]) => {
      const text = await store.readOptional(`${backend}/${key}`);
      return [key, { value: parseKey(text, absent), there: text !== null }] as const;
    }),
  );
  const offers = Object.fromEntries(values) as Record<
    keyof typeof BACKEND_KEYS,
    { value: number; there: boolean }
  >;
  const has = (key: keyof typeof BACKEND_KEYS): boolean => offers[key].value !== 0;
  if (!has('feature-rx-copy'))
    throw new BackendUnfitError(
      `${backend}/feature-rx-copy: expected 1, saw 0 or nothing; a backend that only flips pages is not supported`,
    );
  const sg = own.scatterGather;
  return {
    transmit: {
      scatterGather: has('feature-sg'),
      segmentationTcpv4: has('feature-sg') && has('feature-gso-tcpv4'),
      segmentationTcpv6: has('feature-sg') && has('feature-gso-tcpv6'),
      checksumIpv4: !has('feature-no-csum-offload'),
      checksumIpv6: has('feature-ipv6-csum-offload'),
    },
    receive: {
      scatterGather: sg,
      segmentationTcpv4: sg && own.segmentationTcpv4,
      segmentationTcpv6: sg && own.segmentationTcpv6,
    },
    queues: Math.max(1, Math.min(own.queues, offers['multi-queue-max-queues'].value)),
    multiQueue: offers['multi-queue-max-queues'].there,
    splitChannels: own.splitChannels && has('feature-split-event-channels'),
    trusted: own.trusted && parseKey(trustedKey, 1) !== 0,
    hash: has('feature-ctrl-ring') ? own.hash : null,
    staticGrants: has('feature-ctrl-ring') && own.staticGrants,
    headroom: has('feature-xdp-headroom') ? Math.min(own.headroom, MAX_XDP_HEADROOM) : null,
    multicast: !has('feature-multicast-control')
      ? 'none'
      : has('feature-dynamic-multicast-control')
        ? 'dynamic'
        : 'static',
  };
}

/**
 * The feature keys that this side writes. As in Linux's netfront, what is not wanted is left out, except
 * `feature-no-csum-offload`, which says no by being there.
 */
export function frontendKeys(own: NetfrontFeatures, agreement: Agreement): Record<string, string> {
  const keys: Record<string, string> = { 'request-rx-copy': '1', 'feature-rx-notify': '1' };
  if (own.scatterGather) {
    keys['feature-sg'] = '1';
    if (own.segmentationTcpv4) keys['feature-gso-tcpv4'] = '1';
    if (own.segmentationTcpv6) keys['feature-gso-tcpv6'] = '1';
  }
  if (!own.checksumIpv4) keys['feature-no-csum-offload'] = '1';
  if (own.checksumIpv6) keys['feature-ipv6-csum-offload'] = '1';
  if (agreement.headroom !== null) keys['xdp-headroom'] = String(agreement.headroom);
  // With a backend that lets it change at any time, the groups are joined first and this is asked for then.
  if (own.groups !== null && agreement.multicast === 'static') keys['request-multicast-control'] = '1';
  return keys;
}

/** Every key that a connection may have written: removed before the next one writes its own. */
export const OWN_KEYS = [
  'tx-ring-ref',
  'rx-ring-ref',
  'event-channel',
  'event-channel-tx',
  'event-channel-rx',
  'multi-queue-num-queues',
  'ctrl-ring-ref',
  'event-channel-ctrl',
  'request-rx-copy',
  'feature-rx-notify',
  'feature-sg',
  'feature-gso-tcpv4',
  'feature-gso-tcpv6',
  'feature-no-csum-offload',
  'feature-ipv6-csum-offload',
  'xdp-headroom',
  'request-multicast-control',
] as const;
