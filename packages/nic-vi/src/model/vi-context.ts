/**
 * What the NIC writes down when a VI is allocated: its context, and its register page. Every field of the request is
 * judged first.
 */
import { PAGE_BYTES, type Address, type Memory } from '@netaccel/core-hooks';
import { NicError, type ViRequest } from '../control.js';
import { pair } from '../headers.js';
import { RING_LIMITS, Register, event, receiveDescriptor, transmitDescriptor } from '../layouts.js';
import { MAX_SPOOF_ADDRESSES, SPOOF_ADDRESS_WORDS, ViState, ViWord } from './state.js';

/** A quota that is none. */
export const NO_LIMIT = 0x7fff_ffff;

/**
 * Writes a VI, whose transmit lock is held.
 * @throws NicError `BAD_REQUEST`; nothing was written.
 */
export function writeVi(
  memory: Memory,
  vi: number,
  port: number,
  request: ViRequest,
  link: boolean,
  generation: number,
): void {
  const { words } = memory;
  const start = (request.startIndex ?? 0) >>> 0;
  inRange('owner', request.owner, 1, 0xffff);
  const spoofed = request.antiSpoof?.addresses ?? [];
  inRange('antiSpoof.addresses', spoofed.length, 0, MAX_SPOOF_ADDRESSES);
  for (const address of spoofed)
    if (address.length !== 4 && address.length !== 16)
      throw bad('antiSpoof.addresses', '4 or 16 bytes', address.length);
  const spoofMac = request.antiSpoof?.mac;
  if (spoofMac !== undefined) inRange('antiSpoof.mac', spoofMac.length, 6, 6);
  const page = pageOf(memory, 'registerPage', request.registerPage);
  const rings = [
    ring(memory, 'transmit', request.transmitCapacity, request.transmitPages, transmitDescriptor.size),
    ring(memory, 'receive', request.receiveCapacity, request.receivePages, receiveDescriptor.size),
    ring(memory, 'event', request.eventCapacity, request.eventPages, event.size),
  ] as const;

  // All but the lock, which is held.
  words.fill(0, vi, vi + ViWord.txLock);
  words.fill(0, vi + ViWord.txLock + 1, vi + ViWord.size);
  words[vi + ViWord.port] = port;
  words[vi + ViWord.owner] = request.owner;
  words[vi + ViWord.registerPage] = page;
  words[vi + ViWord.vector] = request.vector;
  words[vi + ViWord.txMask] = request.transmitCapacity - 1;
  words[vi + ViWord.rxMask] = request.receiveCapacity - 1;
  words[vi + ViWord.eventMask] = request.eventCapacity - 1;
  words[vi + ViWord.filterQuota] = request.filterQuota ?? NO_LIMIT;
  words[vi + ViWord.bufferQuota] = request.bufferQuota ?? NO_LIMIT;
  words[vi + ViWord.startIndex] = start;
  words[vi + ViWord.timestamps] = request.timestamps === true ? 1 : 0;
  words.set(rings[0], vi + ViWord.transmitPages);
  words.set(rings[1], vi + ViWord.receivePages);
  words.set(rings[2], vi + ViWord.eventPages);
  words[vi + ViWord.txConsumed] = words[vi + ViWord.txReported] = start;
  words[vi + ViWord.rxConsumed] = words[vi + ViWord.rxLimit] = start;
  words[vi + ViWord.eventProduced] = words[vi + ViWord.eventLimit] = start;
  if (spoofMac !== undefined) {
    // As FrameHeaders keeps a source: two bytes in the high half of mac1, four in mac2.
    words[vi + ViWord.spoofMac] = 1;
    words[vi + ViWord.spoofMac1] = pair([0, 0, spoofMac[0]!, spoofMac[1]!], 0) >>> 16;
    words[vi + ViWord.spoofMac2] = pair(spoofMac, 2);
  }
  words[vi + ViWord.spoofAddresses] = spoofed.length;
  spoofed.forEach((address, i) => {
    const at = vi + ViWord.spoofAddresses + 1 + i * SPOOF_ADDRESS_WORDS;
    words[at] = address.length === 4 ? 4 : 6;
    for (let k = 0; k < address.length; k += 4) words[at + 1 + k / 4] = pair(address, k);
  });

  const registers = page >>> 2;
  words.fill(0, registers, registers + PAGE_BYTES / 4);
  for (const register of ['transmitProducer', 'receiveProducer', 'eventConsumer', 'eventProducer'] as const)
    words[registers + (Register[register] >>> 2)] = start;
  words[registers + (Register.transmitRestart >>> 2)] = start;
  words[registers + (Register.generation >>> 2)] = generation;
  words[registers + (Register.link >>> 2)] = link ? 1 : 0;
  Atomics.store(words, registers + (Register.live >>> 2), 1);
  Atomics.store(words, vi + ViWord.state, ViState.live);
}

function ring(
  memory: Memory,
  what: keyof typeof RING_LIMITS,
  capacity: number,
  pages: ArrayLike<Address>,
  bytes: number,
): number[] {
  const limit = RING_LIMITS[what];
  if (
    !Number.isInteger(capacity) ||
    capacity < 2 ||
    capacity > limit.slots ||
    (capacity & (capacity - 1)) !== 0
  )
    throw bad(`${what}Capacity`, `a power of two from 2 to ${limit.slots}`, capacity);
  const needed = Math.ceil((capacity * bytes) / PAGE_BYTES);
  if (pages.length < needed || pages.length > limit.pages)
    throw bad(`${what}Pages`, `${needed} to ${limit.pages} pages`, pages.length);
  return Array.from(pages, (page) => pageOf(memory, `${what}Pages`, page));
}

function pageOf(memory: Memory, what: string, address: Address): Address {
  if (address <= 0 || address % PAGE_BYTES !== 0 || address + PAGE_BYTES > memory.bytes.length)
    throw bad(what, 'a page of the memory, not the first', address);
  return address;
}

function inRange(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw bad(what, `${least} to ${most}`, value);
}

function bad(what: string, expected: string, seen: number): NicError {
  return new NicError('BAD_REQUEST', `${what}: ${expected} expected, ${seen} seen`);
}
