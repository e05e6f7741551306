/**
 * The control interface of one NIC port: what a backend plugin finds as `port.device` (in history: driverlink),
 * and what the driver domain's own NIC driver sets itself up with. Nothing here is on a frame path.
 */
import type { Address } from '@netaccel/core-hooks';
import type { FilterSpec } from './filter.js';

/** Protection domains by their owner, where a driver domain has NIC and guests to itself. */
export const Owner = {
  /** The driver domain's own memory. */
  driverDomain: 1,
  /** Of guest 0; each guest has the next one by its number. */
  firstGuest: 16,
} as const;

/** A VI of a port, by number. Meaningful for the NIC generation it was allocated in. */
export type ViId = number;
/** A set of VIs that frames are spread over. */
export type SetId = number;
/** A filter, by number; never 0. Receive events carry it. */
export type FilterId = number;

/** What a transmitted frame's headers must say for it to leave. */
export interface AntiSpoof {
  /** The only source MAC, 6 bytes. */
  readonly mac: ArrayLike<number>;
  /** The only source addresses of IPv4 and IPv6 frames, at most 4; left out, any. */
  readonly addresses?: readonly ArrayLike<number>[];
}

/** What a VI is made of. All pages were zeroed and are mapped for the device until the VI is freed. */
export interface ViRequest {
  /**
   * Protection domain, 1 to 65535: the VI's descriptors can name buffers of this owner only. VIs of one guest may
   * share it.
   */
  readonly owner: number;
  /** Pages of the transmit ring, in order. */
  readonly transmitPages: ArrayLike<Address>;
  /** Its descriptors, a power of two, up to 256 for each page. */
  readonly transmitCapacity: number;
  /** Pages of the receive ring. */
  readonly receivePages: ArrayLike<Address>;
  /** Its descriptors, a power of two, up to 512 for each page. */
  readonly receiveCapacity: number;
  /** Pages of the event queue. */
  readonly eventPages: ArrayLike<Address>;
  /** Its events, a power of two, up to 256 for each page; both other capacities and some is never too few. */
  readonly eventCapacity: number;
  /** The register page: the driver domain's, which it shares with the guest. */
  readonly registerPage: Address;
  /** What the NIC raises for an interrupt. */
  readonly vector: number;
  /** Checks on transmitted frames, and on what filters may lead to it: its own only. Left out, none. */
  readonly antiSpoof?: AntiSpoof;
  /** Whether `time` events say when frames were received and sent; left out, no. */
  readonly timestamps?: boolean;
  /** Filters at most; no limit when left out. */
  readonly filterQuota?: number;
  /** Buffer table entries (pages) at most; no limit when left out. */
  readonly bufferQuota?: number;
  /** Index that rings and event queue begin at; 0 when left out. */
  readonly startIndex?: number;
}

/** A filter as the NIC has it. */
export interface FilterState {
  /** Its number. */
  readonly id: FilterId;
  /** What it matches. */
  readonly spec: FilterSpec;
  /** Frames that it has matched. */
  readonly hits: number;
  /** The NIC's time in microseconds when it last matched, to within 16 batches, or when it was added. */
  readonly lastHitUs: number;
}

/** Counters by name: exact to 2^53. */
export type Counters = Readonly<Record<string, number>>;

/** What a port can do, as numbers: a limit, a count, or 1 for yes and 0 for no. */
export interface NicCapabilities {
  /** VIs of the NIC. */
  readonly vis: number;
  /** Filters of the port. */
  readonly filters: number;
  /** Buffer table entries (pages) of the NIC. */
  readonly bufferPages: number;
  /** VIs in one set at most. */
  readonly setSize: number;
  /** Longest frame on the wire in bytes, Ethernet header included. */
  readonly maxFrameBytes: number;
  /** Longest transmit before cutting. */
  readonly maxTransmitBytes: number;
  /** Fragments of one transmit at most. */
  readonly maxFragments: number;
  /** Fills TCP and UDP checksums. */
  readonly transmitChecksum: number;
  /** Cuts TCP over IPv4 and IPv6. */
  readonly segmentation: number;
  /** Verifies TCP, UDP and IPv4 header checksums. */
  readonly receiveChecksum: number;
  /** Checks source addresses. */
  readonly antiSpoof: number;
  /** Sends no more than it has credit for. */
  readonly transmitRate: number;
  /** Delays interrupts when asked to. */
  readonly interruptModeration: number;
  /** Delivers a group's frames to several VIs: no. */
  readonly multicastReplication: number;
  /** Delivers a frame to another VI of the same port: no, it goes out on the wire. */
  readonly loopback: number;
  /** Tells when frames were received and sent, for VIs that ask for it. */
  readonly timestamps: number;
}

/** Why the NIC refused. */
export type NicErrorCode =
  | 'NO_VI'
  | 'NO_SUCH_VI'
  | 'NO_FILTER_SPACE'
  | 'FILTER_EXISTS'
  | 'NO_SUCH_FILTER'
  | 'FILTER_QUOTA'
  | 'NOT_OWNER'
  | 'NO_BUFFER_SPACE'
  | 'BUFFER_QUOTA'
  | 'NO_SUCH_BUFFER'
  | 'NO_SET'
  | 'BAD_REQUEST';

/** The NIC refused a control request; nothing changed. */
export class NicError extends Error {
  /**
   * @param code which limit or rule.
   * @param message what was expected, what was seen, what to do.
   */
  constructor(
    readonly code: NicErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'NicError';
  }
}

/** Marks a {@link NicControl}, whichever copy of this package made it. */
export const NIC_CONTROL = 'netaccel.nic-vi.control/1';

/** Control of one port. Refusals throw {@link NicError} and change nothing. */
export interface NicControl {
  /** Always {@link NIC_CONTROL}. */
  readonly kind: typeof NIC_CONTROL;
  /** The port's number on its NIC. */
  readonly port: number;
  /** The port's factory MAC, 6 bytes. */
  readonly mac: Uint8Array;
  /** Counts resets: whatever was allocated in an earlier generation is gone. */
  readonly generation: number;
  /** Whether the port has link. */
  readonly linkUp: boolean;
  /** What it can do. */
  readonly capabilities: NicCapabilities;

  /** Makes a VI on this port. Its register page is written. */
  allocateVi(request: ViRequest): ViId;
  /**
   * Takes nothing more from the VI's transmit ring and reports what is done.
   * @returns true when nothing of it is inside the NIC; else call again after the wire has moved on.
   */
  flushVi(vi: ViId): boolean;
  /**
   * Gives a VI transmit credit (`ef_vi_pace` in bytes): it sends a frame only when it has credit for all of it, and
   * what it cannot pay for waits in its ring, in order. A VI has no limit until the first call; `Infinity` ends it.
   * @param bytes added to what it has.
   * @param most that it may have then.
   * @returns how many of the bytes did not fit.
   */
  addCredit(vi: ViId, bytes: number, most: number): number;
  /** Does what a VI's registers ask for: for machines where a register write reaches no device by itself. */
  serviceVi(vi: ViId): void;
  /** Ends a VI: its filters and buffers go first, then it. What it had not sent is counted and dropped. */
  freeVi(vi: ViId): void;

  /**
   * Makes pages known to the device as buffers of the VI's owner.
   * @returns the bus address of the first; the others follow it, 4096 apart.
   */
  registerBuffers(vi: ViId, pages: ArrayLike<Address>): number;
  /** Ends `count` pages of a registration, from bus address `bus` on. No DMA touches them afterwards. */
  unregisterBuffers(vi: ViId, bus: number, count: number): void;

  /** Adds a filter that leads to the VI. Refuses a key that is there already. */
  addFilter(vi: ViId, spec: FilterSpec): FilterId;
  /** Adds a filter that spreads flows over a set; it counts against the quota of the set's first VI. */
  addSetFilter(set: SetId, spec: FilterSpec): FilterId;
  /** Leads a filter to another VI, at once: no frame is lost or seen twice. */
  retargetFilter(id: FilterId, vi: ViId): void;
  /** Ends a filter. */
  removeFilter(id: FilterId): void;
  /** The VI's filters. */
  filters(vi: ViId): FilterState[];

  /** Makes a set of VIs; frames are spread by the Toeplitz hash of their addresses and ports. */
  allocateSet(vis: readonly ViId[], key?: ArrayLike<number>): SetId;
  /** Ends a set and its filters. */
  freeSet(set: SetId): void;

  /**
   * Puts a software event into the VI's event queue, behind every event that is there: a marker.
   * @returns false when the queue is full.
   */
  putEvent(vi: ViId, value: number): boolean;
  /** The VI's counters. */
  viStatistics(vi: ViId): Counters;
  /** The port's counters. */
  portStatistics(): Counters;
  /** The VI's state for `explain`. */
  describeVi(vi: ViId): Readonly<Record<string, unknown>>;
}

/** Whether a port's device is one that this package's plugins can drive. */
export function isNicControl(device: unknown): device is NicControl {
  return typeof device === 'object' && device !== null && (device as { kind?: unknown }).kind === NIC_CONTROL;
}
