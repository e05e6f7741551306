/**
 * What a capture holds, as the reader hands it out: interfaces and packets, the same for pcap and pcapng.
 */

/** Which of the two formats. */
export type CaptureFormat = 'pcap' | 'pcapng';

/** Which way a packet went, seen from the interface; the numbers are epb_flags' own. */
export const CaptureDirection = {
  /** It does not say. */
  unknown: 0,
  /** Received by the interface. */
  inbound: 1,
  /** Sent by the interface. */
  outbound: 2,
} as const;
/** One of {@link CaptureDirection}. */
export type CaptureDirection = (typeof CaptureDirection)[keyof typeof CaptureDirection];

/** What an interface statistics block counted. */
export interface CaptureStatistics {
  /** Packets that the interface received, or null when it does not say. */
  readonly received: number | null;
  /** Packets that the capture lost, or null when it does not say. */
  readonly dropped: number | null;
}

/** An interface of a capture; a pcap file has exactly one. */
export interface CaptureInterface {
  /** Which section of the file, from 0. */
  readonly section: number;
  /** Its number in the section: what packets name. */
  readonly index: number;
  /** LINKTYPE value; 1 is Ethernet. */
  readonly linkType: number;
  /** Most bytes captured of a packet; 0 is no limit. */
  readonly snapBytes: number;
  /** Bytes of frame check sequence at the end of each packet. */
  readonly fcsBytes: number;
  /** if_name, or null. */
  readonly name: string | null;
  /** if_description, or null. */
  readonly description: string | null;
  /** From the section's statistics blocks, the last word; null before there is one. */
  statistics: CaptureStatistics | null;
}

/** A moment since 1970. */
export interface CaptureTime {
  /** Whole seconds; negative before 1970. */
  readonly seconds: number;
  /** 0 to 999,999,999. Finer resolutions are rounded down. */
  readonly nanoseconds: number;
}

/** One packet. */
export interface CapturedPacket {
  /** Its number in the file, from 0. */
  readonly index: number;
  /** Byte of the file where its record or block begins. */
  readonly offset: number;
  /** Where it was captured. */
  readonly interface: CaptureInterface;
  /** The captured bytes: a view that is valid until the next packet is read. */
  readonly bytes: Uint8Array;
  /** Bytes that the packet had; more than `bytes.length` when it was cut. */
  readonly originalBytes: number;
  /** When, or null for a simple packet block, which does not say. */
  readonly time: CaptureTime | null;
  /** Which way it went. */
  readonly direction: CaptureDirection;
  /** opt_comment, each. */
  readonly comments: readonly string[];
  /** epb_packetid, or null: the same packet at another interface has the same. */
  readonly packetId: bigint | null;
}
