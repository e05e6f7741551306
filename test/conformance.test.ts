// docs/conformance.md is what its data say; each row has a test or a reason; and whatever the code knows by a name,
// from the layouts to the keys that a connected pair of drivers writes, has its row.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ringHeader } from '@netaccel/xen';
import * as netif from '@netaccel/xen/netif';
import { grantEntry } from '@netaccel/xen/sim';
import { MessageType } from '@netaccel/xen/store';
import { describe, expect, test } from 'vitest';
import { conformance, conformancePage } from '../scripts/make-conformance.mjs';
import { root } from './markdown.js';
import { pair } from './split-pair.js';

const groups = conformance();
const rows = groups.flatMap((group) => group.rows);

/** The names in the rows of a section, without the words between. */
function named(section: string): Set<string> {
  const { rows: own } = groups.find((group) => group.section === section)!;
  return new Set(own.flatMap(({ item }) => item.split(/[^\w.-]+/)));
}

test('docs/conformance.md is what its data say: node scripts/make-conformance.mjs', async () => {
  expect(readFileSync(join(root, 'docs', 'conformance.md'), 'utf8')).toBe(await conformancePage());
});

test('each row that is served or refused names a test, and each that is left out says why', () => {
  expect(groups.map(({ section }) => section)).toEqual(Array.from({ length: 10 }, (_, i) => `4.${i + 1}`));
  const wanting = rows.filter(({ verdict, tests, note }) =>
    verdict === 'left out' ? note === undefined : tests.length === 0,
  );
  expect(wanting).toEqual([]);
  expect(rows.filter(({ verdict }) => !['served', 'refused', 'left out'].includes(verdict))).toEqual([]);
});

test('the tests that rows name are there', () => {
  const missing = rows.flatMap(({ item, tests }) =>
    tests
      .filter(({ file, name }) => !readFileSync(join(root, file), 'utf8').includes(name))
      .map(({ file, name }) => `${item}: ${file}: ${name}`),
  );
  expect(missing).toEqual([]);
});

describe('nothing that the code knows is without a row', () => {
  test('structures', () => {
    const known = [...netif.netifLayouts, ...netif.controlLayouts, ringHeader].map(({ name }) => name);
    expect(known.filter((name) => !named('4.1').has(name))).toEqual([]);
    expect(named('4.8').has(grantEntry.name)).toBe(true);
  });

  test('constants', () => {
    const tables = ['TxFlag', 'RxFlag', 'ExtraType', 'ExtraFlag', 'Status', 'HashType', 'HashAlgorithm'];
    const missing = [...tables, 'ControlStatus', 'GrefFlag'].flatMap((table) => {
      const own = rows.filter(({ item }) => item.startsWith(`${table}.`));
      const words = new Set(own.flatMap(({ item }) => item.slice(table.length + 1).split(', ')));
      const known = Object.keys(netif[table as 'TxFlag']);
      return known.filter((name) => !words.has(name)).map((name) => `${table}.${name}`);
    });
    expect(missing).toEqual([]);
  });

  test('control messages', () => {
    expect(Object.keys(netif.ControlType).filter((name) => !named('4.5').has(name))).toEqual([]);
  });

  test('messages of the store', () => {
    expect(Object.keys(MessageType).filter((name) => !named('4.10').has(name))).toEqual([]);
  });

  test('keys that a connected pair writes', async () => {
    const { run, left, dom0, end } = await pair(1, { features: { queues: 2 } });
    const keys = new Set<string>();
    for (const path of ['/local/domain/1/device/vif/0', '/local/domain/0/backend/vif/1/0'])
      for (const key of await run(dom0.store.list(path))) keys.add(key);
    expect(left.front.carrier).toBe(true);
    // What makes a device of a directory is xenbus, not netif; queues have a directory each.
    const xenbus = ['backend', 'backend-id', 'frontend', 'frontend-id', 'state', 'online'];
    const unknown = [...keys].filter(
      (key) => !named('4.4').has(key) && !xenbus.includes(key) && !/^queue-\d+$/.test(key),
    );
    expect(unknown).toEqual([]);
    await end();
  });
});
