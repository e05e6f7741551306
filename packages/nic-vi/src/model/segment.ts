/**
 * TCP segmentation in the NIC: one large frame becomes frames of the MTU. The headers are copied once into the VI's
 * scratch memory, judged there, and changed there from segment to segment; the payload is read where it lies.
 *
 * Sequence number and IPv4 identification count up; FIN and PSH are on the last segment only, CWR on the first only;
 * lengths and checksums are each segment's own.
 */
/* eslint-disable @typescript-eslint/no-unsafe-enum-comparison -- words of memory are compared with names of numbers */
import type { Address, Memory } from '@netaccel/core-hooks';
import { Ev, Limit, Net } from '../bits.js';
import { TcpFlag, network16 } from '../headers.js';
import { complement, fold, pseudoSum } from './checksum.js';
import { Transit, TransitChecksum } from './transit.js';
import type { WireEnd } from './wire-end.js';

const LAST_ONLY = TcpFlag.fin | TcpFlag.psh;

/** Cuts frames of one transmit side. */
export class Segmenter {
  /** Payload bytes of the whole frame. */
  payloadBytes = 0;
  /** Segments of the last {@link send}. */
  frames = 0;
  /** Bytes of them. */
  bytes = 0;
  private readonly halves: Uint16Array;
  private readonly segment: Transit;
  private scratch: Address = 0;
  private headerBytes = 0;
  private mss = 0;
  private blank = false;
  private identification = 0;
  private sequence = 0;
  private offsetAndFlags = 0;
  /** Sums of what no segment changes, and of the pseudo header without its length. */
  private ipSum = 0;
  private tcpSum = 0;
  private addressSum = 0;

  /**
   * @param memory the machine's.
   * @param frame what is cut: the transmit side's frame at hand.
   */
  constructor(
    private readonly memory: Memory,
    private readonly frame: Transit,
  ) {
    this.halves = memory.halves;
    this.segment = new Transit(memory, frame.headers);
  }

  /**
   * Copies and judges the headers.
   * @param scratch `Net.headerRoom` bytes of the NIC's own.
   * @param mss payload bytes of each segment.
   * @param maxFrameBytes longest frame that may come of it.
   * @param blank whether the checksum field is left with the pseudo header's sum.
   * @returns false when it cannot be cut.
   */
  begin(scratch: Address, mss: number, maxFrameBytes: number, blank: boolean): boolean {
    const { frame, memory, halves } = this;
    const h = frame.headers;
    const room = frame.total < Net.headerRoom ? frame.total : Net.headerRoom;
    frame.read(scratch, 0, room);
    frame.parsed = h.parse(scratch, room, frame.total);
    if ((h.flags & Ev.tcp) === 0 || mss < Limit.leastSegment || h.payload + mss > maxFrameBytes) return false;
    // The copied headers are a piece of their own in each segment.
    if (frame.count === Limit.fragments) return false;
    this.scratch = scratch;
    this.mss = mss;
    this.blank = blank;
    this.headerBytes = h.payload;
    this.payloadBytes = h.ipEnd - h.payload;
    const ip = (scratch + h.l3) >>> 1;
    if (h.version === 4) {
      this.identification = network16(halves[ip + 2]!);
      halves[ip + 1] = halves[ip + 2] = halves[ip + 5] = 0;
      this.ipSum = memory.sum(scratch + h.l3, h.l4 - h.l3, 0);
    }
    const tcp = (scratch + h.l4) >>> 1;
    this.sequence = ((network16(halves[tcp + 2]!) << 16) | network16(halves[tcp + 3]!)) >>> 0;
    this.offsetAndFlags = network16(halves[tcp + 6]!);
    halves[tcp + 2] = halves[tcp + 3] = halves[tcp + 6] = halves[tcp + 8] = 0;
    this.addressSum = pseudoSum(h, 0);
    this.tcpSum = blank ? 0 : memory.sum(scratch + h.l4, h.payload - h.l4, this.addressSum);
    return true;
  }

  /**
   * Puts the segments from payload offset `from` on onto the wire.
   * @returns the offset up to which they are sent; less than `payloadBytes` when the wire has no more room.
   */
  send(wire: WireEnd, from: number): number {
    const { segment, frame, payloadBytes, mss, headerBytes } = this;
    this.frames = this.bytes = 0;
    segment.shared = false;
    // A piece of the payload, and how much of it is used.
    let piece = 0;
    let used = headerBytes + from;
    while (used >= frame.pieceLength(piece) && piece < frame.count - 1) used -= frame.pieceLength(piece++);
    let offset = from;
    do {
      const length = payloadBytes - offset < mss ? payloadBytes - offset : mss;
      segment.single(this.scratch, headerBytes);
      let need = length;
      while (need > 0) {
        const rest = frame.pieceLength(piece) - used;
        const part = need < rest ? need : rest;
        if (part > 0) segment.append((frame.pieceAddress(piece) + used) | 0, part);
        need -= part;
        used += part;
        if (used === frame.pieceLength(piece) && piece < frame.count - 1) {
          piece++;
          used = 0;
        }
      }
      this.writeHeaders(offset, length);
      segment.parsed = true;
      segment.sameFlow = offset !== from;
      if (!wire.carry(segment)) return offset;
      this.frames++;
      this.bytes += segment.total;
      offset += length;
    } while (offset < payloadBytes);
    return payloadBytes;
  }

  private writeHeaders(offset: number, length: number): void {
    const { halves, scratch, segment, mss } = this;
    const h = segment.headers;
    const l4Bytes = h.payload - h.l4 + length;
    const ip = (scratch + h.l3) >>> 1;
    if (h.version === 4) {
      const total = h.l4 - h.l3 + l4Bytes;
      const identification = (this.identification + ((offset / mss) | 0)) & 0xffff;
      halves[ip + 1] = network16(total);
      halves[ip + 2] = network16(identification);
      halves[ip + 5] = network16(~fold(this.ipSum + total + identification));
    } else halves[ip + 2] = network16(h.l4 - h.l3 - 40 + l4Bytes);
    let flags = this.offsetAndFlags;
    if (offset + length < this.payloadBytes) flags &= ~LAST_ONLY;
    if (offset > 0) flags &= ~TcpFlag.cwr;
    const sequence = this.sequence + offset;
    const high = (sequence >>> 16) & 0xffff;
    const low = sequence & 0xffff;
    const tcp = (scratch + h.l4) >>> 1;
    halves[tcp + 2] = network16(high);
    halves[tcp + 3] = network16(low);
    halves[tcp + 6] = network16(flags);
    if (this.blank) {
      halves[tcp + 8] = network16(fold(this.addressSum + l4Bytes));
      segment.checksum = TransitChecksum.blank;
    } else {
      const header = fold(this.tcpSum + l4Bytes + high + low + flags);
      halves[tcp + 8] = network16(complement(segment.sum(this.headerBytes, length, header), h.protocol));
      segment.checksum = TransitChecksum.good;
    }
  }
}
