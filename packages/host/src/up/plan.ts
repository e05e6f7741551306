/**
 * From a lab file's description to what the machine is made of: pure data in, pure data out, so that everything
 * which cannot be is found before anything is started.
 */
import { dirname, resolve } from 'node:path';
import type { LabDescription, LabGuest, LabHost } from '../lab/index.js';
import type { NicRequest, WireRequest } from '../machine/hardware.js';
import type { VifSpec } from '../machine/toolstack.js';
import type { WorkerGuestPlan, WorkerHostPlan, WorkerLabPlan } from '../machine/worker-lab.js';
import type { TapDescription } from '../tap/index.js';
import { MOST_DOMAINS, fits, labShape, nicConfig } from './size.js';

/** Where each domain's TAP is; null when it has none. */
export type TapFinder = (host: string, guest: string | null) => TapDescription | null;

/** A lab that a machine of this kind cannot be. */
export class LabPlanError extends Error {
  /** Stable code for programs. */
  readonly code = 'LAB_PLAN';
  /** @param message what was expected, what was seen, what to do. */
  constructor(message: string) {
    super(message);
    this.name = 'LabPlanError';
  }
}

/** Limits of the NIC model. */
const MOST_PORTS = 8;
const MOST_FILTERS = 4094;
const MOST_BUFFER_PAGES = 1_000_000;
/** Window of a rate limit: as libxl's default, 50 ms. */
const RATE_WINDOW_US = 50_000;

/** What a plan is made with besides the lab. */
export interface PlanOptions {
  /** Finds TAPs. */
  readonly tapOf: TapFinder;
  /** Whether pcap ports send their files. */
  readonly replay: boolean;
}

/** Folder that the lab's plugin names and paths count from. */
export function pluginsFolder(lab: LabDescription): string {
  return dirname(resolve(lab.file));
}

/**
 * Makes the plan.
 * @throws LabPlanError
 */
export function planLab(
  lab: LabDescription,
  { tapOf, replay }: PlanOptions,
): Omit<WorkerLabPlan, 'log' | 'wake'> {
  checkLimits(lab);
  const { pages, ...shape } = labShape(lab);
  return {
    pages,
    shape,
    hosts: lab.hosts.map((host, number) => hostPlan(lab, host, number, tapOf, replay)),
    wires: lab.wires.map((wire, i) => wireRequest(lab, wire, i)),
    merging: true,
    pluginsFrom: pluginsFolder(lab),
  };
}

/** A rate limit as the toolstack writes it. */
export function rateKey(bitsPerSecond: number): string {
  const bytes = Math.max(1, Math.round((bitsPerSecond / 8) * (RATE_WINDOW_US / 1e6)));
  return `${bytes},${RATE_WINDOW_US}`;
}

/** What people should know about the lab before they wonder. */
export function labWarnings(lab: LabDescription): string[] {
  return lab.wires.flatMap((wire) =>
    wire.ends.flatMap(({ host, port }) => {
      const { guests = [], bridge } = lab.hosts.find(({ name }) => name === host) ?? {};
      if (bridge?.ports.includes(port) !== true) return [];
      return guests
        .filter(({ mtu }) => mtu > wire.mtu)
        .map(
          (guest) =>
            `${host}.${guest.name} has an mtu of ${guest.mtu}, and the wire at ${host}.${port} carries ${wire.mtu}: ` +
            'longer frames are dropped there; give both the same mtu',
        );
    }),
  );
}

function hostPlan(
  lab: LabDescription,
  host: LabHost,
  number: number,
  tapOf: TapFinder,
  replay: boolean,
): WorkerHostPlan {
  const nic: Omit<NicRequest, 'host'> = { ports: host.nic.ports, config: nicConfig(lab, host, number) };
  return {
    name: host.name,
    nic,
    bridged: host.bridge.ports,
    ageingMs: host.bridge.ageingMs,
    eventChannels: host.eventChannels,
    tap: tapOf(host.name, null),
    guests: host.guests.map((guest) => guestPlan(host, guest, tapOf, replay)),
  };
}

function guestPlan(host: LabHost, guest: LabGuest, tapOf: TapFinder, replay: boolean): WorkerGuestPlan {
  const { mac, mtu, accel, addresses, rateBitsPerSecond, limits, port, frontend } = guest;
  const vif: Omit<VifSpec, 'guest' | 'backend' | 'handle'> = {
    mac,
    mtu,
    accel,
    addresses,
    rate: rateBitsPerSecond === null ? null : rateKey(rateBitsPerSecond),
    limits,
  };
  return {
    name: guest.name,
    vif,
    queues: guest.queues,
    eventChannels: guest.eventChannels,
    tap: tapOf(host.name, guest.name),
    ...(frontend === null ? {} : { frontend: frontend.name }),
    ...(port.kind === 'pcap' && replay ? { replay: { file: port.file, loop: port.loop } } : {}),
  };
}

function wireRequest(
  lab: LabDescription,
  wire: LabDescription['wires'][number],
  number: number,
): WireRequest {
  const [a, b] = wire.ends.map(({ host, port }) => {
    const at = lab.hosts.findIndex(({ name }) => name === host);
    return [at, lab.hosts[at]!.nic.ports.indexOf(port)] as const;
  });
  const { drop, corrupt } = wire.faults;
  return {
    ends: [a!, b!],
    mtu: wire.mtu,
    settings: {
      bitsPerSecond: wire.rateBitsPerSecond ?? 0,
      delayUs: wire.delayNs / 1000,
      ...(drop > 0 || corrupt > 0 ? { faults: { drop, corrupt, seed: lab.seed + number } } : {}),
    },
  };
}

function checkLimits(lab: LabDescription): void {
  const refuse = (what: string, most: number, seen: number): never => {
    throw new LabPlanError(
      `${lab.file}: ${what}: expected at most ${most}, saw ${seen}, nothing was started; make it smaller`,
    );
  };
  for (const { name, nic } of lab.hosts) {
    if (nic.ports.length > MOST_PORTS) refuse(`NIC ports of ${name}`, MOST_PORTS, nic.ports.length);
    if (nic.filters > MOST_FILTERS) refuse(`nic.filters of ${name}`, MOST_FILTERS, nic.filters);
    if (nic.bufferPages > MOST_BUFFER_PAGES)
      refuse(`nic.bufferPages of ${name}`, MOST_BUFFER_PAGES, nic.bufferPages);
  }
  const domains = lab.hosts.reduce((sum, host) => sum + 1 + host.guests.length, 0);
  if (domains > MOST_DOMAINS) refuse('domains (hosts and guests together)', MOST_DOMAINS, domains);
  if (!fits(lab))
    throw new LabPlanError(
      `${lab.file}: expected a lab of at most 4 GiB, saw more, nothing was started; use fewer guests or queues, or ` +
        'lower limits.bufferPages',
    );
}
