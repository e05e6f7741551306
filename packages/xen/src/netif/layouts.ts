/**
 * The structures and numbers of netif.h (Xen public headers, `io/netif.h`), as tables.
 * No offset or flag of the protocol is written anywhere else.
 */
import { layout } from '../layout.js';

const source = 'xen/include/public/io/netif.h';

/** A transmit request: one fragment that the backend is to take. */
export const txRequest = layout('netif_tx_request', 12, source, {
  gref: [0, 4, 'u', 'grant of the page'],
  offset: [4, 2, 'u', 'first byte within the page'],
  flags: [6, 2, 'u', 'TxFlag'],
  id: [8, 2, 'u', 'echoed in the response'],
  size: [10, 2, 'u', 'first request: bytes of the whole packet; later ones: of this fragment'],
});

/** The answer to one transmit request; it lies in a slot of 12 bytes. */
export const txResponse = layout('netif_tx_response', 4, source, {
  id: [0, 2, 'u', 'of the request'],
  status: [2, 2, 's', 'Status'],
});

/** A receive request: one page for the backend to fill. */
export const rxRequest = layout('netif_rx_request', 8, source, {
  id: [0, 2, 'u', 'echoed in the response'],
  pad: [2, 2, 'u', 'zero'],
  gref: [4, 4, 'u', 'grant of the page, writable'],
});

/** One filled page, in the slot of its request. */
export const rxResponse = layout('netif_rx_response', 8, source, {
  id: [0, 2, 'u', 'of the request'],
  offset: [2, 2, 'u', 'first byte within the page'],
  flags: [4, 2, 'u', 'RxFlag'],
  status: [6, 2, 's', 'bytes when positive, Status when negative'],
});

/** Extra information about a packet, in the slot after its first fragment. */
export const extraInfo = layout('netif_extra_info', 8, source, {
  type: [0, 1, 'u', 'ExtraType'],
  flags: [1, 1, 'u', 'ExtraFlag'],
  data: [2, 6, 'b', 'by type'],
});

/** Extra info of type gso: how the packet is to be cut. */
export const extraGso = layout('netif_extra_info.gso', 8, source, {
  type: [0, 1, 'u', 'ExtraType.gso'],
  flags: [1, 1, 'u', 'ExtraFlag'],
  size: [2, 2, 'u', 'payload bytes of each segment (MSS)'],
  gsoType: [4, 1, 'u', 'core-hooks Segmentation'],
  pad: [5, 1, 'u', 'zero'],
  features: [6, 2, 'u', 'zero'],
});

/** Extra info of types mcastAdd and mcastDel. */
export const extraMulticast = layout('netif_extra_info.mcast', 8, source, {
  type: [0, 1, 'u', 'ExtraType.mcastAdd or mcastDel'],
  flags: [1, 1, 'u', 'ExtraFlag'],
  address: [2, 6, 'b', 'multicast MAC address'],
});

/** Extra info of type hash: how the packet was hashed. */
export const extraHash = layout('netif_extra_info.hash', 8, source, {
  type: [0, 1, 'u', 'ExtraType.hash'],
  flags: [1, 1, 'u', 'ExtraFlag'],
  hashType: [2, 1, 'u', 'bit number of the hash type'],
  algorithm: [3, 1, 'u', 'HashAlgorithm'],
  value: [4, 4, 'u', 'least significant byte first'],
});

/** Extra info of type xdp, which Linux added: the room before the packet's bytes. */
export const extraXdp = layout('netif_extra_info.xdp', 8, 'linux/include/xen/interface/io/netif.h', {
  type: [0, 1, 'u', 'ExtraType.xdp'],
  flags: [1, 1, 'u', 'ExtraFlag'],
  headroom: [2, 2, 'u', 'bytes before the first of the packet'],
  pad: [4, 4, 'u', 'zero'],
});

/** Flags of a transmit request (`NETTXF_*`). */
export const TxFlag = { csumBlank: 1, dataValidated: 2, moreData: 4, extraInfo: 8 } as const;
/** Flags of a receive response (`NETRXF_*`). */
export const RxFlag = { dataValidated: 1, csumBlank: 2, moreData: 4, extraInfo: 8, gsoPrefix: 16 } as const;
/** Types of extra info (`XEN_NETIF_EXTRA_TYPE_*`). */
export const ExtraType = { none: 0, gso: 1, mcastAdd: 2, mcastDel: 3, hash: 4, xdp: 5 } as const;
/** Flags of extra info. */
export const ExtraFlag = { more: 1 } as const;
/** Status of a response (`NETIF_RSP_*`). */
export const Status = { okay: 0, null: 1, error: -1, dropped: -2 } as const;

/** Slots of the transmit ring: (4096 - 64) / 12 rounded down to a power of two. */
export const TX_RING_SLOTS = 256;
/** Slots of the receive ring. */
export const RX_RING_SLOTS = 256;
/** Slots that a backend must accept for one packet (`XEN_NETIF_NR_SLOTS_MIN`). */
export const MIN_SLOTS_PER_PACKET = 18;
/** Most bytes in one packet (`XEN_NETIF_MAX_TX_SIZE`). */
export const MAX_PACKET_BYTES = 0xffff;
/** Most that `xdp-headroom` may say (Linux: `XEN_NETIF_MAX_XDP_HEADROOM`). */
export const MAX_XDP_HEADROOM = 0x7fff;
/** Bytes of an Ethernet header: the least that makes a packet. */
export const ETHERNET_HEADER_BYTES = 14;

/** Every structure above, for the documentation's tables. */
export const netifLayouts = [
  txRequest,
  txResponse,
  rxRequest,
  rxResponse,
  extraInfo,
  extraGso,
  extraMulticast,
  extraHash,
  extraXdp,
] as const;
