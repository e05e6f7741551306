/**
 * What the plugin can do: read by the host, by `netaccel explain` and by the conformance kit, which holds the plugin
 * to it. Change it together with the code.
 */
import type { Capabilities, OptionsSchema } from '@netaccel/core-hooks';

/** The plugin's own name, and the guest's half of it: what `import()` is given. */
export const NAME = '@netaccel-examples/flow-meter';
export const FRONTEND = '@netaccel-examples/flow-meter/frontend';
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

/** Most pages of receive buffers of a guest. */
export const RECEIVE_PAGES = 512;

/** What an operator may set. */
export const options = {
  type: 'object',
  additionalProperties: false,
  properties: {
    receivePages: {
      type: 'integer',
      minimum: 1,
      maximum: RECEIVE_PAGES,
      default: 256,
      description: 'Pages of receive buffers that each guest spends, if its quota allows as many.',
    },
  },
} as const satisfies OptionsSchema;
