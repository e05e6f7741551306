// Lab files that are wrong: each problem with its line and column, what was expected, what was seen and what
// to do.
import { describe, expect, test } from 'vitest';
import type { LabProblem } from '../../src/lab/index.js';
import { problemsOf } from './problems-of.js';

/** A lab with the given lines below a guest-less host `alpha`; they begin at line 4. */
const host = (lines: string) => `lab: 1\nhosts:\n  alpha:\n${lines.replace(/^/gm, '    ')}\n`;
/** A lab with the given guest, at line 5 from column 10. */
const guest = (text: string) => host(`guests:\n  a: ${text}`);

const cases: readonly (readonly [title: string, text: string, at: string, problem: Partial<LabProblem>])[] = [
  [
    'an unknown key',
    host('gests: {}'),
    '4:5',
    {
      code: 'LAB_UNKNOWN_KEY',
      path: 'hosts.alpha.gests',
      expected: 'one of nic, bridge, driverDomain, eventChannels, accelerator, guests',
      seen: 'the key "gests"',
      advice: 'did you mean guests?',
      nearest: 'guests',
    },
  ],
  [
    'an unknown key that is near nothing',
    'lab: 1\nhosts: { a: {} }\ncolour: red\n',
    '3:1',
    { code: 'LAB_UNKNOWN_KEY', advice: 'take it out', nearest: null },
  ],
  [
    'an unknown key inside a port',
    guest('{ port: { pcap: there.pcap, lop: true } }'),
    '5:38',
    { nearest: 'loop' },
  ],
  [
    'a key that stands twice',
    'lab: 1\nhosts:\n  a: {}\n  b: {}\n  a: {}\n',
    '5:3',
    { code: 'LAB_DUPLICATE_KEY', path: 'hosts.a', first: { line: 3, column: 3, path: 'hosts.a' } },
  ],
  [
    'no version',
    'hosts: { a: {} }\n',
    '1:1',
    { code: 'LAB_MISSING_KEY', advice: 'begin the file with lab: 1' },
  ],
  [
    'another version, whose keys are not judged',
    'lab: 2\nmachines: {}\n',
    '1:6',
    { code: 'LAB_BAD_VALUE', expected: 'version 1 of lab files', seen: 'version 2' },
  ],
  [
    'antispoof without an address',
    guest('{ antispoof: true }'),
    '5:23',
    {
      code: 'LAB_BAD_VALUE',
      path: 'hosts.alpha.guests.a.antispoof',
      advice: 'give it an ip, or list its addresses here',
    },
  ],
  ['antispoof that is off', guest('{ antispoof: false }'), '5:23', { code: 'LAB_BAD_VALUE' }],
  ['antispoof for nobody', guest('{ antispoof: [] }'), '5:23', { expected: 'at least one address' }],
  [
    'antispoof with a network',
    guest('{ antispoof: [10.0.0.1/24] }'),
    '5:24',
    {
      expected: 'an IP address such as 10.77.0.11, without the length of its network',
      seen: 'the text "10.0.0.1/24"',
    },
  ],
  [
    'antispoof with no address',
    guest('{ antispoof: [10.0.0.1, 10.0.0.256] }'),
    '5:34',
    { expected: 'an IPv4 or IPv6 address', seen: '10.0.0.256' },
  ],
  [
    'antispoof with more than the fast path compares',
    guest('{ antispoof: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4] }'),
    '5:23',
    { expected: 'at most 3 addresses' },
  ],
  [
    'a version in quotes',
    'lab: "1"\nhosts: { a: {} }\n',
    '1:6',
    { code: 'LAB_BAD_VALUE', seen: 'the text "1"' },
  ],
  [
    'no hosts',
    'lab: 1\n',
    '1:1',
    { code: 'LAB_MISSING_KEY', expected: 'the key hosts', advice: 'add hosts:' },
  ],
  [
    'hosts misspelt, once only',
    'lab: 1\nhost: { a: {} }\n',
    '2:1',
    { code: 'LAB_UNKNOWN_KEY', nearest: 'hosts' },
  ],
  ['hosts without any', 'lab: 1\nhosts: {}\n', '2:8', { expected: 'at least one host' }],
  [
    'hosts as a list',
    'lab: 1\nhosts: [a]\n',
    '2:8',
    { expected: 'a mapping of hosts by name', seen: 'a list of 1' },
  ],
  [
    'a host without a value',
    'lab: 1\nhosts:\n  a:\n',
    '3:5',
    { seen: 'nothing', advice: 'write {} to take all defaults' },
  ],
  ['a host that is a list', host('[]'), '4:5', { expected: 'a mapping', seen: 'a list of 0' }],
  [
    'a host with a dot in its name',
    'lab: 1\nhosts: { a.b: {} }\n',
    '2:10',
    { seen: '"a.b"', advice: 'rename it' },
  ],
  [
    'a host with a name of JavaScript',
    'lab: 1\nhosts: { constructor: {}, b: {} }\n',
    '2:10',
    { seen: '"constructor"' },
  ],
  ['an empty file', '', '1:1', { expected: 'a mapping that begins with lab: 1', seen: 'nothing' }],
  ['a list', '- lab: 1\n', '1:1', { expected: 'a mapping that begins with lab: 1', seen: 'a list of 1' }],
  [
    'a seed that is no whole number',
    'lab: 1\nseed: 1.5\nhosts: { a: {} }\n',
    '2:7',
    { expected: 'a whole number from 0 to 4294967295' },
  ],
  ['a seed in quotes', 'lab: 1\nseed: "1"\nhosts: { a: {} }\n', '2:7', { advice: 'write it without quotes' }],
  ['a port list that is a text', host('nic: { ports: eth0 }'), '4:19', { advice: 'write a list: [eth0]' }],
  ['a NIC without ports', host('nic: { ports: [] }'), '4:19', { code: 'LAB_BAD_VALUE', seen: 'a list of 0' }],
  [
    'a NIC port twice',
    host('nic: { ports: [eth0, eth1, eth0] }'),
    '4:32',
    {
      code: 'LAB_DUPLICATE',
      expected: 'the port alpha.eth0 once',
      first: { line: 4, column: 20, path: 'hosts.alpha.nic.ports[0]' },
    },
  ],
  [
    'a bridge port that the NIC has not',
    host('bridge: { ports: [eth9] }'),
    '4:23',
    {
      code: 'LAB_UNKNOWN_NAME',
      expected: 'a NIC port of this host: eth0, eth1',
      seen: 'eth9',
      nearest: 'eth0',
    },
  ],
  ['a bridge port twice', host('bridge: { ports: [eth0, eth0] }'), '4:29', { code: 'LAB_DUPLICATE' }],
  [
    'an ageing without a unit',
    host('bridge: { ageing: 300 }'),
    '4:23',
    { seen: 'the number 300', advice: 'add the unit' },
  ],
  [
    'an ageing beyond all numbers',
    host('bridge: { ageing: 999999999999999h }'),
    '4:23',
    { advice: 'write a shorter one' },
  ],
  [
    'a port of no kind',
    guest('{ port: tpa }'),
    '5:18',
    { expected: 'tap, memory or { pcap: FILE }', nearest: 'tap' },
  ],
  ['a driver domain port of no kind', host('driverDomain: { port: non }'), '4:27', { nearest: 'none' }],
  [
    'an address where there is no port',
    host('driverDomain: { port: none, ip: 10.0.0.1/24 }'),
    '4:37',
    { expected: 'no address where port is none' },
  ],
  [
    'a MAC address that is none',
    guest('{ mac: 02:00 }'),
    '5:17',
    { expected: 'a MAC address such as 02:00:00:00:00:0a' },
  ],
  ['a MAC address of a group', guest('{ mac: "01:00:5e:00:00:01" }'), '5:17', { seen: '01:00:5e:00:00:01' }],
  [
    'a MAC address twice, in either case',
    'lab: 1\nhosts:\n  x: { driverDomain: { mac: 02:00:00:00:00:AA } }\n  y: { guests: { g: { mac: 02:00:00:00:00:aa } } }\n',
    '4:28',
    {
      code: 'LAB_DUPLICATE',
      expected: 'the MAC address 02:00:00:00:00:aa once',
      first: { line: 3, column: 29, path: 'hosts.x.driverDomain.mac' },
    },
  ],
  [
    'an IP address twice, written in two ways',
    'lab: 1\nhosts:\n  x: { driverDomain: { ip: "fd00::1/64" } }\n  y: { guests: { g: { ip: "fd00:0::1/64" } } }\n',
    '4:27',
    {
      code: 'LAB_DUPLICATE',
      path: 'hosts.y.guests.g.ip',
      first: { line: 3, column: 28, path: 'hosts.x.driverDomain.ip' },
    },
  ],
  ['an IP address without its network', guest('{ ip: 10.0.0.1 }'), '5:16', { seen: 'the text "10.0.0.1"' }],
  ['an IP address that cannot be', guest('{ ip: 10.0.0.300/24 }'), '5:16', { seen: '10.0.0.300/24' }],
  [
    'an MTU out of range',
    guest('{ mtu: 64 }'),
    '5:17',
    { expected: 'a whole number from 68 to 9000', seen: 'the number 64' },
  ],
  ['no queues', guest('{ queues: 0 }'), '5:20', { expected: 'a whole number from 1 to 16' }],
  [
    'event channels of a form that there is not',
    guest('{ eventChannels: FIFO }'),
    '5:27',
    { expected: '2-level or fifo', seen: 'the text "FIFO"' },
  ],
  ['a rate in bytes', guest('{ rate: 10GB/s }'), '5:18', { advice: 'write bits, not bytes: b is a bit' }],
  ['a rate without a unit', guest('{ rate: 1000 }'), '5:18', { advice: 'add the unit' }],
  [
    'a rate of nothing',
    guest('{ rate: 0Gb/s }'),
    '5:18',
    { expected: 'a rate in bits per second such as 10Gb/s, above 0' },
  ],
  [
    'an accelerated port that the NIC has not',
    guest('{ accel: eht1 }'),
    '5:19',
    { code: 'LAB_UNKNOWN_NAME', seen: 'eht1', nearest: 'eth1', advice: 'did you mean eth1?' },
  ],
  [
    'accel: true',
    guest('{ accel: true }'),
    '5:19',
    { expected: 'a NIC port of this host, or false', seen: 'true' },
  ],
  [
    'limits beyond the NIC',
    guest('{ limits: { filters: 2000 } }'),
    '5:31',
    { expected: 'at most the 1024 that nic.filters of alpha has', advice: 'lower it, or raise nic.filters' },
  ],
  [
    'a plugin that is not installed',
    host('accelerator: "@netaccel/dummy-acel-backend"'),
    '4:18',
    {
      code: 'LAB_MISSING_PLUGIN',
      seen: 'no plugin @netaccel/dummy-acel-backend to be found from /labs',
      nearest: '@netaccel/dummy-accel-backend',
      advice: 'did you mean @netaccel/dummy-accel-backend?',
    },
  ],
  [
    'a plugin near to none',
    host('accelerator: [other]'),
    '4:19',
    { advice: 'run npm install other there', nearest: null },
  ],
  ['a plugin by a path', host('accelerator: ./x.js'), '4:18', { advice: 'check the path' }],
  ['a frontend that is not installed', guest('{ frontend: nobody }'), '5:22', { code: 'LAB_MISSING_PLUGIN' }],
  [
    'a capture file that is not there',
    guest('{ port: { pcap: gone.pcap } }'),
    '5:26',
    { code: 'LAB_MISSING_FILE', seen: 'nothing at /labs/gone.pcap' },
  ],
  [
    'a port without its file',
    guest('{ port: { loop: true } }'),
    '5:12',
    { code: 'LAB_MISSING_KEY', advice: 'add pcap:' },
  ],
  [
    'a wire to a port that is not there',
    `${host('{}')}wires:\n  - between: [alpha.eth0, alpha.eth9]\n`,
    '6:27',
    {
      code: 'LAB_UNKNOWN_NAME',
      path: 'wires[0].between[1]',
      expected: 'a NIC port of a host: alpha.eth0, alpha.eth1',
      nearest: 'alpha.eth0',
    },
  ],
  [
    'a wire to a host that is not there',
    `${host('{}')}wires: [{ between: [alpha.eth0, alhpa.eth1] }]\n`,
    '5:33',
    { nearest: 'alpha.eth1' },
  ],
  [
    'a wire to no port',
    `${host('{}')}wires: [{ between: [alpha.eth0, alpha] }]\n`,
    '5:33',
    { expected: 'a NIC port of a host such as alpha.eth0' },
  ],
  [
    'a wire with one end',
    `${host('{}')}wires: [{ between: [alpha.eth0] }]\n`,
    '5:20',
    { seen: 'a list of 1' },
  ],
  [
    'a wire with no ends',
    `${host('{}')}wires: [{ rate: 1Gb/s }]\n`,
    '5:9',
    { code: 'LAB_MISSING_KEY', path: 'wires[0].between' },
  ],
  [
    'a wire from a port to itself',
    `${host('{}')}wires: [{ between: [alpha.eth0, alpha.eth0] }]\n`,
    '5:33',
    { code: 'LAB_DUPLICATE', expected: "the wire's end alpha.eth0 once" },
  ],
  [
    'a port with two wires',
    `${host('nic: { ports: [a, b, c] }')}wires:\n  - between: [alpha.a, alpha.b]\n  - between: [alpha.c, alpha.a]\n`,
    '7:24',
    {
      code: 'LAB_DUPLICATE',
      path: 'wires[1].between[1]',
      first: { line: 6, column: 15, path: 'wires[0].between[0]' },
    },
  ],
  [
    'a probability of two',
    `${host('{}')}wires: [{ between: [alpha.eth0, alpha.eth1], faults: { drop: 2 } }]\n`,
    '5:62',
    { expected: 'a probability from 0 to 1' },
  ],
];

describe('a lab file with', () => {
  test.each(cases)('%s', (_, text, at, problem) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ file: 'lab.yaml', ...problem });
    expect(`${problems[0]!.line}:${problems[0]!.column}`).toBe(at);
    for (const part of ['expected', 'seen', 'advice'] as const) expect(problems[0]![part]).not.toBe('');
    expect(problems[0]!.excerpt).toBe(text.split('\n')[problems[0]!.line - 1]);
  });
});
