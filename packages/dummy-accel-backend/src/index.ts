/**
 * The reference accelerator's backend half: gives a guest a VI on the NIC, and leads flows to it that it sees arrive
 * on the slow path.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type { BackendAccelerator, BackendAcceleratorDefinition, BackendServices } from '@netaccel/core-hooks';
import { isNicControl } from '@netaccel/nic-vi';
import { MOST_FILTERS, VifAccelerator } from './vif.js';

/** The plugin; what a registry is given. */
const plugin: BackendAcceleratorDefinition = defineBackendAccelerator({
  name: '@netaccel/dummy-accel-backend',
  version: '1.0.0',
  contract: CONTRACT_VERSION,
  frontend: '@netaccel/dummy-accel-frontend',
  capabilities: {
    receiveFilters: MOST_FILTERS,
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
  options: {
    type: 'object',
    additionalProperties: false,
    properties: {
      filters: {
        type: 'integer',
        minimum: 0,
        maximum: MOST_FILTERS,
        default: MOST_FILTERS,
        description: "Most filters of a guest, also where its vif's limits allow more.",
      },
    },
  },
  supports: isNicControl,
  probe,
});

export default plugin;

/** Nothing is waited for here: the guest's half asks when it is ready. */
function probe(
  services: BackendServices,
  { filters }: { readonly filters: number },
): Promise<BackendAccelerator> {
  const { device, name } = services.port;
  return new Promise((resolve) => {
    if (!isNicControl(device))
      throw new Error(`NIC port ${name}: a device of nic-vi expected, another kind seen`);
    resolve(new VifAccelerator(services, device, filters));
  });
}
