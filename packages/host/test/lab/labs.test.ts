// Lab files that are right: the two of the repository, and every default.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  type LabDescription,
  type LabHost,
  labJsonSchemaText,
  loadLab,
  parseLab,
  type ParseLabOptions,
} from '../../src/lab/index.js';

const folder = fileURLToPath(new URL('../../labs/', import.meta.url));
const options: ParseLabOptions = {
  file: '/labs/my lab.yaml',
  resolvePlugin: (name, directory) => `file://${directory}/${name}`,
  listPlugins: () => [],
  fileExists: () => true,
};

test('lab.schema.json is current: run `node scripts/make-lab-schema.mjs` after a build when this fails', () => {
  const path = fileURLToPath(new URL('../../lab.schema.json', import.meta.url));
  expect(readFileSync(path, 'utf8')).toBe(labJsonSchemaText());
});

test('lab.schema.json describes every key', () => {
  const undescribed: string[] = [];
  const visit = (schema: Record<string, unknown>, path: string): void => {
    for (const [key, child] of Object.entries(
      (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>,
    )) {
      if (typeof child['description'] !== 'string') undescribed.push(`${path}.${key}`);
      visit(child, `${path}.${key}`);
    }
    for (const key of ['additionalProperties', 'items'])
      if (typeof schema[key] === 'object') visit(schema[key] as Record<string, unknown>, `${path}.*`);
    for (const option of (schema['anyOf'] ?? []) as Record<string, unknown>[]) visit(option, path);
  };
  visit(JSON.parse(labJsonSchemaText()) as Record<string, unknown>, '');
  expect(undescribed).toEqual([]);
});

describe('labs/two-hosts.yaml', () => {
  // With the real search for plugins: what `netaccel up` does.
  const lab = loadLab(`${folder}two-hosts.yaml`);

  test('has two hosts with a guest each, and one wire', () => {
    expect(lab).toMatchObject({ lab: 1, name: 'two-hosts', seed: 1 });
    expect(lab.hosts.map(({ name, guests }) => [name, guests.map((guest) => guest.name)])).toEqual([
      ['alpha', ['a']],
      ['beta', ['b']],
    ]);
    expect(lab.wires).toEqual([
      {
        ends: [
          { host: 'alpha', port: 'eth0' },
          { host: 'beta', port: 'eth0' },
        ],
        rateBitsPerSecond: 1e10,
        delayNs: 20_000,
        mtu: 1500,
        faults: { drop: 0, corrupt: 0 },
      },
    ]);
  });

  test('finds its plugin', () => {
    expect(lab.hosts[0]!.accelerators).toMatchObject([
      {
        name: '@netaccel/dummy-accel-backend',
        url: expect.stringMatching(/^file:.*dummy-accel-backend\/dist\/index\.js$/) as string,
      },
    ]);
  });
});

test('labs/one-host.yaml has two guests on a bridge of their own', () => {
  const lab = loadLab(`${folder}one-host.yaml`);
  expect(lab.wires).toEqual([]);
  expect(lab.hosts).toMatchObject([
    {
      name: 'alpha',
      bridge: { ports: [] },
      guests: [
        { name: 'a', accel: null },
        { name: 'b', accel: null },
      ],
    },
  ]);
});

describe('defaults', () => {
  test('of everything', () => {
    const lab = parseLab('lab: 1\nhosts: { alpha: { guests: { a: {} }, driverDomain: {} } }\n', options);
    expect(lab).toEqual({
      lab: 1,
      name: 'my-lab',
      file: '/labs/my lab.yaml',
      seed: 1,
      hosts: [
        {
          name: 'alpha',
          nic: { ports: ['eth0', 'eth1'], filters: 1024, bufferPages: 4096 },
          bridge: { ports: ['eth0'], ageingMs: 300_000 },
          driverDomain: {
            port: 'tap',
            mac: expect.stringMatching(/^.[26ae](:..){5}$/) as string,
            ip: null,
            mtu: 1500,
          },
          eventChannels: '2-level',
          accelerators: [],
          guests: [
            {
              name: 'a',
              mac: expect.stringMatching(/^.[26ae](:..){5}$/) as string,
              ip: null,
              addresses: null,
              port: { kind: 'tap' },
              mtu: 1500,
              queues: 1,
              accel: 'eth0',
              rateBitsPerSecond: null,
              eventChannels: '2-level',
              limits: { filters: 8, bufferPages: 384, multicasts: 8 },
              frontend: null,
            },
          ],
        },
      ],
      wires: [],
    } satisfies LabDescription);
  });

  test('of antispoof are the own address, or those of the list in their shortest form', () => {
    const addressesOf = (guest: string) =>
      parseLab(`lab: 1\nhosts: { alpha: { guests: { a: ${guest} } } }\n`, options).hosts[0]!.guests[0]!
        .addresses;
    expect(addressesOf('{ ip: 10.77.0.11/24, antispoof: true }')).toEqual(['10.77.0.11']);
    expect(addressesOf('{ ip: "FD00:0::11/64", antispoof: true }')).toEqual(['fd00::11']);
    expect(addressesOf('{ antispoof: [10.77.0.11, "fd00:0:0::0:11"] }')).toEqual(['10.77.0.11', 'fd00::11']);
    expect(addressesOf('{ ip: 10.77.0.11/24 }')).toBeNull();
  });

  test('of event channels are the driver domain’s for its guests, and 2-level for both', () => {
    const formsOf = (host: string) => {
      const [{ eventChannels, guests }] = parseLab(`lab: 1\nhosts: { alpha: ${host} }\n`, options).hosts as [
        LabHost,
      ];
      return [eventChannels, ...guests.map((guest) => guest.eventChannels)];
    };
    expect(formsOf('{ guests: { a: {}, b: { eventChannels: fifo } } }')).toEqual([
      '2-level',
      '2-level',
      'fifo',
    ]);
    expect(formsOf('{ eventChannels: fifo, guests: { a: {}, b: { eventChannels: 2-level } } }')).toEqual([
      'fifo',
      'fifo',
      '2-level',
    ]);
  });

  test('survive JSON', () => {
    const lab = parseLab('lab: 1\nhosts: { alpha: {} }\n', options);
    expect(JSON.parse(JSON.stringify(lab))).toEqual(lab);
  });

  test('of the name come from the file', () => {
    const nameOf = (file: string) => parseLab('lab: 1\nhosts: { a: {} }\n', { ...options, file }).name;
    expect(['x.yaml', '/tmp/2 hosts.yml', 'ü.yaml', `${'long'.repeat(20)}.yaml`].map(nameOf)).toEqual([
      'x',
      'lab-2-hosts',
      'lab--',
      'long'.repeat(20).slice(0, 31),
    ]);
  });
});

test('everything written out', () => {
  const text = `
lab: 1
name: all
seed: 7
hosts:
  alpha:
    nic: { ports: [p0, p1, p2], filters: 4, bufferPages: 100 }
    bridge: { ports: [p1, p2], ageing: 1.5s }
    driverDomain: { port: memory, ip: "fd00::1/64", mac: 02:AA:00:00:00:01, mtu: 9000 }
    accelerator: [./one.js, two]
    guests:
      a: &a { port: { pcap: a.pcapng, loop: true }, mtu: 9000, queues: 4, accel: p2, rate: 100 Mb/s }
      b: { port: memory, accel: false, limits: { filters: 2, bufferPages: 10, multicasts: 0 }, frontend: three }
      c: *a
  beta:
    driverDomain: { port: none }
wires:
  - between: [alpha.p0, alpha.p1]
    faults: { drop: 0.01 }
  - { between: [alpha.p2, beta.eth1], rate: 1Gb/s, delay: 1ms, mtu: 9000, faults: { corrupt: 1 } }
`;
  const lab = parseLab(text, options);
  const [alpha, beta] = lab.hosts;
  expect(alpha).toMatchObject({
    nic: { ports: ['p0', 'p1', 'p2'], filters: 4, bufferPages: 100 },
    bridge: { ports: ['p1', 'p2'], ageingMs: 1500 },
    driverDomain: {
      port: 'memory',
      mac: '02:aa:00:00:00:01',
      ip: { family: 6, address: 'fd00::1', prefixBits: 64 },
      mtu: 9000,
    },
    accelerators: [
      { name: './one.js', url: 'file:///labs/./one.js' },
      { name: 'two', url: 'file:///labs/two' },
    ],
  });
  expect(beta!.driverDomain).toBeNull();
  const [a, b, c] = alpha!.guests;
  expect(a).toMatchObject({
    port: { kind: 'pcap', file: '/labs/a.pcapng', loop: true },
    accel: 'p2',
    rateBitsPerSecond: 1e8,
    queues: 4,
    // A default never asks for more than the NIC has.
    limits: { filters: 4, bufferPages: 100, multicasts: 8 },
  });
  expect(b).toMatchObject({
    port: { kind: 'memory' },
    accel: null,
    limits: { filters: 2, bufferPages: 10, multicasts: 0 },
    frontend: { name: 'three', url: 'file:///labs/three' },
  });
  expect({ ...c, name: 'a', mac: a!.mac }).toEqual(a);
  expect(c!.mac).not.toBe(a!.mac);
  expect(lab.wires).toMatchObject([
    { rateBitsPerSecond: null, delayNs: 0, mtu: 1500, faults: { drop: 0.01, corrupt: 0 } },
    { rateBitsPerSecond: 1e9, delayNs: 1e6, mtu: 9000, faults: { drop: 0, corrupt: 1 } },
  ]);
});

test('derived MAC addresses depend on names, not on the order, and make way for those that are given', () => {
  const one = parseLab('lab: 1\nname: l\nhosts: { x: { guests: { a: {}, b: {} } } }', options);
  const two = parseLab('lab: 1\nname: l\nhosts: { x: { guests: { b: {}, a: {} } } }', options);
  const macs = (lab: LabDescription) =>
    Object.fromEntries(lab.hosts[0]!.guests.map(({ name, mac }) => [name, mac] as const));
  expect(macs(one)).toEqual(macs(two));
  const taken = macs(one)['a']!;
  const three = parseLab(
    `lab: 1\nname: l\nhosts: { x: { guests: { a: {}, b: { mac: "${taken}" } } } }`,
    options,
  );
  expect(macs(three)['b']).toBe(taken);
  expect(macs(three)['a']).not.toBe(taken);
});
