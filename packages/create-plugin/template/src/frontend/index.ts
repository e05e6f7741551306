/**
 * The half in the guest: sends frames straight to the card, and takes from it what its filter leads here. The guest
 * loads it by the name that the other half gives.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineFrontendAccelerator } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { FRONTEND, VERSION, capabilities } from '../abilities.js';
import { Device } from './device.js';

/** The plugin; what a guest is given. */
const plugin: FrontendAcceleratorDefinition = defineFrontendAccelerator({
  name: FRONTEND,
  version: VERSION,
  contract: CONTRACT_VERSION,
  capabilities,
  newDevice: (services) => Device.attach(services),
});

export default plugin;
