/**
 * Which frames the NIC can send: asked of each frame that is for somebody across the wire, from the guest's own
 * address. A frame that passes goes, now or when there is room. Allocates nothing.
 */
import { Checksum, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type { Frame } from '@netaccel/core-hooks';
import {
  ETHERNET_BYTES,
  EtherType,
  EventFlag,
  MAX_FRAGMENTS,
  MIN_SEGMENT_BYTES,
  Protocol,
  UNTAGGED,
  mostPieces,
} from '@netaccel/nic-vi';
import type { FrameChoice, FrameHeaders, HandoverMessage } from '@netaccel/nic-vi';

const malformed = declined('malformed');
const vlan = declined('vlan');
const notIp = declined('not-ip');
const notTcpUdp = declined('not-tcp-udp');
const ipFragment = declined('ip-fragment');
const segmentation = declined('segmentation');
const checksum = declined('checksum');
const tooLong = declined('too-long');

/** The choice of one device. */
export class Choice implements FrameChoice {
  private readonly maxFrameBytes: number;

  /** @param can what the VI can do. */
  constructor(private readonly can: HandoverMessage) {
    this.maxFrameBytes = can.mtu + ETHERNET_BYTES;
  }

  /** `Verdict.sent` when the NIC takes the frame, or the reason why not. */
  of(frame: Frame, h: FrameHeaders): Verdict {
    const whole = frame.segmentation === Segmentation.none;
    if (h.vlan !== UNTAGGED) return vlan;
    if (h.version === 0)
      return h.etherType === EtherType.ipv4 || h.etherType === EtherType.ipv6 ? malformed : notIp;
    if (h.protocol !== Protocol.tcp && h.protocol !== Protocol.udp) return notTcpUdp;
    // An IP fragment goes as it is; what the NIC has to work on must be complete.
    if (h.payload === 0) {
      if ((h.flags & EventFlag.fragment) === 0) return malformed;
      if (frame.checksum === Checksum.blank || !whole) return ipFragment;
    }
    if (!whole && !this.canCut(frame, h)) return segmentation;
    return this.ofOrdinary(frame);
  }

  /** The same of a frame whose headers are in order. */
  ofOrdinary(frame: Frame): Verdict {
    const { can } = this;
    if (frame.checksum === Checksum.blank && !can.transmitChecksum) return checksum;
    const most = frame.segmentation === Segmentation.none ? this.maxFrameBytes : can.maxTransmitBytes;
    if (frame.totalBytes > most) return tooLong;
    if (frame.next !== null && mostPieces(frame) >= Math.min(can.maxFragments, MAX_FRAGMENTS)) return tooLong;
    return Verdict.sent;
  }

  private canCut(frame: Frame, h: FrameHeaders): boolean {
    return (
      this.can.segmentation &&
      h.protocol === Protocol.tcp &&
      (frame.segmentation === Segmentation.tcpv4 ? 4 : 6) === h.version &&
      frame.segmentBytes >= MIN_SEGMENT_BYTES &&
      h.payload + frame.segmentBytes <= this.maxFrameBytes
    );
  }
}
