/**
 * Reads pcap: one header, then packets one after the other, each with its length.
 *
 * Nothing marks where a packet begins, so a length that cannot be ends the reading.
 */
import { addTruncated, type CaptureDecoder, type DecoderContext } from './decoder.js';
import { CaptureLimits, LinkTypeField, PCAP_HEADER, PCAP_RECORD, PcapMagic, Version } from './layouts.js';
import { CaptureDirection, type CaptureInterface, type CapturedPacket } from './packet.js';

const NO_COMMENTS: readonly string[] = [];

/** Decodes pcap in either byte order, in microseconds or nanoseconds. */
export class PcapDecoder implements CaptureDecoder {
  /** {@inheritDoc CaptureDecoder.format} */
  readonly format = 'pcap';
  private readonly unitsPerSecond: number;
  private device: CaptureInterface | null = null;

  /**
   * @param context what it works with; the window stands at the magic.
   * @param little the file's byte order.
   * @param magic the file's magic, read in that order.
   */
  constructor(
    private readonly context: DecoderContext,
    private readonly little: boolean,
    magic: number,
  ) {
    this.unitsPerSecond = magic === PcapMagic.nanoseconds ? 1_000_000_000 : 1_000_000;
  }

  /** {@inheritDoc CaptureDecoder.next} */
  next(): CapturedPacket | null {
    if (this.context.faults.stopped !== null) return null;
    this.device ??= this.readHeader();
    return this.device === null ? null : this.readRecord(this.device);
  }

  private readHeader(): CaptureInterface | null {
    const { context, little } = this;
    const { window, faults } = context;
    const { at, size } = PCAP_HEADER;
    if (!window.need(size)) {
      addTruncated(context, `a pcap file header of ${size} bytes`, window.offset, size);
      return null;
    }
    const major = window.view.getUint16(window.at + at.major, little);
    const minor = window.view.getUint16(window.at + at.minor, little);
    if (major !== Version.pcapMajor || minor !== Version.pcapMinor) {
      faults.add({
        code: 'CAPTURE_VERSION',
        consequence: 'stopped',
        offset: window.offset + at.major,
        expected: `pcap version ${Version.pcapMajor}.${Version.pcapMinor}`,
        seen: `version ${major}.${minor}`,
        advice: 'convert the file with `editcap -F pcapng`',
      });
      return null;
    }
    const linkType = window.view.getUint32(window.at + at.linkType, little);
    const device: CaptureInterface = {
      section: 0,
      index: 0,
      linkType: linkType & LinkTypeField.typeMask,
      snapBytes: window.view.getUint32(window.at + at.snapBytes, little),
      fcsBytes: (linkType & LinkTypeField.fcsPresent) === 0 ? 0 : 2 * (linkType >>> LinkTypeField.fcsShift),
      name: null,
      description: null,
      statistics: null,
    };
    context.interfaces.push(device);
    window.skip(size);
    return device;
  }

  private readRecord(device: CaptureInterface): CapturedPacket | null {
    const { context, little } = this;
    const { window, faults } = context;
    const { at, size } = PCAP_RECORD;
    const offset = window.offset;
    if (!window.need(size)) {
      if (window.available > 0 || window.failure !== null)
        addTruncated(context, 'a pcap packet header', offset, size);
      return null;
    }
    const capturedBytes = window.view.getUint32(window.at + at.capturedBytes, little);
    if (capturedBytes > CaptureLimits.packetBytes) {
      faults.add({
        code: 'CAPTURE_BAD_LENGTH',
        consequence: 'stopped',
        offset: offset + at.capturedBytes,
        expected: `at most ${CaptureLimits.packetBytes} captured bytes`,
        seen: `${capturedBytes}`,
        advice: `the ${context.packets} packets before it were kept; the file is damaged here, get a fresh copy`,
      });
      return null;
    }
    if (!window.need(size + capturedBytes)) {
      const what = `a pcap packet of ${size + capturedBytes} bytes`;
      addTruncated(context, what, offset, size + capturedBytes);
      return null;
    }
    const start = window.at + size;
    const packet: CapturedPacket = {
      index: context.packets++,
      offset,
      interface: device,
      bytes: window.bytes.subarray(start, start + capturedBytes),
      originalBytes: this.originalBytes(capturedBytes),
      time: this.time(),
      direction: CaptureDirection.unknown,
      comments: NO_COMMENTS,
      packetId: null,
    };
    window.skip(size + capturedBytes);
    return packet;
  }

  private originalBytes(capturedBytes: number): number {
    const { window, faults } = this.context;
    const at = PCAP_RECORD.at.originalBytes;
    const originalBytes = window.view.getUint32(window.at + at, this.little);
    if (originalBytes >= capturedBytes) return originalBytes;
    faults.add({
      code: 'CAPTURE_BAD_FIELD',
      consequence: 'kept',
      offset: window.offset + at,
      expected: `an original length of at least the ${capturedBytes} bytes captured`,
      seen: `${originalBytes}`,
      advice: `the packet was kept with ${capturedBytes} for its original length`,
    });
    return capturedBytes;
  }

  private time(): { seconds: number; nanoseconds: number } {
    const { window, faults } = this.context;
    const { at } = PCAP_RECORD;
    const seconds = window.view.getUint32(window.at + at.seconds, this.little);
    const fraction = window.view.getUint32(window.at + at.fraction, this.little);
    const units = this.unitsPerSecond;
    if (fraction >= units) {
      faults.add({
        code: 'CAPTURE_BAD_FIELD',
        consequence: 'kept',
        offset: window.offset + at.fraction,
        expected: `a fraction of a second below ${units}`,
        seen: `${fraction}`,
        advice: 'the packet was kept with the whole seconds carried over',
      });
    }
    return {
      seconds: seconds + Math.floor(fraction / units),
      nanoseconds: (fraction % units) * (1_000_000_000 / units),
    };
  }
}
