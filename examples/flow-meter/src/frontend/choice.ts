/**
 * Which frames the card cannot send, and the counting of those that go and come. Asked of each frame that is for
 * somebody across the wire; what passes goes, now or when there is room. Allocates nothing.
 */
import { Checksum, Segmentation, Verdict, declined } from '@netaccel/core-hooks';
import type { Frame, FrontendServices } from '@netaccel/core-hooks';
import {
  ETHERNET_BYTES,
  FrameHeaders,
  MAX_FRAGMENTS,
  MIN_SEGMENT_BYTES,
  Protocol,
  UNTAGGED,
  VLAN_BYTES,
  mostPieces,
} from '@netaccel/nic-vi';
import type { FrameChoice, HandoverMessage } from '@netaccel/nic-vi';
import { FlowMeter, Way } from './meter.js';

const segmentation = declined('segmentation');
const checksum = declined('checksum');
const tooLong = declined('too-long');

/** Flows that `describe` tells of. */
const TOP_FLOWS = 10;

/** The choice of one device, and its meter. */
export class Choice implements FrameChoice {
  private readonly meter = new FlowMeter();
  /** Of the frame that arrives. */
  private readonly headers: FrameHeaders;

  /**
   * @param services what netfront handed over.
   * @param can what the VI can do.
   */
  constructor(
    private readonly services: FrontendServices,
    private readonly can: HandoverMessage,
  ) {
    this.headers = new FrameHeaders(services.memory);
  }

  /** `Verdict.sent` when the card takes the frame, or the reason why not. */
  of(frame: Frame, headers: FrameHeaders): Verdict {
    const { can } = this;
    const whole = frame.segmentation === Segmentation.none;
    if (!whole && !this.canCut(frame, headers)) return segmentation;
    // What the card works on must be TCP or UDP with all of its header here; anything else goes as it is.
    if (frame.checksum === Checksum.blank && (!can.transmitChecksum || headers.payload === 0))
      return checksum;
    const most = can.mtu + ETHERNET_BYTES + (headers.vlan === UNTAGGED ? 0 : VLAN_BYTES);
    if (frame.totalBytes > (whole ? most : can.maxTransmitBytes)) return tooLong;
    if (frame.next !== null && mostPieces(frame) >= Math.min(can.maxFragments, MAX_FRAGMENTS)) return tooLong;
    return Verdict.sent;
  }

  /** The card took the frame. */
  sent(frame: Frame, headers: FrameHeaders, now: number): void {
    this.meter.count(headers, Way.sent, frame.totalBytes, now);
  }

  /** A frame arrived. */
  received(frame: Frame, now: number): void {
    this.headers.parse(frame.address, frame.length, frame.totalBytes);
    this.meter.count(this.headers, Way.received, frame.totalBytes, now);
  }

  /** For `netaccel explain`. */
  describe(): Readonly<Record<string, unknown>> {
    const { meter } = this;
    return { flows: meter.top(TOP_FLOWS, this.services.clock.now()), flowsDisplaced: meter.displaced };
  }

  private canCut(frame: Frame, headers: FrameHeaders): boolean {
    const { can } = this;
    return (
      can.segmentation &&
      headers.payload !== 0 &&
      headers.vlan === UNTAGGED &&
      headers.protocol === Protocol.tcp &&
      (frame.segmentation === Segmentation.tcpv4 ? 4 : 6) === headers.version &&
      frame.segmentBytes >= MIN_SEGMENT_BYTES &&
      headers.payload + frame.segmentBytes <= can.mtu + ETHERNET_BYTES
    );
  }
}
