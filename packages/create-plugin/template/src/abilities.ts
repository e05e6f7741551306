/**
 * What the plugin can do: read by the host, by `netaccel explain` and by the conformance kit, which holds the plugin
 * to it. Change it together with the code.
 */
import type { Capabilities } from '@netaccel/core-hooks';

/** The plugin's own name, and the guest's half of it: what `import()` is given. */
export const NAME = 'my-nic';
export const FRONTEND = 'my-nic/frontend';
export const VERSION = '0.1.0';

/** One filter: everything that is addressed to the guest. */
export const capabilities: Capabilities = {
  receiveFilters: 1,
  receivesAll: true,
  checksumIpv4: true,
  checksumIpv6: true,
  segmentationTcpv4: true,
  segmentationTcpv6: true,
  receiveMerging: true,
  zeroCopyTransmit: true,
  ipv6: true,
  vlan: true,
  ipFragments: true,
};

/** Pages of receive buffers that the guest spends, if its quota allows it. */
export const RECEIVE_PAGES = 256;
