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
  MAX_PACKET_BYTES,
  RX_RING_SLOTS,
  RxFlag,
  rxRequest,
  rxResponse,
} from '@netaccel/xen/netif';
import { blankChecksum } from './checksum.js';
import type { Counters } from './counters.js';
import { PagePool } from './page-pool.js';
import type { FillTarget } from './receive-fill.js';
import { MOST_FRAGMENTS, PacketScan } from './receive-scan.js';
import type { ReceiveFeatures, ReceiveVerdict } from './receive-scan.js';
import { firstHalf, join, secondHalf, sharedWord } from './slot-words.js';

const REQUEST_ID = sharedWord(rxRequest.fields.id, rxRequest.fields.pad);
const REQUEST_GREF = rxRequest.fields.gref.offset >>> 2;
const ID_OFFSET = sharedWord(rxResponse.fields.id, rxResponse.fields.offset);
const FLAGS_STATUS = sharedWord(rxResponse.fields.flags, rxResponse.fields.status);

/** Flags that make a packet more than one plain slot. */
const NOT_PLAIN = RxFlag.moreData | RxFlag.extraInfo | RxFlag.gsoPrefix;
/** Packets without sense in a row, after which the backend is not believed any more. */
export const MOST_MALFORMED = 256;
/** The largest length that a status can say; above, as an unsigned number, it is an error. */
const MOST_STATUS = 0x7fff;
const SLOT_MASK = RX_RING_SLOTS - 1;
const NOBODY = 0xffff;

/** Copies a received chain to private memory; null when there is no room. */
export type Bounce = (head: Frame) => Frame | null;

/** The receive half of one queue. */
export class ReceiveRing {
  /** Why the backend is no longer believed; null while it is. */
  breach: string | null = null;
  private readonly memory: Memory;
  private readonly words: Uint32Array;
  private readonly ring: FrontRing;
  private readonly shared: SharedPages;
  private readonly pool: PagePool;
  private readonly scan: PacketScan;
  /** Index of the page that lies in each slot. */
  private readonly pageOf = new Uint16Array(RX_RING_SLOTS).fill(NOBODY);
  private malformed = 0;
  /** The response index that was the end when half a packet was found before it; meaningless otherwise. */
  private lookedUpTo = -1;
  private drainedAt: number;

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
    features: ReceiveFeatures,
    private readonly counters: Counters,
    private readonly bounce: Bounce | null,
    raise: () => void,
    start: number,
  ) {
    this.memory = domain.memory;
    this.words = domain.memory.words;
    this.ring = new FrontRing(domain.memory, page, RX_RING_SLOTS, rxRequest.size, start);
    this.scan = new PacketScan(domain.memory, features);
    this.drainedAt = start;
    this.shared = domain.grants.share(peer, pages, 'write');
    // A page that comes home when the ring was short of one asks for a poll, which posts it: no timer is needed.
    this.pool = new PagePool(pages, this.shared.address, () => this.shared.release(), raise);
  }

  /** Grant references of its pages. */
  get refs(): ArrayLike<number> {
    return this.shared.refs;
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
    const { ring, fill, words } = this;
    const posted = RX_RING_SLOTS - ring.free;
    const want = fill.want(posted);
    if (want === 0 || this.breach !== null) return false;
    fill.posted(posted - this.available());
    for (let i = 0; i < want; i++) {
      const frame = this.pool.take();
      if (frame === null) break;
      const slot = ring.produced & SLOT_MASK;
      const at = ring.slot(ring.produced) >>> 2;
      this.pageOf[slot] = frame.index;
      words[at + REQUEST_ID] = join(slot, 0);
      words[at + REQUEST_GREF] = this.shared.refs[frame.index]!;
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
    const { ring, words } = this;
    while (done < budget && ring.consumed !== end && this.breach === null) {
      const at = ring.slot(ring.consumed) >>> 2;
      const word = words[at + FLAGS_STATUS]!;
      const flags = firstHalf(word);
      if ((flags & NOT_PLAIN) === 0) {
        this.takePlain(sink, flags, secondHalf(words[at + ID_OFFSET]!), secondHalf(word));
      } else if (!this.takePieces(sink, flags, end)) {
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

  /**
   * Takes what the backend put on the ring when nobody received any more. Called once it has let go of the ring; what is
   * in the pages is not looked at, they may be gone.
   * @returns how many packets, without those that it answered with an error and so counts itself. Zero when it claims
   * more than it was given room for: nothing that the ring says is believed then.
   */
  unread(): number {
    const { ring, words, scan } = this;
    const end = (ring.consumed + this.available()) >>> 0;
    let packets = 0;
    while (ring.consumed !== end) {
      const word = words[(ring.slot(ring.consumed) >>> 2) + FLAGS_STATUS]!;
      const flags = firstHalf(word);
      const plain = (flags & NOT_PLAIN) === 0;
      const slots = plain ? 1 : scan.scan(ring, flags, end);
      if (slots === 0) break;
      ring.consumed = (ring.consumed + slots) >>> 0;
      if (plain ? secondHalf(word) <= MOST_STATUS : !scan.failed(slots)) packets++;
    }
    return packets;
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
      frame.checksum = checksumOf(flags);
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
    const { ring, scan } = this;
    const slots = scan.scan(ring, flags, end);
    if (slots === 0) return false;
    const { headroom } = scan;
    let verdict = scan.verdict;
    let head: Frame | null = null;
    let tail: Frame | null = null;
    let total = 0;
    let fragments = 0;
    for (let i = 0; i < slots; i++) {
      const frame = this.unpost(ring.consumed);
      ring.consumed = (ring.consumed + 1) >>> 0;
      const offset = scan.offsets[i]! + headroom;
      const status = scan.statuses[i]! - (scan.statuses[i]! > 0 ? headroom : 0);
      // An empty fragment is skipped: a chain never has one (XSA-448).
      if (scan.isExtra[i] === 1 || status <= 0 || offset + status > PAGE_BYTES) {
        this.pool.put(frame);
        if (scan.isExtra[i] === 1 || status === 0 || verdict !== 'good') continue;
        verdict = scan.statuses[i]! < 0 ? 'rxErrors' : 'rxMalformed';
        continue;
      }
      frame.holders = 1;
      frame.describe(frame.home + offset, status);
      total += status;
      fragments++;
      if (tail === null) head = frame;
      else tail.next = frame;
      tail = frame;
    }
    if (verdict === 'good' && fragments > MOST_FRAGMENTS) verdict = 'rxMalformed';
    if (verdict === 'good' && (total < ETHERNET_HEADER_BYTES || total > MAX_PACKET_BYTES))
      verdict = 'rxBadLength';
    if (verdict === 'good') verdict = this.finish(head!, total, flags);
    if (verdict === 'good') this.deliver(sink, head!);
    else this.drop(head, verdict);
    return true;
  }

  /** Gives a packet of several slots what concerns the whole of it. */
  private finish(head: Frame, total: number, flags: number): ReceiveVerdict {
    const { segmentation, segmentBytes } = this.scan;
    head.totalBytes = total;
    head.checksum = checksumOf(flags);
    if (segmentation === Segmentation.none) return 'good';
    if (head.checksum !== Checksum.blank) {
      if (!blankChecksum(this.memory, head)) return 'rxBadExtra';
      this.counters.rxGsoFixed++;
    }
    head.segmentation = segmentation;
    head.segmentBytes = segmentBytes;
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

  private drop(head: Frame | null, why: Exclude<ReceiveVerdict, 'good'>): void {
    this.counters[why]++;
    if (head !== null) releaseChain(head);
    // An error that the backend admits is no lie.
    if (why !== 'rxErrors' && ++this.malformed > MOST_MALFORMED)
      this.breach = `${MOST_MALFORMED} received packets in a row without sense`;
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
}

/** What a response's flags say of the checksum. */
function checksumOf(flags: number): Checksum {
  if ((flags & RxFlag.csumBlank) !== 0) return Checksum.blank;
  return (flags & RxFlag.dataValidated) !== 0 ? Checksum.good : Checksum.unknown;
}
