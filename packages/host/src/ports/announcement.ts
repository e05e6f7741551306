/**
 * Says where an address is: the broadcast by which bridges and plugins learn that a guest has moved in, and the one by
 * which the host that it left answers.
 *
 * An announcement is a reverse ARP request (RFC 903), as the hypervisors of the field send it on behalf of a guest
 * whose IP addresses they do not know: any frame from the address would do, and this one asks nobody for an answer.
 * A farewell is a reverse ARP reply about the same address, from one of its own, so that no bridge learns the wrong way.
 */
import type { Frame } from '@netaccel/core-hooks';

/** Bytes of an announcement: the shortest Ethernet frame. */
export const ANNOUNCEMENT_BYTES = 60;
/** Operations "request reverse" and "reply reverse". */
const REQUEST = 3;
const REPLY = 4;
/** Where the type, the sender's and the target's hardware addresses are, and what follows the target's IP address. */
const ETHERTYPE = 12;
const SENDER = 22;
const TARGET = 32;
const RARP_END = 42;
/** Of an address's first byte: given out locally, and the bit that makes a farewell's sender differ from its guest. */
const LOCAL_BIT = 2;
const OTHER_BIT = 4;

/** The announcement of `mac`. */
export function announcementOf(mac: Uint8Array): Uint8Array {
  return rarp(REQUEST, mac, mac);
}

/** The farewell of `mac`. */
export function farewellOf(mac: Uint8Array): Uint8Array {
  const sender = Uint8Array.from(mac);
  sender[0] = (sender[0]! ^ OTHER_BIT) | LOCAL_BIT;
  return rarp(REPLY, sender, mac);
}

/**
 * Whether a frame is that announcement or farewell, to the letter: its sender's address too, so that a guest which is
 * held to its own address cannot say either of another one.
 */
export function isSaid(bytes: Uint8Array, frame: Frame, said: Uint8Array): boolean {
  if (frame.length < RARP_END) return false;
  for (let i = 0; i < RARP_END; i++) if (bytes[frame.address + i] !== said[i]) return false;
  return true;
}

function rarp(operation: number, sender: Uint8Array, target: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ANNOUNCEMENT_BYTES);
  bytes.fill(0xff, 0, 6);
  for (const at of [6, SENDER]) bytes.set(sender, at);
  bytes.set(target, TARGET);
  // RARP; hardware type Ethernet, protocol IPv4, lengths 6 and 4.
  bytes.set([0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, operation], ETHERTYPE);
  return bytes;
}
