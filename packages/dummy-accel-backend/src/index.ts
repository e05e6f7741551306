/**
 * The reference accelerator's backend half: gives a guest a VI on the NIC, and leads flows to it that it sees arrive
 * on the slow path.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition } from '@netaccel/core-hooks';
import { isNicControl } from '@netaccel/nic-vi';
import { VifAccelerator } from './vif.js';

/** The plugin; what a registry is given. */
const plugin: BackendAcceleratorDefinition = defineBackendAccelerator({
  name: '@netaccel/dummy-accel-backend',
  version: '1.0.0',
  contract: CONTRACT_VERSION,
  frontend: '@netaccel/dummy-accel-frontend',
  capabilities: {
    receiveFilters: 8,
    checksumIpv4: true,
    checksumIpv6: true,
    segmentationTcpv4: true,
    segmentationTcpv6: true,
    receiveMerging: true,
    zeroCopyTransmit: true,
  },
  supports: isNicControl,
  probe: (services) => Promise.resolve(new VifAccelerator(services)),
});

export default plugin;
