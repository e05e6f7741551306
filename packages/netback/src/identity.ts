/** What the toolstack wrote about a vif in the backend directory: read anew for each connection. */
import type { VifIdentity } from '@netaccel/core-hooks';
import type { DomainId } from '@netaccel/xen';
import type { Store } from '@netaccel/xen/store';
import { parseNumber } from './keys.js';

/** A vif's keys in its backend directory make no sense: the toolstack's mistake, not the guest's. */
export class VifKeyError extends Error {
  /** Stable code for programs. */
  readonly code = 'VIF_KEYS';
  /** @param message which key, what was expected, what was seen. */
  constructor(message: string) {
    super(message);
    this.name = 'VifKeyError';
  }
}

/** Payload bytes when the key `mtu` is absent. */
export const DEFAULT_MTU = 1500;
/** Least and most that Ethernet payload can be (RFC 791; netif.h's longest packet). */
const MTU_RANGE = [68, 65521] as const;

/** A vif as the toolstack describes it. */
export interface VifKeys {
  readonly identity: VifIdentity;
  /** The frontend's directory. */
  readonly frontendPath: string;
}

/** Six bytes written as `00:16:3e:01:02:03`, or null. */
export function parseMac(text: string): Uint8Array | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return null;
  return Uint8Array.from(text.split(':'), (byte) => parseInt(byte, 16));
}

/**
 * The addresses that the key `ip` lists, IPv4 and IPv6 with spaces or commas between, as xl writes them; null when one
 * of them is none.
 */
export function parseAddresses(text: string): Uint8Array[] | null {
  const found: Uint8Array[] = [];
  for (const word of text.split(/[\s,]+/)) {
    if (word === '') continue;
    const address = parseAddress(word);
    if (address === null) return null;
    found.push(address);
  }
  return found;
}

/** 4 or 16 bytes of an address as text (RFC 4291, 2.2), or null. */
function parseAddress(text: string): Uint8Array | null {
  const dotted = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (dotted !== undefined) return dotted.every((part) => part <= 255) ? Uint8Array.from(dotted) : null;
  const sides = text.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const groups = sides.flat();
  if (sides.length > 2 || !groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null;
  if (sides.length === 1 ? groups.length !== 8 : groups.length > 7) return null;
  const zeros = new Array<string>(8 - groups.length).fill('0');
  return Uint8Array.from(
    [...sides[0]!, ...zeros, ...(sides[1] ?? [])].flatMap((group) => {
      const value = parseInt(group, 16);
      return [value >>> 8, value & 0xff];
    }),
  );
}

/** Whether two descriptions of a vif give it the same MAC and IP addresses. */
export function hasSameAddresses(a: VifIdentity, b: VifIdentity): boolean {
  const text = ({ mac, addresses }: VifIdentity) =>
    [mac, ...(addresses ?? [])].map((each) => each.join()).join(' ');
  return text(a) === text(b) && (a.addresses === undefined) === (b.addresses === undefined);
}

/** The error of a key that makes no sense. A directory reads as an empty value: it is called what it is. */
async function keyError(
  store: Store,
  path: string,
  expected: string,
  seen: string | null,
): Promise<VifKeyError> {
  const children = seen === '' ? await store.list(path).catch(() => []) : [];
  const empty = children.length > 0 ? `a directory with ${children.join(', ')}` : 'an empty value';
  return new VifKeyError(`${path}: expected ${expected}, saw ${seen === null ? 'nothing' : seen || empty}`);
}

/**
 * Reads the backend directory `path` of vif `handle` of `guest`.
 * @throws VifKeyError, StoreError
 */
export async function readVifKeys(
  store: Store,
  path: string,
  backend: DomainId,
  guest: DomainId,
  handle: number,
): Promise<VifKeys> {
  const frontendPath = await store.readOptional(`${path}/frontend`);
  if (frontendPath === null || frontendPath === '')
    throw await keyError(store, `${path}/frontend`, "the path of the frontend's directory", frontendPath);
  const mac = await store.readOptional(`${path}/mac`);
  const bytes = mac === null ? null : parseMac(mac);
  if (bytes === null) throw await keyError(store, `${path}/mac`, 'six bytes as 00:16:3e:01:02:03', mac);
  // Only what the key `ip` lists may be the guest's; a key that says nothing that can be read is not ignored.
  const ip = await store.readOptional(`${path}/ip`);
  const addresses = ip === null || ip.trim() === '' ? undefined : parseAddresses(ip);
  if (addresses === null)
    throw await keyError(store, `${path}/ip`, 'IPv4 and IPv6 addresses with spaces between', ip);
  // In the frontend's directory, but the toolstack's; a guest that writes nonsense there gets the default.
  const mtu = parseNumber(await store.readOptional(`${frontendPath}/mtu`)) ?? DEFAULT_MTU;
  return {
    frontendPath,
    identity: {
      handle,
      guest,
      backend,
      mac: bytes,
      mtu: mtu >= MTU_RANGE[0] && mtu <= MTU_RANGE[1] ? mtu : DEFAULT_MTU,
      ...(addresses !== undefined && { addresses }),
    },
  };
}
