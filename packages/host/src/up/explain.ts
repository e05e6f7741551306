/**
 * Everything about one vif that says why its frames go the way they do: its state, both halves of its plugin, the
 * features that were offered and taken, the filters in the NIC, and what was logged about it.
 */
import { NicError } from '@netaccel/nic-vi';
import type { FilterSpec, NicControl } from '@netaccel/nic-vi';
import { backendPath, frontendPath } from '../machine/toolstack.js';
import { microseconds } from '../machine/time.js';
import type { PluginDescription } from '../plugins.js';
import { describe } from './described.js';
import { ANSWERING_KEYS, outcomeOf } from './feature-outcome.js';
import type { FeatureOutcome } from './feature-outcome.js';
import type { DriverDescription, GuestDescription } from './described.js';
import { guestLosses, portLosses, viLosses, vifLosses, wireLosses } from './losses.js';
import type { LossReport } from './losses.js';
import type { Named } from './names.js';
import type { GuestReport } from './report.js';
import type { LogEntry, RunningLab } from './running-lab.js';

/** A feature key and what each half wrote; null where a half did not write it. */
export interface FeatureReport {
  readonly key: string;
  readonly backend: string | null;
  readonly frontend: string | null;
  /** What became of it. */
  readonly outcome: FeatureOutcome;
}

/** A filter in the NIC that leads to the guest. */
export interface FilterReport {
  readonly port: string;
  readonly vi: number;
  /** In words: `tcp 10.77.0.11:5001 from 10.77.0.12:40404`. */
  readonly match: string;
  readonly hits: number;
  /** Milliseconds since it last matched; null when it never has. */
  readonly idleMs: number | null;
}

/** All of it. */
export interface ExplainReport {
  readonly schema: 'netaccel.explain/1';
  readonly lab: string;
  readonly guest: GuestReport;
  readonly host: {
    readonly name: string;
    readonly problem: string | null;
    /** Backend plugins that are loaded. */
    readonly plugins: readonly PluginDescription[];
    /** Those that the lab file names for it, loaded or not. */
    readonly described: readonly string[];
    readonly ports: readonly string[];
  };
  readonly features: readonly FeatureReport[];
  readonly filters: readonly FilterReport[];
  /** Counters on its way that name a loss and are not zero. */
  readonly losses: readonly LossReport[];
  /** Warnings and errors of both domains that name this vif, the last ones. */
  readonly log: readonly LogEntry[];
}

const FEATURE = /^(feature-|request-|multi-queue-)/;
const DRIVER_DOMAIN = 0;
const HANDLE = 0;
const MOST_LINES = 5;

/** Collects it. */
export async function explainGuest(
  running: RunningLab,
  { host, guest, domid }: Extract<Named, { kind: 'guest' }>,
): Promise<ExplainReport> {
  const report = await running.report();
  const hostReport = report.hosts.find(({ name }) => name === host.name)!;
  const vif = `vif/${domid}/${HANDLE}`;
  const filters = host.nic.ports.flatMap((port, i) =>
    filtersFor(running.lab.hardware.nicOf(host.name)!.control(i), port, guest.mac),
  );
  return {
    schema: 'netaccel.explain/1',
    lab: report.name,
    guest: hostReport.guests.find(({ name }) => name === guest.name)!,
    host: {
      name: host.name,
      problem: hostReport.problem,
      plugins: hostReport.plugins,
      described: host.accelerators.map(({ name }) => name),
      ports: host.nic.ports,
    },
    features: await features(running, host.name, domid),
    filters,
    losses: await losses(running, { kind: 'guest', host, guest, domid }, filters),
    log: running.lines
      .filter(({ level }) => level === 'warn' || level === 'error')
      .filter(
        ({ message }) =>
          message.startsWith(`guest ${guest.name}:`) ||
          (message.startsWith(`driver domain ${host.name}:`) && message.includes(vif)),
      )
      .slice(-MOST_LINES),
  };
}

async function features(running: RunningLab, host: string, domid: number): Promise<FeatureReport[]> {
  const { store } = running.host(host);
  const read = async (directory: string): Promise<Map<string, string>> => {
    const values = new Map<string, string>();
    for (const key of (await store.exists(directory)) ? await store.list(directory) : []) {
      if (!FEATURE.test(key)) continue;
      values.set(key, (await store.readOptional(`${directory}/${key}`)) ?? '');
    }
    return values;
  };
  const backend = await read(backendPath(DRIVER_DOMAIN, domid, HANDLE));
  const path = frontendPath(domid, HANDLE);
  const frontend = await read(path);
  const keys = [...new Set([...backend.keys(), ...frontend.keys()])].sort();
  for (const key of ANSWERING_KEYS) {
    const value = await store.readOptional(`${path}/${key}`);
    if (value !== null) frontend.set(key, value);
  }
  return keys.map((key) => {
    const offered = backend.get(key) ?? null;
    const outcome = outcomeOf(key, offered, frontend);
    return { key, backend: offered, frontend: frontend.get(key) ?? null, outcome };
  });
}

async function losses(
  running: RunningLab,
  { host, guest, domid }: Extract<Named, { kind: 'guest' }>,
  filters: readonly FilterReport[],
): Promise<LossReport[]> {
  const { driver, guests } = running.host(host.name);
  const nic = running.lab.hardware.nicOf(host.name)!;
  const front = await describe<GuestDescription>(guests.get(guest.name)?.worker);
  const back = await describe<DriverDescription>(driver);
  const found = 'said' in front ? guestLosses(front.said) : [];
  if ('said' in back) {
    const vif = back.said.netback.vifs.find((each) => each.guest === domid);
    found.push(...(vif === undefined ? [] : vifLosses(vif)), ...portLosses(host.name, back.said));
  }
  for (const [port, vi] of new Map(filters.map((filter) => [filter.port, filter.vi])))
    found.push(
      ...viLosses(`guest's VI on ${port}`, nic.control(host.nic.ports.indexOf(port)).viStatistics(vi)),
    );
  running.description.wires.forEach(({ ends }, i) => {
    if (!ends.some((end) => end.host === host.name)) return;
    for (const direction of [0, 1] as const)
      found.push(
        ...wireLosses(
          `${ends[direction].host}.${ends[direction].port}`,
          running.lab.hardware.wires[i]!.statistics(direction),
        ),
      );
  });
  return found;
}

/** Filters of the port for that MAC, whichever VI has them. */
function filtersFor(control: NicControl, port: string, mac: string): FilterReport[] {
  const wanted = mac.toLowerCase();
  const found: FilterReport[] = [];
  for (let vi = 0; vi < control.capabilities.vis; vi++) {
    for (const { spec, hits, lastHitUs } of filtersOf(control, vi)) {
      if (!('mac' in spec) || bytesAsText(spec.mac) !== wanted) continue;
      const sinceMs = Math.max(0, Math.round((microseconds() - lastHitUs) / 1000));
      const idleMs = hits === 0 ? null : sinceMs; // one that was added to an idle NIC has its time of long ago
      found.push({ port, vi, match: describeFilter(spec), hits, idleMs });
    }
  }
  return found;
}

function filtersOf(control: NicControl, vi: number): ReturnType<NicControl['filters']> {
  try {
    return control.filters(vi);
  } catch (error) {
    if (error instanceof NicError && error.code === 'NO_SUCH_VI') return [];
    throw error;
  }
}

/** A filter in words. */
export function describeFilter(spec: FilterSpec): string {
  switch (spec.kind) {
    case 'full':
    case 'local': {
      const vlan = spec.vlan === undefined ? '' : ` vlan ${spec.vlan}`;
      const local = `${spec.protocol}${vlan} ${endpoint(spec.localAddress, spec.localPort)}`;
      return spec.kind === 'local' ? local : `${local} from ${endpoint(spec.remoteAddress, spec.remotePort)}`;
    }
    case 'macVlan':
      return `${bytesAsText(spec.mac)} vlan ${spec.vlan ?? 'none'}`;
    case 'mac':
      return bytesAsText(spec.mac);
    default:
      return spec.kind;
  }
}

function endpoint(address: ArrayLike<number>, port: number): string {
  return address.length === 4 ? `${Array.from(address).join('.')}:${port}` : `[${ipv6(address)}]:${port}`;
}

function ipv6(address: ArrayLike<number>): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((address[2 * i]! << 8) | address[2 * i + 1]!).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function bytesAsText(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
