/**
 * The wire's own memory: what joins two ports, in words of the machine's memory, for every thread alike.
 * Each direction has its words, its queue of frames under way, and its ring of captured frames; all of them are
 * guarded by the lock of the port that the direction leads to.
 */
import { PAGE_BYTES, type Address, type Memory } from '@netaccel/core-hooks';

/** How big a wire is. */
export interface WireConfig {
  /** Frames under way in one direction, when the wire has a rate, a delay or faults; 512 when left out. */
  readonly slots?: number;
  /** Captured frames of one direction that wait for the reader; 0 (no capture) when left out. */
  readonly captureSlots?: number;
  /** Payload bytes of a frame that it carries; 1500 when left out. */
  readonly mtu?: number;
}

/** What happens to the transport checksum that a NIC is asked to fill in. */
export const WireChecksums = {
  /** It is computed: the bytes on the wire are what a wire has. */
  full: 0,
  /** The field holds the pseudo header's sum and the frame carries a mark, as between Linux's veth ends. */
  blank: 1,
} as const;
/** One of {@link WireChecksums}. */
export type WireChecksums = (typeof WireChecksums)[keyof typeof WireChecksums];

/** Words at the start. */
export enum WireWord {
  magic = 0,
  slots = 1,
  captureSlots = 2,
  slotBytes = 3,
  maxFrameBytes = 4,
  size = 32,
}

/** Words of one direction. */
export enum DirectionWord {
  /** 1 while frames must go through the queue: a rate, a delay, faults or a capture is set. */
  slow = 0,
  checksums = 1,
  capture = 2,
  /** 1 while a VI at the sending end waits for room. */
  waiting = 3,
  head = 4,
  tail = 5,
  captureHead = 6,
  captureTail = 7,
  /** Doubles. */
  bitsPerSecond = 8,
  delayUs = 10,
  lineFreeUs = 12,
  /** State of the random numbers that faults are drawn from. */
  random = 14,
  /** Probability of each fault, of 2^32. */
  drop = 16,
  corrupt = 17,
  duplicate = 18,
  scripted = 19,
  /** Pairs of frame number and fault. */
  script = 20,
  /** Counters of {@link wireCounters}, doubles. */
  counters = 84,
  size = 128,
}

/** Scripted faults of one direction at most. */
export const MAX_SCRIPTED_FAULTS = 32;

/** Words before the bytes of a frame in a slot. */
export enum SlotWord {
  /** Double: when it arrives; for a captured frame, when it was sent. */
  time = 0,
  length = 2,
  /** What is known of its checksum; for a captured frame, the VI that sent it. */
  checksum = 3,
  size = 4,
}

/** Counters of one direction. */
export const wireCounters: Readonly<Record<string, string>> = {
  frames: 'frames that entered',
  bytes: 'bytes of them',
  tooLong: 'frames dropped because the wire does not carry that length',
  changed: 'frames dropped because their sender changed their addresses while they were copied',
  dropped: 'frames dropped by a fault',
  corrupted: 'frames of which a fault changed a bit',
  duplicated: 'frames that a fault sent twice',
  captured: 'frames captured',
  captureLost: 'frames not captured because the reader was slow',
} satisfies Record<keyof typeof WireCount, string>;

/** Index of each counter, as the compiler can put it into the code: in the order of the table. */
export enum WireCount {
  frames,
  bytes,
  tooLong,
  changed,
  dropped,
  corrupted,
  duplicated,
  captured,
  captureLost,
}

/** Marks a wire's state. */
export const WIRE_MAGIC = 0x5769_7265;

/** Where each block of a wire's state begins, in words of the memory. */
export interface WirePlan {
  readonly base: number;
  readonly slots: number;
  readonly captureSlots: number;
  /** Words of one slot. */
  readonly slotWords: number;
  readonly maxFrameBytes: number;
  /** First word of each direction. */
  readonly directions: readonly [number, number];
  /** First word of each direction's queue. */
  readonly queues: readonly [number, number];
  /** First word of each direction's capture ring. */
  readonly captures: readonly [number, number];
  /** Words of the whole. */
  readonly words: number;
}

function plan(address: Address, slots: number, captureSlots: number, maxFrameBytes: number): WirePlan {
  const base = address >>> 2;
  const slotWords = SlotWord.size + Math.ceil(maxFrameBytes / 16) * 4;
  const first = base + WireWord.size;
  const queue = first + 2 * DirectionWord.size;
  const capture = queue + 2 * slots * slotWords;
  return {
    base,
    slots,
    captureSlots,
    slotWords,
    maxFrameBytes,
    directions: [first, first + DirectionWord.size],
    queues: [queue, queue + slots * slotWords],
    captures: [capture, capture + captureSlots * slotWords],
    words: capture + 2 * captureSlots * slotWords - base,
  };
}

function planOf(address: Address, config: WireConfig): WirePlan {
  const slots = config.slots ?? 512;
  const captureSlots = config.captureSlots ?? 0;
  if (slots < 2 || (slots & (slots - 1)) !== 0 || (captureSlots & (captureSlots - 1)) !== 0)
    throw new RangeError(`slots, captureSlots: powers of two expected, ${slots} and ${captureSlots} seen`);
  return plan(address, slots, captureSlots, (config.mtu ?? 1500) + 18);
}

/** Bytes of a wire's state, a whole number of pages. */
export function wireStateBytes(config: WireConfig = {}): number {
  return Math.ceil((planOf(0, config).words * 4) / PAGE_BYTES) * PAGE_BYTES;
}

/** Makes a wire of memory at a page boundary. */
export function initialiseWireState(memory: Memory, address: Address, config: WireConfig): WirePlan {
  const made = planOf(address, config);
  memory.clear(address, made.words * 4);
  const { words } = memory;
  words[made.base + WireWord.slots] = made.slots;
  words[made.base + WireWord.captureSlots] = made.captureSlots;
  words[made.base + WireWord.maxFrameBytes] = made.maxFrameBytes;
  Atomics.store(words, made.base, WIRE_MAGIC);
  return made;
}

/** Finds the wire that another thread made. */
export function attachWireState(memory: Memory, address: Address): WirePlan {
  const { words } = memory;
  const base = address >>> 2;
  const magic = Atomics.load(words, base);
  if (magic !== WIRE_MAGIC)
    throw new RangeError(
      `state at ${address}: a wire expected, magic ${magic} seen; make it with Wire.create first`,
    );
  return plan(
    address,
    words[base + WireWord.slots]!,
    words[base + WireWord.captureSlots]!,
    words[base + WireWord.maxFrameBytes]!,
  );
}
