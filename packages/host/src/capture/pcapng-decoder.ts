/**
 * Reads pcapng: sections of blocks, each with its length in front and behind.
 *
 * Unknown blocks are skipped. A block whose inside is wrong is skipped and counted, because its frame still
 * says where the next begins; a frame that is wrong ends the reading.
 */
import { addTruncated, type CaptureDecoder, type DecoderContext } from './decoder.js';
import type { CaptureFault, CaptureFaultCode } from './fault.js';
import {
  BlockType,
  BYTE_ORDER_MAGIC,
  CaptureLimits,
  type CaptureStructure,
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  OBSOLETE_PACKET,
  SECTION_HEADER,
  SIMPLE_PACKET,
  TRAILER_BYTES,
  Version,
} from './layouts.js';
import type { CapturedPacket } from './packet.js';
import { PcapngSection } from './pcapng-section.js';

const STRUCTURES: Readonly<Record<number, CaptureStructure<'type' | 'totalBytes'>>> = {
  [BlockType.sectionHeader]: SECTION_HEADER,
  [BlockType.interfaceDescription]: INTERFACE_DESCRIPTION,
  [BlockType.interfaceStatistics]: INTERFACE_STATISTICS,
  [BlockType.enhancedPacket]: ENHANCED_PACKET,
  [BlockType.simplePacket]: SIMPLE_PACKET,
  [BlockType.obsoletePacket]: OBSOLETE_PACKET,
};

/** Type and length: what must be there to know anything about a block. */
const PREFIX_BYTES = 8;

/** Decodes pcapng in either byte order; sections may differ in theirs. */
export class PcapngDecoder implements CaptureDecoder {
  /** {@inheritDoc CaptureDecoder.format} */
  readonly format = 'pcapng';
  private little = true;
  private sections = 0;
  private section: PcapngSection | null = null;

  /** @param context what it works with; the window stands at a section header. */
  constructor(private readonly context: DecoderContext) {}

  /** {@inheritDoc CaptureDecoder.next} */
  next(): CapturedPacket | null {
    const { window, faults } = this.context;
    while (faults.stopped === null) {
      const totalBytes = this.frame();
      if (totalBytes === 0) return null;
      const type = window.view.getUint32(window.at, this.little);
      const packet = this.block(type, totalBytes);
      window.skip(totalBytes);
      if (packet !== null) return packet;
    }
    return null;
  }

  /**
   * Judges the frame of the next block that is to be decoded, having skipped those that are not, and brings
   * the whole of it into the window.
   * @returns its bytes, or 0 at the end or where it broke off.
   */
  private frame(): number {
    const { context } = this;
    const { window } = context;
    while (true) {
      const offset = window.offset;
      if (!window.need(PREFIX_BYTES)) {
        if (window.available > 0 || window.failure !== null)
          addTruncated(context, 'a block header', offset, PREFIX_BYTES);
        return 0;
      }
      if (window.view.getUint32(window.at, this.little) === BlockType.sectionHeader && !this.orderBytes())
        return 0;
      const type = window.view.getUint32(window.at, this.little);
      const totalBytes = window.view.getUint32(window.at + SECTION_HEADER.at.totalBytes, this.little);
      const least = PREFIX_BYTES + TRAILER_BYTES;
      if (totalBytes < least || totalBytes % 4 !== 0) {
        const expected = `a block length of at least ${least}, in steps of 4`;
        this.stop('CAPTURE_BAD_LENGTH', SECTION_HEADER.at.totalBytes, expected, `${totalBytes}`);
        return 0;
      }
      const structure = STRUCTURES[type];
      const name = structure?.name ?? `block of type 0x${type.toString(16)}`;
      const what = `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name} of ${totalBytes} bytes`;
      if (structure !== undefined && this.fits(structure, totalBytes)) {
        if (window.need(totalBytes))
          return this.trailer(totalBytes - TRAILER_BYTES, totalBytes) ? totalBytes : 0;
        addTruncated(context, what, offset, totalBytes);
        return 0;
      }
      if (context.faults.stopped !== null) return 0;
      if (!window.skip(totalBytes - TRAILER_BYTES) || !window.need(TRAILER_BYTES)) {
        addTruncated(context, what, offset, totalBytes);
        return 0;
      }
      if (!this.trailer(0, totalBytes)) return 0;
      window.skip(TRAILER_BYTES);
    }
  }

  /** Takes the byte order of a section header, which its length is written in already. */
  private orderBytes(): boolean {
    const { window } = this.context;
    const { at } = SECTION_HEADER;
    const wanted = at.byteOrder + 4;
    if (!window.need(wanted)) {
      addTruncated(this.context, `a ${SECTION_HEADER.name}`, window.offset, wanted);
      return false;
    }
    const little = window.view.getUint32(window.at + at.byteOrder, true);
    if (little === BYTE_ORDER_MAGIC) this.little = true;
    else if (window.view.getUint32(window.at + at.byteOrder, false) === BYTE_ORDER_MAGIC) this.little = false;
    else {
      const expected = `the byte-order magic 0x${BYTE_ORDER_MAGIC.toString(16)} in either order`;
      this.stop('CAPTURE_BAD_FIELD', at.byteOrder, expected, `0x${little.toString(16).padStart(8, '0')}`);
      return false;
    }
    return true;
  }

  /**
   * Whether a block that is known is long enough for its fields and short enough to be held. Without a section
   * header nothing behind it can be read, so that one ends the reading.
   */
  private fits(structure: CaptureStructure, totalBytes: number): boolean {
    const least = structure.size + TRAILER_BYTES;
    const most = CaptureLimits.blockBytes;
    if (totalBytes >= least && totalBytes <= most) return true;
    const expected = `${least} to ${most} bytes for the ${structure.name}`;
    const code = totalBytes < least ? 'CAPTURE_BAD_LENGTH' : 'CAPTURE_TOO_LARGE';
    if (structure === SECTION_HEADER)
      this.stop(code, SECTION_HEADER.at.totalBytes, expected, `${totalBytes}`);
    else this.skip(code, SECTION_HEADER.at.totalBytes, expected, `${totalBytes}`);
    return false;
  }

  /** Whether the length behind a block says what the one in front says. */
  private trailer(at: number, totalBytes: number): boolean {
    const { window } = this.context;
    const seen = window.view.getUint32(window.at + at, this.little);
    if (seen === totalBytes) return true;
    this.stop('CAPTURE_BAD_LENGTH', at, `the block's length ${totalBytes} once more at its end`, `${seen}`);
    return false;
  }

  private block(type: number, totalBytes: number): CapturedPacket | null {
    const { section } = this;
    if (type === BlockType.sectionHeader) this.beginSection();
    else if (section === null) return null;
    else if (type === BlockType.interfaceDescription) section.describe(totalBytes);
    else if (type === BlockType.interfaceStatistics) section.statistics(totalBytes);
    else if (type === BlockType.enhancedPacket) return section.enhanced(totalBytes);
    else if (type === BlockType.obsoletePacket) return section.obsolete(totalBytes);
    else return section.simple(totalBytes);
    return null;
  }

  private beginSection(): void {
    const { window } = this.context;
    const { at } = SECTION_HEADER;
    const major = window.view.getUint16(window.at + at.major, this.little);
    const minor = window.view.getUint16(window.at + at.minor, this.little);
    if (major !== Version.pcapngMajor) {
      const expected = `pcapng version ${Version.pcapngMajor}.${Version.pcapngMinor}`;
      this.stop('CAPTURE_VERSION', at.major, expected, `version ${major}.${minor}`);
      return;
    }
    this.section = new PcapngSection(this.context, this.sections++, this.little);
  }

  private stop(code: CaptureFaultCode, at: number, expected: string, seen: string): void {
    const advice = `the ${this.context.packets} packets before it were kept; get a fresh copy of the file`;
    this.add({ code, consequence: 'stopped', offset: at, expected, seen, advice });
  }

  private skip(code: CaptureFaultCode, at: number, expected: string, seen: string): void {
    const advice = 'the block was left out; the writer of this file is at fault, or the file is damaged';
    this.add({ code, consequence: 'skipped', offset: at, expected, seen, advice });
  }

  /** @param fault with its offset counted from the block. */
  private add(fault: CaptureFault): void {
    this.context.faults.add({ ...fault, offset: this.context.window.offset + fault.offset });
  }
}
