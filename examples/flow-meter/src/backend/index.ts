/**
 * The half in the driver domain: gives each guest a VI on the card. `netaccel accel load HOST @netaccel-examples/flow-meter` loads it.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type {
  BackendAccelerator,
  BackendAcceleratorDefinition,
  BackendServices,
  OptionsOf,
} from '@netaccel/core-hooks';
import { ViBackend, isNicControl } from '@netaccel/nic-vi';
import { FRONTEND, NAME, VERSION, capabilities, options } from '../abilities.js';
import { Steering } from './steering.js';

/** The plugin; what a host is given. */
const plugin: BackendAcceleratorDefinition = defineBackendAccelerator({
  name: NAME,
  version: VERSION,
  contract: CONTRACT_VERSION,
  frontend: FRONTEND,
  capabilities,
  options,
  supports: isNicControl, // FIRST: which kind of card is yours
  probe,
});

export default plugin;

/** Nothing is waited for here: the guest's half asks when it is ready. */
function probe(
  services: BackendServices,
  { receivePages }: OptionsOf<typeof options>,
): Promise<BackendAccelerator> {
  const { device, name } = services.port;
  if (!isNicControl(device))
    return Promise.reject(new Error(`NIC port ${name}: expected a card of nic-vi, saw another kind`));
  if (services.rateBytesPerSecond > 0)
    return Promise.reject(
      new Error('the vif has a rate limit, which the fast path would go round; remove its key "rate"'),
    );
  return Promise.resolve(new ViBackend(services, device, new Steering(services, device), receivePages));
}
