/**
 * The frames of frames mode: UDP over IPv4 with a sequence number, so that a receiver can say what was lost,
 * doubled, reordered or corrupted. Written by {@link FrameSource}, judged by {@link FrameCheck}.
 *
 * Payload: sequence number u32, flow u16, frame length u16, stamp u32, a body of known bytes, and a tail u32
 * at the very end. The stamp and the tail are computed from the other three, differently.
 */
import type { Address, Memory } from '@netaccel/core-hooks';

/** Ethernet, IPv4 and UDP headers. */
export const HEADER_BYTES = 42;
const SEQUENCE = HEADER_BYTES;
const FLOW = SEQUENCE + 4;
const LENGTH = FLOW + 2;
const STAMP = LENGTH + 2;
/** Where the body begins. */
export const BODY = STAMP + 4;
const TAIL_BYTES = 4;
/** The shortest frame that has all fields. */
export const SHORTEST_FRAME_BYTES = BODY + TAIL_BYTES + 2;
/** UDP port that the flows go to, plus the flow's number. */
export const FIRST_PORT = 7000;

/** Who a flow is between. */
export interface Endpoints {
  /** Source MAC address, 6 bytes. */
  readonly sourceMac: Uint8Array;
  /** Destination MAC address, 6 bytes. */
  readonly destinationMac: Uint8Array;
  /** Source IPv4 address, 4 bytes. */
  readonly sourceIp: Uint8Array;
  /** Destination IPv4 address, 4 bytes. */
  readonly destinationIp: Uint8Array;
}

/** A frame of `frameBytes` with every fixed byte in place: headers, checksum of the IP header, body. */
export function template(endpoints: Endpoints, flow: number, frameBytes: number): Uint8Array {
  const frame = new Uint8Array(frameBytes);
  const view = new DataView(frame.buffer);
  frame.set(endpoints.destinationMac, 0);
  frame.set(endpoints.sourceMac, 6);
  view.setUint16(12, 0x0800);
  view.setUint16(14, 0x4500);
  view.setUint16(16, frameBytes - 14);
  view.setUint16(20, 0x4000); // don't fragment
  view.setUint16(22, 0x4011); // ttl 64, UDP
  frame.set(endpoints.sourceIp, 26);
  frame.set(endpoints.destinationIp, 30);
  view.setUint16(34, FIRST_PORT + flow);
  view.setUint16(36, FIRST_PORT + flow);
  view.setUint16(38, frameBytes - 34); // UDP checksum 0: the payload carries its own
  let sum = 0;
  for (let i = 14; i < 34; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  for (let i = BODY; i < frameBytes - TAIL_BYTES; i++) frame[i] = bodyByte(i);
  return frame;
}

/** The body's byte at offset `i` of the frame. */
export function bodyByte(i: number): number {
  return (i * 167 + (i >>> 8) * 13) & 255;
}

/** Writes the fields of one frame into a copy of its template at `at` (an even address). */
export function stampFrame(
  memory: Memory,
  at: Address,
  flow: number,
  sequence: number,
  frameBytes: number,
): void {
  const stamp = mix(sequence, flow, frameBytes);
  store32(memory, at + SEQUENCE, sequence);
  memory.halves[(at + FLOW) >>> 1] = flow;
  memory.halves[(at + LENGTH) >>> 1] = frameBytes;
  store32(memory, at + STAMP, stamp);
  storeTail(memory, at + frameBytes - TAIL_BYTES, Math.imul(stamp, 0x9e3779b1));
}

/** What {@link readStamp} read; one object, reused. */
export interface Stamp {
  /** Sequence number. */
  sequence: number;
  /** Flow. */
  flow: number;
  /** Frame length as written by the sender. */
  frameBytes: number;
}

/** Reads the head's fields; false when they do not agree with each other. */
export function readStamp(memory: Memory, at: Address, into: Stamp): boolean {
  const sequence = load32(memory, at + SEQUENCE);
  const flow = load16(memory, at + FLOW);
  const frameBytes = load16(memory, at + LENGTH);
  into.sequence = sequence;
  into.flow = flow;
  into.frameBytes = frameBytes;
  return load32(memory, at + STAMP) === mix(sequence, flow, frameBytes);
}

/** Whether the last four bytes before `end` belong to this stamp. */
export function tailMatches(memory: Memory, end: Address, stamp: Stamp): boolean {
  const at = end - TAIL_BYTES;
  const b = memory.bytes;
  const tail = (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0;
  return tail === Math.imul(mix(stamp.sequence, stamp.flow, stamp.frameBytes), 0x9e3779b1) >>> 0;
}

function mix(sequence: number, flow: number, frameBytes: number): number {
  const m = Math.imul(sequence ^ (flow << 16) ^ frameBytes, 0x85ebca6b);
  return (m ^ (m >>> 13)) >>> 0;
}

function load16(memory: Memory, at: Address): number {
  const b = memory.bytes;
  return b[at]! | (b[at + 1]! << 8);
}

function load32(memory: Memory, at: Address): number {
  const b = memory.bytes;
  return (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0;
}

function store32(memory: Memory, at: Address, value: number): void {
  memory.halves[at >>> 1] = value;
  memory.halves[(at >>> 1) + 1] = value >>> 16;
}

function storeTail(memory: Memory, at: Address, value: number): void {
  const b = memory.bytes;
  b[at] = value;
  b[at + 1] = value >>> 8;
  b[at + 2] = value >>> 16;
  b[at + 3] = value >>> 24;
}
