/**
 * One section of a pcapng file: its interfaces, and the blocks that name them.
 *
 * The decoder has judged a block's frame and holds the whole of it in the window, at `window.at`; here its
 * fields are judged. What cannot be read is left out, with a fault that says so.
 */
import type { DecoderContext } from './decoder.js';
import type { CaptureConsequence, CaptureFaultCode } from './fault.js';
import {
  CaptureLimits,
  DIRECTION_MASK,
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  INTERFACE_STATISTICS,
  OBSOLETE_PACKET,
  OptionCode,
  padded,
  SIMPLE_PACKET,
  TRAILER_BYTES,
} from './layouts.js';
import { readOptions, type OptionTable, type OptionValues } from './options.js';
import { CaptureDirection, type CaptureInterface, type CapturedPacket } from './packet.js';
import { TimeScale } from './time-scale.js';

const DESCRIPTION_OPTIONS: OptionTable<'name' | 'description' | 'resolution' | 'fcs' | 'offset'> = {
  name: { code: OptionCode.ifName, title: 'if_name', kind: 'text' },
  description: { code: OptionCode.ifDescription, title: 'if_description', kind: 'text' },
  resolution: { code: OptionCode.ifTimeResolution, title: 'if_tsresol', kind: 'u8' },
  fcs: { code: OptionCode.ifFcsBytes, title: 'if_fcslen', kind: 'u8' },
  offset: { code: OptionCode.ifTimeOffset, title: 'if_tsoffset', kind: 's64' },
};
const PACKET_OPTIONS: OptionTable<'flags' | 'packetId'> = {
  flags: { code: OptionCode.epbFlags, title: 'epb_flags', kind: 'u32' },
  packetId: { code: OptionCode.epbPacketId, title: 'epb_packetid', kind: 'u64' },
};
const STATISTICS_OPTIONS: OptionTable<'received' | 'dropped'> = {
  received: { code: OptionCode.isbReceived, title: 'isb_ifrecv', kind: 'u64' },
  dropped: { code: OptionCode.isbDropped, title: 'isb_ifdrop', kind: 'u64' },
};

/** if_tsresol of an interface that does not say: microseconds. */
const DEFAULT_RESOLUTION = 6;

interface SectionInterface {
  readonly shown: CaptureInterface;
  readonly time: TimeScale;
}

/** Where a packet lies within its block. */
interface PacketPlace {
  readonly device: SectionInterface;
  readonly structure: { readonly name: string; readonly size: number };
  readonly capturedBytes: number;
  readonly originalBytes: number;
}

/** Reads the blocks of one section. */
export class PcapngSection {
  private readonly interfaces: SectionInterface[] = [];

  /**
   * @param context shared with the decoder.
   * @param number of the section in the file.
   * @param little the section's byte order.
   */
  constructor(
    private readonly context: DecoderContext,
    private readonly number: number,
    private readonly little: boolean,
  ) {}

  /** An interface description block. */
  describe(totalBytes: number): void {
    const { context } = this;
    const { at, size } = INTERFACE_DESCRIPTION;
    if (context.interfaces.length >= CaptureLimits.interfaces) {
      const expected = `at most ${CaptureLimits.interfaces} interfaces`;
      this.fault(
        'CAPTURE_TOO_LARGE',
        'stopped',
        at.type,
        expected,
        'one more',
        'split the file with `editcap -c`',
      );
      return;
    }
    const { texts, numbers, wides } = this.options(size, totalBytes, DESCRIPTION_OPTIONS);
    const shown: CaptureInterface = {
      section: this.number,
      index: this.interfaces.length,
      linkType: this.u16(at.linkType),
      snapBytes: this.u32(at.snapBytes),
      fcsBytes: numbers.fcs ?? 0,
      name: texts.name ?? null,
      description: texts.description ?? null,
      statistics: null,
    };
    this.interfaces.push({
      shown,
      time: new TimeScale(numbers.resolution ?? DEFAULT_RESOLUTION, Number(wides.offset ?? 0n)),
    });
    context.interfaces.push(shown);
  }

  /** An interface statistics block. */
  statistics(totalBytes: number): void {
    const { at, size, name } = INTERFACE_STATISTICS;
    const device = this.interface(this.u32(at.interfaceId), at.interfaceId, name);
    if (device === null) return;
    const { received, dropped } = this.options(size, totalBytes, STATISTICS_OPTIONS).wides;
    device.shown.statistics = {
      received: received === undefined ? null : Number(received),
      dropped: dropped === undefined ? null : Number(dropped),
    };
  }

  /** An enhanced packet block; null when it is left out. */
  enhanced(totalBytes: number): CapturedPacket | null {
    return this.timed(ENHANCED_PACKET, this.u32(ENHANCED_PACKET.at.interfaceId), totalBytes);
  }

  /** An obsolete packet block; null when it is left out. */
  obsolete(totalBytes: number): CapturedPacket | null {
    return this.timed(OBSOLETE_PACKET, this.u16(OBSOLETE_PACKET.at.interfaceId), totalBytes);
  }

  /** A simple packet block: no time, no options, the section's first interface; null when it is left out. */
  simple(totalBytes: number): CapturedPacket | null {
    const { at, size, name } = SIMPLE_PACKET;
    const device = this.interface(0, at.type, name);
    if (device === null) return null;
    const originalBytes = this.u32(at.originalBytes);
    const { snapBytes } = device.shown;
    const capturedBytes = snapBytes === 0 ? originalBytes : Math.min(snapBytes, originalBytes);
    if (!this.holds(capturedBytes, at.originalBytes, size, totalBytes, name)) return null;
    return this.packet({ device, structure: SIMPLE_PACKET, capturedBytes, originalBytes }, null, null);
  }

  private timed(
    structure: typeof ENHANCED_PACKET | typeof OBSOLETE_PACKET,
    interfaceId: number,
    totalBytes: number,
  ): CapturedPacket | null {
    const { at, size, name } = structure;
    const device = this.interface(interfaceId, at.interfaceId, name);
    const capturedBytes = this.u32(at.capturedBytes);
    if (device === null || !this.holds(capturedBytes, at.capturedBytes, size, totalBytes, name)) return null;
    let originalBytes = this.u32(at.originalBytes);
    if (originalBytes < capturedBytes) {
      const expected = `an original length of at least the ${capturedBytes} bytes captured`;
      const advice = `the packet was kept with ${capturedBytes} for its original length`;
      this.fault('CAPTURE_BAD_FIELD', 'kept', at.originalBytes, expected, `${originalBytes}`, advice);
      originalBytes = capturedBytes;
    }
    const options = this.options(size + padded(capturedBytes), totalBytes, PACKET_OPTIONS);
    const time = device.time.moment(this.u32(at.timeHigh), this.u32(at.timeLow));
    return this.packet({ device, structure, capturedBytes, originalBytes }, time, options);
  }

  private packet(
    { device, structure, capturedBytes, originalBytes }: PacketPlace,
    time: CapturedPacket['time'],
    options: OptionValues<'flags' | 'packetId'> | null,
  ): CapturedPacket {
    const { window } = this.context;
    const start = window.at + structure.size;
    const flags = (options?.numbers.flags ?? 0) & DIRECTION_MASK;
    return {
      index: this.context.packets++,
      offset: window.offset,
      interface: device.shown,
      bytes: window.bytes.subarray(start, start + capturedBytes),
      originalBytes,
      time,
      direction:
        flags === CaptureDirection.inbound || flags === CaptureDirection.outbound
          ? flags
          : CaptureDirection.unknown,
      comments: options?.comments ?? [],
      packetId: options?.wides.packetId ?? null,
    };
  }

  /** The interface that a block names, or null with a fault. */
  private interface(index: number, at: number, block: string): SectionInterface | null {
    const device = this.interfaces[index];
    if (device !== undefined) return device;
    const count = this.interfaces.length;
    const expected =
      count === 0 ? `an interface description before the ${block}` : `an interface from 0 to ${count - 1}`;
    this.fault(
      'CAPTURE_NO_INTERFACE',
      'skipped',
      at,
      expected,
      `interface ${index}`,
      'the block was left out',
    );
    return null;
  }

  /** Whether a packet's captured bytes fit into its block and under the bound. */
  private holds(capturedBytes: number, at: number, size: number, totalBytes: number, block: string): boolean {
    const room = Math.min(totalBytes - size - TRAILER_BYTES, CaptureLimits.packetBytes);
    if (capturedBytes <= room) return true;
    const expected = `at most ${room} captured bytes in the ${block}`;
    this.fault('CAPTURE_BAD_LENGTH', 'skipped', at, expected, `${capturedBytes}`, 'the packet was left out');
    return false;
  }

  private options<Name extends string>(
    from: number,
    totalBytes: number,
    table: OptionTable<Name>,
  ): OptionValues<Name> {
    const { window, faults } = this.context;
    const range = {
      start: window.at + from,
      end: window.at + totalBytes - TRAILER_BYTES,
      little: this.little,
    };
    return readOptions(window, range, table, faults);
  }

  private u16(at: number): number {
    const { window } = this.context;
    return window.view.getUint16(window.at + at, this.little);
  }

  private u32(at: number): number {
    const { window } = this.context;
    return window.view.getUint32(window.at + at, this.little);
  }

  private fault(
    code: CaptureFaultCode,
    consequence: CaptureConsequence,
    at: number,
    expected: string,
    seen: string,
    advice: string,
  ): void {
    const offset = this.context.window.offset + at;
    this.context.faults.add({ code, consequence, offset, expected, seen, advice });
  }
}
