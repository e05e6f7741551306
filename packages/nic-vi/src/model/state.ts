/**
 * The NIC's own memory: what a device has in registers and SRAM lies in words of the machine's memory here, so
 * that a NIC object in each worker thread drives the same device. This file says what is where.
 *
 * Word numbers are relative to their block; counters and times are doubles (exact to 2^53), at an even word. Blocks
 * and the words that different threads write are kept 64 bytes apart.
 */
import { PAGE_BYTES, type Address, type Memory } from '@netaccel/core-hooks';

/** How big a NIC is. */
export interface NicConfig {
  /** Ports; 1 when left out. */
  readonly ports?: number;
  /** VIs; 64 when left out. */
  readonly vis?: number;
  /** Buffer table entries, one for each page; 16384 when left out. */
  readonly bufferPages?: number;
  /** Filters of each port; 1024 when left out. */
  readonly filters?: number;
  /** Sets of VIs; 8 when left out. */
  readonly sets?: number;
  /** Payload bytes of a frame, without Ethernet header and tag; 1500 when left out. */
  readonly mtu?: number;
  /** Factory MAC of each port; 02:00:00:00:00:00 and following when left out. */
  readonly macs?: readonly ArrayLike<number>[];
}

/** Words at the start of the state. */
export enum NicWord {
  magic = 0,
  version = 1,
  ports = 2,
  vis = 3,
  bufferPages = 4,
  filterSlots = 5,
  sets = 6,
  maxFrameBytes = 7,
  generation = 8,
  bufferHint = 9,
  controlLock = 16,
  /** Double: microseconds. */
  now = 32,
  /** Counters of {@link nicCounters}, doubles. */
  counters = 48,
  size = 64,
}

/** Words of a port. */
export enum PortWord {
  /** Guards the receive side: filters, receive rings, event queues of the port's VIs, the wire towards it. */
  lock = 0,
  linkUp = 16,
  mac = 17,
  /** Filters in use of each of the four kinds that are found by hash. */
  kindCounts = 20,
  filterSequence = 24,
  filters = 25,
  /** Counters of {@link portCounters}, doubles. */
  counters = 32,
  size = 64,
}

/** What a VI's slot holds. */
export enum ViState {
  free = 0,
  live = 1,
  /** Flushing: nothing more is taken from its transmit ring. */
  draining = 2,
  /** The NIC was reset under it: its register page is known, so that stale writes are counted. */
  stale = 3,
}

/** Words of a VI. */
export enum ViWord {
  state = 0,
  port = 1,
  owner = 2,
  registerPage = 3,
  vector = 4,
  txMask = 5,
  rxMask = 6,
  eventMask = 7,
  filterQuota = 8,
  bufferQuota = 9,
  filters = 10,
  buffers = 11,
  startIndex = 12,
  /** 1 when source MACs are checked; the MAC as `FrameHeaders` keeps it. */
  spoofMac = 13,
  spoofMac1 = 14,
  spoofMac2 = 15,
  /** Transmit side, under its own lock. */
  txLock = 16,
  txConsumed = 17,
  /** `TransmitError` that halted the queue, or 0. */
  txHalted = 18,
  /** 1 while it waits for room on the wire. */
  txBlocked = 19,
  /** Where a frame that was only half cut goes on, in payload bytes. */
  txResume = 20,
  /** Up to where completions were reported. */
  txReported = 21,
  /** 1 once the guest was told of the error. */
  txErrorReported = 22,
  /** Receive and event side, under the port's lock. */
  rxConsumed = 32,
  eventProduced = 33,
  overflowed = 34,
  /** Indices up to which there surely are receive descriptors, and room for events. */
  rxLimit = 38,
  eventLimit = 39,
  /** Double: when the delayed interrupt is due, or 0. */
  interruptDue = 36,
  transmitPages = 64,
  receivePages = 72,
  eventPages = 80,
  /** Checked source addresses: how many, then version and four words of each. */
  spoofAddresses = 96,
  /** Counters of {@link viCounters}, doubles. */
  counters = 128,
  /** Room for the headers of the frame that is being sent: `HEADER_ROOM` bytes. */
  scratch = 192,
  size = 256,
}

/** Source addresses of one VI that can be checked. */
export const MAX_SPOOF_ADDRESSES = 4;
/** Words of one of them. */
export const SPOOF_ADDRESS_WORDS = 5;

/** Words of a buffer table entry. */
export enum BufferWord {
  /** Page address; in its low 12 bits the VI that registered it. */
  page = 0,
  /** Owner, or 0 for a free entry. */
  owner = 1,
  size = 2,
}

/** Words of a filter. */
export enum FilterWord {
  state = 0,
  hash = 1,
  key = 2,
  /** VI, or set with {@link SET_TARGET}. */
  target = 14,
  id = 15,
  /** Doubles. */
  hits = 16,
  lastHit = 18,
  /** VI whose quota it counts against. */
  vi = 20,
  kind = 21,
  size = 32,
}

/** What a filter's slot holds. */
export enum FilterState {
  /** Never used since the last clear: a search ends here. */
  empty = 0,
  /** Was used: a search goes on. */
  gone = 1,
  used = 2,
}

/** Marks a filter's target as a set. */
export const SET_TARGET = 0x8000;
/** First slots of a port's filters: the two that are not found by hash. */
export const UNMATCHED_MULTICAST_SLOT = 0;
/** The slot of `unmatchedUnicast`. */
export const UNMATCHED_UNICAST_SLOT = 1;
/** Slots before those that are found by hash. */
export const FIRST_HASHED_SLOT = 2;

/** Words of a set. */
export enum SetWord {
  count = 0,
  /** Changes with each allocation: threads make their hash tables anew. */
  sequence = 1,
  port = 2,
  key = 4,
  vis = 16,
  size = 80,
}
/** VIs of one set at most. */
export const SET_SIZE = 64;

/** Counters of the NIC. */
export const nicCounters = {
  staleDoorbells: 'register writes for a VI that is gone',
  resets: 'resets',
} as const;

/** Counters of a port. Tx is what it sent, rx what the wire brought. */
export const portCounters = {
  txFrames: 'frames put on the wire',
  txBytes: 'bytes of them',
  txNoLink: 'frames dropped because there was no link',
  rxFrames: 'frames from the wire',
  rxBytes: 'bytes of them',
  rxUnmatched: 'frames that no filter led anywhere',
  rxTooShort: 'frames shorter than an Ethernet header',
  rxNoVi: 'frames whose filter led to a VI that takes none',
  rxTooLong: 'frames longer than the port takes',
} as const;

/** Counters of a VI. */
export const viCounters = {
  txFrames: 'frames sent, after cutting',
  txBytes: 'bytes of them',
  txSegmented: 'large frames that were cut',
  txNoLink: 'frames dropped because there was no link',
  txSpoofed: 'frames dropped because their source was not allowed',
  txErrors: 'transmit errors: each halted the queue',
  txDropped: 'descriptors dropped when the VI was freed',
  txDoorbells: 'doorbells that found work',
  badDoorbells: 'doorbells with an index outside the ring',
  rxFrames: 'frames delivered',
  rxBytes: 'bytes of them',
  rxNoDescriptor: 'frames dropped for want of receive buffers',
  rxNoEventSpace: 'frames dropped because the event queue was full',
  rxRights: 'frames dropped because a receive descriptor named memory of another owner',
  rxChanged: 'frames dropped because they changed while they were copied',
  rxChecksumBad: 'frames delivered with a wrong checksum',
  events: 'events written',
  eventsLost: 'software, link and reset events that found the queue full',
  overflows: 'times the event queue became full',
  interrupts: 'interrupts raised',
} as const;

/** Index of each counter of the NIC, as the compiler can put it into the code: in the order of the table. */
export enum NicCount {
  staleDoorbells,
  resets,
}

/** Index of each counter of a port, as the compiler can put it into the code: in the order of the table. */
export enum PortCount {
  txFrames,
  txBytes,
  txNoLink,
  rxFrames,
  rxBytes,
  rxUnmatched,
  rxTooShort,
  rxNoVi,
  rxTooLong,
}

/** Index of each counter of a VI, as the compiler can put it into the code: in the order of the table. */
export enum ViCount {
  txFrames,
  txBytes,
  txSegmented,
  txNoLink,
  txSpoofed,
  txErrors,
  txDropped,
  txDoorbells,
  badDoorbells,
  rxFrames,
  rxBytes,
  rxNoDescriptor,
  rxNoEventSpace,
  rxRights,
  rxChanged,
  rxChecksumBad,
  events,
  eventsLost,
  overflows,
  interrupts,
}

/** First words of a state that {@link NicPlan} was made for. */
export const NIC_MAGIC = 0x4e69_6356;
/** Version of this layout. */
export const NIC_STATE_VERSION = 1;

/** Where each block of a NIC's state begins, in words of the memory. */
export interface NicPlan {
  readonly ports: number;
  readonly vis: number;
  readonly bufferPages: number;
  /** Slots that a hash can name, a power of two. */
  readonly filterSlots: number;
  readonly sets: number;
  /** First word of the state. */
  readonly base: number;
  readonly portBase: number;
  readonly viBase: number;
  readonly setBase: number;
  readonly filterBase: number;
  /** Words of one port's filters. */
  readonly filterWords: number;
  readonly bufferBase: number;
  /** Words of the whole. */
  readonly words: number;
}

/** Hashed slots for a number of filters: half of them stay free. */
function slotsFor(filters: number): number {
  let slots = 16;
  while (slots < filters * 2) slots *= 2;
  return slots;
}

function plan(
  address: Address,
  ports: number,
  vis: number,
  bufferPages: number,
  filterSlots: number,
  sets: number,
): NicPlan {
  const base = address >>> 2;
  const portBase = base + NicWord.size;
  const viBase = portBase + ports * PortWord.size;
  const setBase = viBase + vis * ViWord.size;
  const filterBase = setBase + sets * SetWord.size;
  const filterWords = (FIRST_HASHED_SLOT + filterSlots) * FilterWord.size;
  const bufferBase = filterBase + ports * filterWords;
  const words = bufferBase + bufferPages * BufferWord.size - base;
  return {
    ports,
    vis,
    bufferPages,
    filterSlots,
    sets,
    base,
    portBase,
    viBase,
    setBase,
    filterBase,
    filterWords,
    bufferBase,
    words,
  };
}

function checked(what: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(`${what}: ${least} to ${most} expected, ${value} seen`);
  return value;
}

function planOf(address: Address, config: NicConfig): NicPlan {
  return plan(
    address,
    checked('ports', config.ports ?? 1, 1, 8),
    checked('vis', config.vis ?? 64, 1, 4095),
    checked('bufferPages', config.bufferPages ?? 16384, 1, 1 << 20),
    slotsFor(checked('filters', config.filters ?? 1024, 1, 4096)),
    checked('sets', config.sets ?? 8, 0, 64),
  );
}

/** Bytes of a NIC's state, a whole number of pages. */
export function nicStateBytes(config: NicConfig = {}): number {
  return Math.ceil((planOf(0, config).words * 4) / PAGE_BYTES) * PAGE_BYTES;
}

/** Makes a NIC of zeroed or old memory at a page boundary. */
export function initialiseNicState(memory: Memory, address: Address, config: NicConfig): NicPlan {
  if (address % PAGE_BYTES !== 0) throw new RangeError(`state: a page boundary expected, ${address} seen`);
  const made = planOf(address, config);
  memory.clear(address, made.words * 4);
  const { words, bytes } = memory;
  const { base } = made;
  words[base + NicWord.version] = NIC_STATE_VERSION;
  words[base + NicWord.ports] = made.ports;
  words[base + NicWord.vis] = made.vis;
  words[base + NicWord.bufferPages] = made.bufferPages;
  words[base + NicWord.filterSlots] = made.filterSlots;
  words[base + NicWord.sets] = made.sets;
  words[base + NicWord.maxFrameBytes] = checked('mtu', config.mtu ?? 1500, 68, 65535) + 18;
  words[base + NicWord.generation] = 1;
  for (let port = 0; port < made.ports; port++) {
    const mac = config.macs?.[port] ?? [2, 0, 0, 0, 0, port];
    bytes.set(Array.from(mac).slice(0, 6), (made.portBase + port * PortWord.size + PortWord.mac) * 4);
  }
  Atomics.store(words, base + NicWord.magic, NIC_MAGIC);
  return made;
}

/** Finds the NIC that another thread made at `address`. */
export function attachNicState(memory: Memory, address: Address): NicPlan {
  const { words } = memory;
  const base = address >>> 2;
  const magic = Atomics.load(words, base + NicWord.magic);
  const version = words[base + NicWord.version]!;
  if (magic !== NIC_MAGIC || version !== NIC_STATE_VERSION)
    throw new RangeError(
      `state at ${address}: a NIC of version ${NIC_STATE_VERSION} expected, magic ${magic}, version ${version} seen; ` +
        `make it with Nic.create first, and use one version of @netaccel/nic-vi in all threads`,
    );
  return plan(
    address,
    words[base + NicWord.ports]!,
    words[base + NicWord.vis]!,
    words[base + NicWord.bufferPages]!,
    words[base + NicWord.filterSlots]!,
    words[base + NicWord.sets]!,
  );
}
