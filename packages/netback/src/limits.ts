/**
 * Everything that a guest can make this driver hold or do, bounded by name.
 *
 * One frozen record of defaults; a `Netback` takes a partial one in its options. The numbers of Linux's
 * xen-netback stand where it has one, so that a guest meets what it knows.
 */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import { MAX_PACKET_BYTES } from '@netaccel/xen/netif';

/** Bounds of one vif. */
export interface Limits {
  /** Queues offered to the guest (`multi-queue-max-queues`). */
  readonly maxQueues: number;
  /** Packets of one queue that one run of its task handles before the others have their turn. */
  readonly budget: number;
  /** Transmit buffers of 2 KiB, for packets that fit. */
  readonly smallBuffers: number;
  /** Transmit buffers of 64 KiB, for the others. */
  readonly largeBuffers: number;
  /** Bytes that wait per queue for the guest to post receive buffers (XSA-392); a multiple of the page. */
  readonly backlogBytes: number;
  /** Frames that wait per queue (XSA-392). */
  readonly backlogFrames: number;
  /** How long a frame waits for receive buffers before it is dropped (Linux: `rx_drain_timeout_msecs`). */
  readonly drainTimeoutMs: number;
  /** The same for a guest that does not announce its receive buffers (no `feature-rx-notify`). */
  readonly drainTimeoutWithoutNotifyMs: number;
  /** Without receive buffers for this long the carrier goes down (Linux: `rx_stall_timeout_msecs`). */
  readonly stallTimeoutMs: number;
  /**
   * Malformed packets in a row after which the guest is taken for hostile: one ring's worth. A packet that cannot
   * be copied counts, too, and eight good ones make up for one.
   */
  readonly malformedInARow: number;
  /** Multicast groups that a guest may ask for (Linux: `XEN_NETBK_MCAST_MAX`). */
  readonly multicastGroups: number;
  /**
   * Pages that each queue's guest may have kept mapped (`GET_GREF_MAPPING_SIZE`). Few, since mappings are the whole
   * driver domain's: 15 guests that take all they may still leave a lab's 4096 enough for every ring.
   */
  readonly staticGrants: number;
  /** How long a plugin's `probe` may take. */
  readonly probeTimeoutMs: number;
  /** How long a plugin's request to the guest's half waits for its answer when it does not say. */
  readonly requestTimeoutMs: number;
  /** How long each wait of a teardown lasts at most: for the plugin's halves, for frames still out. */
  readonly teardownTimeoutMs: number;
}

/**
 * Answers the limits when they can be kept to.
 * @throws RangeError naming the one that cannot: our own mistake.
 */
export function checkLimits(limits: Limits): Limits {
  for (const [name, value] of Object.entries(limits))
    if (!(value > 0) || (!name.endsWith('Ms') && !Number.isInteger(value)))
      throw new RangeError(`limits.${name}: expected a whole number above 0, saw ${value}`);
  if (limits.backlogBytes % PAGE_BYTES !== 0 || limits.backlogBytes <= MAX_PACKET_BYTES)
    throw new RangeError(
      `limits.backlogBytes: expected whole pages that hold the longest packet (${MAX_PACKET_BYTES + 1} at least), saw ${limits.backlogBytes}`,
    );
  return limits;
}

/** What a vif gets unless its options say otherwise. */
export const defaultLimits: Limits = Object.freeze({
  maxQueues: 4,
  budget: 64,
  smallBuffers: 256,
  largeBuffers: 16,
  backlogBytes: 256 * 1024,
  backlogFrames: 256,
  drainTimeoutMs: 10_000,
  drainTimeoutWithoutNotifyMs: 30,
  stallTimeoutMs: 60_000,
  malformedInARow: 256,
  multicastGroups: 64,
  staticGrants: 64,
  probeTimeoutMs: 5_000,
  requestTimeoutMs: 1_000,
  teardownTimeoutMs: 2_000,
});
