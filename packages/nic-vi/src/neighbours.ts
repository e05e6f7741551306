/**
 * What a guest's half knows of other addresses: which are across the wire, where the NIC sends everything, and which
 * are not. It learns from what the other half tells it, and from received frames.
 *
 * Looked at for each frame; nothing is allocated after the constructor, but by `describe`.
 */
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import { MacTable, macHigh, macLow } from './mac-table.js';

/** Addresses remembered, and for how long without a word from them. */
const PLACES = 256;
const AGEING_MS = 300_000;
/** How long what was found for the last frame is believed without looking again. */
const REFRESH_MS = 1000;
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;
const SOURCE_AT = 6;
const HIGH_HALF = ~0xffff;

/** See the top of the file. */
export class Neighbours {
  /** The time in milliseconds, to within a poll: set by who polls. */
  now = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly places = new MacTable(PLACES, AGEING_MS);
  private readonly ownHigh: number;
  private readonly ownLow: number;
  // The addresses of a frame are compared as three words, in network order: the destination's first four bytes; its
  // last two and the source's first two; the source's last four.
  private readonly own4: number;
  private readonly own2: number;
  /** The last two bytes of the guest's address as the upper half of a word. */
  private readonly ownEnd: number;
  // Of the last frame that left for somebody across, and of the last that arrived.
  private to0 = 0;
  private to1 = 0;
  private to2 = 0;
  private toUntil = -Infinity;
  private from1 = 0;
  private from2 = 0;
  private fromUntil = -Infinity;

  /**
   * @param memory the memory that frames are in.
   * @param mac the guest's own address.
   */
  constructor(memory: Memory, mac: ArrayLike<number>) {
    this.bytes = memory.bytes;
    const { buffer, byteOffset, byteLength } = memory.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    const own = Uint8Array.from(mac);
    const ownView = new DataView(own.buffer);
    this.own4 = ownView.getInt32(0);
    this.own2 = ownView.getUint16(4);
    this.ownEnd = this.own2 << 16;
    this.ownHigh = macHigh(own, 0);
    this.ownLow = macLow(own, 0);
  }

  /** Whether the MAC address at `at` is the guest's own. */
  isOwn(at: Address): boolean {
    return this.view.getInt32(at) === this.own4 && this.view.getUint16(at + 4) === this.own2;
  }

  /** Whether a frame's addresses are those of the last that was {@link isAcross} and from the guest itself. */
  isUsual(at: Address): boolean {
    const { view } = this;
    return (
      view.getInt32(at) === this.to0 &&
      view.getInt32(at + 4) === this.to1 &&
      view.getInt32(at + 8) === this.to2 &&
      this.now < this.toUntil
    );
  }

  /** Whether a frame whose first bytes are there is for somebody across the wire. */
  isAcross(at: Address): boolean {
    const { view, bytes, now } = this;
    if (this.places.find(macHigh(bytes, at), macLow(bytes, at), now) !== ACROSS) return false;
    if (this.isOwn(at + SOURCE_AT)) {
      this.to0 = view.getInt32(at);
      this.to1 = view.getInt32(at + 4);
      this.to2 = view.getInt32(at + 8);
      this.toUntil = now + REFRESH_MS;
    }
    return true;
  }

  /**
   * A frame arrived by the NIC: its source is across the wire, unless the other half has said otherwise since.
   * @returns whether it is for the guest; nothing is learned of one that is not.
   */
  hear(frame: Frame): boolean {
    const { view } = this;
    const at = frame.address;
    if (view.getInt32(at) !== this.own4) return false;
    const middle = view.getInt32(at + 4);
    if (middle === this.from1 && view.getInt32(at + 8) === this.from2 && this.now < this.fromUntil)
      return true;
    return (middle & HIGH_HALF) === this.ownEnd && this.listen(at);
  }

  /** The other half saw an address arrive from the wire. False: it cannot be one. */
  across(mac: Uint8Array): boolean {
    return this.learn(macHigh(mac, 0), macLow(mac, 0), ACROSS);
  }

  /** The other half saw an address on this host; a group's address stands for all. False: it cannot be one. */
  here(mac: Uint8Array): boolean {
    this.toUntil = -Infinity;
    if ((mac[0]! & GROUP_BIT) === 0) return this.learn(macHigh(mac, 0), macLow(mac, 0), HERE);
    this.places.forgetPort(ACROSS);
    return true;
  }

  /** Addresses across the wire, for `explain`. */
  describe(): readonly Readonly<{ mac: string; ageMs: number }>[] {
    return this.places
      .entries(this.now)
      .filter(({ port }) => port === ACROSS)
      .map(({ mac, ageMs }) => ({ mac, ageMs }));
  }

  /** Learns the source of a frame for the guest that lies there. */
  private listen(at: Address): boolean {
    const { view, bytes, now } = this;
    this.from1 = view.getInt32(at + 4);
    this.from2 = view.getInt32(at + 8);
    this.fromUntil = now + REFRESH_MS;
    const high = macHigh(bytes, at + SOURCE_AT);
    const low = macLow(bytes, at + SOURCE_AT);
    if (this.places.find(high, low, now) !== HERE) this.learn(high, low, ACROSS);
    return true;
  }

  /** Answers whether it is an address that can be somewhere: a single one's, and not this guest's. */
  private learn(high: number, low: number, place: number): boolean {
    const fits = (high & GROUP_BIT) === 0 && (high !== this.ownHigh || low !== this.ownLow);
    if (fits) this.places.learn(high, low, place, this.now);
    return fits;
  }
}
