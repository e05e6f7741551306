/** Which plugin a vif is offered: the newest that drives the NIC port which the vif's key `accel` names. */
import type { AcceleratorRegistry, BackendAcceleratorDefinition, NicPortHold } from '@netaccel/core-hooks';
import { message } from './handshake.js';

/** Where plugins and NIC ports come from. */
export interface Accelerators {
  /** The backend plugins of this domain. */
  readonly registry: AcceleratorRegistry<BackendAcceleratorDefinition>;
  /** The hold on the NIC port of that name, or undefined when there is none. */
  port(name: string): NicPortHold | undefined;
}

/** A plugin and the port that it drives. */
export interface Choice {
  readonly definition: BackendAcceleratorDefinition;
  readonly hold: NicPortHold;
}

/** How the choice went: a plugin, or why there is none; neither while all that fit have to pause. */
export interface Chosen {
  readonly choice: Choice | null;
  readonly reason: string | null;
}

/** Why a plugin must not have a vif with that rate limit, or null when it may. */
export function whyNotLimited(
  { name, capabilities }: BackendAcceleratorDefinition,
  rateBytesPerSecond: number,
): string | null {
  if (rateBytesPerSecond === 0 || capabilities.transmitRate === true) return null;
  return (
    `the vif is limited to ${rateBytesPerSecond} bytes per second, which ${name} would go round: it does not declare ` +
    `transmitRate; remove the key "rate" to have the vif accelerated`
  );
}

/**
 * Chooses. Looks at every plugin each time, so both load orders end the same.
 * @param portName the value of the key, or null.
 * @param rateBytesPerSecond the vif's rate limit, or 0.
 * @param paused whether a plugin failed lately and may not be tried now.
 */
export function choosePlugin(
  accelerators: Accelerators,
  portName: string | null,
  rateBytesPerSecond: number,
  paused: (name: string) => boolean,
): Chosen {
  const none = (reason: string | null): Chosen => ({ choice: null, reason });
  if (portName === null) return none('the vif has no key "accel" that names a NIC port');
  const hold = accelerators.port(portName);
  if (hold === undefined) return none(`this domain has no NIC port ${portName}`);
  let trouble = '';
  const fitting = accelerators.registry.all().filter((definition) => {
    try {
      return definition.supports(hold.device);
    } catch (error) {
      trouble = `; ${definition.name} could not say: supports threw: ${message(error)}`;
      return false;
    }
  });
  const lawful = fitting.filter((definition) => whyNotLimited(definition, rateBytesPerSecond) === null);
  const definition = lawful.reverse().find(({ name }) => !paused(name));
  if (definition !== undefined) return { choice: { definition, hold }, reason: null };
  if (lawful.length === 0 && fitting.length > 0) return none(whyNotLimited(fitting[0]!, rateBytesPerSecond));
  return none(
    fitting.length > 0 ? null : `no plugin is registered that drives NIC port ${portName}${trouble}`,
  );
}
