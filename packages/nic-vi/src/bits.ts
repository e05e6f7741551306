/**
 * Numbers of the layouts and of the protocols as the compiler can put them into the code: on the frame path a
 * name that is looked up costs as much as the work (measured: a third of the time per frame). Internal;
 * `test/bits.test.ts` holds each one equal to its row in `layouts.ts`.
 */

/* eslint-disable @typescript-eslint/no-duplicate-enum-values -- an enum here is a group of names, not a set of cases */

/** Registers, as words of the page. */
export enum RegisterWord {
  transmitProducer = 0,
  receiveProducer = 1,
  eventConsumer = 2,
  interruptArm = 3,
  moderation = 4,
  transmitRestart = 5,
  eventProducer = 16,
  generation = 17,
  link = 18,
  live = 19,
}

/** A transmit descriptor: bits of its second word, and its sizes. */
export enum Tx {
  lengthMask = 0xf_ffff,
  continues = 1 << 24,
  checksum = 1 << 25,
  segment = 1 << 26,
  segmentBytesMask = 0xffff,
  segmentBytesWord = 2,
  /** log2 of its words, and of how many are in a page. */
  wordShift = 2,
  pageShift = 8,
}

/** A receive descriptor. */
export enum Rx {
  lengthMask = 0xffff,
  wordShift = 1,
  pageShift = 9,
  minBufferBytes = 64,
}

/** An event: its types, the bits of its first word, its words. */
export enum Ev {
  receive = 1,
  receiveDiscard = 2,
  transmit = 3,
  transmitError = 4,
  software = 5,
  overflow = 6,
  reset = 7,
  link = 8,
  time = 9,
  typeMask = 0xf,
  start = 1 << 4,
  continues = 1 << 5,
  checksumGood = 1 << 6,
  checksumBad = 1 << 7,
  checksumBlank = 1 << 8,
  ipv4 = 1 << 9,
  ipv6 = 1 << 10,
  tcp = 1 << 11,
  udp = 1 << 12,
  fragment = 1 << 13,
  vlan = 1 << 14,
  multicast = 1 << 15,
  reasonShift = 16,
  reasonMask = 0xff,
  positionWord = 1,
  bytesWord = 2,
  detailWord = 3,
  bytesMask = 0xf_ffff,
  wordShift = 2,
  pageShift = 8,
}

/** A page, as the buffer table has it. */
export enum Page {
  bytes = 4096,
  shift = 12,
  offsetMask = 0xfff,
  addressMask = -4096,
}

/** Limits, as in `layouts.ts`. */
export enum Limit {
  fragments = 64,
  transmitBatch = 64,
  transmitBytes = 0x1_0011,
  leastSegment = 48,
}

/** Headers of a frame. Types are as they are read from `Memory.halves`. */
export enum Net {
  ethernetBytes = 14,
  vlanBytes = 4,
  untagged = 0x1000,
  headerRoom = 192,
  typeIpv4 = 0x0008,
  typeIpv6 = 0xdd86,
  typeVlan = 0x0081,
  ipv4 = 0x0800,
  ipv6 = 0x86dd,
  /** First bit on the wire of the destination. */
  groupBit = 0x0001,
  /** More fragments, and the offset. */
  fragmentBits = 0xff3f,
  tcp = 6,
  udp = 17,
  /** IPv6 extension headers walked at most. */
  maxExtensions = 4,
}
