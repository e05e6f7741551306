/**
 * Which frames the device takes: every reason to decline, in its order. All of them are decided here, before anybody
 * asks whether there is room; a frame that passes goes, now or when there is room.
 *
 * Also what that needs to know: which addresses are across the wire. Called by the device for each frame; allocates
 * nothing.
 */
import { Checksum, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type { Address, Frame, Memory } from '@netaccel/core-hooks';
import {
  ETHERNET_BYTES,
  EtherType,
  EventFlag,
  FrameHeaders,
  MAX_FRAGMENTS,
  MIN_SEGMENT_BYTES,
  MacTable,
  OwnAddresses,
  Protocol,
  UNTAGGED,
  isOrdinary,
  macHigh,
  macLow,
} from '@netaccel/nic-vi';
import type { HandoverMessage } from '@netaccel/nic-vi';

const inactive = declined('inactive');
const linkDown = declined('link-down');
const malformed = declined('malformed');
const broadcast = declined('broadcast');
const unknownDestination = declined('unknown-destination');
const vlan = declined('vlan');
const notIp = declined('not-ip');
const notTcpUdp = declined('not-tcp-udp');
const ipFragment = declined('ip-fragment');
const segmentation = declined('segmentation');
const checksum = declined('checksum');
const spoofed = declined('spoofed');
const tooLong = declined('too-long');

/** Addresses remembered, and for how long without a word from them. */
const PLACES = 256;
const AGEING_MS = 300_000;
/** How long the last address found is believed without looking again. */
const REFRESH_MS = 1000;
/** Where an address is. */
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;
const PAGE_SHIFT = 12;

/** Most descriptors that a frame takes: a piece for each fragment, and for each page that one goes on to. */
export function mostPieces(frame: Frame): number {
  let pieces = frame.totalBytes >>> PAGE_SHIFT;
  for (let f: Frame | null = frame; f !== null; f = f.next) pieces++;
  return pieces;
}

/** The choice of one device. */
export class Choice {
  /** Frames are taken at all: set-up is complete, and nobody takes it down. */
  active = false;
  /** The port has link. */
  linkUp = false;
  /** The time, to within a poll. */
  now = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly headers: FrameHeaders;
  private readonly places = new MacTable(PLACES, AGEING_MS);
  private readonly ownHigh: number;
  private readonly ownLow: number;
  // MAC addresses as the frame path compares them: four bytes and two, in network order.
  private readonly own4: number;
  private readonly own2: number;
  private readonly maxFrameBytes: number;
  /** The guest's own IP addresses; null when any will do. */
  private readonly sources: OwnAddresses | null;
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
   * @param can what the VI can do.
   */
  constructor(
    memory: Memory,
    mac: Uint8Array,
    private readonly can: HandoverMessage,
  ) {
    this.bytes = memory.bytes;
    const { buffer, byteOffset, byteLength } = memory.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.headers = new FrameHeaders(memory);
    this.ownHigh = macHigh(mac, 0);
    this.ownLow = macLow(mac, 0);
    const own = new DataView(Uint8Array.from(mac).buffer);
    this.own4 = own.getInt32(0);
    this.own2 = own.getUint16(4);
    this.maxFrameBytes = can.mtu + ETHERNET_BYTES;
    this.sources = can.addresses === undefined ? null : new OwnAddresses(can.addresses);
  }

  /** `Verdict.sent` when the device takes the frame, or the reason why not. */
  of(frame: Frame): Verdict {
    if (!this.active) return inactive;
    if (!this.linkUp) return linkDown;
    const { view, can } = this;
    const { address, length, totalBytes } = frame;
    if (length < ETHERNET_BYTES) return malformed;
    if ((view.getUint8(address) & GROUP_BIT) !== 0) return broadcast;
    if (!this.isAcross(address)) return unknownDestination;
    const whole = frame.segmentation === Segmentation.none;
    if (!whole || this.sources !== null || !isOrdinary(view, address, length, totalBytes)) {
      const verdict = this.judge(frame, whole);
      if (verdict !== Verdict.sent) return verdict;
    } else if (frame.checksum === Checksum.blank && !can.transmitChecksum) return checksum;
    if (view.getInt32(address + 6) !== this.own4 || view.getUint16(address + 10) !== this.own2)
      return spoofed;
    if (totalBytes > (whole ? this.maxFrameBytes : can.maxTransmitBytes)) return tooLong;
    if (frame.next !== null && mostPieces(frame) >= Math.min(can.maxFragments, MAX_FRAGMENTS)) return tooLong;
    return Verdict.sent;
  }

  /** Whether the frame is addressed to this guest. */
  isOwn({ address }: Frame): boolean {
    return this.view.getInt32(address) === this.own4 && this.view.getUint16(address + 4) === this.own2;
  }

  /** A frame arrived by the device: its source is across the wire, unless the other half has said otherwise since. */
  hear({ address }: Frame): void {
    const at = address + 6;
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

  /** The other half saw an address arrive from the wire. */
  across(mac: Uint8Array): boolean {
    return this.learn(macHigh(mac, 0), macLow(mac, 0), ACROSS);
  }

  /** The other half saw an address on this host; a group's address stands for all. */
  here(mac: Uint8Array): boolean {
    this.toUntil = -Infinity;
    if ((mac[0]! & GROUP_BIT) === 0) return this.learn(macHigh(mac, 0), macLow(mac, 0), HERE);
    this.places.forgetPort(ACROSS);
    return true;
  }

  /** Addresses across the wire, for `explain`. */
  describe(): readonly Readonly<Record<string, unknown>>[] {
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

  private isAcross(at: Address): boolean {
    const first4 = this.view.getInt32(at);
    const last2 = this.view.getUint16(at + 4);
    if (first4 === this.to4 && last2 === this.to2 && this.now < this.toUntil) return true;
    if (this.places.find(macHigh(this.bytes, at), macLow(this.bytes, at), this.now) !== ACROSS) return false;
    this.to4 = first4;
    this.to2 = last2;
    this.toUntil = this.now + REFRESH_MS;
    return true;
  }

  /** What the headers say against a frame that is not an ordinary one, or has to be cut, or whose source counts. */
  private judge(frame: Frame, whole: boolean): Verdict {
    const { headers: h, can } = this;
    h.parse(frame.address, frame.length, frame.totalBytes);
    if (h.vlan !== UNTAGGED) return vlan;
    if (h.version === 0)
      return h.etherType === EtherType.ipv4 || h.etherType === EtherType.ipv6 ? malformed : notIp;
    if (h.protocol !== Protocol.tcp && h.protocol !== Protocol.udp) return notTcpUdp;
    const blank = frame.checksum === Checksum.blank;
    // An IP fragment goes as it is; what the NIC has to work on must be complete.
    if (h.payload === 0) {
      if ((h.flags & EventFlag.fragment) === 0) return malformed;
      if (blank || !whole) return ipFragment;
    }
    if (!whole && !this.canCut(frame)) return segmentation;
    if (blank && !can.transmitChecksum) return checksum;
    return this.sources !== null && !this.sources.hasSource(h) ? spoofed : Verdict.sent;
  }

  private canCut(frame: Frame): boolean {
    const h = this.headers;
    return (
      this.can.segmentation &&
      h.protocol === Protocol.tcp &&
      (frame.segmentation === Segmentation.tcpv4 ? 4 : 6) === h.version &&
      frame.segmentBytes >= MIN_SEGMENT_BYTES &&
      h.payload + frame.segmentBytes <= this.maxFrameBytes
    );
  }
}
