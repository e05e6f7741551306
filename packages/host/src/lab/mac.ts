/**
 * MAC addresses of a lab: read from text, and made up for those who do not care.
 */
import { createHash } from 'node:crypto';

/** What a MAC address looks like. */
export const MAC_PATTERN = /^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/;

/** Bits of the first byte: set for a group, set for an address that no vendor gave out. */
const GROUP_BIT = 0x01;
const LOCAL_BIT = 0x02;

/** The address in lower case, or null when the text is none. */
export function parseMac(text: string): string | null {
  return MAC_PATTERN.test(text) ? text.toLowerCase() : null;
}

/** Whether an interface may have it: a group's address, or all zeros, may not. */
export function isStationMac(mac: string): boolean {
  return (parseInt(mac.slice(0, 2), 16) & GROUP_BIT) === 0 && mac !== '00:00:00:00:00:00';
}

/**
 * A locally administered address that depends on the names alone: the same lab has the same addresses each time.
 * @param names of the lab, the host and the interface.
 * @param isTaken whether somebody has it already; then the next one is taken.
 */
export function deriveMac(names: readonly string[], isTaken: (mac: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const digest = createHash('sha256')
      .update([...names, attempt].join('\0'))
      .digest();
    digest[0] = (digest[0]! & ~GROUP_BIT) | LOCAL_BIT;
    const mac = Array.from(digest.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
    if (!isTaken(mac)) return mac;
  }
}
