/**
 * The two capture formats as tables: headers, blocks, options, magics and the bounds that reading keeps to.
 *
 * The one place in this folder where an offset or a code is written down. pcap is laid down in
 * draft-ietf-opsawg-pcap, pcapng in draft-ietf-opsawg-pcapng; offsets count from the start of the header or
 * block. Byte order is the file's own, so accessors pass `little` along.
 */

/** One field of a header or block. */
export interface CaptureField {
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes it takes. */
  readonly width: number;
  /** What it means. */
  readonly note: string;
}

/** A header or block as a table. */
export interface CaptureStructure<Name extends string = string> {
  /** Its name in the specification. */
  readonly name: string;
  /** Bytes before data and options. */
  readonly size: number;
  /** The fields by name. */
  readonly fields: Readonly<Record<Name, CaptureField>>;
  /** Offset of each field: what readers and writers use. */
  readonly at: Readonly<Record<Name, number>>;
}

function structure<Name extends string>(
  name: string,
  size: number,
  rows: Readonly<Record<Name, readonly [offset: number, width: number, note: string]>>,
): CaptureStructure<Name> {
  const fields = {} as Record<Name, CaptureField>;
  const at = {} as Record<Name, number>;
  for (const key of Object.keys(rows) as Name[]) {
    const [offset, width, note] = rows[key];
    if (offset + width > size)
      throw new RangeError(`${name}.${key}: ${width} bytes at ${offset} exceed ${size}`);
    fields[key] = { offset, width, note };
    at[key] = offset;
  }
  return { name, size, fields, at };
}

/** pcap: the header of the file. */
export const PCAP_HEADER = structure('pcap file header', 24, {
  magic: [0, 4, 'byte order and unit of the fractions'],
  major: [4, 2, 'version, 2'],
  minor: [6, 2, 'version, 4'],
  zone: [8, 4, 'always 0, ignored'],
  accuracy: [12, 4, 'always 0, ignored'],
  snapBytes: [16, 4, 'no packet has more captured bytes'],
  linkType: [20, 4, 'low half: link type; bit 26: the top 4 bits count 16-bit words of frame check sequence'],
});

/** pcap: the header of one packet. */
export const PCAP_RECORD = structure('pcap packet record', 16, {
  seconds: [0, 4, 'since 1970'],
  fraction: [4, 4, 'microseconds or nanoseconds, as the magic says'],
  capturedBytes: [8, 4, 'bytes that follow'],
  originalBytes: [12, 4, 'bytes that the packet had'],
});

/** pcapng: Section Header Block. */
export const SECTION_HEADER = structure('section header block', 24, {
  type: [0, 4, 'reads the same in both byte orders'],
  totalBytes: [4, 4, 'of the whole block, trailer included'],
  byteOrder: [8, 4, 'byte-order magic'],
  major: [12, 2, 'version, 1'],
  minor: [14, 2, 'version, 0 or 2'],
  sectionBytes: [16, 8, 'of the blocks that follow, or -1'],
});

/** pcapng: Interface Description Block. */
export const INTERFACE_DESCRIPTION = structure('interface description block', 16, {
  type: [0, 4, 'block type'],
  totalBytes: [4, 4, 'of the whole block'],
  linkType: [8, 2, 'LINKTYPE value'],
  reserved: [10, 2, 'zero'],
  snapBytes: [12, 4, 'most bytes captured of a packet; 0: no limit'],
});

/** pcapng: Enhanced Packet Block. */
export const ENHANCED_PACKET = structure('enhanced packet block', 28, {
  type: [0, 4, 'block type'],
  totalBytes: [4, 4, 'of the whole block'],
  interfaceId: [8, 4, 'index of the interface in its section'],
  timeHigh: [12, 4, 'upper half of the time, in units of if_tsresol'],
  timeLow: [16, 4, 'lower half'],
  capturedBytes: [20, 4, 'bytes in the block, padding not counted'],
  originalBytes: [24, 4, 'bytes that the packet had'],
});

/** pcapng: Simple Packet Block. */
export const SIMPLE_PACKET = structure('simple packet block', 12, {
  type: [0, 4, 'block type'],
  totalBytes: [4, 4, 'of the whole block'],
  originalBytes: [8, 4, 'bytes that the packet had'],
});

/** pcapng: Packet Block, obsolete since 2009 and still met. */
export const OBSOLETE_PACKET = structure('packet block', 28, {
  type: [0, 4, 'block type'],
  totalBytes: [4, 4, 'of the whole block'],
  interfaceId: [8, 2, 'index of the interface in its section'],
  drops: [10, 2, 'packets lost since the one before'],
  timeHigh: [12, 4, 'upper half of the time'],
  timeLow: [16, 4, 'lower half'],
  capturedBytes: [20, 4, 'bytes in the block, padding not counted'],
  originalBytes: [24, 4, 'bytes that the packet had'],
});

/** pcapng: Interface Statistics Block. */
export const INTERFACE_STATISTICS = structure('interface statistics block', 20, {
  type: [0, 4, 'block type'],
  totalBytes: [4, 4, 'of the whole block'],
  interfaceId: [8, 4, 'index of the interface in its section'],
  timeHigh: [12, 4, 'upper half of the time'],
  timeLow: [16, 4, 'lower half'],
});

/** pcapng: the head of one option; its value follows, padded to 4 bytes. */
export const OPTION = structure('option', 4, {
  code: [0, 2, 'what it is'],
  valueBytes: [2, 2, 'bytes of the value, padding not counted'],
});

/** Block types. Others are skipped. */
export const BlockType = {
  interfaceDescription: 1,
  obsoletePacket: 2,
  simplePacket: 3,
  interfaceStatistics: 5,
  enhancedPacket: 6,
  sectionHeader: 0x0a0d0d0a,
} as const;

/** Option codes, by the block they stand in. */
export const OptionCode = {
  endOfOptions: 0,
  comment: 1,
  /** SHB. */
  shbUserApplication: 4,
  /** IDB. */
  ifName: 2,
  ifDescription: 3,
  ifTimeResolution: 9,
  ifFcsBytes: 13,
  ifTimeOffset: 14,
  /** EPB. */
  epbFlags: 2,
  epbPacketId: 5,
  /** ISB. */
  isbReceived: 4,
  isbDropped: 5,
} as const;

/** What pcap's magic reads as in the file's own byte order. */
export const PcapMagic = { microseconds: 0xa1b2c3d4, nanoseconds: 0xa1b23c4d } as const;

/** pcapng's byte-order magic in the section's own byte order. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Versions that are written, and read. */
export const Version = { pcapMajor: 2, pcapMinor: 4, pcapngMajor: 1, pcapngMinor: 0 } as const;

/** LINKTYPE_ETHERNET: the only link type that is written. */
export const LINK_TYPE_ETHERNET = 1;

/** pcap's link type field: which bits are the type, which say that there is a frame check sequence. */
export const LinkTypeField = { typeMask: 0xffff, fcsPresent: 0x0400_0000, fcsShift: 28 } as const;

/** The bit of if_tsresol that makes the exponent one of 2, not of 10. */
export const TIME_RESOLUTION_BINARY = 0x80;

/** Bits of epb_flags that say the direction. */
export const DIRECTION_MASK = 3;

/** Bytes of a block after everything else: its length once more. */
export const TRAILER_BYTES = 4;

/** Bounds on what is read: a damaged length must not become an allocation. */
export const CaptureLimits = {
  /** Captured bytes of one packet: libpcap's MAXIMUM_SNAPLEN. */
  packetBytes: 262_144,
  /** Bytes of a block that must be held whole; longer ones are skipped. */
  blockBytes: 16 * 1024 * 1024,
  /** Interfaces of one file. */
  interfaces: 65_536,
  /** Faults that are kept as values; the rest is counted. */
  faults: 64,
} as const;

/** `bytes` rounded up to the 32-bit boundary that pcapng pads to. */
export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}
