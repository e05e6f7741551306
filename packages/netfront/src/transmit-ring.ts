/**
 * One transmit ring: writes frames into request slots, and takes the backend's answers.
 *
 * Called by the transmit path, which has made sure that a frame lies in the shared pages, in few enough pieces,
 * and that there is room. The ring holds a frame from `send` until its last slot is answered. Every answer is
 * checked against what is owed; one that cannot be is a breach, after which the ring is not touched again.
 */
import { Checksum, PAGE_BYTES, Segmentation } from '@netaccel/core-hooks';
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import { FrontRing } from '@netaccel/xen';
import {
  ExtraType,
  MIN_SLOTS_PER_PACKET,
  Status,
  TX_RING_SLOTS,
  TxFlag,
  extraGso,
  txRequest,
  txResponse,
} from '@netaccel/xen/netif';
import type { Counters } from './counters.js';
import type { TransmitBuffers } from './transmit-buffers.js';
import { Place } from './transmit-buffers.js';

const GREF = txRequest.fields.gref.offset >>> 2;
const OFFSET = txRequest.fields.offset.offset >>> 1;
const FLAGS = txRequest.fields.flags.offset >>> 1;
const ID = txRequest.fields.id.offset >>> 1;
const SIZE = txRequest.fields.size.offset >>> 1;
const RESPONSE_ID = txResponse.fields.id.offset >>> 1;
const RESPONSE_STATUS = txResponse.fields.status.offset >>> 1;
const EXTRA_TYPE = extraGso.fields.type.offset;
const EXTRA_FLAGS = extraGso.fields.flags.offset;
const GSO_TYPE = extraGso.fields.gsoType.offset;
const GSO_PAD = extraGso.fields.pad.offset;
const GSO_SIZE = extraGso.fields.size.offset >>> 1;
const GSO_FEATURES = extraGso.fields.features.offset >>> 1;

/** Slots that the largest packet takes: its fragments and one extra. */
const MOST_SLOTS = MIN_SLOTS_PER_PACKET + 1;
const PAGE_MASK = PAGE_BYTES - 1;
/** In {@link TransmitRing.frameOf}: the backend does not owe an answer for this id. */
const NOBODY = 0xffff;

/** Pages that `length` bytes at `address` touch: the slots they take. */
export function pagesOf(address: Address, length: number): number {
  return ((address & PAGE_MASK) + length + PAGE_MASK) >>> 12;
}

/** The transmit half of one queue. */
export class TransmitRing {
  /** Why the backend is no longer believed; null while it is. */
  breach: string | null = null;
  private readonly ring: FrontRing;
  private readonly words: Uint32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;
  /** Index of the frame that each id stands for. */
  private readonly frameOf = new Uint16Array(TX_RING_SLOTS).fill(NOBODY);
  /** Ids that are free, as a stack. */
  private readonly ids = Uint16Array.from({ length: TX_RING_SLOTS }, (_, i) => TX_RING_SLOTS - 1 - i);
  private freeIds = TX_RING_SLOTS;
  /** Answers that are owed for slots of extra information: they carry no id. */
  private extras = 0;
  /** Slots of each frame that are not answered. */
  private readonly slotsOf: Uint8Array;
  private held = false;

  /**
   * @param memory the guest's memory.
   * @param page the ring's page.
   * @param buffers whose frames it sends.
   * @param slow frames on transmit rings by flow bucket: counted up here at `send`, down at the last answer.
   * @param counters the device's totals.
   * @param notify notifies the backend.
   * @param start where the indices begin.
   */
  constructor(
    memory: Memory,
    page: Address,
    private readonly buffers: TransmitBuffers,
    private readonly slow: Uint16Array,
    private readonly counters: Counters,
    private readonly notify: () => void,
    start: number,
  ) {
    this.words = memory.words;
    this.halves = memory.halves;
    this.bytes = memory.bytes;
    this.ring = new FrontRing(memory, page, TX_RING_SLOTS, txRequest.size, start);
    this.slotsOf = new Uint8Array(buffers.frames.length);
  }

  /** Whether the largest packet has room. */
  get room(): boolean {
    return this.ring.free > MOST_SLOTS;
  }

  /** Slots that the backend owes an answer for. */
  get outstanding(): number {
    return TX_RING_SLOTS - this.ring.free;
  }

  /** Index of the next answer to take. */
  get consumed(): number {
    return this.ring.consumed;
  }

  /** Where it stands: free-running indices. */
  describe(): Readonly<Record<string, unknown>> {
    return { produced: this.ring.produced, consumed: this.ring.consumed, outstanding: this.outstanding };
  }

  /**
   * Writes a frame's requests; `publish` shows them to the backend. First fragment, extras, further fragments;
   * the first request's size is the whole packet's (netif.h).
   */
  send(head: Frame): void {
    let flags = 0;
    if (head.checksum === Checksum.blank) flags = TxFlag.csumBlank | TxFlag.dataValidated;
    else if (head.checksum === Checksum.good) flags = TxFlag.dataValidated;
    const { index } = head;
    this.buffers.place[index] = Place.slow;
    this.slow[this.buffers.bucket[index]!]!++;
    this.counters.txSlowFrames++;
    this.counters.txSlowBytes += head.totalBytes;
    this.held = true;
    if (
      head.next === null &&
      head.segmentation === Segmentation.none &&
      pagesOf(head.address, head.length) === 1
    ) {
      this.slotsOf[index] = 1;
      this.request(index, head.address, head.totalBytes, flags);
    } else this.sendPieces(head, index, flags);
  }

  /** Shows the backend what was sent, and notifies it if it asked for that. */
  publish(): void {
    if (!this.held) return;
    this.held = false;
    if (this.ring.publish()) {
      this.counters.notifications++;
      this.notify();
    }
  }

  /**
   * Takes up to `limit` answers, and gives back the frames that are answered altogether.
   * @returns how many; after a breach, none.
   */
  collect(limit: number): number {
    if (this.breach !== null) return 0;
    const { ring, halves } = this;
    const waiting = ring.available();
    if (waiting < 0) return this.fail('more transmit responses than requests');
    const count = waiting < limit ? waiting : limit;
    for (let i = 0; i < count; i++) {
      const at = ring.slot(ring.consumed) >>> 1;
      const status = (halves[at + RESPONSE_STATUS]! << 16) >> 16;
      if (status === Status.null) {
        if (this.extras === 0) return this.fail('a null transmit response that answers no extra');
        this.extras--;
      } else {
        const id = halves[at + RESPONSE_ID]!;
        const index = id < TX_RING_SLOTS ? this.frameOf[id]! : NOBODY;
        if (index === NOBODY) return this.fail(`a transmit response with id ${id}, which is not outstanding`);
        this.frameOf[id] = NOBODY;
        this.ids[this.freeIds++] = id;
        if (status !== Status.okay) this.countFailure(status);
        if (--this.slotsOf[index]! === 0) this.done(index);
      }
      ring.consumed = (ring.consumed + 1) >>> 0;
    }
    return count;
  }

  /**
   * Asks for an event when half of what is outstanding is answered, then looks again.
   * @returns true when answers are there already, or a breach is to be dealt with.
   */
  arm(): boolean {
    return this.breach !== null || this.ring.arm((this.outstanding >>> 1) + 1) !== 0;
  }

  /** The backend is gone: every frame on the ring comes back, unanswered. */
  abandon(): void {
    for (let id = 0; id < TX_RING_SLOTS; id++) {
      const index = this.frameOf[id]!;
      this.frameOf[id] = NOBODY;
      if (index === NOBODY || this.slotsOf[index] === 0) continue;
      this.slotsOf[index] = 0;
      this.counters.txUnanswered++;
      this.done(index);
    }
  }

  private sendPieces(head: Frame, index: number, flags: number): void {
    let left = 0;
    for (let f: Frame | null = head; f !== null; f = f.next) left += pagesOf(f.address, f.length);
    this.slotsOf[index] = left;
    let first = true;
    for (let f: Frame | null = head; f !== null; f = f.next) {
      let address = f.address;
      const end = address + f.length;
      while (address < end) {
        const room = PAGE_BYTES - (address & PAGE_MASK);
        const bytes = end - address < room ? end - address : room;
        const more = --left > 0 ? TxFlag.moreData : 0;
        if (!first) this.request(index, address, bytes, more);
        else if (head.segmentation === Segmentation.none)
          this.request(index, address, head.totalBytes, flags | more);
        else {
          this.request(index, address, head.totalBytes, flags | more | TxFlag.extraInfo);
          this.gso(head);
        }
        first = false;
        address += bytes;
      }
    }
  }

  private request(index: number, address: Address, size: number, flags: number): void {
    const { ring, halves, ids } = this;
    const id = ids[--this.freeIds]!;
    this.frameOf[id] = index;
    const at = ring.slot(ring.produced);
    const half = at >>> 1;
    this.words[(at >>> 2) + GREF] = this.buffers.refAt(address);
    halves[half + OFFSET] = address & PAGE_MASK;
    halves[half + FLAGS] = flags;
    halves[half + ID] = id;
    halves[half + SIZE] = size;
    ring.produced = (ring.produced + 1) >>> 0;
  }

  private gso(head: Frame): void {
    const { ring, bytes, halves } = this;
    const at = ring.slot(ring.produced);
    bytes[at + EXTRA_TYPE] = ExtraType.gso;
    bytes[at + EXTRA_FLAGS] = 0;
    halves[(at >>> 1) + GSO_SIZE] = head.segmentBytes;
    bytes[at + GSO_TYPE] = head.segmentation;
    bytes[at + GSO_PAD] = 0;
    halves[(at >>> 1) + GSO_FEATURES] = 0;
    this.extras++;
    ring.produced = (ring.produced + 1) >>> 0;
  }

  private done(index: number): void {
    this.slow[this.buffers.bucket[index]!]!--;
    this.buffers.finish(this.buffers.frames[index]!);
  }

  private countFailure(status: number): void {
    if (status === Status.dropped) this.counters.txDropped++;
    else this.counters.txErrors++;
  }

  private fail(reason: string): 0 {
    this.breach = reason;
    return 0;
  }
}
