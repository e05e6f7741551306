// scripts/check-install.mjs decides where installed packages came from, so it must refuse each other place.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FlatMemory } from '@netaccel/core-hooks/testing';
import { readCapture } from '@netaccel/host';
import { FrameHeaders, Protocol } from '@netaccel/nic-vi';
import { expect, test } from 'vitest';
import { captureOf } from '../scripts/check-install/capture.mjs';
import { lockProblems } from '../scripts/check-install/published.mjs';

const REGISTRY = 'http://127.0.0.1:4873/';
const OTHER = 'http://127.0.0.1:48730/';
const published = new Map([
  ['@netaccel/host', new Map([['1.0.0', 'sha512-host']])],
  ['@netaccel/nic-vi', new Map([['1.0.0', 'sha512-vi']])],
]);
const WANTED = ['@netaccel/host', '@netaccel/nic-vi'];

const at = (archive: string, registry = REGISTRY) => `${registry}${archive}`;

/** A lock as npm writes it, with `changes` to its entries. */
function lock(changes: Record<string, object | null> = {}): unknown {
  const packages: Record<string, object | null> = {
    '': { name: 'lab' },
    'node_modules/@netaccel/host': {
      version: '1.0.0',
      resolved: at('@netaccel/host/-/host-1.0.0.tgz'),
      integrity: 'sha512-host',
    },
    'node_modules/@netaccel/nic-vi': {
      version: '1.0.0',
      resolved: at('@netaccel/nic-vi/-/nic-vi-1.0.0.tgz'),
      integrity: 'sha512-vi',
    },
    'node_modules/yaml': { version: '2.0.0', resolved: at('yaml/-/yaml-2.0.0.tgz', OTHER), integrity: 'x' },
    ...changes,
  };
  return { packages: Object.fromEntries(Object.entries(packages).filter(([, entry]) => entry !== null)) };
}

const problemsOf = (changes: Record<string, object | null>) =>
  lockProblems(lock(changes), REGISTRY, published, WANTED);

test('packages that all came from the registry have no problem', () => {
  expect(problemsOf({})).toEqual([]);
});

test('a package of ours from elsewhere, from a folder, or with other bytes is refused', () => {
  const where = 'node_modules/@netaccel/host';
  const entry = { version: '1.0.0', integrity: 'sha512-host' };
  expect(problemsOf({ [where]: { ...entry, resolved: at('host.tgz', OTHER) } })).toEqual([
    `${where}: expected it from ${REGISTRY}, saw ${OTHER}host.tgz`,
  ]);
  expect(problemsOf({ [where]: { ...entry, resolved: '../packages/host', link: true } })).toEqual([
    `${where}: expected it from ${REGISTRY}, saw ../packages/host`,
  ]);
  expect(problemsOf({ [where]: { ...entry, resolved: at('host.tgz'), integrity: 'sha512-old' } })).toEqual([
    `${where}: expected the archive sha512-host, saw sha512-old`,
  ]);
  expect(problemsOf({ [where]: { ...entry, resolved: at('host.tgz'), version: '0.9.0' } })).toEqual([
    `${where}: version 0.9.0 was not published`,
  ]);
});

test('a package that is not there, is there twice, or was never given to the registry is refused', () => {
  expect(problemsOf({ 'node_modules/@netaccel/nic-vi': null })).toEqual(['@netaccel/nic-vi: not installed']);
  const second = 'node_modules/plugin/node_modules/@netaccel/nic-vi';
  const again = { version: '1.0.0', resolved: at('nic-vi.tgz'), integrity: 'sha512-vi' };
  expect(problemsOf({ [second]: again })).toEqual([`${second}: a second copy of @netaccel/nic-vi`]);
  expect(problemsOf({ 'node_modules/yaml': { resolved: at('yaml.tgz') } })).toEqual([
    `node_modules/yaml: came from ${REGISTRY}, which was not given it`,
  ]);
});

test("the lab's capture file is one, of whole UDP datagrams from one end to the other", () => {
  const folder = mkdtempSync(join(tmpdir(), 'na-'));
  try {
    const file = join(folder, 'a.pcap');
    const from = { mac: '02:00:00:00:00:0a', ip: '10.77.0.11' };
    writeFileSync(file, captureOf(from, { mac: '02:00:00:00:00:0b', ip: '10.77.0.12' }));
    const { packets, faults } = readCapture(file);
    expect(faults).toEqual([]);
    expect(packets.at(0)?.bytes).toHaveLength(60);
    expect(packets.at(-1)?.bytes).toHaveLength(1514);
    const memory = new FlatMemory(2);
    const address = memory.allocate(1);
    const headers = new FrameHeaders(memory);
    for (const { bytes } of packets) {
      memory.bytes.set(bytes, address);
      expect(headers.parse(address, bytes.length, bytes.length)).toBe(true);
      expect(headers.protocol).toBe(Protocol.udp);
      expect(headers.payload).toBe(42);
      expect(memory.sum(address + 14, 20, 0)).toBe(0xffff);
      expect([...bytes.subarray(0, 12)]).toEqual([2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
