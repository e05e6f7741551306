/**
 * The control protocol between the two halves of a plugin for this NIC: message numbers, and the messages that
 * `messages.ts` does not have. F is the frontend plugin, B the backend plugin.
 *
 * B checks what F asks for against its own limits, F checks what B tells it; both answer what they do not know
 * with an error and go on. Version and features are negotiated, not compared (reference 6, lesson 5).
 */
import { MAILBOX_PAYLOAD_BYTES } from '@netaccel/core-hooks';
import type { ReceiveFence } from '@netaccel/core-hooks';
import { encode, field, layout, type Layout } from './layout.js';
import { MessageError, bounded, readWords, writeWords } from './message-bytes.js';
import { MAX_MESSAGE_FENCE } from './messages.js';

/** Message numbers. */
export const ControlMessage = {
  /** F to B: {@link helloMessage}; answered with the version and features that both have. */
  hello: 1,
  /** F to B: a rings message; answered with a handover. */
  rings: 2,
  /** F to B: a buffers message; answered with a buffers reply. */
  buffers: 3,
  /** F to B, empty: frames may be led to the VI from now on. */
  start: 4,
  /** B to F: a filter message, added or removed. */
  filter: 5,
  /** B to F: {@link addressMessage}: this MAC is across the wire. */
  remoteAddress: 6,
  /** B to F: {@link addressMessage}: this MAC is on this host; forget it. */
  localAddress: 7,
  /** F to B, empty: lead no more frames here; answered when every filter is gone. */
  quiesce: 8,
  /** F to B: {@link strayMessage}: a frame for somebody else came by this filter. */
  stray: 9,
  /** B to F: {@link linkMessage}. */
  link: 10,
  /** B to F: {@link rateMessage}: what is sent may have to wait in the VI for credit. */
  rate: 11,
  /** B to F: {@link fenceMessage}: take what the NIC has for you, once this has passed. */
  open: 12,
} as const;

/** The newest version of this protocol, and the oldest that is still spoken. */
export const CONTROL_VERSIONS = { oldest: 1, newest: 1 } as const;

/** Features that both halves must have to be used. */
export const ControlFeature = {
  /** B tells of addresses across the wire before a frame came by the fast path. */
  remoteAddresses: 1,
} as const;

/** What either side says of itself. */
export const helloMessage = layout('hello', 16, 'Versions, features and wishes; the answer is what holds.', {
  oldest: [0, 0, 16, 'sender', 'oldest version spoken; in the answer, the version chosen'],
  newest: [0, 16, 16, 'sender', 'newest version spoken; in the answer, the version chosen'],
  features: [4, 0, 32, 'sender', 'ControlFeature bits'],
  bufferPages: [8, 0, 32, 'sender', 'pages of buffers wanted; in the answer, granted'],
});
/** One MAC address. */
export const addressMessage = layout('address', 8, 'A MAC address.', {
  mac: [0, 0, 48, 'sender', 'the address'],
});
/** One filter. */
export const strayMessage = layout('stray', 4, 'A filter that led a wrong frame.', {
  filter: [0, 0, 32, 'sender', 'its number'],
});
/** The port's link. */
export const linkMessage = layout('link', 4, 'The link of the port.', {
  up: [0, 0, 1, 'sender', '1 while there is link'],
});

/** The rate limit of what the VI sends. */
export const rateMessage = layout('rate', 4, 'The transmit rate limit of the vif.', {
  kilobytesPerSecond: [0, 0, 32, 'sender', 'rounded up; 0 for none'],
});

const FENCE_AT = 4;
/** What the slow path has to deliver first. */
export const fenceMessage = layout('fence', 60, 'A receive fence: fast frames wait until it has passed.', {
  count: [0, 0, 8, 'sender', 'indices, 0 to 14'],
  fence: [FENCE_AT, 0, MAX_MESSAGE_FENCE * 32, 'sender', 'an index of 32 bits for each rx ring'],
});

/** Every message here, for the documentation's tables. */
export const controlLayouts = [
  helloMessage,
  addressMessage,
  strayMessage,
  linkMessage,
  rateMessage,
  fenceMessage,
] as const;

/** Versions of the protocol, both included. */
export interface VersionRange {
  /** Oldest version spoken; in the answer to a hello, the version chosen. */
  readonly oldest: number;
  /** Newest version spoken; in the answer, the version chosen. */
  readonly newest: number;
}

/** A decoded {@link helloMessage}. */
export interface Hello extends VersionRange {
  /** Bits of {@link ControlFeature}. */
  readonly features: number;
  /** Pages of buffers wanted; in the answer, granted. */
  readonly bufferPages: number;
}

/** Writes a {@link helloMessage}. */
export function encodeHello(value: Hello): Uint8Array {
  return encode(helloMessage, { ...value });
}

/** Reads a {@link helloMessage}. @throws MessageError */
export function decodeHello(bytes: Uint8Array): Hello {
  check(helloMessage, bytes);
  const hello = {
    oldest: field(helloMessage, bytes, 'oldest'),
    newest: field(helloMessage, bytes, 'newest'),
    features: field(helloMessage, bytes, 'features') >>> 0,
    bufferPages: field(helloMessage, bytes, 'bufferPages') >>> 0,
  };
  if (hello.oldest < 1 || hello.newest < hello.oldest)
    throw new MessageError(`hello: versions in order expected, ${hello.oldest} to ${hello.newest} seen`);
  return hello;
}

/**
 * The highest version that both speak.
 * @throws MessageError naming both ranges when there is none.
 */
export function commonVersion(theirs: VersionRange, own: VersionRange = CONTROL_VERSIONS): number {
  const version = Math.min(theirs.newest, own.newest);
  if (version >= Math.max(theirs.oldest, own.oldest)) return version;
  throw new MessageError(
    `versions: this half speaks ${own.oldest} to ${own.newest}, ` +
      `the other ${theirs.oldest} to ${theirs.newest}; bring both plugins up to date`,
  );
}

/** Writes an {@link addressMessage}. */
export function encodeAddress(mac: ArrayLike<number>): Uint8Array {
  return encode(addressMessage, { mac });
}

/** Reads an {@link addressMessage}: 6 bytes. @throws MessageError */
export function decodeAddress(bytes: Uint8Array): Uint8Array {
  check(addressMessage, bytes);
  return bytes.slice(0, 6);
}

/** Writes a {@link strayMessage}. */
export function encodeStray(filter: number): Uint8Array {
  return encode(strayMessage, { filter });
}

/** Reads a {@link strayMessage}. @throws MessageError */
export function decodeStray(bytes: Uint8Array): number {
  check(strayMessage, bytes);
  return field(strayMessage, bytes, 'filter') >>> 0;
}

/** Writes a {@link linkMessage}. */
export function encodeLink(up: boolean): Uint8Array {
  return encode(linkMessage, { up: up ? 1 : 0 });
}

/** Reads a {@link linkMessage}. @throws MessageError */
export function decodeLink(bytes: Uint8Array): boolean {
  check(linkMessage, bytes);
  return field(linkMessage, bytes, 'up') === 1;
}

/** Writes a {@link rateMessage}. @param bytesPerSecond 0 for none. */
export function encodeRate(bytesPerSecond: number): Uint8Array {
  return encode(rateMessage, { kilobytesPerSecond: Math.min(Math.ceil(bytesPerSecond / 1000), 0xffff_ffff) });
}

/** Reads a {@link rateMessage}: bytes per second, 0 for none. @throws MessageError */
export function decodeRate(bytes: Uint8Array): number {
  check(rateMessage, bytes);
  return (field(rateMessage, bytes, 'kilobytesPerSecond') >>> 0) * 1000;
}

/** Writes a {@link fenceMessage}. @throws RangeError for more than {@link MAX_MESSAGE_FENCE} indices. */
export function encodeFence(fence: ReceiveFence): Uint8Array {
  return writeWords(encode(fenceMessage, { count: fence.length }), FENCE_AT, fence, MAX_MESSAGE_FENCE);
}

/** Reads a {@link fenceMessage}. @throws MessageError */
export function decodeFence(bytes: Uint8Array): ReceiveFence {
  check(fenceMessage, bytes);
  return [...readWords(bytes, FENCE_AT, bounded(fenceMessage, bytes, 'count', 0, MAX_MESSAGE_FENCE))];
}

function check(of: Layout, bytes: Uint8Array): void {
  if (bytes.length < of.size || bytes.length > MAILBOX_PAYLOAD_BYTES)
    throw new MessageError(`${of.name}: ${of.size} bytes expected, ${bytes.length} seen`);
}
