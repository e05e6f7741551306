/**
 * Writes pcapng, little-endian: one section, an interface description per interface when it is added,
 * enhanced packet blocks with nanoseconds, direction, comment and packet id.
 */
import type { CaptureEncoder, CaptureEpoch } from './encoder.js';
import {
  BlockType,
  BYTE_ORDER_MAGIC,
  type CaptureStructure,
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  LINK_TYPE_ETHERNET,
  OPTION,
  OptionCode,
  padded,
  SECTION_HEADER,
  TRAILER_BYTES,
  Version,
} from './layouts.js';
import type { CaptureDirection } from './packet.js';
import type { Staging } from './staging.js';

const TWO_32 = 0x1_0000_0000;
/** if_tsresol for nanoseconds. */
const NANOSECOND_RESOLUTION = 9;
/** A section of unknown length. */
const UNKNOWN_LENGTH = 0xffff_ffff;

/** Bytes of UTF-8 that a comment, a name or a description may have; longer ones are cut. */
export const MAX_TEXT_BYTES = 4096;
/** Comments that are kept encoded. There are a handful in practice: slow, fast, native. */
const KEPT_COMMENTS = 256;

const utf8 = new TextEncoder();

/** A text as UTF-8 of at most {@link MAX_TEXT_BYTES}, cut between two characters. */
function encodeText(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.min(text.length * 3, MAX_TEXT_BYTES));
  return bytes.subarray(0, utf8.encodeInto(text, bytes).written);
}

/** Encodes pcapng. */
export class PcapngEncoder implements CaptureEncoder {
  /** {@inheritDoc CaptureEncoder.overheadBytes} */
  readonly overheadBytes =
    ENHANCED_PACKET.size + 4 * OPTION.size + padded(MAX_TEXT_BYTES) + 4 + 8 + 3 + TRAILER_BYTES;
  private readonly originHigh: number;
  private readonly originLow: number;
  private readonly comments = new Map<string, Uint8Array>();
  private blockAt = 0;

  /**
   * @param staging where to write; the section header is written at once.
   * @param snapBytes most captured bytes of a packet.
   * @param origin what time 0 means.
   * @param application what the section says wrote it.
   * @param comment about the whole section, or undefined.
   */
  constructor(
    private readonly staging: Staging,
    private readonly snapBytes: number,
    origin: CaptureEpoch,
    application: string,
    comment: string | undefined,
  ) {
    this.originHigh = Number(BigInt.asUintN(32, origin >> 32n));
    this.originLow = Number(BigInt.asUintN(32, origin));
    const { view } = staging;
    const { at } = SECTION_HEADER;
    const start = this.open(BlockType.sectionHeader, SECTION_HEADER);
    view.setUint32(start + at.byteOrder, BYTE_ORDER_MAGIC, true);
    view.setUint16(start + at.major, Version.pcapngMajor, true);
    view.setUint16(start + at.minor, Version.pcapngMinor, true);
    view.setUint32(start + at.sectionBytes, UNKNOWN_LENGTH, true);
    view.setUint32(start + at.sectionBytes + 4, UNKNOWN_LENGTH, true);
    if (comment !== undefined) this.option(OptionCode.comment, encodeText(comment));
    this.option(OptionCode.shbUserApplication, encodeText(application));
    this.close(true);
  }

  /** {@inheritDoc CaptureEncoder.describe} */
  describe(name: string, description: string | undefined): boolean {
    const { staging } = this;
    if (!staging.reserve(INTERFACE_DESCRIPTION.size + 2 * (OPTION.size + MAX_TEXT_BYTES) + 64)) return false;
    const { at } = INTERFACE_DESCRIPTION;
    const start = this.open(BlockType.interfaceDescription, INTERFACE_DESCRIPTION);
    staging.view.setUint16(start + at.linkType, LINK_TYPE_ETHERNET, true);
    staging.view.setUint16(start + at.reserved, 0, true);
    staging.view.setUint32(start + at.snapBytes, this.snapBytes, true);
    this.option(OptionCode.ifName, encodeText(name));
    if (description !== undefined) this.option(OptionCode.ifDescription, encodeText(description));
    this.option(OptionCode.ifTimeResolution, Uint8Array.of(NANOSECOND_RESOLUTION));
    this.close(true);
    return true;
  }

  /** {@inheritDoc CaptureEncoder.begin} */
  begin(interfaceIndex: number, timeNs: number, originalBytes: number): void {
    const { view } = this.staging;
    const { at } = ENHANCED_PACKET;
    const start = this.open(BlockType.enhancedPacket, ENHANCED_PACKET);
    // 64 bits in halves: `setUint32` takes each modulo 2^32.
    const low = this.originLow + (timeNs >>> 0);
    const high = this.originHigh + Math.floor(timeNs / TWO_32) + (low >= TWO_32 ? 1 : 0);
    view.setUint32(start + at.interfaceId, interfaceIndex, true);
    view.setUint32(start + at.timeHigh, high, true);
    view.setUint32(start + at.timeLow, low, true);
    view.setUint32(start + at.originalBytes, originalBytes, true);
  }

  /** {@inheritDoc CaptureEncoder.end} */
  end(direction: CaptureDirection, comment: string | undefined, packetId: number | undefined): void {
    const { staging } = this;
    const { view } = staging;
    const capturedBytes = staging.at - this.blockAt - ENHANCED_PACKET.size;
    view.setUint32(this.blockAt + ENHANCED_PACKET.at.capturedBytes, capturedBytes, true);
    staging.zero(padded(capturedBytes) - capturedBytes);
    const hasOptions = direction !== 0 || comment !== undefined || packetId !== undefined;
    if (comment !== undefined) this.option(OptionCode.comment, this.encoded(comment));
    if (direction !== 0) {
      this.optionHead(OptionCode.epbFlags, 4);
      view.setUint32(staging.at, direction, true);
      staging.at += 4;
    }
    if (packetId !== undefined) {
      this.optionHead(OptionCode.epbPacketId, 8);
      view.setUint32(staging.at, packetId >>> 0, true);
      view.setUint32(staging.at + 4, Math.floor(packetId / TWO_32), true);
      staging.at += 8;
    }
    this.close(hasOptions);
  }

  private encoded(comment: string): Uint8Array {
    const kept = this.comments.get(comment);
    if (kept !== undefined) return kept;
    const bytes = encodeText(comment);
    if (this.comments.size < KEPT_COMMENTS) this.comments.set(comment, bytes);
    return bytes;
  }

  /** Begins a block; its length comes with {@link close}. */
  private open(type: number, structure: CaptureStructure): number {
    const { staging } = this;
    const start = staging.at;
    staging.view.setUint32(start, type, true);
    this.blockAt = start;
    staging.at = start + structure.size;
    return start;
  }

  private optionHead(code: number, valueBytes: number): void {
    const { staging } = this;
    staging.view.setUint16(staging.at + OPTION.at.code, code, true);
    staging.view.setUint16(staging.at + OPTION.at.valueBytes, valueBytes, true);
    staging.at += OPTION.size;
  }

  private option(code: number, value: Uint8Array): void {
    this.optionHead(code, value.length);
    this.staging.put(value);
    this.staging.zero(padded(value.length) - value.length);
  }

  private close(hasOptions: boolean): void {
    const { staging, blockAt } = this;
    if (hasOptions) this.optionHead(OptionCode.endOfOptions, 0);
    const totalBytes = staging.at + TRAILER_BYTES - blockAt;
    staging.view.setUint32(blockAt + SECTION_HEADER.at.totalBytes, totalBytes, true);
    staging.view.setUint32(staging.at, totalBytes, true);
    staging.at += TRAILER_BYTES;
  }
}
