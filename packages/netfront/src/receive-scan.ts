/**
 * The slots of one received packet of several, copied out once before anything is done with them, and what they
 * say of the packet as a whole. One instance is used again for each such packet, by its receive ring.
 */
import { Segmentation } from '@netaccel/core-hooks';
import type { Memory } from '@netaccel/core-hooks';
import type { FrontRing } from '@netaccel/xen';
import {
  ExtraFlag,
  ExtraType,
  MIN_SLOTS_PER_PACKET,
  RX_RING_SLOTS,
  RxFlag,
  extraGso,
  extraXdp,
  rxResponse,
} from '@netaccel/xen/netif';
import { firstHalf, sameHalf, secondHalf, sharedWord } from './slot-words.js';

const ID_OFFSET = sharedWord(rxResponse.fields.id, rxResponse.fields.offset);
const FLAGS_STATUS = sharedWord(rxResponse.fields.flags, rxResponse.fields.status);
const EXTRA_TYPE = extraGso.fields.type.offset;
const EXTRA_FLAGS = extraGso.fields.flags.offset;
const GSO_SIZE = sameHalf(extraGso.fields.size, extraXdp.fields.headroom);
const GSO_TYPE = extraGso.fields.gsoType.offset;

/** Fragments that a packet may have: what Linux's netfront takes. */
export const MOST_FRAGMENTS = MIN_SLOTS_PER_PACKET + 1;
/** Slots after which a chain that still goes on is no packet any more. */
const MOST_SLOTS = MOST_FRAGMENTS + ExtraType.xdp;

/** What receive may be sent, because this side said so. */
export interface ReceiveFeatures {
  /** Segments of TCP over IPv4. */
  readonly segmentationTcpv4: boolean;
  /** Segments of TCP over IPv6. */
  readonly segmentationTcpv6: boolean;
}

/** What becomes of a packet: delivered, or the counter that says why not. */
export type ReceiveVerdict = 'good' | 'rxErrors' | 'rxMalformed' | 'rxBadExtra' | 'rxBadLength';

/** A packet's slots. */
export class PacketScan {
  /** What the slots alone say; the fragments may say worse. */
  verdict: ReceiveVerdict = 'good';
  /** How it is to be cut. */
  segmentation: Segmentation = Segmentation.none;
  /** Payload bytes of each segment. */
  segmentBytes = 0;
  /** Bytes before the data of each slot, which its status counts as part of them (Linux's `xdp-headroom`). */
  headroom = 0;
  /** Of each slot that is a fragment: first byte within its page. */
  readonly offsets = new Uint16Array(RX_RING_SLOTS);
  /** Of each slot that is a fragment: its bytes, or what went wrong. */
  readonly statuses = new Int16Array(RX_RING_SLOTS);
  /** 1 for each slot that is extra information. */
  readonly isExtra = new Uint8Array(RX_RING_SLOTS);

  /**
   * @param memory the memory that the ring is in.
   * @param features what the backend may send.
   */
  constructor(
    private readonly memory: Memory,
    private readonly features: ReceiveFeatures,
  ) {}

  /**
   * Copies out a packet: fragment, extras, further fragments. A fragment's `moreData` says whether another
   * follows; extras say it of extras.
   * @param first flags of the first slot, already fetched.
   * @param end the response index that is not there any more.
   * @returns how many slots, or 0 when the end of the packet is not there yet.
   */
  scan(ring: FrontRing, first: number, end: number): number {
    const { words, bytes, halves } = this.memory;
    let flags = first;
    let extras = (flags & RxFlag.extraInfo) !== 0;
    let count = 0;
    this.segmentation = Segmentation.none;
    this.headroom = 0;
    this.verdict = (flags & RxFlag.gsoPrefix) === 0 ? 'good' : 'rxMalformed'; // the prefix is never asked for
    for (let cons = ring.consumed; ;) {
      const at = ring.slot(cons) >>> 2;
      const word = words[at + FLAGS_STATUS]!;
      if (count > 0) flags = firstHalf(word);
      this.offsets[count] = secondHalf(words[at + ID_OFFSET]!);
      this.statuses[count] = secondHalf(word);
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
      if (count <= MOST_SLOTS) return 0;
      this.verdict = 'rxMalformed';
      return count;
    }
  }

  /** Whether any fragment of the packet of so many slots that was copied out says that it went wrong. */
  failed(slots: number): boolean {
    for (let i = 0; i < slots; i++) if (this.isExtra[i] === 0 && this.statuses[i]! < 0) return true;
    return false;
  }

  /** Judges extra information. What is known and was not asked for is skipped, as Linux does. */
  private extra(type: number, kind: number, size: number): void {
    if (type === ExtraType.none || type > ExtraType.xdp) this.verdict = 'rxBadExtra';
    // Believed of whoever says it: what was asked for may have changed since the packet was put here.
    if (type === ExtraType.xdp) this.headroom = size;
    if (type !== ExtraType.gso) return;
    const asked =
      (kind === Segmentation.tcpv4 && this.features.segmentationTcpv4) ||
      (kind === Segmentation.tcpv6 && this.features.segmentationTcpv6);
    if (!asked || size === 0 || this.segmentation !== Segmentation.none) this.verdict = 'rxBadExtra';
    else this.segmentation = kind;
    this.segmentBytes = size;
  }
}
