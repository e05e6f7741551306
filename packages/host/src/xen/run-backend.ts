/**
 * The backend on a real host: opens the domain and the network, runs the core, and does what a service does besides:
 * log, metrics, signs of life, an end in order.
 */
import { existsSync } from 'node:fs';
import type { OptionValues } from '@netaccel/core-hooks';
import { openNativeDomain } from '@netaccel/xen/native';
import type { NativeDomain } from '@netaccel/xen/native';
import { Interrupt } from '../commands/interrupt.js';
import { ExitCode, printJson } from '../commands/output.js';
import { loadLibc } from '../tap/index.js';
import type { Libc } from '../tap/index.js';
import { XenBackend } from './backend.js';
import { XenBackendError } from './error.js';
import { countersMetric, serveMetrics, vifMetrics } from './metrics.js';
import type { Metric, MetricsAddress } from './metrics.js';
import type { BackendNetwork } from './network.js';
import { loadBetween, reading } from './operations.js';
import { PortNetwork } from './port-network.js';
import type { PortSpec } from './port-network.js';
import { ServiceManager } from './sd-notify.js';
import { KernelBridge, OpenVSwitch } from './switches.js';
import { TapNetwork } from './tap-network.js';

/** A plugin to load. */
export interface PluginFlag {
  readonly name: string;
  /** Those of its options that are set. */
  readonly options: OptionValues;
}

/** What the command line says. */
export interface BackendFlags {
  readonly bridge?: string;
  readonly ovs?: string;
  readonly port?: PortSpec;
  readonly queues?: number;
  readonly hotplug?: 'self' | 'script';
  readonly metrics?: MetricsAddress;
  readonly load: number;
  readonly plugin: readonly PluginFlag[];
  readonly pluginsFrom: string;
  readonly store?: string;
}

const KERNEL_DRIVER = '/sys/module/xen_netback';
/** Frames below which there is no load to speak of. */
const LEAST_FRAMES = 1000;
/** How long the store may be away before the daemon gives up. */
const STORE_PATIENCE_MS = 60_000;

/** Runs until SIGTERM or Ctrl-C; answers the exit code. */
export async function runBackend(flags: BackendFlags): Promise<number> {
  checkFlags(flags);
  if (existsSync(KERNEL_DRIVER))
    throw new XenBackendError(
      'KERNEL_DRIVER',
      'expected the kernel driver xen-netback not to be loaded, for both would serve the same vifs; ' +
        '"modprobe -r xen-netback" removes it, and "blacklist xen-netback" in /etc/modprobe.d keeps it away',
    );
  const libc = await loadLibc();
  const interrupt = new Interrupt();
  const storeWatch = new StoreWatch();
  const domain = await openNativeDomain({
    ...(flags.store !== undefined && { store: flags.store }),
    log: (level, message) => {
      if (level !== 'debug') record({ event: 'message', ...{ level, message } });
    },
    onStore: (lost) => {
      storeWatch.changed(lost);
    },
  });
  const manager = ServiceManager.fromEnvironment(libc, process.env);
  const endings: (() => void)[] = [];
  try {
    const network = networkOf(flags, domain, libc);
    const obstacle = await network.obstacle();
    if (obstacle !== undefined) throw new XenBackendError('NETWORK', obstacle);
    const backend: XenBackend = new XenBackend({
      domain,
      network,
      ...(flags.hotplug !== undefined && { hotplug: flags.hotplug }),
      ...(flags.queues !== undefined && { limits: { maxQueues: flags.queues } }),
      record: (line) => {
        record(line);
        if (line.event === 'vif') manager?.status(`${backend.vifs.length} vifs on ${network.name}`);
      },
    });
    if (flags.metrics !== undefined) {
      const server = await serveMetrics(flags.metrics, () => metricsOf(backend, domain, network));
      endings.push(() => {
        server.close();
        server.closeAllConnections();
      });
    }
    for (const { name, options } of flags.plugin) await backend.load(name, flags.pluginsFrom, options);
    await backend.start();
    manager?.ready(`${backend.vifs.length} vifs on ${network.name}`);
    endings.push(watchLoad(flags.load, domain, network));
    await Promise.race([interrupt.asked, storeWatch.givenUp]);
    manager?.stopping();
    await backend.stop();
    return ExitCode.ok;
  } finally {
    for (const end of endings) end();
    storeWatch.close();
    manager?.close();
    domain.close();
    interrupt.release();
  }
}

function checkFlags({ bridge, ovs, port }: BackendFlags): void {
  const given = [bridge, ovs, port].filter((flag) => flag !== undefined);
  if (given.length !== 1)
    throw new XenBackendError(
      'NETWORK',
      `expected one of --bridge, --ovs and --port, saw ${given.length} of them`,
    );
}

function networkOf(flags: BackendFlags, domain: NativeDomain, libc: Libc): BackendNetwork {
  const { bridge, ovs, port } = flags;
  const whenReadable = domain.loop.whenReadable.bind(domain.loop);
  if (port !== undefined) return new PortNetwork(domain, libc, whenReadable, port);
  const to = bridge !== undefined ? new KernelBridge(libc, bridge) : new OpenVSwitch(libc, ovs!);
  return new TapNetwork(domain, libc, whenReadable, to);
}

/** Writes one line of the log. */
function record(line: { readonly event: string }): void {
  printJson({ time: new Date().toISOString(), ...line }, 'line');
}

function metricsOf(backend: XenBackend, domain: NativeDomain, network: BackendNetwork): Metric[] {
  const held: Readonly<Record<string, number>> = { ...domain.ledger() };
  const gauges = Object.entries(held).map(([what, value]) => ({ labels: { what }, value }));
  return [
    ...vifMetrics(backend.report()),
    countersMetric('netaccel_operations_total', 'Calls and operations of the domain.', {
      ...domain.counters,
    }),
    countersMetric('netaccel_network_total', 'What passed the network.', { ...network.traffic() }),
    { name: 'netaccel_held', kind: 'gauge', help: 'What the domain holds.', samples: gauges },
  ];
}

/** Logs what a frame costs while there is load. */
function watchLoad(seconds: number, domain: NativeDomain, network: BackendNetwork): () => void {
  let last = reading(performance.now(), network.traffic(), domain.counters);
  const timer = setInterval(() => {
    const now = reading(performance.now(), network.traffic(), domain.counters);
    const load = loadBetween(last, now, LEAST_FRAMES);
    last = now;
    if (load !== null) record(load);
  }, seconds * 1000);
  return () => {
    clearInterval(timer);
  };
}

/** Says when the store is lost and back, and gives up when it stays away. */
class StoreWatch {
  /** Rejects when the store has been away for too long. */
  readonly givenUp: Promise<never>;
  private giveUp: (error: Error) => void = () => undefined;
  private timer: NodeJS.Timeout | null = null;

  constructor() {
    this.givenUp = new Promise((_, reject) => {
      this.giveUp = reject;
    });
    this.givenUp.catch(() => undefined);
  }

  changed(lost: string | null): void {
    record({ event: 'store', ...(lost === null ? { state: 'connected' } : { state: 'lost', reason: lost }) });
    this.close();
    if (lost === null) return;
    this.timer = setTimeout(() => {
      this.giveUp(
        new XenBackendError(
          'STORE_LOST',
          `expected the store back within ${STORE_PATIENCE_MS / 1000} s, lost for: ${lost}; ` +
            'is xenstored running? The rings are left to the next start.',
        ),
      );
    }, STORE_PATIENCE_MS);
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
