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
    throw new VifKeyError(
      `${path}/frontend: expected the path of the frontend's directory, nothing is there`,
    );
  const mac = await store.readOptional(`${path}/mac`);
  const bytes = mac === null ? null : parseMac(mac);
  if (bytes === null)
    throw new VifKeyError(`${path}/mac: expected six bytes as 00:16:3e:01:02:03, saw ${mac ?? 'nothing'}`);
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
    },
  };
}
