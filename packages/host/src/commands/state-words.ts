/** States in few words, for tables. */
import type { GuestReport, HostReport } from '../up/report.js';

/** A vif's state. */
export function vifState({ state, carrier, problem }: GuestReport): string {
  if (state === 'Connected') return carrier ? 'up' : 'no carrier';
  return problem === null ? state.toLowerCase() : `${state.toLowerCase()}: ${short(problem)}`;
}

/** Whether a vif has its fast path, and by which plugin. */
export function fastPath({ accelerated, acceleration }: GuestReport): string {
  const { port, backend, frontend, loadFailure } = acceleration;
  if (accelerated) return `${frontend.plugin ?? backend.plugin ?? '?'} ${frontend.version ?? ''}`.trim();
  if (port === null) return 'no: not allowed';
  if (loadFailure !== null) return 'no: plugin not loaded in the guest';
  if (backend.plugin === null) return backend.reason === null ? 'no' : `no: ${short(backend.reason)}`;
  return `${frontend.state === 'detached' ? 'waiting' : frontend.state}`;
}

/** A host's plugins. */
export function pluginNames({ plugins }: HostReport): string {
  return plugins.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none';
}

/** A host's NIC ports, and where their wires lead. */
export function portNames({ ports }: HostReport): string {
  return ports
    .map(({ name, linkUp, wiredTo }) => (wiredTo === null ? name : `${name} ${linkUp ? '-' : 'x'} ${wiredTo}`))
    .join(', ');
}

const SHORT = 48;

function short(text: string): string {
  return text.length <= SHORT ? text : `${text.slice(0, SHORT - 1)}…`;
}
