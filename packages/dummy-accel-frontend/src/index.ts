/**
 * The reference accelerator's frontend half: sends a guest's frames straight to the NIC, and takes from it what its
 * filters lead here.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineFrontendAccelerator } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { ViFrontend } from '@netaccel/nic-vi';
import { Choice } from './choice.js';

/** Pages of receive buffers wanted, as in history; the quota may allow fewer. */
const RECEIVE_PAGES = 384;

const capabilities = {
  receiveFilters: 8,
  checksumIpv4: true,
  checksumIpv6: true,
  segmentationTcpv4: true,
  segmentationTcpv6: true,
  receiveMerging: true,
  zeroCopyTransmit: true,
  ipv6: true,
  ipFragments: true,
  transmitRate: true,
} as const;

/** The plugin; what a registry is given. */
const plugin: FrontendAcceleratorDefinition = defineFrontendAccelerator({
  name: '@netaccel/dummy-accel-frontend',
  version: '1.0.0',
  contract: CONTRACT_VERSION,
  capabilities,
  newDevice: (services) =>
    ViFrontend.attach(services, {
      capabilities,
      receivePages: RECEIVE_PAGES,
      fences: 'filters',
      choice: (can) => new Choice(can),
    }),
});

export default plugin;
