/**
 * The reference accelerator's frontend half: sends a guest's frames straight to the NIC, and takes from it what its
 * filters lead here.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineFrontendAccelerator } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { Device } from './device.js';

/** The plugin; what a registry is given. */
const plugin: FrontendAcceleratorDefinition = defineFrontendAccelerator({
  name: '@netaccel/dummy-accel-frontend',
  version: '1.0.0',
  contract: CONTRACT_VERSION,
  capabilities: {
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
  },
  newDevice: (services) => Device.attach(services),
});

export default plugin;
