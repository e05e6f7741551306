/**
 * The virtio-net header that stands before each frame of a TAP: what the kernel left undone (checksum,
 * segmentation) on frames that are read, and what it shall do on frames that are written.
 *
 * One object per direction and device, filled again for each frame.
 */
import { VNET_HEADER } from './abi.js';

/** `VIRTIO_NET_HDR_F_*`. */
export const VnetFlag = {
  /** Only the pseudo header is summed: complete it from `checksumStart` into `checksumStart + checksumOffset`. */
  needsChecksum: 1,
  /** The checksum was verified. */
  dataValid: 2,
} as const;

/** `VIRTIO_NET_HDR_GSO_*`; {@link VNET_ECN} may be added. */
export const VnetSegmentation = { none: 0, tcpv4: 1, tcpv6: 4 } as const;

/** `VIRTIO_NET_HDR_GSO_ECN`: the TCP header has CWR set. */
export const VNET_ECN = 0x80;

/** Size of the header on this project's TAPs. */
export const VNET_HEADER_BYTES = VNET_HEADER.sizeBytes;

/** One header. All zero means: an ordinary frame with a complete checksum. */
export class VnetHeader {
  /** Bits of {@link VnetFlag}. */
  flags = 0;
  /** One of {@link VnetSegmentation}, perhaps with {@link VNET_ECN}. */
  segmentation = 0;
  /** Bytes of Ethernet, IP and TCP header, the part that each segment repeats; 0 when not segmented. */
  headerBytes = 0;
  /** Payload bytes of each segment. */
  segmentBytes = 0;
  /** Where summing begins, from the start of the frame. */
  checksumStart = 0;
  /** Where the sum goes, from `checksumStart`. */
  checksumOffset = 0;

  /** Makes it the header of an ordinary frame. */
  clear(): void {
    this.flags = 0;
    this.segmentation = 0;
    this.headerBytes = 0;
    this.segmentBytes = 0;
    this.checksumStart = 0;
    this.checksumOffset = 0;
  }

  /** Takes over another's values. */
  copyFrom(other: VnetHeader): void {
    this.flags = other.flags;
    this.segmentation = other.segmentation;
    this.headerBytes = other.headerBytes;
    this.segmentBytes = other.segmentBytes;
    this.checksumStart = other.checksumStart;
    this.checksumOffset = other.checksumOffset;
  }

  /** Reads it from the first bytes of `view`. */
  load(view: DataView): void {
    this.flags = view.getUint8(VNET_HEADER.flagsAt);
    this.segmentation = view.getUint8(VNET_HEADER.segmentationAt);
    this.headerBytes = view.getUint16(VNET_HEADER.headerBytesAt, true);
    this.segmentBytes = view.getUint16(VNET_HEADER.segmentBytesAt, true);
    this.checksumStart = view.getUint16(VNET_HEADER.checksumStartAt, true);
    this.checksumOffset = view.getUint16(VNET_HEADER.checksumOffsetAt, true);
  }

  /** Writes it to the first bytes of `view`. */
  store(view: DataView): void {
    view.setUint8(VNET_HEADER.flagsAt, this.flags);
    view.setUint8(VNET_HEADER.segmentationAt, this.segmentation);
    view.setUint16(VNET_HEADER.headerBytesAt, this.headerBytes, true);
    view.setUint16(VNET_HEADER.segmentBytesAt, this.segmentBytes, true);
    view.setUint16(VNET_HEADER.checksumStartAt, this.checksumStart, true);
    view.setUint16(VNET_HEADER.checksumOffsetAt, this.checksumOffset, true);
  }
}
