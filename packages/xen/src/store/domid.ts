/**
 * Domain numbers as the store's protocol writes them: decimal, 0 to 65535 (xen.h `domid_t`).
 *
 * Parsed strictly; a request whose number does not parse is answered with EINVAL.
 */

/** The domain that may do everything (xenstored's `dom0_domid`). */
export const PRIVILEGED_DOMID = 0;

/** Numbers of xen.h that name no real domain; real ones lie below the first. */
export const RESERVED_DOMIDS = {
  /** The caller itself; also the first number that no real domain has. */
  SELF: 0x7ff0,
  /** In a permission: any domain (server feature 8). */
  ANY: 0x7ff5,
} as const;

const DECIMAL = /^\d{1,5}$/;
const LARGEST = 0xffff;

/** The domain number that `text` spells, or undefined. */
export function parseDomid(text: string): number | undefined {
  if (!DECIMAL.test(text)) return undefined;
  const domid = Number(text);
  return domid <= LARGEST ? domid : undefined;
}

/** Whether `domid` can be a running domain's number. */
export function isRealDomid(domid: number): boolean {
  return Number.isInteger(domid) && domid >= 0 && domid < RESERVED_DOMIDS.SELF;
}
