/**
 * What a running lab says of itself: plain data, the same for `ls`, `top`, `explain` and scripts (`--json`).
 * Put together from what each domain's thread answers; one that does not answer is in it with the reason.
 */
import type { LabDescription, LabEventChannels, LabGuest, LabHost } from '../lab/index.js';
import type { PlacedGuest } from './placement.js';
import type { PluginDescription } from '../plugins.js';
import type { Answer, DriverDescription, GuestDescription, VifDescription } from './described.js';

/** Frames and bytes by one path; tx is what the guest sent. */
export interface PathTotals {
  readonly txFrames: number;
  readonly txBytes: number;
  readonly rxFrames: number;
  readonly rxBytes: number;
}

/** One half of a plugin on a vif. */
export interface HalfReport {
  /** Its npm name, or null. */
  readonly plugin: string | null;
  readonly version: string | null;
  readonly contract: number | null;
  /** Where it stands, in the driver's own words. */
  readonly state: string;
  /** Why it is not attached, or null. */
  readonly reason: string | null;
  /** The plugin's own description, when it is attached. */
  readonly detail: Readonly<Record<string, unknown>> | null;
}

/** A guest and its vif. */
export interface GuestReport {
  readonly name: string;
  readonly host: string;
  /** The vif's name on the bridge. */
  readonly vif: string;
  readonly mac: string;
  readonly ip: string | null;
  readonly mtu: number;
  readonly queues: number;
  /** The event channels that its kernel uses, or null while it does not answer. */
  readonly eventChannels: LabEventChannels | null;
  /** What stands behind it. */
  readonly behind: LabGuest['port']['kind'];
  /** State of the guest's half; `unknown` when it does not answer. */
  readonly state: string;
  readonly carrier: boolean;
  /** What is wrong with the vif, or null. */
  readonly problem: string | null;
  /** Whether its fast path is in use. */
  readonly accelerated: boolean;
  readonly acceleration: {
    /** The NIC port that the toolstack allows, or null. */
    readonly port: string | null;
    readonly backend: HalfReport;
    readonly frontend: HalfReport;
    /** Why the frontend plugin could not be loaded, or null. */
    readonly loadFailure: string | null;
  };
  readonly fast: PathTotals;
  readonly slow: PathTotals;
  readonly errors: {
    readonly txErrors: number;
    readonly rxErrors: number;
    readonly txDropped: number;
    readonly rxDropped: number;
  };
  /** Frames that the present plugin declined, by reason. */
  readonly declines: Readonly<Record<string, number>>;
  /** What both drivers agreed on, or null without a connection. */
  readonly agreed: Readonly<Record<string, unknown>> | null;
  readonly rateBytesPerSecond: number;
  /** The only IP addresses that it may send from, or null when that is its own affair. */
  readonly addresses: readonly string[] | null;
}

/** A NIC port. */
export interface PortReport {
  readonly name: string;
  readonly linkUp: boolean;
  readonly bridged: boolean;
  /** The NIC port at the wire's other end, or null. */
  readonly wiredTo: string | null;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly rxFrames: number;
  readonly rxBytes: number;
}

/** A host. */
export interface HostReport {
  readonly name: string;
  /** Why its driver domain does not answer, or null. */
  readonly problem: string | null;
  readonly plugins: readonly PluginDescription[];
  readonly ports: readonly PortReport[];
  readonly bridge: DriverDescription['bridge'] | null;
  /** The socket that its store is served on (XENSTORED_PATH for xenstore's tools), or null. */
  readonly storeSocket: string | null;
  /** The driver domain's own interface, or null. */
  readonly own: { readonly mac: string; readonly ip: string | null; readonly behind: string } | null;
  readonly guests: readonly GuestReport[];
}

/** A wire. */
export interface WireReport {
  readonly ends: readonly [string, string];
  readonly state: Readonly<Record<string, unknown>>;
}

/** A lab. */
export interface LabReport {
  readonly schema: 'netaccel.lab/1';
  readonly name: string;
  readonly file: string;
  readonly pid: number;
  /** Version of the `netaccel` that runs it. */
  readonly version: string;
  /** When the counters were read, microseconds since 1970. */
  readonly atUs: number;
  readonly hosts: readonly HostReport[];
  readonly wires: readonly WireReport[];
}

const NOTHING: PathTotals = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0 };

/** One guest's part. */
export function guestReport(
  host: LabHost,
  guest: PlacedGuest,
  answer: Answer<GuestDescription>,
  driver: Answer<DriverDescription>,
): GuestReport {
  const { domid } = guest;
  const said = 'said' in answer ? answer.said : null;
  const back = 'said' in driver ? driver.said : null;
  const vif = back?.netback.vifs.find((each) => each.guest === domid && each.handle === 0) ?? null;
  const statistics = said?.netfront.statistics;
  const { txErrors = 0, rxErrors = 0, txDropped = 0, rxDropped = 0 } = statistics ?? {};
  return {
    name: guest.name,
    host: host.name,
    vif: `vif${domid}.0`,
    mac: guest.mac,
    ip: guest.ip === null ? null : `${guest.ip.address}/${guest.ip.prefixBits}`,
    mtu: guest.mtu,
    queues: vif?.queues ?? 0,
    eventChannels: said?.eventChannels ?? null,
    behind: guest.port.kind,
    state: said?.netfront.frontend ?? 'unknown',
    carrier: said?.netfront.carrier ?? false,
    problem: 'silent' in answer ? answer.silent : (said?.netfront.reason ?? vif?.reason ?? null),
    accelerated:
      said?.netfront.accelerator?.state === 'live' && (vif?.accelerator?.state ?? 'attached') === 'attached',
    acceleration: {
      port: vif?.accelerator?.port ?? null,
      backend: backendHalf(vif, back),
      frontend: frontendHalf(said),
      loadFailure: loadFailure(said),
    },
    fast: statistics?.accelerated ?? NOTHING,
    slow: slowTotals(statistics?.counters),
    errors: { txErrors, rxErrors, txDropped, rxDropped },
    declines: Object.fromEntries(Object.entries(statistics?.declines ?? {}).filter(([, count]) => count > 0)),
    agreed: said?.netfront.agreed ?? null,
    rateBytesPerSecond: vif?.rateBytesPerSecond ?? 0,
    addresses: vif?.addresses ?? null,
  };
}

/** One host's part; guests are the caller's. */
export function hostReport(
  lab: LabDescription,
  host: LabHost,
  answer: Answer<DriverDescription>,
  guests: readonly GuestReport[],
  storeSocket: string | null,
): HostReport {
  const said = 'said' in answer ? answer.said : null;
  const own = host.driverDomain;
  return {
    name: host.name,
    problem: 'silent' in answer ? answer.silent : null,
    plugins: said?.plugins ?? [],
    ports: (said?.ports ?? []).map(({ name, linkUp, port }) => ({
      name,
      linkUp,
      bridged: host.bridge.ports.includes(name),
      wiredTo: wiredTo(lab, host.name, name),
      txFrames: port['txFrames'] ?? 0,
      txBytes: port['txBytes'] ?? 0,
      rxFrames: port['rxFrames'] ?? 0,
      rxBytes: port['rxBytes'] ?? 0,
    })),
    bridge: said?.bridge ?? null,
    storeSocket,
    own:
      own === null
        ? null
        : {
            mac: own.mac,
            ip: own.ip === null ? null : `${own.ip.address}/${own.ip.prefixBits}`,
            behind: own.port,
          },
    guests,
  };
}

/** The NIC port that a wire joins with this one. */
export function wiredTo(lab: LabDescription, host: string, port: string): string | null {
  for (const { ends } of lab.wires) {
    const at = ends.findIndex((end) => end.host === host && end.port === port);
    const other = ends[1 - at];
    if (at >= 0 && other !== undefined) return `${other.host}.${other.port}`;
  }
  return null;
}

function backendHalf(vif: VifDescription | null, driver: DriverDescription | null): HalfReport {
  const slot = vif?.accelerator ?? null;
  return {
    plugin: slot?.plugin ?? null,
    version: slot?.version ?? null,
    contract: driver?.plugins.find(({ name }) => name === slot?.plugin)?.contract ?? null,
    state: slot?.state ?? 'none',
    reason: slot?.reason ?? null,
    detail: slot?.detail ?? null,
  };
}

function frontendHalf(said: GuestDescription | null): HalfReport {
  const slot = said?.netfront.accelerator ?? null;
  const named = slot?.named ?? null;
  const plugin = said?.plugins.find(({ name }) => name === named);
  return {
    plugin: named,
    version: plugin?.version ?? null,
    contract: plugin?.contract ?? null,
    state: slot?.state ?? 'detached',
    reason: slot?.reason ?? null,
    detail: slot?.plugin ?? null,
  };
}

function loadFailure(said: GuestDescription | null): string | null {
  const named = said?.netfront.accelerator?.named ?? null;
  return named === null ? null : (said?.loadFailures[named] ?? null);
}

function slowTotals(counters: Readonly<Record<string, number>> | undefined): PathTotals {
  if (counters === undefined) return NOTHING;
  return {
    txFrames: counters['txSlowFrames'] ?? 0,
    txBytes: counters['txSlowBytes'] ?? 0,
    rxFrames: counters['rxSlowFrames'] ?? 0,
    rxBytes: counters['rxSlowBytes'] ?? 0,
  };
}
