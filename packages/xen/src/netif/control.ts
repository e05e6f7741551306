/**
 * The control ring of netif.h (Xen public headers, `io/netif.h`): its messages and numbers, as tables.
 */
import { layout } from '../layout.js';

const source = 'xen/include/public/io/netif.h';

/** A control request. */
export const controlRequest = layout('netif_ctrl_request', 16, source, {
  id: [0, 2, 'u', 'echoed in the response'],
  type: [2, 2, 'u', 'ControlType'],
  data0: [4, 4, 'u', 'by type'],
  data1: [8, 4, 'u', 'by type'],
  data2: [12, 4, 'u', 'by type'],
});

/** Its answer; it lies in a slot of 16 bytes. */
export const controlResponse = layout('netif_ctrl_response', 12, source, {
  id: [0, 2, 'u', 'of the request'],
  type: [2, 2, 'u', 'of the request'],
  status: [4, 4, 'u', 'ControlStatus'],
  data: [8, 4, 'u', 'by type'],
});

/**
 * One entry of the list that ADD_GREF_MAPPING and DEL_GREF_MAPPING point to: a grant that stays mapped. The list
 * lies in a page that the request grants.
 */
export const grefEntry = layout('netif_gref', 8, source, {
  ref: [0, 4, 'u', 'grant of the page'],
  flags: [4, 2, 'u', 'GrefFlag'],
  status: [6, 2, 'u', 'written by the backend: ControlStatus'],
});

/** Flags of an entry of such a list (`XEN_NETIF_CTRLF_GREF_*`). */
export const GrefFlag = { readOnly: 1 } as const;

/** Slots of the control ring: (4096 - 64) / 16 rounded down to a power of two. */
export const CONTROL_RING_SLOTS = 128;

/** Types of control request (`XEN_NETIF_CTRL_TYPE_*`). */
export const ControlType = {
  invalid: 0,
  getHashFlags: 1,
  setHashFlags: 2,
  setHashKey: 3,
  getHashMappingSize: 4,
  setHashMappingSize: 5,
  setHashMapping: 6,
  setHashAlgorithm: 7,
  getGrefMappingSize: 8,
  addGrefMapping: 9,
  delGrefMapping: 10,
} as const;

/** Status of a control response (`XEN_NETIF_CTRL_STATUS_*`). */
export const ControlStatus = { success: 0, notSupported: 1, invalidParameter: 2, bufferOverflow: 3 } as const;
/** One of {@link ControlStatus}. */
export type ControlStatus = (typeof ControlStatus)[keyof typeof ControlStatus];

/** What is hashed, as bits of the flags; extra info carries the bit's number (`XEN_NETIF_CTRL_HASH_TYPE_*`). */
export const HashType = { ipv4: 1, ipv4Tcp: 2, ipv6: 4, ipv6Tcp: 8 } as const;
/** How it is hashed (`XEN_NETIF_CTRL_HASH_ALGORITHM_*`). */
export const HashAlgorithm = { none: 0, toeplitz: 1 } as const;

/** Every structure above, for the documentation's tables. */
export const controlLayouts = [controlRequest, controlResponse, grefEntry] as const;
