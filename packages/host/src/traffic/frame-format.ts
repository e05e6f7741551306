/**
 * The frames of frames mode: UDP over IPv4 with a sequence number, so that a receiver can say what was lost,
 * doubled, reordered or corrupted. Written by {@link FrameSource}, judged by {@link FrameCheck}.
 *
 * Payload: sequence number u32, flow u16, frame length u16, stamp u32, a body of known bytes, and a tail u32
 * at the very end. The stamp and the tail are computed from the other three, differently. What differs between
 * two frames of one length is their ports and those fields.
 */
import type { Address, Memory } from '@netaccel/core-hooks';

/** Ethernet, IPv4 and UDP headers. */
export const HEADER_BYTES = 42;
const IP = 14;
const IDENTIFICATION = 18;
const SOURCE_IP = 26;
const DESTINATION_IP = 30;
const PORTS = 34;
const SEQUENCE = HEADER_BYTES;
const FLOW = SEQUENCE + 4;
const LENGTH = FLOW + 2;
const STAMP = LENGTH + 2;
/** Where the body begins. */
export const BODY = STAMP + 4;
const TAIL_BYTES = 4;
const STAMP_MIX = 0x85ebca6b | 0;
const TAIL_MIX = 0x9e3779b1 | 0;
/** The shortest frame that has all fields. */
export const SHORTEST_FRAME_BYTES = BODY + TAIL_BYTES + 2;
/** UDP port that the flows come from and go to, plus the flow's number. */
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

/**
 * A frame of `frameBytes` with every fixed byte in place: headers but for the ports, checksum of the IP header, body.
 * @param id IP identification: tells the frames of one source from another's.
 */
export function template(endpoints: Endpoints, id: number, frameBytes: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(frameBytes);
  const view = new DataView(frame.buffer);
  frame.set(endpoints.destinationMac, 0);
  frame.set(endpoints.sourceMac, 6);
  view.setUint16(12, 0x0800);
  view.setUint16(IP, 0x4500);
  view.setUint16(16, frameBytes - IP);
  view.setUint16(IDENTIFICATION, id);
  view.setUint16(20, 0x4000); // don't fragment
  view.setUint16(22, 0x4011); // ttl 64, UDP
  frame.set(endpoints.sourceIp, SOURCE_IP);
  frame.set(endpoints.destinationIp, DESTINATION_IP);
  view.setUint16(38, frameBytes - 34); // UDP checksum 0: the payload carries its own
  let sum = 0;
  for (let i = IP; i < 34; i += 2) sum += view.getUint16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  for (let i = BODY; i < frameBytes - TAIL_BYTES; i++) frame[i] = bodyByte(i);
  return frame;
}

/** A template, and the words of it by which a buffer that holds it already is known. */
export class Template {
  private readonly bytes: Uint8Array;
  private readonly length: number;
  private readonly identification: number;
  private readonly source: number;
  private readonly destination: number;

  /** @param frame what {@link template} made. */
  constructor(frame: Uint8Array<ArrayBuffer>) {
    const view = new DataView(frame.buffer);
    this.bytes = frame;
    this.length = view.getUint32(IP, true);
    this.identification = view.getUint32(IDENTIFICATION, true);
    this.source = view.getUint32(SOURCE_IP, true);
    this.destination = view.getUint32(DESTINATION_IP, true);
  }

  /** Makes sure that the buffer holds it. A buffer keeps its bytes between uses, unless somebody else used it. */
  write(memory: Memory, at: Address): void {
    const { words } = memory;
    if (
      words[(at + IP) >>> 2] !== this.length ||
      words[(at + IDENTIFICATION) >>> 2] !== this.identification ||
      words[(at + SOURCE_IP) >>> 2] !== this.source ||
      words[(at + DESTINATION_IP) >>> 2] !== this.destination
    )
      memory.bytes.set(this.bytes, at);
  }
}

/** The body's byte at offset `i` of the frame. */
export function bodyByte(i: number): number {
  return (i * 167 + (i >>> 8) * 13) & 255;
}

/**
 * Writes the fields of one frame into a copy of its template.
 * @param at two bytes past a multiple of four, so that the fields behind the headers are aligned.
 */
export function stampFrame(
  memory: Memory,
  at: Address,
  flow: number,
  sequence: number,
  frameBytes: number,
): void {
  const { words, halves } = memory;
  const stamp = mix(sequence, flow, frameBytes);
  const port = FIRST_PORT + flow;
  const ports = ((port & 0xff) << 8) | (port >>> 8);
  words[(at + PORTS) >>> 2] = ports | (ports << 16);
  words[(at + SEQUENCE) >>> 2] = sequence;
  words[(at + FLOW) >>> 2] = flow | (frameBytes << 16);
  words[(at + STAMP) >>> 2] = stamp;
  const tail = Math.imul(stamp, TAIL_MIX);
  const end = at + frameBytes - TAIL_BYTES;
  if ((end & 1) === 0) {
    halves[end >>> 1] = tail;
    halves[(end >>> 1) + 1] = tail >>> 16;
  } else storeTail(memory, end, tail);
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
  const flowAndLength = load32(memory, at + FLOW);
  const flow = flowAndLength & 0xffff;
  const frameBytes = flowAndLength >>> 16;
  into.sequence = sequence;
  into.flow = flow;
  into.frameBytes = frameBytes;
  return load32(memory, at + STAMP) === mix(sequence, flow, frameBytes);
}

/** Whether the last four bytes before `end` belong to this stamp. */
export function tailMatches(memory: Memory, end: Address, stamp: Stamp): boolean {
  const tail = Math.imul(mix(stamp.sequence, stamp.flow, stamp.frameBytes), TAIL_MIX);
  return load32(memory, end - TAIL_BYTES) === tail;
}

/** 32 bits, as a signed number: what stays small is cheap to keep. */
function mix(sequence: number, flow: number, frameBytes: number): number {
  const m = Math.imul(sequence ^ (flow << 16) ^ frameBytes, STAMP_MIX);
  return m ^ (m >>> 13);
}

/** 32 bits from anywhere, as a signed number. */
function load32(memory: Memory, at: Address): number {
  if ((at & 1) === 0) {
    const { halves } = memory;
    const first = at >>> 1;
    return halves[first]! | (halves[first + 1]! << 16);
  }
  const { bytes } = memory;
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function storeTail(memory: Memory, at: Address, value: number): void {
  const b = memory.bytes;
  b[at] = value;
  b[at + 1] = value >>> 8;
  b[at + 2] = value >>> 16;
  b[at + 3] = value >>> 24;
}
