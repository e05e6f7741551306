/**
 * Joins received TCP segments of a flow into one large frame, before a TAP or a guest's stack (in Linux: GRO; in the
 * historical plugin: SSR). What a receiver can tell of the segments is kept: only payload that follows in
 * sequence is joined, and only under headers that are the same but for length, sequence number, checksum, and
 * PSH or FIN at the end; so cutting the result again gives the segments back.
 *
 * Nothing is copied: the result is a chain, whose first frame keeps its headers and whose others skip theirs.
 * The merger holds what it keeps and releases it after delivery. It writes into the first frame's headers, so a frame
 * that somebody else holds too is delivered as it is.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import {
  Checksum,
  Segmentation,
  releaseChain,
  type Frame,
  type FrameSink,
  type Memory,
} from '@netaccel/core-hooks';
import { Ev, Limit, Net } from './bits.js';
import { FrameHeaders, network16 } from './headers.js';

/** Flows that are collected at a time, as in Linux. */
const FLOWS = 8;
/** Segments of one large frame at most: what fits a ring's chain with room to spare. */
export const MERGE_MAX_FRAGMENTS = 44;
/** Bytes of the IP packet at most. */
const MAX_IP_BYTES = 0xffff;
enum Flag {
  fin = 1,
  syn = 2,
  rst = 4,
  psh = 8,
  urg = 32,
  cwr = 128,
  /** Delivered as they are, behind what the flow has so far. */
  never = syn | rst | urg | cwr,
  /** The last of a large frame. */
  last = fin | psh,
}

/** A large frame that grows. */
class Collected {
  head: Frame | null = null;
  tail: Frame | null = null;
  /** Older ones are delivered first. */
  age = 0;
  count = 0;
  /** Payload so far, and of the first segment. */
  bytes = 0;
  segmentBytes = 0;
  /** What the next segment's sequence number and IPv4 identification are. */
  sequence = 0;
  identification = 0;
  flags = 0;
  l3 = 0;
  l4 = 0;
  payload = 0;
  mac0 = 0;
  mac1 = 0;
  mac2 = 0;
  ports = 0;
  version = 0;
  source0 = 0;
  destination0 = 0;
}

/** Counters of a {@link ReceiveMerger}; exact to 2^53. */
export interface MergeStatistics {
  /** Frames that came in. */
  framesIn: number;
  /** Frames that went out. */
  framesOut: number;
  /** Frames that went out joined of several. */
  merged: number;
}

/**
 * Joins, in front of a sink.
 *
 * @example
 * ```ts
 * const merger = new ReceiveMerger(memory, sink);
 * merger.push(frame);      // now, or joined with what follows
 * merger.flush();          // at the end of the poll: all of it now
 * ```
 */
export class ReceiveMerger {
  /** Totals since it was made. */
  readonly statistics: MergeStatistics = { framesIn: 0, framesOut: 0, merged: 0 };
  private readonly bytes: Uint8Array;
  private readonly halves: Uint16Array;
  private readonly headers: FrameHeaders;
  private readonly flows = Array.from({ length: FLOWS }, () => new Collected());
  private open = 0;
  private clock = 0;

  /**
   * @param memory the memory that frames are in.
   * @param sink where they go.
   */
  constructor(
    private readonly memory: Memory,
    private readonly sink: FrameSink,
  ) {
    this.bytes = memory.bytes;
    this.halves = memory.halves;
    this.headers = new FrameHeaders(memory);
  }

  /** One frame: delivered now, or kept until its large frame is complete. */
  push(frame: Frame): void {
    this.statistics.framesIn++;
    if (!this.isPlainTcp(frame)) {
      this.pass(frame);
      return;
    }
    const h = this.headers;
    // A frame that says TCP and is broken may belong to any flow.
    if (!h.parse(frame.address, frame.length, frame.totalBytes) || (h.flags & Ev.tcp) === 0) {
      this.deliverAll();
      this.pass(frame);
      return;
    }
    const flow = this.open === 0 ? null : this.find(h);
    const mergeable = this.isMergeable(frame, h);
    if (flow !== null) {
      if (mergeable && this.follows(flow, frame, h)) {
        this.append(flow, frame, h);
        return;
      }
      this.complete(flow);
    }
    if (mergeable && (h.tcpFlags & Flag.last) === 0) this.begin(frame, h);
    else this.pass(frame);
  }

  /** The batch is over: delivers all that is kept, oldest first, and flushes the sink. */
  flush(): void {
    this.deliverAll();
    this.sink.flush();
  }

  /** The few bytes that tell most of what is never joined from the rest. */
  private isPlainTcp(frame: Frame): boolean {
    const { bytes } = this;
    const at = frame.address;
    if (frame.length < 54) return false;
    const type = (bytes[at + 12]! << 8) | bytes[at + 13]!;
    return type === Net.ipv4 ? bytes[at + 23] === Net.tcp : type === Net.ipv6 && bytes[at + 20] === Net.tcp;
  }

  private isMergeable(frame: Frame, h: FrameHeaders): boolean {
    return (
      // One that is still to be computed is as good: each part that is cut of the result gets its own.
      (frame.checksum === Checksum.good || frame.checksum === Checksum.blank) &&
      frame.next === null &&
      frame.segmentation === Segmentation.none &&
      frame.holders === 1 &&
      h.ipEnd > h.payload &&
      (h.tcpFlags & Flag.never) === 0 &&
      // No IP options or extension headers.
      h.l4 - h.l3 === (h.version === 4 ? 20 : 40)
    );
  }

  private find(h: FrameHeaders): Collected | null {
    for (let i = 0; i < FLOWS; i++) {
      const flow = this.flows[i]!;
      if (
        flow.head !== null &&
        flow.ports === h.ports &&
        flow.source0 === h.source0 &&
        flow.destination0 === h.destination0 &&
        flow.version === h.version &&
        (h.version === 4 || this.sameIpv6(flow, h))
      )
        return flow;
    }
    return null;
  }

  /** Compares the rest of two IPv6 flows' addresses with the kept frame's own bytes. */
  private sameIpv6(flow: Collected, h: FrameHeaders): boolean {
    const at = flow.head!.address + flow.l3 + 8;
    return (
      this.word(at + 4) === h.source1 &&
      this.word(at + 8) === h.source2 &&
      this.word(at + 12) === h.source3 &&
      this.word(at + 20) === h.destination1 &&
      this.word(at + 24) === h.destination2 &&
      this.word(at + 28) === h.destination3
    );
  }

  /** Whether a mergeable frame of the flow continues what is kept. */
  private follows(flow: Collected, frame: Frame, h: FrameHeaders): boolean {
    const { address: a } = flow.head!;
    const b = frame.address;
    const length = h.ipEnd - h.payload;
    if (
      this.word(b + h.l4 + 4) !== flow.sequence ||
      length > flow.segmentBytes ||
      flow.segmentBytes < Limit.leastSegment ||
      flow.count === MERGE_MAX_FRAGMENTS ||
      flow.payload - flow.l3 + flow.bytes + length > MAX_IP_BYTES ||
      h.payload !== flow.payload ||
      h.mac0 !== flow.mac0 ||
      h.mac1 !== flow.mac1 ||
      h.mac2 !== flow.mac2 ||
      ((h.tcpFlags ^ flow.flags) & ~Flag.last) !== 0
    )
      return false;
    if (h.version === 4 ? !this.sameIpv4Header(flow, a, b, h.l3) : !this.sameIpv6Header(a, b, h.l3))
      return false;
    // Acknowledgement, window, and options with their timestamps.
    if (this.word(a + h.l4 + 8) !== this.word(b + h.l4 + 8)) return false;
    if (this.half(a + h.l4 + 14) !== this.half(b + h.l4 + 14)) return false;
    for (let i = h.l4 + 20; i < h.payload; i += 4) if (this.word(a + i) !== this.word(b + i)) return false;
    return true;
  }

  private sameIpv4Header(flow: Collected, a: number, b: number, l3: number): boolean {
    return (
      // Type of service with its congestion bits, don't fragment, time to live.
      this.bytes[a + l3 + 1] === this.bytes[b + l3 + 1] &&
      this.half(a + l3 + 6) === this.half(b + l3 + 6) &&
      this.bytes[a + l3 + 8] === this.bytes[b + l3 + 8] &&
      this.half(b + l3 + 4) === flow.identification
    );
  }

  private sameIpv6Header(a: number, b: number, l3: number): boolean {
    // Traffic class with its congestion bits, flow label, hop limit.
    return this.word(a + l3) === this.word(b + l3) && this.bytes[a + l3 + 7] === this.bytes[b + l3 + 7];
  }

  private begin(frame: Frame, h: FrameHeaders): void {
    const flow = this.freeFlow();
    const length = h.ipEnd - h.payload;
    frame.hold();
    flow.head = flow.tail = frame;
    flow.age = this.clock++;
    flow.count = 1;
    flow.bytes = flow.segmentBytes = length;
    flow.sequence = this.word(frame.address + h.l4 + 4);
    this.advance(flow, length);
    flow.identification = (this.half(frame.address + h.l3 + 4) + 1) & 0xffff;
    flow.flags = h.tcpFlags;
    flow.l3 = h.l3;
    flow.l4 = h.l4;
    flow.payload = h.payload;
    flow.mac0 = h.mac0;
    flow.mac1 = h.mac1;
    flow.mac2 = h.mac2;
    flow.ports = h.ports;
    flow.version = h.version;
    flow.source0 = h.source0;
    flow.destination0 = h.destination0;
    // Ethernet padding is no payload.
    frame.length = frame.totalBytes = h.ipEnd;
    this.open++;
  }

  private append(flow: Collected, frame: Frame, h: FrameHeaders): void {
    const length = h.ipEnd - h.payload;
    frame.hold();
    frame.address += h.payload;
    frame.length = frame.totalBytes = length;
    flow.tail!.next = frame;
    flow.tail = frame;
    flow.count++;
    flow.bytes += length;
    this.advance(flow, length);
    flow.identification = (flow.identification + 1) & 0xffff;
    flow.flags |= h.tcpFlags;
    if (length < flow.segmentBytes || (h.tcpFlags & Flag.last) !== 0) this.complete(flow);
  }

  /** Moves the expected sequence number, kept as its bytes lie, on by `length`. */
  private advance(flow: Collected, length: number): void {
    const next = (swap32(flow.sequence) + length) | 0;
    flow.sequence = swap32(next);
  }

  private freeFlow(): Collected {
    let oldest = this.flows[0]!;
    for (let i = 0; i < FLOWS; i++) {
      const flow = this.flows[i]!;
      if (flow.head === null) return flow;
      if (flow.age < oldest.age) oldest = flow;
    }
    this.complete(oldest);
    return oldest;
  }

  private deliverAll(): void {
    while (this.open > 0) {
      let oldest: Collected | null = null;
      for (let i = 0; i < FLOWS; i++) {
        const flow = this.flows[i]!;
        if (flow.head !== null && (oldest === null || flow.age < oldest.age)) oldest = flow;
      }
      this.complete(oldest!);
    }
  }

  /** Delivers what a flow has and lets go of it. */
  private complete(flow: Collected): void {
    const head = flow.head!;
    flow.head = flow.tail = null;
    this.open--;
    if (flow.count > 1) {
      this.writeHeaders(flow, head);
      this.statistics.merged++;
    }
    this.pass(head);
    releaseChain(head);
  }

  private pass(frame: Frame): void {
    this.statistics.framesOut++;
    this.sink.deliver(frame);
  }

  /** Makes the first frame's headers those of the large frame. */
  private writeHeaders(flow: Collected, head: Frame): void {
    const { memory } = this;
    const at = head.address;
    const ip = at + flow.l3;
    const tcp = at + flow.l4;
    const tcpBytes = flow.payload - flow.l4 + flow.bytes;
    head.totalBytes = flow.payload + flow.bytes;
    head.checksum = Checksum.blank;
    head.segmentBytes = flow.segmentBytes;
    this.bytes[tcp + 13] = flow.flags;
    if (flow.version === 4) {
      head.segmentation = Segmentation.tcpv4;
      this.setNumber(ip + 2, flow.payload - flow.l3 + flow.bytes);
      this.setNumber(ip + 10, 0);
      this.setNumber(ip + 10, ~memory.sum(ip, 20, 0));
      this.setNumber(tcp + 16, memory.sum(ip + 12, 8, Net.tcp + tcpBytes));
    } else {
      head.segmentation = Segmentation.tcpv6;
      this.setNumber(ip + 4, tcpBytes);
      this.setNumber(tcp + 16, memory.sum(ip + 8, 32, Net.tcp + tcpBytes));
    }
  }

  private setNumber(at: number, value: number): void {
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }

  /** Four bytes as they lie. */
  private word(at: number): number {
    if ((at & 1) === 0) return this.halves[at >>> 1]! | (this.halves[(at >>> 1) + 1]! << 16);
    const { bytes } = this;
    return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  }

  /** A 16-bit number. */
  private half(at: number): number {
    return (at & 1) === 0 ? network16(this.halves[at >>> 1]!) : (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }
}

function swap32(value: number): number {
  return (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}
