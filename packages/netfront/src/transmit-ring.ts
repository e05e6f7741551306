/**
 * One transmit ring: writes frames into request slots, and takes the backend's answers.
 *
 * Called by the transmit path, which has made sure that a frame lies in the shared pages, in few enough pieces,
 * and that there is room. The ring holds a frame from `send` until its last slot is answered. Every answer is
 * checked against what is owed; one that cannot be is a breach, after which the ring is not touched again.
 *
 * A request's id is the number of its buffer and, above that, the number of the piece. So an id needs no table:
 * an answer leads to its frame, and the frame knows which pieces are owed an answer, and on which ring.
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
  extraMulticast,
  txRequest,
  txResponse,
} from '@netaccel/xen/netif';
import type { Counters } from './counters.js';
import type { SlowFlows } from './flow.js';
import { firstHalf, join, secondHalf, sharedWord } from './slot-words.js';
import { MOST_BUFFERS, Place, isPlain } from './transmit-buffers.js';
import type { TransmitBuffers, TransmitFrame } from './transmit-buffers.js';

const request = txRequest.fields;
const GREF = request.gref.offset >>> 2;
const OFFSET_FLAGS = sharedWord(request.offset, request.flags);
const ID_SIZE = sharedWord(request.id, request.size);
const ID_STATUS = sharedWord(txResponse.fields.id, txResponse.fields.status);
const EXTRA_TYPE = extraGso.fields.type.offset;
const EXTRA_FLAGS = extraGso.fields.flags.offset;
const GSO_TYPE = extraGso.fields.gsoType.offset;
const GROUP_ADDRESS = extraMulticast.fields.address.offset;
const GSO_PAD = extraGso.fields.pad.offset;
const GSO_SIZE = extraGso.fields.size.offset >>> 1;
const GSO_FEATURES = extraGso.fields.features.offset >>> 1;

/** Slots that the largest packet takes: its fragments and one extra. */
const MOST_SLOTS = MIN_SLOTS_PER_PACKET + 1;
const PAGE_MASK = PAGE_BYTES - 1;
/** Bits of an id that are the buffer's number. */
const INDEX_BITS = Math.log2(MOST_BUFFERS);
const INDEX_MASK = MOST_BUFFERS - 1;
/** Id of a request to join or leave a group: a piece that no frame has. */
const GROUP_ID = 31 << INDEX_BITS;

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
  private readonly memory: Memory;
  /** {@link Place} of the frames on this ring. */
  private readonly place: number;
  /** Answers that are owed for slots of extra information: they carry no id. */
  private extras = 0;
  private held = false;
  /** Told whether the backend took the group request that is under way. */
  private group: ((taken: boolean) => void) | null = null;

  /**
   * @param memory the guest's memory.
   * @param page the ring's page.
   * @param queue its number.
   * @param buffers whose frames it sends.
   * @param flows told of each frame that goes on the ring, and comes off.
   * @param counters the device's totals.
   * @param notify notifies the backend.
   * @param start where the indices begin.
   */
  constructor(
    memory: Memory,
    page: Address,
    queue: number,
    private readonly buffers: TransmitBuffers,
    private readonly flows: SlowFlows,
    private readonly counters: Counters,
    private readonly notify: () => void,
    start: number,
  ) {
    this.memory = memory;
    this.words = memory.words;
    this.place = Place.slow + queue;
    this.ring = new FrontRing(memory, page, TX_RING_SLOTS, txRequest.size, start);
  }

  /** Whether the largest packet has room. */
  hasRoom(): boolean {
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
  send(head: TransmitFrame): void {
    let flags = 0;
    if (head.checksum === Checksum.blank) flags = TxFlag.csumBlank | TxFlag.dataValidated;
    else if (head.checksum === Checksum.good) flags = TxFlag.dataValidated;
    head.place = this.place;
    this.flows.begin(head.bucket);
    this.counters.txSlowFrames++;
    this.counters.txSlowBytes += head.totalBytes;
    this.held = true;
    if (isPlain(head)) {
      head.pending = 1;
      this.write(head.ref, head.address, flags, head.index, head.length);
    } else this.sendPieces(head, flags);
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
    const { ring, words, buffers } = this;
    const waiting = ring.available();
    if (waiting < 0) return this.fail('more transmit responses than requests');
    const count = waiting < limit ? waiting : limit;
    for (let i = 0; i < count; i++) {
      const word = words[(ring.slot(ring.consumed) >>> 2) + ID_STATUS]!;
      const status = (secondHalf(word) << 16) >> 16;
      if (status === Status.null) {
        if (this.extras === 0) return this.fail('a null transmit response that answers no extra');
        this.extras--;
      } else {
        const id = firstHalf(word);
        const frame = buffers.frames[id & INDEX_MASK];
        const piece = 1 << (id >>> INDEX_BITS);
        if (frame === undefined || frame.place !== this.place || (frame.pending & piece) === 0) {
          if (!this.groupAnswered(id, status))
            return this.fail(`a transmit response with id ${id}, which is not outstanding`);
          ring.consumed = (ring.consumed + 1) >>> 0;
          continue;
        }
        if (status !== Status.okay) this.countFailure(status);
        frame.pending ^= piece;
        if (frame.pending === 0) {
          this.flows.end(frame.bucket);
          buffers.finish(frame);
        }
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

  /**
   * Asks the backend to let a group's frames through, or not any more. One request at a time, where there is room.
   * @param answered told, from within {@link collect}, whether it does so.
   */
  sendGroup(join: boolean, address: Uint8Array, answered: (taken: boolean) => void): void {
    const { ring } = this;
    const { bytes } = this.memory;
    this.write(0, 0, TxFlag.extraInfo, GROUP_ID, 0);
    const at = ring.slot(ring.produced);
    bytes[at + EXTRA_TYPE] = join ? ExtraType.mcastAdd : ExtraType.mcastDel;
    bytes[at + EXTRA_FLAGS] = 0;
    bytes.set(address, at + GROUP_ADDRESS);
    this.extras++;
    ring.produced = (ring.produced + 1) >>> 0;
    this.group = answered;
    this.held = true;
    this.publish();
  }

  /** The backend is gone: every frame on the ring comes back, unanswered. */
  abandon(): void {
    this.group = null;
    for (const frame of this.buffers.frames) {
      if (frame.place !== this.place) continue;
      this.counters.txUnanswered++;
      this.flows.end(frame.bucket);
      this.buffers.finish(frame);
    }
  }

  private groupAnswered(id: number, status: number): boolean {
    const { group } = this;
    if (id !== GROUP_ID || group === null) return false;
    this.group = null;
    group(status === Status.okay);
    return true;
  }

  private sendPieces(head: TransmitFrame, flags: number): void {
    let left = 0;
    for (let f: Frame | null = head; f !== null; f = f.next) left += pagesOf(f.address, f.length);
    head.pending = (1 << left) - 1;
    let piece = 0;
    for (let f: Frame | null = head; f !== null; f = f.next) {
      const end = f.address + f.length;
      for (let address = f.address; address < end; piece++) {
        const room = PAGE_BYTES - (address & PAGE_MASK);
        const bytes = end - address < room ? end - address : room;
        const ref = this.buffers.refAt(address);
        const id = (piece << INDEX_BITS) | head.index;
        const more = --left > 0 ? TxFlag.moreData : 0;
        if (piece > 0) this.write(ref, address, more, id, bytes);
        else if (head.segmentation === Segmentation.none)
          this.write(ref, address, flags | more, id, head.totalBytes);
        else {
          this.write(ref, address, flags | more | TxFlag.extraInfo, id, head.totalBytes);
          this.gso(head);
        }
        address += bytes;
      }
    }
  }

  private write(ref: number, address: Address, flags: number, id: number, size: number): void {
    const { ring, words } = this;
    const at = ring.slot(ring.produced) >>> 2;
    words[at + GREF] = ref;
    words[at + OFFSET_FLAGS] = join(address & PAGE_MASK, flags);
    words[at + ID_SIZE] = join(id, size);
    ring.produced = (ring.produced + 1) >>> 0;
  }

  private gso(head: Frame): void {
    const { ring } = this;
    const { bytes, halves } = this.memory;
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

  private countFailure(status: number): void {
    if (status === Status.dropped) this.counters.txDropped++;
    else this.counters.txErrors++;
  }

  private fail(reason: string): 0 {
    this.breach = reason;
    return 0;
  }
}
