import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition } from '@netaccel/core-hooks';
import type { Accelerators, VifNetwork } from '@netaccel/netback';
import { describe, expect, test } from 'vitest';
import { LOG_LIMITS } from '@netaccel/xen';
import { SimMachine } from '@netaccel/xen/sim';
import { createVif } from '../../src/machine/toolstack.js';
import type { ConfiguredBackend } from '../../src/plugin-options.js';
import { XenBackend } from '../../src/xen/backend.js';
import type { BackendRecord } from '../../src/xen/backend.js';
import type { BackendNetwork } from '../../src/xen/network.js';

const NOTHING = { pages: 0, grants: 0, mappings: 0, ports: 0, watches: 0, timers: 0, tasks: 0 };

/** A network whose vifs go nowhere, and that can refuse one. */
class Nowhere implements BackendNetwork {
  readonly name = 'nowhere';
  readonly open_ = new Set<string>();
  refuses: string | null = null;
  accelerators: Accelerators | undefined = undefined;

  obstacle(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  open({ guest, handle }: { guest: number; handle: number }): Promise<VifNetwork> {
    const name = `${guest}/${handle}`;
    if (this.refuses === name) return Promise.reject(new Error('no room for one more'));
    this.open_.add(name);
    return Promise.resolve({
      sink: { deliver: () => undefined, flush: () => undefined },
      attach: () => undefined,
      detach: () => void this.open_.delete(name),
    });
  }

  traffic() {
    return { frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 };
  }

  describe() {
    return {};
  }

  close(): void {
    return;
  }
}

function lab() {
  const machine = new SimMachine({ seed: 11, pages: 4096, domains: 6 });
  const domain = machine.createDomain(0);
  const network = new Nowhere();
  const records: BackendRecord[] = [];
  const backend = new XenBackend({ domain, network, record: (record) => records.push(record) });
  const run = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const done = () => (over = true);
    work.then(done, done);
    await machine.runUntil(() => over);
    return work;
  };
  const vif = async (guest: number, handle = 0): Promise<void> => {
    if (machine.domain(guest) === undefined) machine.createDomain(guest);
    const mac = `00:16:3e:00:00:0${guest}`;
    await run(
      createVif(domain.store, {
        guest,
        backend: 0,
        handle,
        mac,
        mtu: 1500,
        accel: null,
        rate: null,
        limits: null,
      }),
    );
  };
  const read = (path: string): Promise<string | null> => run(domain.store.readOptional(path));
  return { machine, domain, network, records, backend, run, vif, read };
}

const states = (records: readonly BackendRecord[], vif: string): string[] =>
  records.flatMap((record) => (record.event === 'vif' && record.vif === vif ? [record.state] : []));

describe('the backend daemon', () => {
  test('serves vifs that are there and that come, records each change, and ends with nothing held', async () => {
    const { machine, domain, network, records, backend, run, vif, read } = lab();
    await vif(1);
    await run(backend.start());
    expect(records.at(-1)).toEqual({ event: 'started', domain: 0, network: 'nowhere', vifs: 1 });
    await vif(2);
    await machine.settle(0);
    expect(states(records, '2/0')).toEqual(['InitWait']);
    expect(await read('backend/vif/2/0/state')).toBe('2');
    expect(backend.report().map((report) => report.vif)).toEqual(['1/0', '2/0']);
    await run(domain.store.remove('backend/vif/2'));
    await machine.settle(0);
    expect(states(records, '2/0')).toEqual(['InitWait', 'Gone']);
    expect([...network.open_]).toEqual(['1/0']);
    await run(backend.stop());
    expect(records.at(-1)).toEqual({ event: 'stopped', ledger: { ...NOTHING } });
    expect(network.open_.size).toBe(0);
  });

  test('a vif that cannot be plugged in is refused, where the toolstack looks too; the others carry on', async () => {
    const { machine, network, records, backend, run, vif, read } = lab();
    network.refuses = '1/0';
    await run(backend.start());
    await vif(1);
    await vif(2);
    await machine.settle(0);
    expect(records).toContainEqual({
      event: 'vif',
      vif: '1/0',
      state: 'Refused',
      reason: 'no room for one more',
    });
    expect(await read('error/backend/vif/1/0/error')).toBe('no room for one more');
    // Its guest may take itself for connected, to a backend that is no more.
    expect(states(records, '1/0')).toEqual(['Refused', 'Closing', 'Closed']);
    expect(await read('backend/vif/1/0/state')).toBe('6');
    expect(states(records, '2/0')).toEqual(['InitWait']);
    expect(backend.report().map((report) => report.vif)).toEqual(['2/0']);
    await run(backend.stop());
  });

  test.each([
    ['frontend', null, /frontend: expected the path/],
    ['frontend', '', /frontend: expected the path/],
    ['frontend', 'no path \u0001', /Invalid|EINVAL|path/],
    ['mac', null, /mac: expected six bytes/],
    ['mac', 'not-a-mac', /saw not-a-mac/],
    ['mac', '', /saw an empty value/],
    ['ip', '10.0.0.999', /ip: expected IPv4 and IPv6 addresses .* saw 10.0.0.999/],
  ] as const)('a vif whose key %s is %j is refused, and says why', async (key, value, reason) => {
    const { machine, domain, records, backend, run, vif, read } = lab();
    await vif(1);
    const path = `backend/vif/1/0/${key}`;
    await run(value === null ? domain.store.remove(path) : domain.store.write(path, value));
    await run(backend.start());
    await vif(2);
    await machine.settle(0);
    const refused = records.find((record) => record.event === 'vif' && record.state === 'Refused');
    expect(refused).toMatchObject({ vif: '1/0', reason: expect.stringMatching(reason) as string });
    expect(await read('error/backend/vif/1/0/error')).toMatch(reason);
    expect(states(records, '2/0')).toEqual(['InitWait']);
    await run(backend.stop());
    expect(domain.ledger()).toEqual(NOTHING);
  });

  test('a key that is a directory is called one', async () => {
    const { domain, machine, records, backend, run, vif } = lab();
    await vif(1);
    await run(domain.store.write('backend/vif/1/0/mac', ''));
    await run(domain.store.write('backend/vif/1/0/mac/first', '00'));
    await run(backend.start());
    await machine.settle(0);
    expect(records.find((record) => record.event === 'vif')).toMatchObject({
      state: 'Refused',
      reason: 'backend/vif/1/0/mac: expected six bytes as 00:16:3e:01:02:03, saw a directory with first',
    });
    await run(backend.stop());
  });

  test('names that are no numbers are no vifs', async () => {
    const { domain, machine, records, backend, run, vif } = lab();
    await run(backend.start());
    for (const name of ['one/0', '1/zero', '-1/0', '123456/0'])
      await run(domain.store.write(`backend/vif/${name}/state`, '1'));
    await vif(2);
    await machine.settle(0);
    expect(records.filter((record) => record.event === 'vif').map((record) => record.vif)).toEqual(['2/0']);
    await run(backend.stop());
  });

  test('a vif that the toolstack removes is gone without a warning', async () => {
    const { domain, machine, backend, run, vif } = lab();
    await run(backend.start());
    await vif(1);
    await machine.settle(0);
    await run(domain.store.remove('backend/vif/1/0'));
    await machine.settle(0);
    expect(backend.vifs).toEqual([]);
    expect(machine.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    await run(backend.stop());
  });

  test('limit log lines of a vif: a guest that changes its state without end fills no log; where it ended is said', async () => {
    const { machine, records, backend, run, vif } = lab();
    await vif(1);
    await run(backend.start());
    await machine.settle(0);
    const guest = machine.domain(1)!;
    const began = machine.clock.now();
    const before = records.length;
    for (let round = 0; round < 300; round++)
      for (const state of ['5', '6', '1']) {
        await run(guest.store.write('/local/domain/1/device/vif/0/state', state));
        await machine.settle(0);
      }
    const seconds = (machine.clock.now() - began) / 1000;
    const lines = records.slice(before);
    expect(lines.length).toBeLessThanOrEqual(LOG_LIMITS.burst + seconds * LOG_LIMITS.perSecond + 1);
    await vif(2);
    await machine.settle(0);
    expect(states(records, '2/0')).toEqual(['InitWait']);
    await machine.advance(1000);
    const said = records
      .slice(before)
      .flatMap((record) => (record.event === 'vif' && record.vif === '1/0' ? [record] : []));
    expect(said.at(-1)).toMatchObject({ state: 'InitWait' });
    const leftOut = said.reduce((sum, record) => sum + (record.leftOut ?? 0), 0);
    // Closing, Closed, InitWait each round: each is in the log, or counted there.
    expect(said.length + leftOut).toBe(900);
    await run(backend.stop());
    expect(records.at(-1)).toEqual({ event: 'stopped', ledger: { ...NOTHING } });
  });

  test("a plugin's options are set, or refused with their place and nothing loaded", async () => {
    const { network, backend } = lab();
    const registry = new AcceleratorRegistry<BackendAcceleratorDefinition>();
    network.accelerators = { registry, port: () => undefined };
    const plugin = '@netaccel/dummy-accel-backend';
    const load = (filters: number) => backend.load(plugin, process.cwd(), { filters });
    await expect(load(65)).rejects.toThrow(
      'option filters: expected a whole number from 0 to 64, saw the number 65',
    );
    expect(registry.all()).toEqual([]);
    await load(4);
    const [loaded] = registry.all() as ConfiguredBackend[];
    expect(loaded).toMatchObject({ name: plugin, configured: { filters: 4 } });
  });
});
