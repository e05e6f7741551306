/**
 * One packet's slots, read once off the transmit ring and judged before anything is done with them.
 *
 * Each field of a slot is loaded exactly once into this object, which belongs to the driver domain; from there
 * on only the copy is looked at (XSA-155). Nothing is taken from the ring until the caller commits, so a
 * packet for which there is no credit or no buffer is simply left. Called by `GuestTransmit`.
 */
import type { Memory } from '@netaccel/core-hooks';
import { PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import type { BackRing } from '@netaccel/xen';
import {
  ETHERNET_HEADER_BYTES,
  ExtraFlag,
  ExtraType,
  MIN_SLOTS_PER_PACKET,
  TX_RING_SLOTS,
  TxFlag,
  extraGso,
  extraInfo,
  extraMulticast,
  Status,
  txRequest,
  txResponse,
} from '@netaccel/xen/netif';
import { TxError } from './statistics.js';

const GREF = txRequest.fields.gref.offset >>> 2;
const OFFSET = txRequest.fields.offset.offset >>> 1;
const FLAGS = txRequest.fields.flags.offset >>> 1;
const ID = txRequest.fields.id.offset >>> 1;
const SIZE = txRequest.fields.size.offset >>> 1;
const RESPONSE_ID = txResponse.fields.id.offset >>> 1;
const RESPONSE_STATUS = txResponse.fields.status.offset >>> 1;
const EXTRA_TYPE = extraInfo.fields.type.offset;
const EXTRA_FLAGS = extraInfo.fields.flags.offset;
const GSO_SIZE = extraGso.fields.size.offset >>> 1;
const GSO_TYPE = extraGso.fields.gsoType.offset;
const GROUP = extraMulticast.fields.address.offset;

/** What `next` answers besides a `TxError`. */
export const Gathered = {
  /** A packet in one slot that may be copied: `ref` and `offset` say from where. */
  plain: -4,
  /** A packet of several slots that may be copied: `refs`, `offsets` and `sizes` say from where. */
  good: -1,
  /** A request to join or leave a multicast group; it has no data. */
  multicast: -2,
  /** The guest published part of a packet: a breach, as for Linux. */
  incomplete: -3,
} as const;

/** A packet needs at most one extra of each type; more of them are refused. */
const MAX_EXTRAS = ExtraType.xdp;
/** Fewest payload bytes per segment: TCP_MIN_GSO_SIZE of Linux. */
const MIN_SEGMENT_BYTES = 8;

/** Reads and judges; made once per queue. */
export class Gather {
  /** Slots of the batch that were committed. */
  taken = 0;

  /** Id of the packet's first slot. */
  id = 0;
  /** Grant of the packet's first slot. */
  ref = 0;
  /** First byte of its first slot within the page. */
  offset = 0;
  /** Slots of the packet in hand, extras included. */
  slots = 0;
  /** Fragments of it that have bytes. */
  fragments = 0;
  /** Bytes of the whole packet. */
  totalBytes = 0;
  /** `TxFlag` of its first slot. */
  flags = 0;
  /** How it is to be cut. */
  segmentation: Segmentation = Segmentation.none;
  /** Payload bytes of each segment. */
  segmentBytes = 0;
  /** Grant of each fragment. */
  readonly refs = new Uint32Array(MIN_SLOTS_PER_PACKET);
  /** First byte of each within its page. */
  readonly offsets = new Uint32Array(MIN_SLOTS_PER_PACKET);
  /** Bytes of each. */
  readonly sizes = new Uint32Array(MIN_SLOTS_PER_PACKET);
  /** The multicast group, when the packet is such a request. */
  readonly group = new Uint8Array(extraMulticast.fields.address.width);
  /** Whether the group is joined or left. */
  joins = false;

  /** By slot of the batch: its id, and the status that it is to be answered with. */
  private readonly ids = new Uint16Array(TX_RING_SLOTS);
  private readonly statuses = new Int16Array(TX_RING_SLOTS);
  /** By slot of the batch: 1 where it held extra info. */
  private readonly isExtra = new Uint8Array(TX_RING_SLOTS);
  private marked = false;
  /** Ring index of the batch's first slot. */
  private first = 0;
  private readonly words: Uint32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;

  constructor(
    memory: Memory,
    private readonly ring: BackRing,
  ) {
    this.words = memory.words;
    this.halves = memory.halves;
    this.bytes = memory.bytes;
  }

  /** A new batch of slots begins. */
  begin(): void {
    if (this.marked) this.isExtra.fill(0);
    this.marked = false;
    this.taken = 0;
    this.first = this.ring.consumed;
  }

  /**
   * Reads the packet at the head of the ring, of which `waiting` slots are published.
   * @returns one of {@link Gathered}, or the `TxError` for which all its slots are to be answered with an error.
   */
  next(waiting: number): number {
    const { ring, halves } = this;
    const at = ring.slot(ring.consumed);
    const offset = halves[(at >>> 1) + OFFSET]!;
    const flags = halves[(at >>> 1) + FLAGS]!;
    const total = halves[(at >>> 1) + SIZE]!;
    this.ref = this.words[(at >>> 2) + GREF]!;
    this.offset = offset;
    this.id = halves[(at >>> 1) + ID]!;
    this.slots = 1;
    this.flags = flags;
    this.totalBytes = total;
    if ((flags & (TxFlag.extraInfo | TxFlag.moreData)) !== 0) return this.rest(waiting);
    if (total < ETHERNET_HEADER_BYTES) return TxError['too-short'];
    return offset + total > PAGE_BYTES ? TxError['crosses-page'] : Gathered.plain;
  }

  /**
   * Takes the packet in hand from the ring; each of its slots is to be answered: with `status` where it was a
   * request, with null where it was extra info.
   */
  commit(status: number): void {
    const { ring, ids, statuses, taken, slots } = this;
    ids[taken] = this.id;
    statuses[taken] = status;
    for (let slot = taken + 1; slot < taken + slots; slot++)
      statuses[slot] = this.isExtra[slot] === 1 ? Status.null : status;
    this.taken += slots;
    ring.consumed = (ring.consumed + slots) >>> 0;
  }

  /** Changes the answers to the batch's slots from `from` up to `to` to an error. */
  fail(from: number, to: number): void {
    for (let slot = from; slot < to; slot++) if (this.isExtra[slot] === 0) this.statuses[slot] = Status.error;
  }

  /**
   * Writes each response over its request. Only when nothing but publishing them is left to do: a request that was
   * written over and not published is lost to whoever takes the ring up after a crash.
   */
  answer(): void {
    const { ring, halves, ids, statuses, first } = this;
    for (let slot = 0; slot < this.taken; slot++) {
      const at = ring.slot((first + slot) >>> 0) >>> 1;
      halves[at + RESPONSE_ID] = ids[slot]!;
      halves[at + RESPONSE_STATUS] = statuses[slot]!;
    }
  }

  /** The slots after the first, and the verdict on the packet as a whole. */
  private rest(waiting: number): number {
    const { flags } = this;
    this.segmentation = Segmentation.none;
    this.segmentBytes = 0;
    this.refs[0] = this.ref;
    this.offsets[0] = this.offset;
    this.sizes[0] = this.totalBytes;
    this.fragments = 1;
    let verdict: number = Gathered.good;
    if ((flags & TxFlag.extraInfo) !== 0) verdict = this.readExtras(waiting);
    if ((flags & TxFlag.moreData) !== 0 && verdict !== Gathered.incomplete) {
      const rest = this.readFragments(waiting);
      // A multicast request has no data: fragments after it are no part of any packet.
      if (verdict === Gathered.multicast) verdict = TxError['extra-info'];
      if (verdict === Gathered.good || rest === Gathered.incomplete) verdict = rest;
    }
    if (verdict !== Gathered.good) return verdict;
    if (this.totalBytes < ETHERNET_HEADER_BYTES) return TxError['too-short'];
    return this.offset + this.sizes[0] > PAGE_BYTES ? TxError['crosses-page'] : Gathered.good;
  }

  /** The extras between the first fragment and the next. */
  private readExtras(waiting: number): number {
    const { ring, halves, bytes } = this;
    let verdict: number = Gathered.good;
    let flags: number;
    let extras = 0;
    do {
      if (this.slots === waiting) return Gathered.incomplete;
      const at = ring.slot((ring.consumed + this.slots) >>> 0);
      this.ids[this.taken + this.slots] = 0;
      this.isExtra[this.taken + this.slots] = 1;
      this.marked = true;
      this.slots++;
      const type = bytes[at + EXTRA_TYPE]!;
      flags = bytes[at + EXTRA_FLAGS]!;
      if (type === ExtraType.gso) {
        const size = halves[(at >>> 1) + GSO_SIZE]!;
        const kind = bytes[at + GSO_TYPE]!;
        if ((kind === Segmentation.tcpv4 || kind === Segmentation.tcpv6) && size >= MIN_SEGMENT_BYTES) {
          this.segmentation = kind;
          this.segmentBytes = size;
        } else verdict = TxError.segmentation;
      } else if (type === ExtraType.mcastAdd || type === ExtraType.mcastDel) {
        for (let i = 0; i < this.group.length; i++) this.group[i] = bytes[at + GROUP + i]!;
        this.joins = type === ExtraType.mcastAdd;
        if (verdict === Gathered.good) verdict = Gathered.multicast;
      } else if (type === ExtraType.none || type > ExtraType.xdp) {
        verdict = TxError['extra-info'];
      }
      if (++extras > MAX_EXTRAS) verdict = TxError['extra-info'];
    } while ((flags & ExtraFlag.more) !== 0);
    return verdict;
  }

  /** The fragments after the first; the first one's own size is what they leave of the total. */
  private readFragments(waiting: number): number {
    const { ring, words, halves, ids, isExtra } = this;
    let verdict: number = Gathered.good;
    let first = this.totalBytes;
    let data = 1;
    let flags: number;
    do {
      if (this.slots === waiting) return Gathered.incomplete;
      const at = ring.slot((ring.consumed + this.slots) >>> 0);
      const ref = words[(at >>> 2) + GREF]!;
      const offset = halves[(at >>> 1) + OFFSET]!;
      const size = halves[(at >>> 1) + SIZE]!;
      flags = halves[(at >>> 1) + FLAGS]!;
      ids[this.taken + this.slots] = halves[(at >>> 1) + ID]!;
      isExtra[this.taken + this.slots] = 0;
      this.slots++;
      if (++data > MIN_SLOTS_PER_PACKET) {
        verdict = TxError['too-many-slots'];
      } else if (size > 0) {
        // A fragment of nothing is answered like any other and copied from by no operation (XSA-448).
        if (offset + size > PAGE_BYTES && verdict === Gathered.good) verdict = TxError['crosses-page'];
        this.refs[this.fragments] = ref;
        this.offsets[this.fragments] = offset;
        this.sizes[this.fragments] = size;
        this.fragments++;
        first -= size;
      }
    } while ((flags & TxFlag.moreData) !== 0);
    if (first < 0 && verdict === Gathered.good) verdict = TxError['fragments-exceed-total'];
    this.sizes[0] = first < 0 ? 0 : first;
    return verdict;
  }
}
