/** Why a vif is not accelerated, and the command that mends it: read off the state of both halves. */
import type { ExplainReport } from '../up/explain.js';

/** An answer. */
export interface WhySlow {
  readonly why: string;
  readonly todo: string;
}

/** The answer; null when the vif is accelerated. */
export function whySlow({ guest, host }: ExplainReport): WhySlow | null {
  const { acceleration } = guest;
  const { port, backend, frontend, loadFailure } = acceleration;
  const name = `${host.name}.${guest.name}`;
  if (guest.accelerated) return null;
  if (host.problem !== null)
    return {
      why: `the driver domain of ${host.name} does not answer: ${host.problem}`,
      todo: 'start the lab again',
    };
  if (guest.state !== 'Connected')
    return {
      why: `the vif itself is ${guest.state}${guest.problem === null ? '' : `: ${guest.problem}`}`,
      todo: 'there is no fast path without a connected vif; read the log below',
    };
  if (port === null)
    return {
      why: 'the toolstack does not allow it: the vif has no key "accel" that names a NIC port',
      todo: `netaccel accel allow ${name} ${host.ports[0] ?? 'PORT'}`,
    };
  if (host.plugins.length === 0)
    return {
      why: `no backend plugin is loaded on ${host.name}`,
      todo: `netaccel accel load ${host.name} ${host.described[0] ?? '@netaccel/dummy-accel-backend'}`,
    };
  if (loadFailure !== null)
    return {
      why: `the guest could not load ${frontend.plugin ?? 'the frontend plugin'}: ${loadFailure}`,
      todo: `install it where the lab file is, then netaccel accel unload and load the backend on ${host.name}`,
    };
  if (backend.plugin === null)
    return {
      why: backend.reason ?? `no plugin on ${host.name} drives NIC port ${port}`,
      todo: `load a plugin that drives ${port}, or allow another port: netaccel accel allow ${name} PORT`,
    };
  return {
    why:
      frontend.reason ??
      backend.reason ??
      `${backend.plugin} is ${backend.state}, the guest's half ${frontend.state}`,
    todo: 'it is tried again by itself; netaccel explain shows how it goes',
  };
}
