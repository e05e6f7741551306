/**
 * One receive ring: posts pages, and turns what the backend put in them into frames, in place.
 *
 * Called by the receive path, from the poll task. The pages are granted once for the life of a connection. A
 * page is on the ring, free, or with whoever holds its frame; it comes home when the frame is released. Each
 * slot is copied out once and judged by the copy (XSA-155, 376); a packet that makes no sense is dropped and
 * counted, and so many of them in a row that nothing sensible comes at all are a breach.
 */
import { Checksum, PAGE_BYTES, Segmentation, releaseChain } from '@netaccel/core-hooks';
import type { Frame, FrameSink, Memory, SharedPages } from '@netaccel/core-hooks';
import { FrontRing } from '@netaccel/xen';
import type { Domain, DomainId } from '@netaccel/xen';
import {
  ETHERNET_HEADER_BYTES,
  ExtraFlag,
  ExtraType,
  MAX_PACKET_BYTES,
  MIN_SLOTS_PER_PACKET,
  RX_RING_SLOTS,
  RxFlag,
  extraGso,
  rxRequest,
  rxResponse,
} from '@netaccel/xen/netif';
import { blankChecksum } from './checksum.js';
import type { Counters } from './counters.js';
import { PagePool } from './page-pool.js';
import type { FillTarget } from './receive-fill.js';

const REQUEST_ID = rxRequest.fields.id.offset >>> 1;
const REQUEST_PAD = rxRequest.fields.pad.offset >>> 1;
const REQUEST_GREF = rxRequest.fields.gref.offset >>> 2;
const OFFSET = rxResponse.fields.offset.offset >>> 1;
const FLAGS = rxResponse.fields.flags.offset >>> 1;
const STATUS = rxResponse.fields.status.offset >>> 1;
const EXTRA_TYPE = extraGso.fields.type.offset;
const EXTRA_FLAGS = extraGso.fields.flags.offset;
const GSO_SIZE = extraGso.fields.size.offset >>> 1;
const GSO_TYPE = extraGso.fields.gsoType.offset;

/** Flags that make a packet more than one plain slot. */
const NOT_PLAIN = RxFlag.moreData | RxFlag.extraInfo | RxFlag.gsoPrefix;
/** Fragments that a packet may have: what Linux's netfront takes. */
export const MOST_FRAGMENTS = MIN_SLOTS_PER_PACKET + 1;
/** Packets without sense in a row, after which the backend is not believed any more. */
export const MOST_MALFORMED = 256;
/** The largest length that a status can say; above, as an unsigned number, it is an error. */
const MOST_STATUS = 0x7fff;
const SLOT_MASK = RX_RING_SLOTS - 1;
const NOBODY = 0xffff;

/** What becomes of a packet: delivered, or the counter that says why not. */
type Verdict = 'good' | 'rxErrors' | 'rxMalformed' | 'rxBadExtra' | 'rxBadLength';

/** What receive may be sent, because this side said so. */
export interface ReceiveFeatures {
  /** Segments of TCP over IPv4. */
  readonly segmentationTcpv4: boolean;
  /** Segments of TCP over IPv6. */
  readonly segmentationTcpv6: boolean;
}

/** Copies a received chain to private memory; null when there is no room. */
export type Bounce = (head: Frame) => Frame | null;

/** The receive half of one queue. */
export class ReceiveRing {
  /** Why the backend is no longer believed; null while it is. */
  breach: string | null = null;
  private readonly ring: FrontRing;
  private readonly words: Uint32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;
  private readonly shared: SharedPages;
  private readonly pool: PagePool;
  /** Index of the page that lies in each slot. */
  private readonly pageOf = new Uint16Array(RX_RING_SLOTS).fill(NOBODY);
  private malformed = 0;
  /** The response index that was the end when half a packet was found before it; meaningless otherwise. */
  private lookedUpTo = -1;
  private drainedAt: number;
  // The packet that is being taken apart.
  private head: Frame | null = null;
  private tail: Frame | null = null;
  private total = 0;
  private fragments = 0;
  private verdict: Verdict = 'good';
  private gsoType: number = Segmentation.none;
  private gsoBytes = 0;
  private readonly offsets = new Uint16Array(RX_RING_SLOTS);
  private readonly statuses = new Int16Array(RX_RING_SLOTS);
  private readonly isExtra = new Uint8Array(RX_RING_SLOTS);
  private readonly memory: Memory;

  /**
   * @param domain whose memory.
   * @param peer the backend's domain.
   * @param page the ring's page.
   * @param pages how many pages it has to post.
   * @param fill decides how many it posts.
   * @param features what the backend may send.
   * @param counters the device's totals.
   * @param bounce for an untrusted backend, which could change a page while it is read.
   * @param raise asks for a poll.
   * @param start where the indices begin.
   */
  constructor(
    domain: Domain,
    peer: DomainId,
    page: number,
    pages: number,
    readonly fill: FillTarget,
    private readonly features: ReceiveFeatures,
    private readonly counters: Counters,
    private readonly bounce: Bounce | null,
    raise: () => void,
    start: number,
  ) {
    this.memory = domain.memory;
    this.words = domain.memory.words;
    this.halves = domain.memory.halves;
    this.bytes = domain.memory.bytes;
    this.ring = new FrontRing(domain.memory, page, RX_RING_SLOTS, rxRequest.size, start);
    this.drainedAt = start;
    this.shared = domain.grants.share(peer, pages, 'write');
    // A page that comes home when the ring was short of one asks for a poll, which posts it: no timer is needed.
    this.pool = new PagePool(pages, this.shared.address, () => this.shared.release(), raise);
  }

  /** Index of the next response to take: how far the slow path's stream was delivered. */
  get consumed(): number {
    return this.ring.consumed;
  }

  /** Responses that wait; none after a breach. */
  available(): number {
    if (this.breach !== null) return 0;
    const waiting = this.ring.available();
    if (waiting >= 0) return waiting;
    this.breach = 'more receive responses than requests';
    return 0;
  }

  /**
   * Posts pages as the fill target asks.
   * @returns whether the backend must be notified.
   */
  post(): boolean {
    const { ring, fill } = this;
    const posted = RX_RING_SLOTS - ring.free;
    const want = fill.want(posted);
    if (want === 0 || this.breach !== null) return false;
    fill.posted(posted - this.available());
    for (let i = 0; i < want; i++) {
      const frame = this.pool.take();
      if (frame === null) break;
      const slot = ring.produced & SLOT_MASK;
      const at = ring.slot(ring.produced);
      this.pageOf[slot] = frame.index;
      this.halves[(at >>> 1) + REQUEST_ID] = slot;
      this.halves[(at >>> 1) + REQUEST_PAD] = 0;
      this.words[(at >>> 2) + REQUEST_GREF] = this.shared.refs[frame.index]!;
      ring.produced = (ring.produced + 1) >>> 0;
    }
    return ring.publish();
  }

  /**
   * Delivers packets up to the response index `end`, at most `budget` of them.
   * @returns how many were taken from the ring, delivered or not. A packet whose last slot lies beyond `end` is
   * left for later: half a packet is nobody's.
   */
  receive(sink: FrameSink, end: number, budget: number): number {
    let done = 0;
    const { ring, halves } = this;
    while (done < budget && ring.consumed !== end && this.breach === null) {
      const at = ring.slot(ring.consumed) >>> 1;
      const flags = halves[at + FLAGS]!;
      if ((flags & NOT_PLAIN) === 0) this.takePlain(sink, flags, halves[at + OFFSET]!, halves[at + STATUS]!);
      else if (!this.takePieces(sink, flags, end)) {
        this.lookedUpTo = end;
        break;
      }
      done++;
    }
    return done;
  }

  /** The ring is drained for now: the fill target may fall, if anything came since it last was. */
  drained(): void {
    if (this.ring.consumed === this.drainedAt) return;
    this.drainedAt = this.ring.consumed;
    this.fill.drained(RX_RING_SLOTS - this.ring.free - this.available());
  }

  /**
   * Asks for an event at the next response, then looks again.
   * @returns true when there is work already.
   */
  arm(): boolean {
    const waiting = this.available();
    if (this.breach !== null) return true;
    // What is there and was not taken may be the first part of a packet, which the next response may complete.
    // Anything that came after that was looked at, a phase's mark included, is work.
    if (waiting > 0 && (this.ring.consumed + waiting) >>> 0 !== this.lookedUpTo) return true;
    return this.ring.arm(waiting + 1) !== waiting;
  }

  /** The connection is over: posted pages come home; all pages go when the last frame is released. */
  retire(): void {
    for (let slot = 0; slot < RX_RING_SLOTS; slot++) if (this.pageOf[slot] !== NOBODY) this.recycle(slot);
    this.pool.retire();
  }

  /** Where it stands. */
  describe(): Readonly<Record<string, unknown>> {
    return {
      produced: this.ring.produced,
      consumed: this.ring.consumed,
      posted: RX_RING_SLOTS - this.ring.free,
      target: this.fill.target,
      freePages: this.pool.available,
      heldPages: this.pool.frames.length - this.pool.available - (RX_RING_SLOTS - this.ring.free),
    };
  }

  /** Takes a packet of one slot: nearly all are. `status` is as it lies in the slot, unsigned. */
  private takePlain(sink: FrameSink, flags: number, offset: number, status: number): void {
    const frame = this.unpost(this.ring.consumed);
    this.ring.consumed = (this.ring.consumed + 1) >>> 0;
    if (status >= ETHERNET_HEADER_BYTES && offset + status <= PAGE_BYTES) {
      frame.holders = 1;
      frame.describe(frame.home + offset, status);
      if ((flags & RxFlag.csumBlank) !== 0) frame.checksum = Checksum.blank;
      else if ((flags & RxFlag.dataValidated) !== 0) frame.checksum = Checksum.good;
      this.deliver(sink, frame);
      return;
    }
    this.pool.put(frame);
    if (status > MOST_STATUS) this.drop(null, 'rxErrors');
    else if (status < ETHERNET_HEADER_BYTES) this.drop(null, 'rxBadLength');
    else this.drop(null, 'rxMalformed');
  }

  /** Takes a packet of several slots off the ring; false when it is not complete yet, and nothing was taken. */
  private takePieces(sink: FrameSink, flags: number, end: number): boolean {
    const { ring } = this;
    this.head = null;
    this.total = 0;
    this.fragments = 0;
    this.verdict = 'good';
    this.gsoType = Segmentation.none;
    const slots = this.scan(flags, end);
    if (slots === 0) return false;
    for (let i = 0; i < slots; i++) {
      if (this.isExtra[i] === 1) this.recycle(ring.consumed);
      else this.fragment(ring.consumed, this.offsets[i]!, this.statuses[i]!);
      ring.consumed = (ring.consumed + 1) >>> 0;
    }
    const head = this.taken();
    const verdict = this.judged();
    if (head !== null) {
      head.totalBytes = this.total;
      if ((flags & RxFlag.csumBlank) !== 0) head.checksum = Checksum.blank;
      else if ((flags & RxFlag.dataValidated) !== 0) head.checksum = Checksum.good;
    }
    const why = verdict !== 'good' ? verdict : head === null ? 'rxBadLength' : this.finish(head);
    if (why === 'good') this.deliver(sink, head!);
    else this.drop(head, why);
    return true;
  }

  /**
   * Copies out the slots of a packet of several: fragment, extras, further fragments. A fragment's `moreData`
   * says whether another follows; extras say it of extras.
   * @returns how many slots, or 0 when the end of the packet is not there yet.
   */
  private scan(first: number, end: number): number {
    const { ring, halves, bytes } = this;
    let flags = first;
    let extras = (flags & RxFlag.extraInfo) !== 0;
    let count = 0;
    if ((flags & RxFlag.gsoPrefix) !== 0) this.verdict = 'rxMalformed'; // we never ask for it
    for (let cons = ring.consumed; ;) {
      const at = ring.slot(cons) >>> 1;
      if (count > 0) flags = halves[at + FLAGS]!;
      this.offsets[count] = halves[at + OFFSET]!;
      this.statuses[count] = halves[at + STATUS]!;
      this.isExtra[count++] = 0;
      cons = (cons + 1) >>> 0;
      while (extras && cons !== end) {
        const extra = ring.slot(cons);
        const more = bytes[extra + EXTRA_FLAGS]!;
        this.extra(bytes[extra + EXTRA_TYPE]!, bytes[extra + GSO_TYPE]!, halves[(extra >>> 1) + GSO_SIZE]!);
        this.isExtra[count++] = 1;
        cons = (cons + 1) >>> 0;
        extras = (more & ExtraFlag.more) !== 0;
      }
      if (!extras && (flags & RxFlag.moreData) === 0) return count;
      if (cons !== end) continue;
      // A chain without an end would hold the ring for ever: longer than any packet, it goes as it is.
      if (count <= MOST_FRAGMENTS + ExtraType.xdp) return 0;
      this.verdict = 'rxMalformed';
      return count;
    }
  }

  /** Judges extra information. What is known and was not asked for is skipped, as Linux does. */
  private extra(type: number, gsoType: number, gsoBytes: number): void {
    if (type === ExtraType.none || type > ExtraType.xdp) this.verdict = 'rxBadExtra';
    if (type !== ExtraType.gso) return;
    const known =
      (gsoType === Segmentation.tcpv4 && this.features.segmentationTcpv4) ||
      (gsoType === Segmentation.tcpv6 && this.features.segmentationTcpv6);
    if (!known || gsoBytes === 0 || this.gsoType !== Segmentation.none) this.verdict = 'rxBadExtra';
    else this.gsoType = gsoType;
    this.gsoBytes = gsoBytes;
  }

  /** Makes one slot a fragment of the packet in hand. */
  private fragment(index: number, offset: number, status: number): void {
    if (status <= 0 || offset + status > PAGE_BYTES) {
      // An empty fragment is skipped: a chain never has one (XSA-448).
      if (status < 0) this.blame('rxErrors');
      else if (status > 0) this.blame('rxMalformed');
      this.recycle(index);
      return;
    }
    const frame = this.unpost(index);
    frame.holders = 1;
    frame.describe(frame.home + offset, status);
    this.total += status;
    this.fragments++;
    if (this.head === null) this.head = frame;
    else this.tail!.next = frame;
    this.tail = frame;
  }

  private blame(verdict: 'rxErrors' | 'rxMalformed'): void {
    if (this.verdict === 'good') this.verdict = verdict;
  }

  private unpost(index: number): Frame {
    const slot = index & SLOT_MASK;
    const frame = this.pool.frames[this.pageOf[slot]!]!;
    this.pageOf[slot] = NOBODY;
    return frame;
  }

  private recycle(index: number): void {
    this.pool.put(this.unpost(index));
  }

  // What `fragment`, `extra` and `scan` made of the packet: methods, because the compiler does not see them do it.
  private taken(): Frame | null {
    return this.head;
  }

  private judged(): Verdict {
    return this.verdict;
  }

  /** The last checks, on the whole. */
  private finish(head: Frame): Verdict {
    if (this.total < ETHERNET_HEADER_BYTES || this.total > MAX_PACKET_BYTES) return 'rxBadLength';
    if (this.fragments > MOST_FRAGMENTS) return 'rxMalformed';
    if (this.gsoType === Segmentation.none) return 'good';
    if (head.checksum !== Checksum.blank) {
      if (!blankChecksum(this.memory, head)) return 'rxBadExtra';
      this.counters.rxGsoFixed++;
    }
    head.segmentation = this.gsoType as Segmentation;
    head.segmentBytes = this.gsoBytes;
    return 'good';
  }

  private deliver(sink: FrameSink, head: Frame): void {
    this.malformed = 0;
    let frame = head;
    if (this.bounce !== null) {
      const copy = this.bounce(head);
      releaseChain(head);
      if (copy === null) {
        this.counters.rxNoBuffer++;
        return;
      }
      frame = copy;
    }
    this.counters.rxSlowFrames++;
    this.counters.rxSlowBytes += frame.totalBytes;
    sink.deliver(frame);
    if (frame.next === null) frame.release();
    else releaseChain(frame);
  }

  private drop(head: Frame | null, why: Exclude<Verdict, 'good'>): void {
    this.counters[why]++;
    if (head !== null) releaseChain(head);
    // An error that the backend admits is no lie.
    if (why !== 'rxErrors' && ++this.malformed > MOST_MALFORMED)
      this.breach = `${MOST_MALFORMED} received packets in a row without sense`;
  }
}
