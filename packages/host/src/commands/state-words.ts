/** States in few words, for tables. */
import type { GuestReport, HostReport, LabReport } from '../up/report.js';

/** A vif's state. */
export function vifState({ state, carrier, problem }: GuestReport): string {
  if (state === 'Connected') return carrier ? 'up' : 'no carrier';
  return problem === null ? state.toLowerCase() : `${state.toLowerCase()}: ${short(problem)}`;
}

/** Whether a vif has its fast path, by which plugin; or in few words why not, which `explain` says in many. */
export function fastPath({ accelerated, acceleration }: GuestReport, { plugins }: HostReport): string {
  const { port, backend, frontend, loadFailure } = acceleration;
  if (accelerated) return `${frontend.plugin ?? backend.plugin ?? '?'} ${frontend.version ?? ''}`.trim();
  if (port === null) return 'no: not allowed';
  if (plugins.length === 0) return 'no: no plugin loaded';
  if (loadFailure !== null) return 'no: guest lacks the plugin';
  if (backend.plugin === null) return backend.reason === null ? 'no' : `no: ${short(backend.reason)}`;
  return frontend.state === 'detached' ? 'waiting' : frontend.state;
}

/** Every guest of a lab, with its host. */
export function everyGuest({ hosts }: LabReport): { guest: GuestReport; host: HostReport }[] {
  return hosts.flatMap((host) => host.guests.map((guest) => ({ guest, host })));
}

/** A host's plugins. */
export function pluginNames({ plugins }: HostReport): string {
  return plugins.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none';
}

/** A host's NIC ports, and where their wires lead. */
export function portNames({ ports }: HostReport): string {
  return ports
    .map(({ name, linkUp, wiredTo }) =>
      wiredTo === null ? name : `${name} ${linkUp ? '-' : 'x'} ${wiredTo}`,
    )
    .join(', ');
}

const SHORT = 48;

function short(text: string): string {
  return text.length <= SHORT ? text : `${text.slice(0, SHORT - 1)}…`;
}
