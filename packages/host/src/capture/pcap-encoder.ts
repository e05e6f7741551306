/**
 * Writes pcap with nanoseconds, little-endian: one header, then packets. The format has no room for
 * interfaces, directions or comments, so those are left out.
 */
import type { CaptureEncoder, CaptureEpoch } from './encoder.js';
import { LINK_TYPE_ETHERNET, PCAP_HEADER, PCAP_RECORD, PcapMagic, Version } from './layouts.js';
import type { Staging } from './staging.js';

const NANOSECONDS = 1_000_000_000;

/** Encodes pcap. */
export class PcapEncoder implements CaptureEncoder {
  /** {@inheritDoc CaptureEncoder.overheadBytes} */
  readonly overheadBytes = PCAP_RECORD.size;
  private readonly originSeconds: number;
  private readonly originNanoseconds: number;
  private recordAt = 0;

  /**
   * @param staging where to write; the header is written at once.
   * @param snapBytes most captured bytes of a packet.
   * @param origin what time 0 means.
   */
  constructor(
    private readonly staging: Staging,
    snapBytes: number,
    origin: CaptureEpoch,
  ) {
    this.originSeconds = Number(origin / BigInt(NANOSECONDS));
    this.originNanoseconds = Number(origin % BigInt(NANOSECONDS));
    const { view, at: start } = staging;
    const { at, size } = PCAP_HEADER;
    view.setUint32(start + at.magic, PcapMagic.nanoseconds, true);
    view.setUint16(start + at.major, Version.pcapMajor, true);
    view.setUint16(start + at.minor, Version.pcapMinor, true);
    view.setUint32(start + at.zone, 0, true);
    view.setUint32(start + at.accuracy, 0, true);
    view.setUint32(start + at.snapBytes, snapBytes, true);
    view.setUint32(start + at.linkType, LINK_TYPE_ETHERNET, true);
    staging.at = start + size;
  }

  /** {@inheritDoc CaptureEncoder.describe} */
  describe(): boolean {
    return this.staging.failure === null;
  }

  /** {@inheritDoc CaptureEncoder.begin} */
  begin(_interfaceIndex: number, timeNs: number, originalBytes: number): void {
    const { staging } = this;
    const { view } = staging;
    const { at, size } = PCAP_RECORD;
    const start = staging.at;
    const whole = Math.floor(timeNs / NANOSECONDS);
    const nanoseconds = this.originNanoseconds + Math.floor(timeNs - whole * NANOSECONDS);
    const carry = nanoseconds >= NANOSECONDS ? 1 : 0;
    view.setUint32(start + at.seconds, this.originSeconds + whole + carry, true);
    view.setUint32(start + at.fraction, nanoseconds - carry * NANOSECONDS, true);
    view.setUint32(start + at.originalBytes, originalBytes, true);
    this.recordAt = start;
    staging.at = start + size;
  }

  /** {@inheritDoc CaptureEncoder.end} */
  end(): void {
    const { staging, recordAt } = this;
    const capturedBytes = staging.at - recordAt - PCAP_RECORD.size;
    staging.view.setUint32(recordAt + PCAP_RECORD.at.capturedBytes, capturedBytes, true);
  }
}
