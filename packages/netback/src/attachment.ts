/** A plugin on a vif, and what ends that: asked by the accelerator slot before and after each of its steps. */
import type {
  BackendAccelerator,
  BackendAcceleratorDefinition,
  NicPortHold,
  VifIdentity,
} from '@netaccel/core-hooks';
import { XenbusState, stateName } from '@netaccel/xen';
import type { XenbusStateValue } from '@netaccel/xen';
import { whyNotLimited } from './candidates.js';
import type { Accelerators } from './candidates.js';
import type { PluginScope } from './scope.js';

/** A plugin on this vif. */
export interface Attachment {
  readonly definition: BackendAcceleratorDefinition;
  readonly hold: NicPortHold;
  /** Who the vif is, as the plugin was told. */
  vif: VifIdentity | null;
  /** What the plugin holds; null while it is only offered. */
  scope: PluginScope | null;
  /** The plugin's half, once `probe` made it. */
  plugin: BackendAccelerator | null;
  attachedAt: number;
  /** Why it cannot go on. */
  failed: string | null;
}

/** How things stand with a vif. */
export interface VifStanding {
  readonly accelerators: Accelerators;
  /** It is connected, or in its handshake. */
  readonly up: boolean;
  /** It is about to stop. */
  readonly closing: boolean;
  /** What its key `accel` names. */
  readonly portName: string | null;
  /** The guest's half of the plugin. */
  readonly half: XenbusStateValue;
  /** Who it is. */
  readonly vif: VifIdentity | null;
  readonly rateBytesPerSecond: number;
}

/** Why an attachment has to end, or null. */
export function whyDetach(
  { definition, hold, scope, failed, vif }: Attachment,
  now: VifStanding,
): string | null {
  const { registry } = now.accelerators;
  if (failed !== null) return failed;
  if (!now.up) return 'the vif is disconnected';
  if (now.closing && scope === null) return 'the vif is stopping';
  if (now.portName !== hold.name) return `the key "accel" is now ${now.portName ?? 'absent'}`;
  if (registry.get(definition.name) !== definition) return `${definition.name} is unloaded`;
  if (now.accelerators.port(hold.name)?.device !== hold.device) return `NIC port ${hold.name} is gone`;
  if (scope !== null && vif !== now.vif) return 'the addresses or the mtu of the vif have changed';
  const unlimited = whyNotLimited(definition, now.rateBytesPerSecond);
  if (unlimited !== null) return unlimited;
  if (scope !== null && now.half !== XenbusState.Connected)
    return `the guest's half is ${stateName(now.half)}`;
  return null;
}
