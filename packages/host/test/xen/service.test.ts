import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { loadBetween, reading } from '../../src/xen/operations.js';
import { formatMetrics, parseMetricsAddress, serveMetrics } from '../../src/xen/metrics.js';
import { parsePort } from '../../src/xen/port-network.js';
import { ServiceManager } from '../../src/xen/sd-notify.js';
import { OpenVSwitch, addPortArguments } from '../../src/xen/switches.js';
import { ScriptedLibc } from '../tap/scripted-libc.js';

describe('metrics', () => {
  test('the text format, with labels escaped', () => {
    const samples = [
      { labels: {}, value: 1 },
      { labels: { reason: 'a "b"\\\n' }, value: 2.5 },
    ];
    expect(formatMetrics([{ name: 'x_total', kind: 'counter', help: 'What.', samples }])).toBe(
      '# HELP x_total What.\n# TYPE x_total counter\nx_total 1\nx_total{reason="a \\"b\\"\\\\\\n"} 2.5\n',
    );
  });

  test('are served at /metrics, and nothing else is', async () => {
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, () => []);
    try {
      const { port } = server.address() as { port: number };
      const ask = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${port}${path}`, { method });
      const answer = await ask('/metrics');
      expect(answer.headers.get('content-type')).toMatch('version=0.0.4');
      expect((await ask('/')).status).toBe(404);
      expect((await ask('/metrics', 'POST')).status).toBe(405);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  test.each([
    ['127.0.0.1:9190', { host: '127.0.0.1', port: 9190 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['9190', null],
    ['::1:80', null],
    ['host:70000', null],
  ])('the address %s', (text, expected) => {
    expect(parseMetricsAddress(text)).toEqual(expected);
  });
});

test('a port is a TAP or a file', () => {
  expect(parsePort('tap:guests')).toEqual({ kind: 'tap', name: 'guests' });
  expect(parsePort('nic:net0')).toEqual({ kind: 'nic', name: 'net0' });
  expect(parsePort('file:a:b.pcap')).toEqual({ kind: 'file', file: 'a:b.pcap' });
  for (const wrong of ['tap', 'tap:', 'memory:x', '']) expect(parsePort(wrong)).toBeNull();
});

describe('Open vSwitch', () => {
  const keys = { interfaceName: 'vif3.1', mac: '00:16:3e:00:00:03', machine: 'f00d' };

  test('a port has the external ids that OVN binds by, and replaces one that was left behind', () => {
    const args = addPortArguments('br-int', { guest: 3, handle: 1 }, keys).join(' ');
    expect(args).toMatch(
      /^--if-exists del-port br-int vif3\.1 -- add-port br-int vif3\.1 -- set interface vif3\.1 /,
    );
    expect(args).toContain('external_ids:iface-id="f00d.1"');
    expect(args).toContain('external_ids:attached-mac="00:16:3e:00:00:03"');
  });

  test('a bridge that is not there is said', async () => {
    const none = new OpenVSwitch(new ScriptedLibc(), 'br-int', () =>
      Promise.reject(new Error('exit code 2')),
    );
    expect(await none.obstacle()).toBe('expected an Open vSwitch bridge br-int: exit code 2');
    const some = new OpenVSwitch(new ScriptedLibc(), 'br-int', () => Promise.resolve(''));
    expect(await some.obstacle()).toBeUndefined();
  });
});

test('operations are counted for each frame on a wire', () => {
  const counters = {
    grantCopyCalls: 0,
    grantCopies: 0,
    grantCopiesFailed: 0,
    grantMapCalls: 0,
    grantMaps: 0,
    grantShareCalls: 0,
    notifications: 0,
    eventReads: 0,
    events: 0,
    eventUnmasks: 0,
    rounds: 0,
    turns: 0,
  };
  const traffic = { frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 };
  const from = reading(0, traffic, counters);
  Object.assign(counters, {
    grantCopyCalls: 10,
    grantCopies: 340,
    notifications: 20,
    eventReads: 5,
    turns: 5,
  });
  Object.assign(traffic, { frames: 20, wireFrames: 800, bytes: 1_250_000, systemCalls: 40 });
  const to = reading(1000, traffic, counters);
  expect(loadBetween(from, to, 21)).toBeNull();
  expect(loadBetween(from, to, 20)).toEqual({
    event: 'load',
    seconds: 1,
    frames: 20,
    wireFrames: 800,
    gbps: 0.01,
    systemCallsPerFrame: 0.1,
    grantOperationsPerFrame: 0.013,
    grantCopiesPerFrame: 0.425,
    perSegment: { systemCalls: 4, grantOperations: 0.5, notifications: 1, turns: 0.25 },
  });
});

describe('systemd', () => {
  class Listening extends ScriptedLibc {
    readonly said: [text: string, path: string][] = [];
    override sendTo = (
      _: number,
      address: number,
      length: number,
      name: number,
      nameLength: number,
    ): number => {
      const text = (at: number, bytes: number) => Buffer.from(this.at(at, bytes)).toString('latin1');
      this.said.push([text(address, length), text(name + 2, nameLength - 2)]);
      return length;
    };
  }

  test('is told that the service is ready and ends', () => {
    const libc = new Listening();
    const manager = ServiceManager.fromEnvironment(libc, { NOTIFY_SOCKET: '/run/systemd/notify' })!;
    manager.ready('2 vifs\non xenbr0');
    manager.stopping();
    manager.close();
    expect(libc.said).toEqual([
      ['READY=1\nSTATUS=2 vifs on xenbr0', '/run/systemd/notify'],
      ['STOPPING=1', '/run/systemd/notify'],
    ]);
  });

  test('a socket in the abstract namespace begins with a zero byte', () => {
    const libc = new Listening();
    ServiceManager.fromEnvironment(libc, { NOTIFY_SOCKET: '@notify' })!.stopping();
    expect(libc.said[0]![1]).toBe('\0notify');
  });

  test('without one nobody is told', () => {
    expect(ServiceManager.fromEnvironment(new Listening(), {})).toBeNull();
  });

  test('the unit file is one that systemd accepts, where it is installed', ({ skip }) => {
    try {
      execFileSync('systemd-analyze', ['--version']);
    } catch {
      skip('systemd-analyze is not installed');
    }
    const unit = new URL('../../systemd/netaccel-xen-backend.service', import.meta.url).pathname;
    const said = execFileSync('sh', ['-c', `systemd-analyze verify ${unit} 2>&1 || true`], {
      encoding: 'utf8',
    });
    expect(said).not.toMatch(/Unknown|Failed to parse|Invalid/);
  });
});
