/**
 * Says where an address is: the broadcast by which bridges and plugins learn that a guest has moved in.
 *
 * A reverse ARP request (RFC 903), as the hypervisors of the field send it on behalf of a guest whose IP addresses
 * they do not know: any frame from the address would do, and this one asks nobody for an answer.
 */
import type { Frame } from '@netaccel/core-hooks';
import { macHigh, macLow } from '@netaccel/nic-vi';

/** Bytes of an announcement: the shortest Ethernet frame. */
export const ANNOUNCEMENT_BYTES = 60;
const ETHERTYPE = 12;
const RARP_HIGH = 0x80;
const RARP_LOW = 0x35;
/** Hardware type Ethernet, protocol IPv4, lengths 6 and 4, operation "request reverse". */
const REQUEST = [RARP_HIGH, RARP_LOW, 0, 1, 8, 0, 6, 4, 0, 3];
/** Where the sender's and the target's hardware addresses are. */
const SENDER = 22;
const TARGET = 32;

/** The announcement of `mac`. */
export function announcementOf(mac: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ANNOUNCEMENT_BYTES);
  bytes.fill(0xff, 0, 6);
  for (const at of [6, SENDER, TARGET]) bytes.set(mac, at);
  bytes.set(REQUEST, ETHERTYPE);
  return bytes;
}

/** Whether a frame is an announcement of the address that the two words are. */
export function isAnnouncementOf(bytes: Uint8Array, frame: Frame, high: number, low: number): boolean {
  const at = frame.address;
  return (
    frame.length >= TARGET &&
    bytes[at + ETHERTYPE] === RARP_HIGH &&
    bytes[at + ETHERTYPE + 1] === RARP_LOW &&
    macHigh(bytes, at + 6) === high &&
    macLow(bytes, at + 6) === low
  );
}
