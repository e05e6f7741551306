/**
 * IP addresses of a lab's interfaces, with the length of their network: `10.77.0.11/24`, `fd00::11/64`.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** An interface's address. */
export interface LabAddress {
  /** 4 or 6. */
  readonly family: 4 | 6;
  /** The address alone, in its shortest form. */
  readonly address: string;
  /** Bits that the network shares. */
  readonly prefixBits: number;
}

/** What an address with its network looks like; {@link parseAddress} judges further. */
export const ADDRESS_PATTERN = /^[0-9a-fA-F:.]{2,45}\/\d{1,3}$/;

/** What an address alone looks like; {@link parseLoneAddress} judges further. */
export const LONE_ADDRESS_PATTERN = /^[0-9a-fA-F:.]{2,45}$/;

/** For messages: what was expected where an address stands. */
export const ADDRESS_EXAMPLE = 'an address and the length of its network such as 10.77.0.11/24';

/** Longest network that has an address for the network itself and one for broadcast. */
const LONGEST_WITH_BROADCAST = 30;

/** An address without a network in its shortest form, or null. */
export function parseLoneAddress(text: string): string | null {
  if (isIPv4(text)) return text;
  return isIPv6(text) ? shortest(text) : null;
}

function shortest(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** The address, or what is wrong with it. */
export function parseAddress(text: string): LabAddress | { readonly wrong: string } {
  const [address = '', length = ''] = text.split('/');
  const prefixBits = Number(length);
  if (isIPv4(address)) {
    if (prefixBits < 1 || prefixBits > 32) return { wrong: 'an IPv4 network of 1 to 32 bits' };
    const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    const hosts = 2 ** (32 - prefixBits);
    const isEdge = value % hosts === 0 || value % hosts === hosts - 1;
    if (prefixBits <= LONGEST_WITH_BROADCAST && isEdge)
      return { wrong: "an address of one interface, neither the network's own nor its broadcast address" };
    return { family: 4, address, prefixBits };
  }
  if (isIPv6(address)) {
    if (prefixBits < 1 || prefixBits > 128) return { wrong: 'an IPv6 network of 1 to 128 bits' };
    return { family: 6, address: shortest(address), prefixBits };
  }
  return { wrong: ADDRESS_EXAMPLE };
}
