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
/** How long the last address found is believed without looking again. */
const REFRESH_MS = 1000;
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;
const SOURCE_AT = 6;

/** See the top of the file. */
export class Neighbours {
  /** The time in milliseconds, to within a poll: set by who polls. */
  now = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly places = new MacTable(PLACES, AGEING_MS);
  private readonly ownHigh: number;
  private readonly ownLow: number;
  // MAC addresses as they are compared for each frame: four bytes and two, in network order.
  private readonly own4: number;
  private readonly own2: number;
  // The last destination that was across, and the last source that was learned.
  private to4 = 0;
  private to2 = 0;
  private toUntil = -Infinity;
  private from4 = 0;
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
    this.ownHigh = macHigh(own, 0);
    this.ownLow = macLow(own, 0);
  }

  /** Whether the MAC address at `at` is the guest's own. */
  isOwn(at: Address): boolean {
    return this.view.getInt32(at) === this.own4 && this.view.getUint16(at + 4) === this.own2;
  }

  /** Whether a frame whose first bytes are there is for somebody across the wire. */
  isAcross(at: Address): boolean {
    const first4 = this.view.getInt32(at);
    const last2 = this.view.getUint16(at + 4);
    if (first4 === this.to4 && last2 === this.to2 && this.now < this.toUntil) return true;
    if (this.places.find(macHigh(this.bytes, at), macLow(this.bytes, at), this.now) !== ACROSS) return false;
    this.to4 = first4;
    this.to2 = last2;
    this.toUntil = this.now + REFRESH_MS;
    return true;
  }

  /** A frame arrived by the NIC: its source is across the wire, unless the other half has said otherwise since. */
  hear(frame: Frame): void {
    const at = frame.address + SOURCE_AT;
    const first4 = this.view.getInt32(at);
    const last2 = this.view.getUint16(at + 4);
    if (first4 === this.from4 && last2 === this.from2 && this.now < this.fromUntil) return;
    this.from4 = first4;
    this.from2 = last2;
    this.fromUntil = this.now + REFRESH_MS;
    const high = macHigh(this.bytes, at);
    const low = macLow(this.bytes, at);
    if (this.places.find(high, low, this.now) !== HERE) this.learn(high, low, ACROSS);
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

  /** Answers whether it is an address that can be somewhere: a single one's, and not this guest's. */
  private learn(high: number, low: number, place: number): boolean {
    const fits = (high & GROUP_BIT) === 0 && (high !== this.ownHigh || low !== this.ownLow);
    if (fits) this.places.learn(high, low, place, this.now);
    return fits;
  }
}
