/** Where the rings of a VI are, as its driver says it. */
import type { Address } from '@netaccel/core-hooks';

/** Where a VI's rings are and how it begins. Capacities are powers of two. */
export interface ViRings {
  /** First byte of the transmit ring, a page boundary. */
  readonly transmitRing: Address;
  /** Its descriptors. */
  readonly transmitCapacity: number;
  /** First byte of the receive ring, a page boundary. */
  readonly receiveRing: Address;
  /** Its descriptors. */
  readonly receiveCapacity: number;
  /** First byte of the event queue, a page boundary. */
  readonly eventQueue: Address;
  /** Its events. */
  readonly eventCapacity: number;
  /** The index that all three began at; 0 when left out. */
  readonly startIndex?: number;
}

/**
 * The mask that finds a slot of a ring.
 * @internal
 */
export function ringMask(what: string, capacity: number): number {
  if (!Number.isInteger(capacity) || capacity < 2 || (capacity & (capacity - 1)) !== 0)
    throw new RangeError(`${what} capacity: a power of two from 2 expected, ${capacity} seen`);
  return capacity - 1;
}
