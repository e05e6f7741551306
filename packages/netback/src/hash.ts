/**
 * How a guest wants its received frames hashed and spread over its queues: what it says over the control ring.
 *
 * Every number of the guest's is judged here, before it is used (XSA-270). Asked once per frame by `Connection`
 * for the queue and by `GuestReceive` for the extra info, and only when the guest chose an algorithm.
 */
import type { Frame } from '@netaccel/core-hooks';
import { ControlStatus, HashAlgorithm, HashType } from '@netaccel/xen/netif';
import { locateIp } from './flow.js';
import type { IpPlace } from './flow.js';
import { Protocol } from './headers.js';
import { MOST_KEY_BYTES, Toeplitz } from './toeplitz.js';

/** Entries of the mapping at most (Linux: `XEN_NETBK_MAX_HASH_MAPPING_SIZE`). */
export const MOST_MAPPING_ENTRIES = 128;
const ALL_TYPES = HashType.ipv4 | HashType.ipv4Tcp | HashType.ipv6 | HashType.ipv6Tcp;
const PORTS_BYTES = 4;

/** The settings of one connection. */
export class HashSettings {
  /** The hash of the frame that was computed last, unsigned. */
  value = 0;
  /** Bit number of what was hashed of it. */
  type = 0;
  /** Types to hash. */
  flags = 0;
  private algorithm: number = HashAlgorithm.none;
  private readonly toeplitz = new Toeplitz();
  private mapping: Uint32Array = new Uint32Array(0);
  private readonly place: IpPlace = { version: 0, addresses: 0, transport: 0, protocol: 0 };

  /** @param queues queues of the connection. */
  constructor(private readonly queues: number) {}

  /** Whether the guest chose an algorithm: it spreads its frames then, not we. */
  get chosen(): boolean {
    return this.algorithm !== HashAlgorithm.none;
  }

  /** Entries of the mapping; 0 when the hash alone picks the queue. */
  get mappingSize(): number {
    return this.mapping.length;
  }

  /** SET_HASH_ALGORITHM. */
  setAlgorithm(algorithm: number): ControlStatus {
    if (algorithm !== HashAlgorithm.none && algorithm !== HashAlgorithm.toeplitz)
      return ControlStatus.invalidParameter;
    this.algorithm = algorithm;
    return ControlStatus.success;
  }

  /** GET_HASH_FLAGS: the types that can be hashed, or null while there is no algorithm. */
  supportedFlags(): number | null {
    return this.chosen ? ALL_TYPES : null;
  }

  /** SET_HASH_FLAGS. */
  setFlags(flags: number): ControlStatus {
    if (!this.chosen || (flags & ~ALL_TYPES) !== 0) return ControlStatus.invalidParameter;
    this.flags = flags;
    return ControlStatus.success;
  }

  /** SET_HASH_KEY: whether a key of that length can be taken; called before its bytes are read. */
  judgeKey(length: number): ControlStatus {
    return length > MOST_KEY_BYTES ? ControlStatus.bufferOverflow : ControlStatus.success;
  }

  /** The key's bytes, the driver's own copy. */
  setKey(key: Uint8Array): void {
    this.toeplitz.setKey(key);
  }

  /** SET_HASH_MAPPING_SIZE: a new mapping, all zero. */
  setMappingSize(entries: number): ControlStatus {
    if (entries > MOST_MAPPING_ENTRIES) return ControlStatus.invalidParameter;
    this.mapping = new Uint32Array(entries);
    return ControlStatus.success;
  }

  /** SET_HASH_MAPPING: whether that part is within the mapping; in numbers that do not wrap (XSA-270). */
  judgeMapping(offset: number, entries: number): ControlStatus {
    return offset + entries > this.mapping.length ? ControlStatus.invalidParameter : ControlStatus.success;
  }

  /** The entries from `offset` on, the driver's own copy: all are taken or none. */
  setMapping(offset: number, entries: Uint32Array): ControlStatus {
    if (entries.some((queue) => queue >= this.queues)) return ControlStatus.invalidParameter;
    this.mapping.set(entries, offset);
    return ControlStatus.success;
  }

  /** Hashes a frame; false when the flags name none of what it is. The most specific type wins. */
  compute(bytes: Uint8Array, frame: Frame): boolean {
    const { place, flags, toeplitz } = this;
    this.value = 0;
    if (!this.chosen || flags === 0 || !locateIp(bytes, frame.address, frame.length, place)) return false;
    const tcp = place.protocol === Protocol.tcp && place.transport + PORTS_BYTES <= frame.length;
    const [plain, withPorts] = place.version === 4 ? IPV4_TYPES : IPV6_TYPES;
    const addressBytes = place.version === 4 ? 8 : 32;
    const ports = tcp && (flags & withPorts) !== 0;
    if (!ports && (flags & plain) === 0) return false;
    let hash = toeplitz.add(bytes, frame.address + place.addresses, addressBytes, 0, 0);
    if (ports) hash = toeplitz.add(bytes, frame.address + place.transport, PORTS_BYTES, addressBytes, hash);
    this.type = 31 - Math.clz32(ports ? withPorts : plain);
    this.value = hash >>> 0;
    return true;
  }

  /** The queue of the frame that was computed last; a frame that has no hash counts as hash 0. */
  queue(): number {
    const { mapping, value } = this;
    return mapping.length === 0 ? value % this.queues : mapping[value % mapping.length]!;
  }
}

const IPV4_TYPES = [HashType.ipv4, HashType.ipv4Tcp] as const;
const IPV6_TYPES = [HashType.ipv6, HashType.ipv6Tcp] as const;
