/**
 * The guest's receive direction of one queue: frames in, packets on the guest's ring out.
 *
 * `deliver` lines a frame up in the batch (receive-batch.ts), `flush` carries the batch out. A frame that finds
 * too few posted buffers is copied to the backlog and follows in order when the guest posts more. What the guest
 * cannot take is degraded here: large segments are cut, blank checksums filled. Called by `Connection` and by
 * the queue's task, in one thread.
 */
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import { ETHERNET_HEADER_BYTES, MAX_PACKET_BYTES, RX_RING_SLOTS, RxFlag } from '@netaccel/xen/netif';
import type { Backlog } from './backlog.js';
import type { HashSettings } from './hash.js';
import { Headers, MOST_HEADER_BYTES, Protocol } from './headers.js';
import type { PeerFeatures } from './peer.js';
import { ReceiveBatch } from './receive-batch.js';
import type { BatchSurroundings, Piece } from './receive-batch.js';
import { countSegments, cutHeaders, fillChecksum } from './segment.js';
import { RxDrop } from './statistics.js';

/** Pages of scratch headers that a queue needs when its guest takes less than everything. */
export const HEADER_PAGES = (RX_RING_SLOTS * MOST_HEADER_BYTES) / PAGE_BYTES;

/** Flags of the first response by `Checksum`. */
const CHECKSUM_FLAGS = [0, RxFlag.dataValidated, 0, RxFlag.csumBlank | RxFlag.dataValidated] as const;

/** Slots that `bytes` take. */
function pages(bytes: number): number {
  return (bytes + PAGE_BYTES - 1) >>> 12;
}

/** What a queue's receive half needs of its surroundings. */
export interface ReceiveSurroundings extends BatchSurroundings {
  readonly peer: PeerFeatures;
  readonly backlog: Backlog;
  /** How the guest wants its frames hashed. */
  readonly hash: HashSettings;
  /** `HEADER_PAGES` pages, or 0 when the guest takes everything. */
  readonly headers: Address;
  /** How long a frame waits in the backlog. */
  readonly drainTimeoutMs: number;
  /** The backlog has a first frame: time begins to count. */
  waiting(): void;
  /** Frames left the backlog: placed on the ring, or dropped. */
  drained(placed: boolean): void;
}

/** One queue's receive half. */
export class GuestReceive {
  /** The guest was found stalled: everything is dropped until it posts again. */
  stalled = false;
  /** Slots that the frame at the head of the backlog asks for. */
  private needed = 0;
  private readonly memory: Memory;
  private readonly batch: ReceiveBatch;
  /** Scratch headers in use by the batch. */
  private headersUsed = 0;
  private readonly parsed = new Headers();
  private readonly piece: Piece = { header: 0, headerBytes: 0, from: 0, bytes: 0 };
  /** Bit n: segmentation n goes as it is. */
  private readonly segmentations: number;
  /** Bytes of the longest packet that the guest takes. */
  private longest = 0;
  /** Bytes of the longest that goes without a further look; none do while there is room before their data. */
  private plain = 0;
  private readonly anyBlank: boolean;

  constructor(private readonly around: ReceiveSurroundings) {
    const { peer } = around;
    this.memory = around.domain.memory;
    this.batch = new ReceiveBatch(around);
    this.anyBlank = peer.checksumIpv4 && peer.checksumIpv6;
    // A large segment's checksum is blank and its pages are many: a guest that cannot have those cannot have it.
    const { scatterGather } = peer;
    const tcpv4 = scatterGather && peer.segmentationTcpv4 && peer.checksumIpv4;
    const tcpv6 = scatterGather && peer.segmentationTcpv6 && peer.checksumIpv6;
    this.segmentations =
      (1 << Segmentation.none) |
      (tcpv4 ? 1 << Segmentation.tcpv4 : 0) |
      (tcpv6 ? 1 << Segmentation.tcpv6 : 0);
    this.setHeadroom(0);
  }

  /** Room before the data of each slot (`xdp-headroom`), from the next frame on. */
  setHeadroom(bytes: number): void {
    this.commit();
    this.batch.headroom = bytes;
    const room = PAGE_BYTES - bytes;
    this.longest = this.around.peer.scatterGather ? MAX_PACKET_BYTES : room;
    this.plain = bytes > 0 ? -1 : this.longest;
  }

  /** Frames that ever waited. */
  get queuedTotal(): number {
    return this.around.backlog.pushed;
  }

  /** Of those, frames that are on the ring or were dropped. */
  get leftTotal(): number {
    return this.around.backlog.taken;
  }

  /** Response index of the ring: what is below it is published. */
  get published(): number {
    return this.around.ring.produced;
  }

  /** One frame for the guest. */
  deliver(frame: Frame): void {
    const { backlog, counters } = this.around;
    const bytes = frame.totalBytes;
    if (bytes < ETHERNET_HEADER_BYTES) return this.drop(RxDrop['too-short']);
    if (bytes > MAX_PACKET_BYTES) return this.drop(RxDrop['too-long']);
    if (this.stalled) return this.drop(RxDrop.stalled);
    if (backlog.length === 0 && this.offer(frame)) return;
    if (backlog.refuses(bytes)) return this.drop(RxDrop['queue-full']);
    const expiry = this.around.domain.loop.now() + this.around.drainTimeoutMs;
    if (!backlog.push(frame, expiry)) return this.drop(RxDrop['queue-full']);
    counters.rxQueued++;
    if (backlog.length === 1) this.around.waiting();
  }

  /** The batch is over: carries it out, and sees whether the backlog can move. */
  flush(): void {
    this.commit();
    if (this.around.backlog.length > 0) this.drain();
  }

  /**
   * Moves frames of the backlog to the ring while it has room, then asks for a notification about the room
   * that is missing.
   */
  drain(): void {
    const { backlog, ring } = this.around;
    const before = backlog.taken;
    for (;;) {
      while (backlog.length > 0 && this.offer(backlog.peek())) backlog.shift();
      this.commit();
      if (backlog.length === 0) break;
      const posted = ring.arm(this.needed);
      if (posted < 0) {
        this.around.breach('rx request index');
        break;
      }
      if (posted < this.needed) break;
      this.batch.posted = posted;
    }
    if (backlog.taken > before) this.around.drained(true);
  }

  /** Drops what was to be on the ring by `now`. */
  expire(now: number): void {
    const { backlog } = this.around;
    const before = backlog.taken;
    while (backlog.length > 0 && backlog.expiry <= now) {
      backlog.shift();
      this.drop(RxDrop.expired);
    }
    if (backlog.taken > before) this.around.drained(false);
  }

  /** Whether a guest that was stalled has posted what its first frame was short of; asks for notice if not. */
  revived(): boolean {
    const posted = this.around.ring.arm(Math.max(this.needed, 1));
    if (posted < 0) this.around.breach('rx request index');
    return posted >= this.needed;
  }

  /** Drops what is held without touching the ring. Nothing is delivered afterwards. */
  close(): void {
    this.batch.abandon();
    const { backlog } = this.around;
    while (backlog.length > 0) {
      backlog.shift();
      this.drop(RxDrop['not-connected']);
    }
  }

  private commit(): void {
    this.batch.commit();
    this.headersUsed = 0;
  }

  /** Takes a frame to the ring, or deals with it otherwise; false when the ring has too few buffers for it. */
  private offer(frame: Frame): boolean {
    const bytes = frame.totalBytes;
    if (
      ((this.segmentations >>> frame.segmentation) & 1) === 0 ||
      (frame.checksum === Checksum.blank && !this.anyBlank) ||
      bytes > this.plain
    )
      return this.offerDegraded(frame);
    const hash = this.hashOf(frame);
    const gso = frame.segmentation !== Segmentation.none;
    const slots = pages(bytes) + (gso ? 1 : 0) + (hash === null ? 0 : 1);
    if (!this.has(slots)) return false;
    if (slots === 1 && frame.next === null) {
      if (!this.batch.room(frame, 1)) return true;
      this.batch.placeWhole(frame, CHECKSUM_FLAGS[frame.checksum]);
    } else {
      if (!this.fits(frame, slots)) return true;
      this.batch.place(frame, CHECKSUM_FLAGS[frame.checksum], null, hash);
    }
    this.batch.hold(frame);
    return true;
  }

  /** Takes a frame that the guest cannot take as it is, or that wants room before its data. */
  private offerDegraded(frame: Frame): boolean {
    const { parsed, memory } = this;
    const large = frame.segmentation !== Segmentation.none;
    const cut = ((this.segmentations >>> frame.segmentation) & 1) === 0;
    const blank = frame.checksum === Checksum.blank && !this.anyBlank;
    // Only what lies in one piece is understood; the backlog makes one piece of a chain.
    if (frame.next !== null && frame.length < Math.min(frame.totalBytes, MOST_HEADER_BYTES)) {
      this.needed = 1;
      return false;
    }
    if (cut || blank) {
      const understood = parsed.parse(memory.bytes, frame.address, frame.length, frame.totalBytes);
      if (!understood || (cut && parsed.protocol !== Protocol.tcp))
        return this.dropped(cut ? RxDrop.segmentation : RxDrop.checksum);
    }
    const segments = cut ? countSegments(parsed, frame.segmentBytes) : 1;
    const longest = cut
      ? parsed.payload + Math.min(frame.segmentBytes, parsed.end - parsed.payload)
      : frame.totalBytes;
    if (longest > this.longest) return this.dropped(RxDrop['too-long']);
    const hash = this.hashOf(frame);
    const { headroom } = this.batch;
    const extras = (large && !cut ? 1 : 0) + (hash === null ? 0 : 1) + (headroom > 0 ? 1 : 0);
    const slots = segments * (Math.ceil(longest / (PAGE_BYTES - headroom)) + extras);
    if (slots > RX_RING_SLOTS) return this.dropped(RxDrop['too-many-segments']);
    if (!this.has(slots)) return false;
    if (this.headersUsed + segments > RX_RING_SLOTS) this.commit();
    if (!this.fits(frame, slots + 2 * segments)) return true;

    if (cut || (blank && !this.takesBlank())) this.placeRewritten(frame, cut, segments, hash);
    else this.batch.place(frame, CHECKSUM_FLAGS[frame.checksum], null, hash);
    this.batch.hold(frame);
    return true;
  }

  /** Lines up a frame with headers of our own: as its segments, or as itself with its checksum filled. */
  private placeRewritten(frame: Frame, cut: boolean, segments: number, hash: HashSettings | null): void {
    const { parsed, memory, piece } = this;
    const { counters } = this.around;
    const blank = this.takesBlank();
    // What software filled is for the guest to verify: it rests on the sender's pseudo header.
    const flags = CHECKSUM_FLAGS[blank ? Checksum.blank : Checksum.unknown];
    for (let i = 0; i < segments; i++) {
      const to = this.around.headers + this.headersUsed++ * MOST_HEADER_BYTES;
      const first = cut ? i * frame.segmentBytes : 0;
      let bytes = parsed.end - parsed.payload;
      if (cut) bytes = cutHeaders(memory, frame, parsed, i, segments, to);
      else memory.copy(to, frame.address, parsed.payload);
      if (!blank) {
        fillChecksum(memory, frame, parsed, first, bytes, to);
        counters.rxChecksumsFilled++;
      }
      piece.header = to;
      piece.headerBytes = parsed.payload;
      piece.from = parsed.payload + first;
      // Padding behind the packet goes along; a large segment has none.
      piece.bytes = cut ? bytes : frame.totalBytes - parsed.payload;
      this.batch.place(frame, flags, piece, hash);
    }
    if (cut) counters.rxCut++;
  }

  /** Whether the guest takes a blank checksum in the frame that was parsed. */
  private takesBlank(): boolean {
    const { peer } = this.around;
    return this.parsed.version === 4 ? peer.checksumIpv4 : peer.checksumIpv6;
  }

  /** What the guest is told about the frame's hash: nothing unless it chose an algorithm. */
  private hashOf(frame: Frame): HashSettings | null {
    const { hash } = this.around;
    return hash.chosen && hash.compute(this.memory.bytes, frame) ? hash : null;
  }

  private has(slots: number): boolean {
    if (this.batch.has(slots)) return true;
    this.needed = slots;
    return false;
  }

  private fits(frame: Frame, copies: number): boolean {
    return this.batch.room(frame, copies) || !this.dropped(RxDrop['too-many-fragments']);
  }

  private dropped(reason: number): true {
    this.drop(reason);
    return true;
  }

  private drop(reason: number): void {
    this.around.counters.rxDropped[reason]!++;
  }
}
