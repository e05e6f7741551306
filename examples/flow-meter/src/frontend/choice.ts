/**
 * Which frames the card takes. Every reason to decline is decided here, before anybody asks whether there is room:
 * a frame that passes goes, now or when there is room. Called for each frame; allocates nothing.
 */
import { Checksum, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type { Frame, Memory } from '@netaccel/core-hooks';
import {
  ETHERNET_BYTES,
  FrameHeaders,
  MAX_FRAGMENTS,
  MacTable,
  OwnAddresses,
  Protocol,
  UNTAGGED,
  VLAN_BYTES,
  macHigh,
  macLow,
} from '@netaccel/nic-vi';
import type { HandoverMessage } from '@netaccel/nic-vi';

const inactive = declined('inactive');
const linkDown = declined('link-down');
const malformed = declined('malformed');
const broadcast = declined('broadcast');
const unknownDestination = declined('unknown-destination');
const segmentation = declined('segmentation');
const checksum = declined('checksum');
const spoofed = declined('spoofed');
const tooLong = declined('too-long');

const PLACES = 256;
const AGEING_MS = 300_000;
const HERE = 0;
const ACROSS = 1;
const GROUP_BIT = 1;
/** Least payload bytes of a segment that the card cuts. */
const MIN_SEGMENT_BYTES = 48;
const PAGE_SHIFT = 12;

/** Most descriptors that a frame takes: one for each fragment, and for each page that one goes on to. */
export function mostPieces(frame: Frame): number {
  let pieces = frame.totalBytes >>> PAGE_SHIFT;
  for (let f: Frame | null = frame; f !== null; f = f.next) pieces++;
  return pieces;
}

/** The choice of one device. */
export class Choice {
  /** Frames are taken at all: the slow path's are delivered, and nobody takes the device down. */
  active = false;
  linkUp = false;
  /** The time, to within a poll. */
  now = 0;
  private readonly bytes: Uint8Array;
  /** Headers of the last frame that was asked for; valid when it was taken. */
  readonly headers: FrameHeaders;
  private readonly places = new MacTable(PLACES, AGEING_MS);
  private readonly ownHigh: number;
  private readonly ownLow: number;
  /** The guest's own IP addresses; null when any will do. */
  private readonly sources: OwnAddresses | null;

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
    this.headers = new FrameHeaders(memory);
    this.ownHigh = macHigh(mac, 0);
    this.ownLow = macLow(mac, 0);
    this.sources = can.addresses === undefined ? null : new OwnAddresses(can.addresses);
  }

  /** `Verdict.sent` when the card takes the frame, or the reason why not. */
  of(frame: Frame): Verdict {
    if (!this.active) return inactive;
    if (!this.linkUp) return linkDown;
    const { bytes, headers, can } = this;
    const { address, length, totalBytes } = frame;
    if (length < ETHERNET_BYTES) return malformed;
    if ((bytes[address]! & GROUP_BIT) !== 0) return broadcast;
    if (this.places.find(macHigh(bytes, address), macLow(bytes, address), this.now) !== ACROSS)
      return unknownDestination;
    if (!this.isFrom(address + 6)) return spoofed;
    headers.parse(address, length, totalBytes);
    // Of what has a list of addresses only IP goes: the bridge judges the rest.
    if (this.sources !== null && !this.sources.hasSource(headers)) return spoofed;
    const whole = frame.segmentation === Segmentation.none;
    if (!whole && !this.canCut(frame)) return segmentation;
    // What the card works on must be TCP or UDP with all of its header here; anything else goes as it is.
    if (frame.checksum === Checksum.blank && (!can.transmitChecksum || headers.payload === 0))
      return checksum;
    const most = can.mtu + ETHERNET_BYTES + (headers.vlan === UNTAGGED ? 0 : VLAN_BYTES);
    if (totalBytes > (whole ? most : can.maxTransmitBytes)) return tooLong;
    if (frame.next !== null && mostPieces(frame) >= Math.min(can.maxFragments, MAX_FRAGMENTS)) return tooLong;
    return Verdict.sent;
  }

  /** Whether the frame is addressed to this guest. */
  isOwn(frame: Frame): boolean {
    const { bytes, ownHigh, ownLow } = this;
    return macHigh(bytes, frame.address) === ownHigh && macLow(bytes, frame.address) === ownLow;
  }

  /** A frame came from the wire: its source is there, unless the other half has said otherwise since. */
  hear(frame: Frame): void {
    const high = macHigh(this.bytes, frame.address + 6);
    const low = macLow(this.bytes, frame.address + 6);
    if (this.places.find(high, low, this.now) !== HERE) this.learn(high, low, ACROSS);
  }

  /** The other half saw an address arrive from the wire. False: it cannot be one. */
  across(mac: Uint8Array): boolean {
    return this.learn(macHigh(mac, 0), macLow(mac, 0), ACROSS);
  }

  /** The other half saw an address on this host. False: it cannot be one. */
  here(mac: Uint8Array): boolean {
    return this.learn(macHigh(mac, 0), macLow(mac, 0), HERE);
  }

  /** Addresses across the wire, for `netaccel explain`. */
  describe(): readonly string[] {
    return this.places
      .entries(this.now)
      .filter(({ port }) => port === ACROSS)
      .map(({ mac }) => mac);
  }

  private isFrom(at: number): boolean {
    return macHigh(this.bytes, at) === this.ownHigh && macLow(this.bytes, at) === this.ownLow;
  }

  private learn(high: number, low: number, place: number): boolean {
    const fits = (high & GROUP_BIT) === 0 && (high !== this.ownHigh || low !== this.ownLow);
    if (fits) this.places.learn(high, low, place, this.now);
    return fits;
  }

  private canCut(frame: Frame): boolean {
    const { headers: h, can } = this;
    return (
      can.segmentation &&
      h.payload !== 0 &&
      h.vlan === UNTAGGED &&
      h.protocol === Protocol.tcp &&
      (frame.segmentation === Segmentation.tcpv4 ? 4 : 6) === h.version &&
      frame.segmentBytes >= MIN_SEGMENT_BYTES &&
      h.payload + frame.segmentBytes <= can.mtu + ETHERNET_BYTES
    );
  }
}
