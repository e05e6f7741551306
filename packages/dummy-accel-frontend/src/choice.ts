/**
 * Which frames the device takes: every reason to decline, in its order. All of them are decided here, before anybody
 * asks whether there is room; a frame that passes goes, now or when there is room.
 *
 * Also what that needs to know: which addresses are across the wire. Called by the device for each frame; allocates
 * nothing.
 */
import { Checksum, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type { Frame, Memory } from '@netaccel/core-hooks';
import {
  ETHERNET_BYTES,
  EtherType,
  EventFlag,
  FrameHeaders,
  MAX_FRAGMENTS,
  MIN_SEGMENT_BYTES,
  Neighbours,
  OwnAddresses,
  Protocol,
  UNTAGGED,
  isOrdinary,
  mostPieces,
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

const GROUP_BIT = 1;
const SOURCE_AT = 6;

/** The choice of one device. */
export class Choice {
  /** Frames are taken at all: set-up is complete, and nobody takes it down. */
  active = false;
  /** The port has link. */
  linkUp = false;
  /** Which addresses are across the wire. */
  readonly neighbours: Neighbours;
  private readonly view: DataView;
  private readonly headers: FrameHeaders;
  private readonly maxFrameBytes: number;
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
    this.neighbours = new Neighbours(memory, mac);
    const { buffer, byteOffset, byteLength } = memory.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.headers = new FrameHeaders(memory);
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
    const usual = this.neighbours.isUsual(address);
    if (!usual) {
      if ((view.getUint8(address) & GROUP_BIT) !== 0) return broadcast;
      if (!this.neighbours.isAcross(address)) return unknownDestination;
    }
    const whole = frame.segmentation === Segmentation.none;
    if (!whole || this.sources !== null || !isOrdinary(view, address, length, totalBytes)) {
      const verdict = this.judge(frame, whole);
      if (verdict !== Verdict.sent) return verdict;
    } else if (frame.checksum === Checksum.blank && !can.transmitChecksum) return checksum;
    if (!usual && !this.neighbours.isOwn(address + SOURCE_AT)) return spoofed;
    if (totalBytes > (whole ? this.maxFrameBytes : can.maxTransmitBytes)) return tooLong;
    if (frame.next !== null && mostPieces(frame) >= Math.min(can.maxFragments, MAX_FRAGMENTS)) return tooLong;
    return Verdict.sent;
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
