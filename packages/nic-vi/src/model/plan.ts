/**
 * How a NIC's state is laid out for its sizes: made by whoever creates the NIC, found again by every other thread.
 */
import { PAGE_BYTES, type Address, type Memory } from '@netaccel/core-hooks';
import { BufferWord, FIRST_HASHED_SLOT, FilterWord, NicWord, PortWord, SetWord, ViWord } from './state.js';

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

/** First words of a state that {@link NicPlan} was made for. */
export const NIC_MAGIC = 0x4e69_6356;
/** Version of this layout. */
export const NIC_STATE_VERSION = 2;

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
