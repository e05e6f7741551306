/**
 * Messages by which a backend plugin hands a VI to its frontend half, over the control mailbox: the generic pieces,
 * little-endian, each at most one mailbox payload. What else two halves tell each other is their own.
 *
 * Encoders take values of this side and throw for what cannot be; decoders take bytes of a peer and bound every
 * field before anyone uses it.
 */
import { encode, field, layout } from './layout.js';
import { RING_LIMITS } from './layouts.js';
import { MESSAGE_VERSION, MessageError, bounded, checkSize, readWords, writeWords } from './message-bytes.js';

export { MESSAGE_VERSION, MessageError };

/** Grant references in one message at most. */
export const MAX_MESSAGE_REFS = 24;
/** Indices of a receive fence in one message at most: one for each rx ring. */
export const MAX_MESSAGE_FENCE = 14;

const REFS_AT = 16;
/** Source addresses that a handover can name. */
export const MAX_CHECKED_ADDRESSES = 3;

const REFS_BITS = MAX_MESSAGE_REFS * 32;
const FENCE_AT = 56;
const version = [0, 0, 16, 'sender', 'MESSAGE_VERSION'] as const;

/** Guest to driver domain: the pages that its rings and event queue are made of. */
export const ringsMessage = layout('rings', 112, 'The pages of the guest that a VI is to be made of.', {
  version,
  transmitPages: [0, 16, 8, 'sender', 'pages of the transmit ring: the first references'],
  receivePages: [0, 24, 8, 'sender', 'pages of the receive ring: the references after them'],
  eventPages: [4, 0, 8, 'sender', 'pages of the event queue: the last references'],
  transmitCapacity: [8, 0, 16, 'sender', 'descriptors, a power of two'],
  receiveCapacity: [8, 16, 16, 'sender', 'descriptors, a power of two'],
  eventCapacity: [12, 0, 16, 'sender', 'events, a power of two'],
  refs: [REFS_AT, 0, REFS_BITS, 'sender', '24 grant references of 32 bits'],
});

/** Driver domain to guest: the VI. */
export const handoverMessage = layout('handover', 56, 'A VI, ready to use.', {
  version,
  receiveChecksum: [0, 16, 1, 'sender', '1: received checksums are verified'],
  transmitChecksum: [0, 17, 1, 'sender', '1: transmit checksums are filled in'],
  segmentation: [0, 18, 1, 'sender', '1: TCP is cut'],
  vi: [4, 0, 32, 'sender', 'number of the VI, for messages and people'],
  generation: [8, 0, 32, 'sender', 'generation of the NIC'],
  startIndex: [12, 0, 32, 'sender', 'index that rings and event queue begin at'],
  registerRef: [16, 0, 32, 'sender', 'grant reference of the register page'],
  doorbellPort: [20, 0, 32, 'sender', 'event channel port that notices register writes, 0 for none'],
  interruptPort: [24, 0, 32, 'sender', 'event channel port that interrupts arrive on'],
  mtu: [28, 0, 16, 'sender', 'payload bytes of a frame, 68 to 65535'],
  maxFragments: [28, 16, 8, 'sender', 'fragments of one transmit, 1 to 64'],
  maxTransmitBytes: [32, 0, 20, 'sender', 'bytes of one transmit before cutting'],
  maxBufferPages: [36, 0, 20, 'sender', 'pages of packet buffers that may be registered'],
  maxFilters: [40, 0, 16, 'sender', 'receive filters'],
  mac: [48, 0, 48, 'sender', 'MAC address that frames must come from'],
});

/** Behind the handover of a vif whose IP addresses are checked; without it, any will do. */
export const handoverAddresses = layout('handover addresses', 52, 'Behind a handover: source addresses.', {
  count: [0, 0, 8, 'sender', 'addresses that follow, 1 to 3'],
  ipv6: [0, 8, 8, 'sender', 'bit n: address n is IPv6, of 16 bytes, else IPv4, of 4'],
  addresses: [4, 0, MAX_CHECKED_ADDRESSES * 128, 'sender', '3 places of 16 bytes'],
});

/** Guest to driver domain: pages to register as packet buffers. */
export const buffersMessage = layout('buffers', 112, 'Pages of packet buffers to register.', {
  version,
  count: [0, 16, 8, 'sender', 'references that follow, 1 to 24'],
  writable: [0, 24, 1, 'sender', '1: receive buffers, which the device writes; 0: it only reads them'],
  cookie: [4, 0, 32, 'sender', 'echoed in the answer'],
  refs: [REFS_AT, 0, REFS_BITS, 'sender', '24 grant references of 32 bits'],
});

/** Driver domain to guest: where they are. */
export const buffersReplyMessage = layout('buffers reply', 16, 'Bus addresses of registered pages.', {
  version,
  count: [0, 16, 8, 'sender', 'pages, 1 to 24'],
  cookie: [4, 0, 32, 'sender', 'of the request'],
  bus: [8, 0, 32, 'sender', 'bus address of the first page; the others follow it'],
});

/** Driver domain to guest: a filter leads frames to its VI, or does not any more. */
export const filterMessage = layout('filter', 112, 'A receive filter was added or removed.', {
  version,
  added: [0, 16, 1, 'sender', '1 added, 0 removed'],
  full: [0, 17, 1, 'sender', '1: the remote address and port are part of it'],
  ipv6: [0, 18, 1, 'sender', '1: addresses of 16 bytes, else of 4'],
  udp: [0, 19, 1, 'sender', '1 UDP, 0 TCP'],
  tagged: [0, 20, 1, 'sender', '1: with the VLAN id below'],
  fenceCount: [0, 24, 8, 'sender', 'indices of the fence, 0 to 14'],
  filter: [4, 0, 32, 'sender', 'number of the filter'],
  localPort: [8, 0, 16, 'sender', 'destination port'],
  remotePort: [8, 16, 16, 'sender', 'source port'],
  vlan: [12, 0, 12, 'sender', 'VLAN id'],
  localAddress: [16, 0, 128, 'sender', 'destination address'],
  remoteAddress: [32, 0, 128, 'sender', 'source address'],
  fence: [
    FENCE_AT,
    0,
    MAX_MESSAGE_FENCE * 32,
    'sender',
    'receive fence: fast frames wait until it has passed',
  ],
});

/** Every message, for the documentation's tables. */
export const messageLayouts = [
  ringsMessage,
  handoverMessage,
  handoverAddresses,
  buffersMessage,
  buffersReplyMessage,
  filterMessage,
] as const;

/** Pages of rings and their sizes. */
export interface RingsMessage {
  /** Grant references of the transmit ring, in order. */
  readonly transmitRefs: Uint32Array;
  /** Of the receive ring. */
  readonly receiveRefs: Uint32Array;
  /** Of the event queue. */
  readonly eventRefs: Uint32Array;
  /** Transmit descriptors, a power of two. */
  readonly transmitCapacity: number;
  /** Receive descriptors, a power of two. */
  readonly receiveCapacity: number;
  /** Events, a power of two. */
  readonly eventCapacity: number;
}

/** Writes a {@link ringsMessage}. */
export function encodeRings(value: RingsMessage): Uint8Array {
  const refs = [...value.transmitRefs, ...value.receiveRefs, ...value.eventRefs];
  const bytes = encode(ringsMessage, {
    version: MESSAGE_VERSION,
    transmitPages: value.transmitRefs.length,
    receivePages: value.receiveRefs.length,
    eventPages: value.eventRefs.length,
    transmitCapacity: value.transmitCapacity,
    receiveCapacity: value.receiveCapacity,
    eventCapacity: value.eventCapacity,
  });
  return writeWords(bytes, REFS_AT, refs, MAX_MESSAGE_REFS);
}

/** Reads a {@link ringsMessage}. @throws MessageError */
export function decodeRings(bytes: Uint8Array): RingsMessage {
  checkSize(ringsMessage, bytes);
  const count = (what: 'transmit' | 'receive' | 'event') =>
    bounded(ringsMessage, bytes, `${what}Pages`, 1, RING_LIMITS[what].pages);
  const capacity = (what: 'transmit' | 'receive' | 'event') => {
    const slots = bounded(ringsMessage, bytes, `${what}Capacity`, 2, RING_LIMITS[what].slots);
    if ((slots & (slots - 1)) !== 0)
      throw new MessageError(`${what}Capacity: a power of two expected, ${slots} seen`);
    return slots;
  };
  const [t, r, e] = [count('transmit'), count('receive'), count('event')];
  if (t + r + e > MAX_MESSAGE_REFS)
    throw new MessageError(`pages: at most ${MAX_MESSAGE_REFS} expected, ${t + r + e} seen`);
  const refs = readWords(bytes, REFS_AT, t + r + e);
  return {
    transmitRefs: refs.slice(0, t),
    receiveRefs: refs.slice(t, t + r),
    eventRefs: refs.slice(t + r),
    transmitCapacity: capacity('transmit'),
    receiveCapacity: capacity('receive'),
    eventCapacity: capacity('event'),
  };
}

/** What a frontend plugin is told of its VI. */
export interface HandoverMessage {
  /** Number of the VI, for messages and people. */
  readonly vi: number;
  /** Generation of the NIC that it belongs to. */
  readonly generation: number;
  /** Index that rings and event queue begin at. */
  readonly startIndex: number;
  /** Grant reference of the register page. */
  readonly registerRef: number;
  /** Event channel port that notices register writes, 0 for none. */
  readonly doorbellPort: number;
  /** Event channel port that interrupts arrive on. */
  readonly interruptPort: number;
  /** Payload bytes of a frame. */
  readonly mtu: number;
  /** Fragments of one transmit at most. */
  readonly maxFragments: number;
  /** Bytes of one transmit before cutting. */
  readonly maxTransmitBytes: number;
  /** Pages of packet buffers that may be registered. */
  readonly maxBufferPages: number;
  /** Receive filters at most. */
  readonly maxFilters: number;
  /** Whether received checksums are verified. */
  readonly receiveChecksum: boolean;
  /** Whether transmit checksums are filled in. */
  readonly transmitChecksum: boolean;
  /** Whether TCP is cut. */
  readonly segmentation: boolean;
  /** MAC address that frames must come from, 6 bytes. */
  readonly mac: Uint8Array;
  /** IP addresses that IP packets must come from, 4 or 16 bytes each, 1 to 3 of them; left out, any. */
  readonly addresses?: readonly Uint8Array[];
}

/** Writes a {@link handoverMessage}, and {@link handoverAddresses} behind it if there are any. */
export function encodeHandover({ addresses, ...value }: HandoverMessage): Uint8Array {
  const handover = encode(handoverMessage, {
    ...value,
    version: MESSAGE_VERSION,
    receiveChecksum: value.receiveChecksum ? 1 : 0,
    transmitChecksum: value.transmitChecksum ? 1 : 0,
    segmentation: value.segmentation ? 1 : 0,
  });
  if (addresses === undefined) return handover;
  if (addresses.length > MAX_CHECKED_ADDRESSES)
    throw new RangeError(`at most ${MAX_CHECKED_ADDRESSES} addresses expected, ${addresses.length} seen`);
  const places = new Uint8Array(MAX_CHECKED_ADDRESSES * 16);
  addresses.forEach((address, i) => places.set(address, i * 16));
  const ipv6 = addresses.reduce((bits, { length }, i) => bits | (length === 16 ? 1 << i : 0), 0);
  return Uint8Array.of(
    ...handover,
    ...encode(handoverAddresses, { count: addresses.length, ipv6, addresses: places }),
  );
}

/** Reads a {@link handoverMessage} and what is behind it. @throws MessageError */
export function decodeHandover(bytes: Uint8Array): HandoverMessage {
  const of = handoverMessage;
  checkSize(of, bytes);
  const { mac } = of.fields;
  const addresses = decodeAddresses(bytes.subarray(of.size));
  return {
    vi: field(of, bytes, 'vi'),
    generation: field(of, bytes, 'generation'),
    startIndex: field(of, bytes, 'startIndex'),
    registerRef: field(of, bytes, 'registerRef'),
    doorbellPort: field(of, bytes, 'doorbellPort'),
    interruptPort: field(of, bytes, 'interruptPort'),
    mtu: bounded(of, bytes, 'mtu', 68, 0xffff),
    maxFragments: bounded(of, bytes, 'maxFragments', 1, 64),
    maxTransmitBytes: bounded(of, bytes, 'maxTransmitBytes', 68, 0xffff + 18),
    maxBufferPages: bounded(of, bytes, 'maxBufferPages', 0, 0xf_ffff),
    maxFilters: bounded(of, bytes, 'maxFilters', 0, 4096),
    receiveChecksum: field(of, bytes, 'receiveChecksum') === 1,
    transmitChecksum: field(of, bytes, 'transmitChecksum') === 1,
    segmentation: field(of, bytes, 'segmentation') === 1,
    mac: bytes.slice(mac.offset, mac.offset + 6),
    ...(addresses !== null && { addresses }),
  };
}

function decodeAddresses(bytes: Uint8Array): Uint8Array[] | null {
  const of = handoverAddresses;
  if (bytes.length === 0) return null;
  if (bytes.length < of.size)
    throw new MessageError(`${of.name}: ${of.size} bytes or none expected, ${bytes.length} seen`);
  const ipv6 = field(of, bytes, 'ipv6');
  return Array.from({ length: bounded(of, bytes, 'count', 1, MAX_CHECKED_ADDRESSES) }, (_, i) => {
    const at = of.fields.addresses.offset + i * 16;
    return bytes.slice(at, at + (((ipv6 >>> i) & 1) === 1 ? 16 : 4));
  });
}

/** Pages to register. */
export interface BuffersMessage {
  /** Echoed in the answer. */
  readonly cookie: number;
  /** Whether the device is to write into them; pages that are granted for reading are for sending only. */
  readonly writable: boolean;
  /** Grant references of the pages, 1 to 24. */
  readonly refs: Uint32Array;
}

/** Writes a {@link buffersMessage}. */
export function encodeBuffers(value: BuffersMessage): Uint8Array {
  const bytes = encode(buffersMessage, {
    version: MESSAGE_VERSION,
    count: value.refs.length,
    writable: value.writable ? 1 : 0,
    cookie: value.cookie,
  });
  return writeWords(bytes, REFS_AT, value.refs, MAX_MESSAGE_REFS);
}

/** Reads a {@link buffersMessage}. @throws MessageError */
export function decodeBuffers(bytes: Uint8Array): BuffersMessage {
  checkSize(buffersMessage, bytes);
  const count = bounded(buffersMessage, bytes, 'count', 1, MAX_MESSAGE_REFS);
  return {
    cookie: field(buffersMessage, bytes, 'cookie'),
    writable: field(buffersMessage, bytes, 'writable') === 1,
    refs: readWords(bytes, REFS_AT, count),
  };
}

/** Where registered pages are. */
export interface BuffersReplyMessage {
  /** Of the request. */
  readonly cookie: number;
  /** Pages that were registered. */
  readonly count: number;
  /** Bus address of the first; the others follow it. */
  readonly bus: number;
}

/** Writes a {@link buffersReplyMessage}. */
export function encodeBuffersReply(value: BuffersReplyMessage): Uint8Array {
  return encode(buffersReplyMessage, { ...value, version: MESSAGE_VERSION });
}

/** Reads a {@link buffersReplyMessage}. @throws MessageError */
export function decodeBuffersReply(bytes: Uint8Array): BuffersReplyMessage {
  const of = buffersReplyMessage;
  checkSize(of, bytes);
  const bus = field(of, bytes, 'bus');
  if (bus % 4096 !== 0) throw new MessageError(`bus: a page's address expected, ${bus} seen`);
  return {
    cookie: field(of, bytes, 'cookie'),
    count: bounded(of, bytes, 'count', 1, MAX_MESSAGE_REFS),
    bus,
  };
}

/** A filter that came or went. */
export interface FilterMessage {
  /** Whether it was added; else it was removed. */
  readonly added: boolean;
  /** Number of the filter. */
  readonly filter: number;
  /** Transport protocol. */
  readonly protocol: 'tcp' | 'udp';
  /** 4 or 16 bytes. */
  readonly localAddress: Uint8Array;
  /** Destination port. */
  readonly localPort: number;
  /** As long as `localAddress`; null for a filter that takes any source. */
  readonly remoteAddress: Uint8Array | null;
  /** Source port; 0 without `remoteAddress`. */
  readonly remotePort: number;
  /** VLAN id, or null for frames without a tag. */
  readonly vlan: number | null;
  /** Indices of the slow path's receive stream that fast frames wait for; none for a removed filter. */
  readonly fence: readonly number[];
}

/** Writes a {@link filterMessage}. */
export function encodeFilter(value: FilterMessage): Uint8Array {
  const bytes = encode(filterMessage, {
    version: MESSAGE_VERSION,
    added: value.added ? 1 : 0,
    full: value.remoteAddress === null ? 0 : 1,
    ipv6: value.localAddress.length === 16 ? 1 : 0,
    udp: value.protocol === 'udp' ? 1 : 0,
    tagged: value.vlan === null ? 0 : 1,
    fenceCount: value.fence.length,
    filter: value.filter,
    localPort: value.localPort,
    remotePort: value.remotePort,
    vlan: value.vlan ?? 0,
    localAddress: value.localAddress,
    remoteAddress: value.remoteAddress ?? [],
  });
  return writeWords(bytes, FENCE_AT, value.fence, MAX_MESSAGE_FENCE);
}

/** Reads a {@link filterMessage}. @throws MessageError */
export function decodeFilter(bytes: Uint8Array): FilterMessage {
  const of = filterMessage;
  checkSize(of, bytes);
  const length = field(of, bytes, 'ipv6') === 1 ? 16 : 4;
  const address = (name: 'localAddress' | 'remoteAddress') =>
    bytes.slice(of.fields[name].offset, of.fields[name].offset + length);
  return {
    added: field(of, bytes, 'added') === 1,
    filter: field(of, bytes, 'filter'),
    protocol: field(of, bytes, 'udp') === 1 ? 'udp' : 'tcp',
    localAddress: address('localAddress'),
    localPort: field(of, bytes, 'localPort'),
    remoteAddress: field(of, bytes, 'full') === 1 ? address('remoteAddress') : null,
    remotePort: field(of, bytes, 'remotePort'),
    vlan: field(of, bytes, 'tagged') === 1 ? field(of, bytes, 'vlan') : null,
    fence: [...readWords(bytes, FENCE_AT, bounded(of, bytes, 'fenceCount', 0, MAX_MESSAGE_FENCE))],
  };
}
