/**
 * A batch of packets on their way to the guest: requests taken off the receive ring, copies lined up, responses
 * written into their slots, all of it carried out and published at once.
 *
 * A response lies in the slot of its request (netif.h): it is put together here and written over the request only
 * when nothing but publishing is left to do, so that a crash loses no request to whoever takes the ring up. Frames
 * are held until the copies are done. Used by `GuestReceive`.
 */
import { PAGE_BYTES, Segmentation, holdChain, releaseChain } from '@netaccel/core-hooks';
import type { Address, Frame } from '@netaccel/core-hooks';
import { GrantCopyBatch, GrantStatus } from '@netaccel/xen';
import type { BackRing, Domain } from '@netaccel/xen';
import {
  ExtraFlag,
  ExtraType,
  RX_RING_SLOTS,
  RxFlag,
  Status,
  extraGso,
  extraHash,
  extraXdp,
  rxRequest,
  rxResponse,
} from '@netaccel/xen/netif';
import { HashAlgorithm } from '@netaccel/xen/netif';
import type { HashSettings } from './hash.js';
import type { StaticGrants } from './static-grants.js';
import { RxDrop } from './statistics.js';
import type { Counters } from './statistics.js';

const SLOT_WORDS = rxResponse.size >>> 2;
const SLOT_MASK = RX_RING_SLOTS - 1;
const REQUEST_ID = rxRequest.fields.id.offset >>> 1;
const REQUEST_GREF = rxRequest.fields.gref.offset >>> 2;
const ID = rxResponse.fields.id.offset >>> 1;
const OFFSET = rxResponse.fields.offset.offset >>> 1;
const FLAGS = rxResponse.fields.flags.offset >>> 1;
const STATUS = rxResponse.fields.status.offset >>> 1;
const EXTRA_TYPE = extraGso.fields.type.offset;
const EXTRA_FLAGS = extraGso.fields.flags.offset;
const GSO_SIZE = extraGso.fields.size.offset >>> 1;
const GSO_TYPE = extraGso.fields.gsoType.offset;
const HASH_TYPE = extraHash.fields.hashType.offset;
const HASH_ALGORITHM = extraHash.fields.algorithm.offset;
const HASH_VALUE = extraHash.fields.value.offset >>> 2;
const HEADROOM = extraXdp.fields.headroom.offset >>> 1;

/** Copies lined up at most: a ring of pages and, for each, a copied header before its payload. */
export const MOST_COPIES = 2 * RX_RING_SLOTS;

/** What a batch works on. */
export interface BatchSurroundings {
  readonly domain: Domain;
  readonly ring: BackRing;
  readonly grants: StaticGrants;
  readonly counters: Counters;
  /** Notifies the guest. */
  notify(): void;
  /** The guest broke the ring's rules. */
  breach(what: string): void;
}

/** What a packet's bytes are, when they are not a whole frame's: a header of our own, then part of the frame. */
export interface Piece {
  /** Where the header is. */
  header: Address;
  /** Bytes of it. */
  headerBytes: number;
  /** First byte of the frame that follows it. */
  from: number;
  /** Bytes of the frame. */
  bytes: number;
}

/** One queue's batch. */
export class ReceiveBatch {
  /** Packets lined up. */
  packets = 0;
  /** Bytes that are left free before the data of each slot (`xdp-headroom`). */
  headroom = 0;
  /** Requests known to be posted and not taken. */
  posted = 0;
  private readonly copies = new GrantCopyBatch(MOST_COPIES);
  /** By copy: the ring index of its slot. */
  private readonly copySlots = new Uint32Array(MOST_COPIES);
  /** By packet: copies up to and with it. */
  private readonly copyEnds = new Uint16Array(RX_RING_SLOTS);
  private readonly held = new Array<Frame>(RX_RING_SLOTS);
  private heldCount = 0;
  /** The ring's memory. */
  private readonly words: Uint32Array;
  private readonly halves: Uint16Array;
  /** Responses by ring slot, as they will lie on the ring. */
  private readonly answers = new Uint32Array(RX_RING_SLOTS * SLOT_WORDS);
  private readonly answerHalves = new Uint16Array(this.answers.buffer);
  private readonly answerBytes = new Uint8Array(this.answers.buffer);

  constructor(private readonly around: BatchSurroundings) {
    const { words, halves } = around.domain.memory;
    this.words = words;
    this.halves = halves;
  }

  /** Whether `slots` buffers are posted; reads the ring's index only when those known of do not suffice. */
  has(slots: number): boolean {
    if (this.posted >= slots) return true;
    const posted = this.around.ring.available();
    if (posted < 0) this.around.breach('rx request index');
    this.posted = Math.max(posted, 0);
    return this.posted >= slots;
  }

  /** Makes room for a frame that needs `copies` and one for each further fragment; false when it never fits. */
  room(frame: Frame, copies: number): boolean {
    for (let part = frame.next; part !== null; part = part.next) copies++;
    if (copies <= this.copies.space) return true;
    this.commit();
    return copies <= this.copies.capacity;
  }

  /** Keeps a frame until the copies are done. */
  hold(frame: Frame): void {
    holdChain(frame);
    this.held[this.heldCount++] = frame;
  }

  /** Lines up a frame of one fragment and no extras that fits in one slot, which most are. */
  placeWhole(frame: Frame, flags: number): void {
    const { ring } = this.around;
    const index = ring.consumed;
    const at = ring.slot(index);
    const copy = this.copies.toGrant(this.words[(at >>> 2) + REQUEST_GREF]!, 0, frame.address, frame.length);
    this.copySlots[copy] = index;
    this.copyEnds[this.packets++] = copy + 1;
    this.answer(index, this.halves[(at >>> 1) + REQUEST_ID]!, flags, frame.length);
    ring.consumed = (index + 1) >>> 0;
    this.posted--;
  }

  /**
   * Lines up one packet, contiguous over as many slots as it needs.
   * @param flags `RxFlag` of the first response that the checksum asks for.
   * @param piece what of the frame it is; null for all of it, with its segmentation.
   * @param hash what the frame was hashed to, or null.
   */
  place(frame: Frame, flags: number, piece: Piece | null, hash: HashSettings | null): void {
    const { copies, copySlots, headroom } = this;
    const { ring } = this.around;
    const room = PAGE_BYTES - headroom;
    const gso = piece === null && frame.segmentation !== Segmentation.none;
    const extra = gso || hash !== null || headroom > 0;
    let left = piece === null ? frame.totalBytes : piece.headerBytes + piece.bytes;
    let part = frame;
    let from = piece?.from ?? 0;
    while (from >= part.length && part.next !== null) {
      from -= part.length;
      part = part.next;
    }
    // The bytes at hand: first the header, if there is one, then fragment after fragment.
    let source = piece === null ? part.address + from : piece.header;
    let sourceLeft = piece === null ? part.length - from : piece.headerBytes;
    let inHeader = piece !== null;

    if (extra) flags |= RxFlag.extraInfo;
    for (let first = true; left > 0; first = false) {
      const index = ring.consumed;
      const at = ring.slot(index);
      const id = this.halves[(at >>> 1) + REQUEST_ID]!;
      const ref = this.words[(at >>> 2) + REQUEST_GREF]!;
      const fill = left < room ? left : room;
      for (let done = 0; done < fill;) {
        if (sourceLeft === 0) {
          if (!inHeader) {
            part = part.next!;
            from = 0;
          }
          inHeader = false;
          source = part.address + from;
          sourceLeft = part.length - from;
          continue;
        }
        const take = sourceLeft < fill - done ? sourceLeft : fill - done;
        copySlots[copies.toGrant(ref, headroom + done, source, take)] = index;
        source += take;
        sourceLeft -= take;
        done += take;
      }
      left -= fill;
      // As in Linux the data are said to begin at the page, and the room to be a part of them.
      this.answer(index, id, left > 0 ? flags | RxFlag.moreData : flags, headroom + fill);
      ring.consumed = (index + 1) >>> 0;
      this.posted--;
      flags = 0;
      // Extras follow the first slot.
      if (first && gso) this.placeSegmentation(frame, hash !== null || headroom > 0);
      if (first && hash !== null) this.placeHash(hash, headroom > 0);
      if (first && headroom > 0) this.placeHeadroom();
    }
    this.copyEnds[this.packets++] = copies.count;
  }

  /** Copies, judges each status, publishes, notifies, releases. */
  commit(): void {
    const { copies, packets } = this;
    const { ring, counters, grants } = this.around;
    if (packets === 0) return;
    grants.copy(copies);
    const { status, lengths, count } = copies;
    let bytes = 0;
    let failed = 0;
    for (let copy = 0; copy < count; copy++) {
      bytes += lengths[copy]!;
      failed |= status[copy]!;
    }
    counters.rxFrames += packets;
    counters.rxBytes += bytes;
    if (failed !== 0) this.judge();
    copies.clear();
    this.writeAnswers();
    ring.produced = ring.consumed;
    if (ring.publish()) this.around.notify();
    this.release();
  }

  /** Lets go of the frames without touching the ring. */
  abandon(): void {
    this.copies.clear();
    this.release();
  }

  /** Some copies did not happen: their responses say so, and their packets count as lost. */
  private judge(): void {
    const { copies, copySlots, copyEnds } = this;
    const { counters } = this.around;
    let copy = 0;
    for (let packet = 0; packet < this.packets; packet++) {
      let failed = false;
      let bytes = 0;
      for (const end = copyEnds[packet]!; copy < end; copy++) {
        bytes += copies.lengths[copy]!;
        if (copies.status[copy] === GrantStatus.okay) continue;
        failed = true;
        this.answerHalves[(copySlots[copy]! & SLOT_MASK) * SLOT_WORDS * 2 + STATUS] = Status.error;
      }
      if (!failed) continue;
      counters.rxFrames--;
      counters.rxBytes -= bytes;
      counters.rxDropped[RxDrop['copy-failed']]!++;
    }
  }

  /** Puts the response to the request at `index` together. */
  private answer(index: number, id: number, flags: number, status: number): void {
    const at = (index & SLOT_MASK) * SLOT_WORDS * 2;
    this.answerHalves[at + ID] = id;
    this.answerHalves[at + OFFSET] = 0;
    this.answerHalves[at + FLAGS] = flags;
    this.answerHalves[at + STATUS] = status;
  }

  /** Writes each response, two words, over its request. */
  private writeAnswers(): void {
    const { words, answers } = this;
    const { ring } = this.around;
    for (let index = ring.produced; index !== ring.consumed; index = (index + 1) >>> 0) {
      const to = ring.slot(index) >>> 2;
      const from = (index & SLOT_MASK) * SLOT_WORDS;
      words[to] = answers[from]!;
      words[to + 1] = answers[from + 1]!;
    }
  }

  /**
   * Takes the next slot for extra info: it uses up the buffer that was posted there.
   * @returns where its words begin in `answers`.
   */
  private extraSlot(type: number, more: boolean): number {
    const { ring } = this.around;
    const at = (ring.consumed & SLOT_MASK) * SLOT_WORDS;
    this.answers.fill(0, at, at + SLOT_WORDS);
    this.answerBytes[4 * at + EXTRA_TYPE] = type;
    this.answerBytes[4 * at + EXTRA_FLAGS] = more ? ExtraFlag.more : 0;
    ring.consumed = (ring.consumed + 1) >>> 0;
    this.posted--;
    return at;
  }

  private placeSegmentation(frame: Frame, more: boolean): void {
    const at = this.extraSlot(ExtraType.gso, more);
    this.answerHalves[2 * at + GSO_SIZE] = frame.segmentBytes;
    this.answerBytes[4 * at + GSO_TYPE] = frame.segmentation;
  }

  private placeHeadroom(): void {
    const at = this.extraSlot(ExtraType.xdp, false);
    this.answerHalves[2 * at + HEADROOM] = this.headroom;
  }

  private placeHash(hash: HashSettings, more: boolean): void {
    const at = this.extraSlot(ExtraType.hash, more);
    this.answerBytes[4 * at + HASH_TYPE] = hash.type;
    this.answerBytes[4 * at + HASH_ALGORITHM] = HashAlgorithm.toeplitz;
    this.answers[at + HASH_VALUE] = hash.value;
  }

  private release(): void {
    for (let i = 0; i < this.heldCount; i++) releaseChain(this.held[i]!);
    this.heldCount = 0;
    this.packets = 0;
  }
}
