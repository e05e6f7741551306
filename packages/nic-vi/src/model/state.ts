/**
 * The NIC's own memory: what a device has in registers and SRAM lies in words of the machine's memory here, so
 * that a NIC object in each worker thread drives the same device. This file says what is where.
 *
 * Word numbers are relative to their block; counters and times are doubles (exact to 2^53), at an even word. Blocks
 * and the words that different threads write are kept 64 bytes apart.
 */
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
  /** `ClockState` bits. */
  clockState = 10,
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
  /** Filters in use, of all kinds. */
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
  /** A {@link TxBlocked}. */
  txBlocked = 19,
  /** Where a frame that was only half cut goes on, in payload bytes. */
  txResume = 20,
  /** Up to where completions were reported. */
  txReported = 21,
  /** 1 once the guest was told of the error. */
  txErrorReported = 22,
  /** Double: bytes that may be sent; Infinity without a rate limit. */
  txCredit = 24,
  /** Receive and event side, under the port's lock. */
  rxConsumed = 32,
  eventProduced = 33,
  overflowed = 34,
  /** Indices up to which there surely are receive descriptors, and room for events. */
  rxLimit = 38,
  eventLimit = 39,
  /** Double: when the delayed interrupt is due, or 0. */
  interruptDue = 36,
  /** 1 when the guest is told of time; and, a double, the time that it was told last. */
  timestamps = 40,
  toldTime = 42,
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

/** What a transmit queue waits for. */
export enum TxBlocked {
  nothing = 0,
  wire = 1,
  credit = 2,
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
export const nicCounters: Readonly<Record<string, string>> = {
  staleDoorbells: 'register writes for a VI that is gone',
  resets: 'resets',
  brokenLocks: 'locks taken from a thread that died with them: its batch is lost',
} satisfies Record<keyof typeof NicCount, string>;

/** Counters of a port. Tx is what it sent, rx what the wire brought. */
export const portCounters: Readonly<Record<string, string>> = {
  txFrames: 'frames put on the wire',
  txBytes: 'bytes of them',
  txNoLink: 'frames dropped because there was no link',
  rxFrames: 'frames from the wire',
  rxBytes: 'bytes of them',
  rxUnmatched: 'frames that no filter led anywhere',
  rxTooShort: 'frames shorter than an Ethernet header',
  rxNoVi: 'frames whose filter led to a VI that takes none',
  rxTooLong: 'frames longer than the port takes',
  rxAbandoned: 'frames that lay in the event queue of a VI when it was freed',
} satisfies Record<keyof typeof PortCount, string>;

/** Counters of a VI. */
export const viCounters: Readonly<Record<string, string>> = {
  txFrames: 'frames sent, after cutting',
  txBytes: 'bytes of them',
  txSegmented: 'large frames that were cut',
  txNoLink: 'frames dropped because there was no link',
  txSpoofed: 'frames dropped because their source was not allowed',
  txErrors: 'transmit errors: each halted the queue',
  txDropped: 'descriptors dropped when the VI was freed',
  txDoorbells: 'doorbells that found work',
  badDoorbells: 'doorbells with an index outside the ring',
  txCreditWaits: 'times the transmit queue had to wait for credit',
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
} satisfies Record<keyof typeof ViCount, string>;

/** Index of each counter of the NIC, as the compiler can put it into the code: in the order of the table. */
export enum NicCount {
  staleDoorbells,
  resets,
  brokenLocks,
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
  rxAbandoned,
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
  txCreditWaits,
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
