/**
 * The daemon's figures for Prometheus, in its text format 0.0.4, served over HTTP when asked for.
 *
 * A scrape reads the live counters; nothing is kept between scrapes.
 */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { VifReport } from './backend.js';

/** One sample. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with its samples. */
export interface Metric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Writes metrics in the text format. */
export function formatMetrics(metrics: readonly Metric[]): string {
  const lines: string[] = [];
  for (const { name, kind, help, samples } of metrics) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
    for (const { labels, value } of samples) {
      const text = Object.entries(labels).map(([key, label]) => `${key}="${escaped(label)}"`);
      lines.push(`${name}${text.length === 0 ? '' : `{${text.join(',')}}`} ${value}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function escaped(label: string): string {
  return label.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** The metrics of vifs. */
export function vifMetrics(reports: readonly VifReport[]): Metric[] {
  const each = (value: (report: VifReport) => number): Sample[] =>
    reports.map((report) => ({ labels: { vif: report.vif }, value: value(report) }));
  const reasons = (of: (report: VifReport) => Readonly<Record<string, number>>): Sample[] =>
    reports.flatMap((report) =>
      Object.entries(of(report)).map(([reason, value]) => ({ labels: { vif: report.vif, reason }, value })),
    );
  const counter = (name: string, help: string, samples: Sample[]): Metric => ({
    name: `netaccel_vif_${name}_total`,
    kind: 'counter',
    help,
    samples,
  });
  return [
    {
      name: 'netaccel_vif_connected',
      kind: 'gauge',
      help: 'Whether the vif is connected.',
      samples: each(({ description }) => Number(description['state'] === 'Connected')),
    },
    {
      name: 'netaccel_vif_queued_frames',
      kind: 'gauge',
      help: 'Frames that wait for the guest to post receive buffers.',
      samples: each(({ description }) => Number(description['queuedFrames'])),
    },
    {
      name: 'netaccel_vif_static_grants',
      kind: 'gauge',
      help: 'Pages of the guest that are kept mapped.',
      samples: each(({ description }) => Number(description['staticGrants'])),
    },
    counter(
      'tx_frames',
      'Frames from the guest.',
      each(({ statistics }) => statistics.txFrames),
    ),
    counter(
      'tx_bytes',
      'Bytes from the guest.',
      each(({ statistics }) => statistics.txBytes),
    ),
    counter(
      'rx_frames',
      'Frames for the guest.',
      each(({ statistics }) => statistics.rxFrames),
    ),
    counter(
      'rx_bytes',
      'Bytes for the guest.',
      each(({ statistics }) => statistics.rxBytes),
    ),
    counter(
      'tx_errors',
      'Packets of the guest answered with an error.',
      reasons(({ statistics }) => statistics.txErrors),
    ),
    counter(
      'rx_dropped',
      'Frames that did not reach the guest.',
      reasons(({ statistics }) => statistics.rxDropped),
    ),
    counter(
      'rx_stalls',
      'Times that the guest posted no buffers.',
      each(({ statistics }) => statistics.rxStalls),
    ),
    counter(
      'spurious_events',
      'Events that brought no work.',
      each(({ statistics }) => statistics.spuriousEvents),
    ),
    counter(
      'breaches',
      'Breaches of the ring protocol.',
      each(({ statistics }) => statistics.breaches),
    ),
  ];
}

/** A metric for each of a record's counters. */
export function countersMetric(
  name: string,
  help: string,
  counters: Readonly<Record<string, number>>,
): Metric {
  const samples = Object.entries(counters).map(([what, value]) => ({ labels: { what }, value }));
  return { name, kind: 'counter', help, samples };
}

/** Where metrics are served. */
export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `ADDRESS:PORT`, with an IPv6 address in brackets; null when it is none. */
export function parseMetricsAddress(text: string): MetricsAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 0xffff) return null;
  return { host: match[1] ?? match[2]!, port };
}

/** Serves `/metrics`; rejects when the address cannot be listened on. */
export function serveMetrics(
  { host, port }: MetricsAddress,
  metrics: () => readonly Metric[],
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(path === '/metrics' ? 405 : 404).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(request.method === 'HEAD' ? undefined : formatMetrics(metrics()));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}
