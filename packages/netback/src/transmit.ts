/**
 * The guest's transmit direction of one queue: slots in, frames to the network, responses out.
 *
 * One run: gather up to a budget of packets and line up their copies; carry them out in one batch; describe
 * each packet as a frame and deliver it; flush the network; and only then publish the responses. A frontend
 * counts its slow frames in flight until their responses, and may send the next one of a flow by another path
 * from then on: by that time the frame must have gone. Called by the queue's task, in one thread.
 */
import { Checksum, Segmentation } from '@netaccel/core-hooks';
import type { Frame, FrameSink, Memory } from '@netaccel/core-hooks';
import { GrantCopyBatch } from '@netaccel/xen';
import type { BackRing, Domain } from '@netaccel/xen';
import { MIN_SLOTS_PER_PACKET, Status, TX_RING_SLOTS, TxFlag } from '@netaccel/xen/netif';
import type { TransmitBuffers } from './buffers.js';
import { sumPseudo } from './checksum.js';
import type { Credit } from './credit.js';
import { Gather, Gathered } from './gather.js';
import { Headers, Protocol } from './headers.js';
import type { MulticastGroups } from './multicast.js';
import type { OwnAddresses } from './own-addresses.js';
import type { StaticGrants } from './static-grants.js';
import { TxError } from './statistics.js';
import type { Counters } from './statistics.js';

/** What the two checksum flags of a packet say, by their value; blank implies validated. */
const CHECKSUM_STATES = [Checksum.unknown, Checksum.blank, Checksum.good, Checksum.blank] as const;

/** Good packets that make up for one malformed or uncopyable one: a guest that mixes them in is found out, too. */
const GOOD_FOR_ONE_BAD = 8;

/** What a queue's transmit half needs of its surroundings. */
export interface TransmitSurroundings {
  readonly domain: Domain;
  readonly ring: BackRing;
  readonly network: FrameSink;
  readonly buffers: TransmitBuffers;
  readonly grants: StaticGrants;
  readonly credit: Credit;
  readonly multicast: MulticastGroups;
  /** What the guest may send from. */
  readonly own: OwnAddresses;
  readonly counters: Counters;
  /** Malformed packets that make a breach, in a row or with few good ones between. */
  readonly malformedInARow: number;
  /** Notifies the guest. */
  notify(): void;
  /** The guest broke the ring's rules: the ring is not read any more. */
  breach(what: string): void;
}

/** One queue's transmit half. */
export class GuestTransmit {
  /** Packets wait for credit or buffers. */
  private waits = false;
  private readonly memory: Memory;
  private readonly gather: Gather;
  private readonly batch = new GrantCopyBatch(TX_RING_SLOTS);
  private readonly headers = new Headers();
  private packets = 0;
  private readonly frames = new Array<Frame | null>(TX_RING_SLOTS);
  /** By packet: slots and copies of the batch up to and with it. */
  private readonly slotEnds = new Uint16Array(TX_RING_SLOTS);
  private readonly copyEnds = new Uint16Array(TX_RING_SLOTS);
  /** Malformed packets, each {@link GOOD_FOR_ONE_BAD}, less the good ones since. */
  private malformed = 0;

  constructor(private readonly around: TransmitSurroundings) {
    this.memory = around.domain.memory;
    this.gather = new Gather(this.memory, around.ring);
  }

  /** Whether packets wait for credit or buffers: {@link poll} is of no use until {@link resume}. */
  isWaiting(): boolean {
    return this.waits;
  }

  /** Credit or buffers came back. */
  resume(): void {
    this.waits = false;
  }

  /**
   * Handles up to `budget` packets.
   * @returns how many; fewer than the budget says that the ring is empty or that {@link isWaiting}.
   */
  poll(budget: number): number {
    if (!this.gatherBatch(budget)) return 0;
    if (this.packets === 0) return 0;
    if (this.batch.count > 0) {
      this.around.grants.copy(this.batch);
      this.deliverBatch();
    }
    this.respond();
    return this.packets;
  }

  /** Gathers and judges packets and lines up their copies; false when the guest broke the ring's rules. */
  private gatherBatch(budget: number): boolean {
    const { gather, batch } = this;
    const { ring, counters } = this.around;
    gather.begin();
    batch.clear();
    this.packets = 0;
    let waiting = ring.available();
    if (waiting < 0) return this.breach('tx request index');
    while (this.packets < budget && waiting > 0 && batch.space >= MIN_SLOTS_PER_PACKET) {
      const verdict = gather.next(waiting);
      let frame: Frame | null = null;
      let status: number = Status.okay;
      if (verdict === Gathered.plain || verdict === Gathered.good) {
        frame = this.reserve(gather.totalBytes);
        if (frame === null) break;
        if (verdict === Gathered.plain) this.lineUpPlain(frame);
        else this.lineUp(frame);
      } else if (verdict === Gathered.multicast) {
        status = this.control();
      } else if (verdict === Gathered.incomplete) {
        return this.breach('part of a packet published');
      } else {
        counters.txErrors[verdict]!++;
        status = Status.error;
        this.malformed += GOOD_FOR_ONE_BAD;
        if (this.malformed >= this.around.malformedInARow * GOOD_FOR_ONE_BAD)
          return this.breach('malformed packets in a row');
      }
      gather.commit(status);
      waiting -= gather.slots;
      const packet = this.packets++;
      this.frames[packet] = frame;
      this.copyEnds[packet] = batch.count;
      this.slotEnds[packet] = gather.taken;
    }
    return true;
  }

  /** A buffer for a packet that its rate limit allows now; null, when it has to wait. */
  private reserve(bytes: number): Frame | null {
    const { buffers, credit, counters } = this.around;
    const frame = buffers.allocate(bytes);
    if (frame === null) {
      counters.txBufferWaits++;
      buffers.wanted();
      this.waits = true;
      return null;
    }
    if (credit.limited && !credit.take(bytes)) {
      frame.release();
      counters.txRateWaits++;
      this.waits = true;
      return null;
    }
    if (this.malformed > 0) this.malformed--;
    return frame;
  }

  /** {@link lineUp} for a packet in one slot. */
  private lineUpPlain(frame: Frame): void {
    const { gather } = this;
    const { flags, totalBytes } = gather;
    frame.length = totalBytes;
    frame.totalBytes = totalBytes;
    frame.checksum = CHECKSUM_STATES[flags & (TxFlag.csumBlank | TxFlag.dataValidated)]!;
    this.batch.fromGrant(gather.ref, gather.offset, frame.home, totalBytes);
  }

  /** The copies of the packet in hand, one after the other into the frame's buffer. */
  private lineUp(frame: Frame): void {
    const { gather, batch } = this;
    const { refs, offsets, sizes } = gather;
    let to = frame.home;
    frame.length = gather.totalBytes;
    frame.totalBytes = gather.totalBytes;
    frame.segmentation = gather.segmentation;
    frame.segmentBytes = gather.segmentBytes;
    frame.checksum =
      gather.segmentation === Segmentation.none
        ? CHECKSUM_STATES[gather.flags & (TxFlag.csumBlank | TxFlag.dataValidated)]!
        : Checksum.blank;
    frame.tag = gather.flags;
    for (let i = 0; i < gather.fragments; i++) {
      const size = sizes[i]!;
      if (size === 0) continue;
      batch.fromGrant(refs[i]!, offsets[i]!, to, size);
      to += size;
    }
  }

  /** Delivers what was copied, in order, and flushes the network. */
  private deliverBatch(): void {
    const { batch, frames, copyEnds, slotEnds, gather } = this;
    const { network, counters } = this.around;
    const own = this.around.own.limited ? this.around.own : null;
    const { status } = batch;
    let op = 0;
    let delivered = 0;
    let bytes = 0;
    for (let packet = 0; packet < this.packets; packet++) {
      const frame = frames[packet] ?? null;
      let failed = 0;
      for (const end = copyEnds[packet]!; op < end; op++) failed |= status[op]!;
      if (frame === null) continue;
      frames[packet] = null;
      if (failed !== 0) this.malformed += GOOD_FOR_ONE_BAD;
      const good = failed === 0 && (own === null || this.isOwn(frame, own));
      if (good && (frame.checksum !== Checksum.blank || this.understand(frame))) {
        delivered++;
        bytes += frame.totalBytes;
        network.deliver(frame);
      } else {
        if (failed !== 0) counters.txErrors[TxError['copy-failed']]!++;
        gather.fail(packet === 0 ? 0 : slotEnds[packet - 1]!, slotEnds[packet]!);
      }
      frame.release();
    }
    counters.txFrames += delivered;
    counters.txBytes += bytes;
    network.flush();
  }

  /** Whether a frame is from the guest itself; counted when it is not. */
  private isOwn(frame: Frame, own: OwnAddresses): boolean {
    if (own.allow(this.memory.bytes, frame.address, frame.length)) return true;
    this.around.counters.txErrors[TxError.spoofed]!++;
    return false;
  }

  /**
   * Whether a blank checksum has a place in the frame, and a large segment can be cut as it says: later stages
   * rely on both. A large segment that came without a blank checksum is given one, as Linux does.
   */
  private understand(frame: Frame): boolean {
    const { headers, memory } = this;
    const { counters } = this.around;
    const cut = frame.segmentation !== Segmentation.none;
    if (!headers.parse(memory.bytes, frame.address, frame.length, frame.totalBytes)) {
      counters.txErrors[cut ? TxError.segmentation : TxError.checksum]!++;
      return false;
    }
    if (!cut) return true;
    if (
      headers.protocol !== Protocol.tcp ||
      headers.version !== (frame.segmentation === Segmentation.tcpv4 ? 4 : 6)
    ) {
      counters.txErrors[TxError.segmentation]!++;
      return false;
    }
    if ((frame.tag & TxFlag.csumBlank) === 0) {
      const sum = sumPseudo(memory, frame.address, headers, headers.end - headers.transport);
      memory.bytes[frame.address + headers.checksum] = sum >>> 8;
      memory.bytes[frame.address + headers.checksum + 1] = sum;
    }
    return true;
  }

  /** Joins or leaves a multicast group. */
  private control(): number {
    const { multicast, counters } = this.around;
    if (!this.gather.joins) multicast.leave(this.gather.group);
    else if (!multicast.join(this.gather.group)) {
      counters.txErrors[TxError['multicast-full']]!++;
      return Status.error;
    }
    return Status.okay;
  }

  /** Lets the guest see the responses. */
  private respond(): void {
    const { ring } = this.around;
    this.gather.answer();
    ring.produced = ring.consumed;
    if (ring.publish()) this.around.notify();
  }

  /** Nothing of the batch is done or answered: the rings are not touched again. */
  private breach(what: string): false {
    for (let packet = 0; packet < this.packets; packet++) {
      this.frames[packet]?.release();
      this.frames[packet] = null;
    }
    this.packets = 0;
    this.batch.clear();
    this.around.breach(what);
    return false;
  }
}
