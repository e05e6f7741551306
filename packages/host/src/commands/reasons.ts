/** Why a plugin declines frames, and what to do about it: one line for each reason of the contract. */
import type { DeclineReason } from '@netaccel/core-hooks';

/** What a reason means, and what can be done. */
export interface ReasonText {
  readonly means: string;
  /** Null: this is as it should be. */
  readonly todo: string | null;
}

/** The contract's reasons. */
export const REASONS: Readonly<Record<DeclineReason, ReasonText>> = {
  inactive: {
    means: 'the fast path is being set up or taken down',
    todo: 'if it lasts, look at the states above',
  },
  'link-down': { means: 'the NIC port has no link', todo: 'give the port a wire in the lab file' },
  broadcast: { means: 'broadcast and multicast go by the bridge, to each receiver once', todo: null },
  'unknown-destination': {
    means: 'the destination is not known to be across the wire: on this host, or silent so far',
    todo: 'nothing, if both guests are on one host; else let the other side send something',
  },
  malformed: {
    means: 'headers that do not fit the first fragment, or contradict each other',
    todo: 'capture the vif and look',
  },
  'not-ip': { means: 'not IP: ARP, for one', todo: null },
  'not-tcp-udp': { means: 'neither TCP nor UDP: ping, for one', todo: null },
  'ip-fragment': { means: 'a fragment of an IP packet', todo: 'give all interfaces on the way the same mtu' },
  vlan: { means: 'a VLAN tag', todo: 'the plugin does not do tagged frames' },
  segmentation: {
    means: 'a kind of segmentation that the hardware does not do',
    todo: 'ask the plugin for another, or none',
  },
  checksum: { means: 'a checksum that the hardware cannot fill in', todo: 'let the guest fill it in' },
  'too-long': {
    means: 'more bytes or fragments than one transmit can name',
    todo: 'a smaller mtu or smaller segments',
  },
  'not-registered': {
    means: "the frame's memory is not known to the device",
    todo: 'raise limits.bufferPages of the guest in the lab file',
  },
  spoofed: { means: "the source address is not the guest's own", todo: 'send from the address of the vif' },
  rate: { means: "the vif's rate limit has no credit left", todo: 'raise rate of the guest in the lab file' },
};

/** Text of a reason; a plugin's own reasons are told by its name. */
export function reasonText(reason: string): ReasonText {
  return Object.hasOwn(REASONS, reason)
    ? REASONS[reason as DeclineReason]
    : { means: "a reason of the plugin's own", todo: "see the plugin's documentation" };
}
