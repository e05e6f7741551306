/** A lab's report as a test needs it: one host, one guest, accelerated, nothing counted yet. */
import type { ExplainReport } from '../../src/up/explain.js';
import type { GuestReport, HostReport, LabReport } from '../../src/up/report.js';

const NOTHING = { txFrames: 0, txBytes: 0, rxFrames: 0, rxBytes: 0 };

/** The guest. */
export function guestReport(changes: Partial<GuestReport> = {}): GuestReport {
  return {
    name: 'a',
    host: 'alpha',
    vif: 'vif1.0',
    mac: '02:00:00:00:00:0a',
    ip: '10.77.0.11/24',
    mtu: 1500,
    queues: 1,
    eventChannels: '2-level',
    behind: 'tap',
    state: 'Connected',
    carrier: true,
    problem: null,
    accelerated: true,
    acceleration: {
      port: 'eth0',
      backend: {
        plugin: 'nic-backend',
        version: '1.2.3',
        contract: 1,
        state: 'attached',
        reason: null,
        detail: null,
      },
      frontend: {
        plugin: 'nic-frontend',
        version: '1.2.4',
        contract: 1,
        state: 'live',
        reason: null,
        detail: null,
      },
      loadFailure: null,
    },
    fast: NOTHING,
    slow: NOTHING,
    errors: { txErrors: 0, rxErrors: 0, txDropped: 0, rxDropped: 0 },
    declines: {},
    agreed: {},
    rateBytesPerSecond: 0,
    addresses: null,
    ...changes,
  };
}

/** The lab. */
export function labReport(
  changes: {
    readonly atUs?: number;
    readonly guest?: Partial<GuestReport>;
    readonly host?: Partial<HostReport>;
  } = {},
): LabReport {
  return {
    schema: 'netaccel.lab/1',
    name: 'test',
    file: 'test.yaml',
    pid: 1,
    version: '1.0.0',
    atUs: changes.atUs ?? 0,
    hosts: [
      {
        name: 'alpha',
        problem: null,
        plugins: [
          {
            name: 'nic-backend',
            version: '1.2.3',
            contract: 1,
            capabilities: { receiveFilters: 8, ipv6: true, vlan: false },
            options: { filters: 4 },
          },
        ],
        ports: [
          {
            name: 'eth0',
            linkUp: true,
            bridged: true,
            wiredTo: 'beta.eth0',
            txFrames: 0,
            txBytes: 0,
            rxFrames: 0,
            rxBytes: 0,
          },
        ],
        bridge: null,
        storeSocket: null,
        own: { mac: '02:00:00:00:00:a0', ip: '10.77.0.1/24', behind: 'tap' },
        guests: [guestReport(changes.guest)],
        ...changes.host,
      },
    ],
    wires: [],
  };
}

/** What `explain` gets. */
export function explainReport(
  changes: Partial<GuestReport> = {},
  rest: Partial<ExplainReport> = {},
): ExplainReport {
  const { plugins } = labReport().hosts[0]!;
  return {
    schema: 'netaccel.explain/1',
    lab: 'test',
    guest: guestReport(changes),
    host: { name: 'alpha', problem: null, plugins, described: [], ports: ['eth0', 'eth1'] },
    features: [],
    filters: [],
    losses: [],
    log: [],
    ...rest,
  };
}
