/**
 * The half in the guest: sends frames straight to the card, and takes from it what its filter leads here. The guest
 * loads it by the name that the other half gives.
 *
 * @packageDocumentation
 */
import { CONTRACT_VERSION, defineFrontendAccelerator } from '@netaccel/core-hooks';
import type { FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { ViFrontend } from '@netaccel/nic-vi';
import { FRONTEND, RECEIVE_PAGES, VERSION, capabilities } from '../abilities.js';
import { Choice } from './choice.js';

/** The plugin; what a guest is given. */
const plugin: FrontendAcceleratorDefinition = defineFrontendAccelerator({
  name: FRONTEND,
  version: VERSION,
  contract: CONTRACT_VERSION,
  capabilities,
  newDevice: (services) =>
    ViFrontend.attach(services, {
      capabilities,
      receivePages: RECEIVE_PAGES,
      choice: (can) => new Choice(services, can),
    }),
});

export default plugin;
