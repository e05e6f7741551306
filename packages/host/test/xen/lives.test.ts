import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { SimMachine } from '@netaccel/xen/sim';
import { StoreError } from '@netaccel/xen/store';
import type { Store } from '@netaccel/xen/store';
import type { Interest, NativeCounters } from '@netaccel/xen/native';
import { createVif, introduceDomain } from '../../src/machine/toolstack.js';
import { XenBackend } from '../../src/xen/backend.js';
import { serveLives } from '../../src/xen/lives.js';
import type { LivesOptions, LivingDomain } from '../../src/xen/lives.js';
import { TapDevice } from '../../src/tap/index.js';
import { ScriptedLibc } from '../tap/scripted-libc.js';

type Line = { readonly event: string } & Readonly<Record<string, unknown>>;
const NOTHING = { pages: 0, grants: 0, mappings: 0, ports: 0, timers: 0, tasks: 0 };

/** A store that its owner can close: after that every call fails, as that of a real host does. */
function closable(store: Store): { readonly store: Store; readonly close: () => void } {
  let open = true;
  return {
    store: new Proxy(store, {
      get: (target, name: keyof Store) => {
        const method = Reflect.get(target, name) as (...values: unknown[]) => Promise<unknown>;
        return (...values: unknown[]) =>
          open
            ? Reflect.apply(method, target, values)
            : Promise.reject(new StoreError('ECLOSED', 'the store is closed'));
      },
    }),
    close: () => {
      open = false;
    },
  };
}

/** A guest that is restored as another domain of one machine, and a backend for both. */
function lab() {
  const machine = new SimMachine({ seed: 5, pages: 16384, domains: 10 });
  const host = machine.createDomain(0);
  const backend = new XenBackend({
    domain: host,
    network: {
      name: 'nowhere',
      accelerators: undefined,
      obstacle: () => Promise.resolve(undefined),
      open: () =>
        Promise.resolve({
          sink: { deliver: () => undefined, flush: () => undefined },
          attach: () => undefined,
          detach: () => undefined,
        }),
      traffic: () => ({ frames: 0, wireFrames: 0, bytes: 0, systemCalls: 0 }),
      describe: () => ({}),
      close: () => undefined,
    },
    record: () => undefined,
  });
  const lines: Line[] = [];
  const interfaces: string[] = [];
  const idle: Interest = { pause: () => undefined, resume: () => undefined, close: () => undefined };
  let id = 3;
  let restored: () => void = () => undefined;
  const closed: number[] = [];
  const told = new AbortController();
  const run = async <T>(work: Promise<T>): Promise<T> => {
    await machine.runUntil(settled(work));
    return work;
  };
  const home = async (guest: number): Promise<void> => {
    if (machine.domain(guest) === undefined) machine.createDomain(guest);
    await run(introduceDomain(host.store, guest, 'guest'));
  };
  const vif = async (guest: number): Promise<void> => {
    await home(guest);
    await run(
      createVif(host.store, {
        ...{ guest, backend: 0, handle: 0, mac: '00:16:3e:00:00:03', mtu: 1500 },
        ...{ accel: null, rate: null, limits: null },
      }),
    );
  };
  const options: LivesOptions = {
    open: (onRestored) => {
      const domain = machine.domain(id) ?? machine.createDomain(id);
      const { store, close } = closable(domain.store);
      restored = () => {
        close();
        onRestored();
      };
      const living: LivingDomain = Object.create(domain, {
        store: { value: store },
        loop: {
          value: Object.create(domain.loop, { whenReadable: { value: () => idle } }) as LivingDomain['loop'],
        },
        counters: { value: {} as NativeCounters },
        ledger: { value: () => domain.ledger() },
        close: { value: () => closed.push(domain.id) },
      }) as LivingDomain;
      return Promise.resolve(living);
    },
    frontend: (domain) => ({
      domain,
      handle: 0,
      device: new TapDevice(new ScriptedLibc(), { name: 'eth0', descriptor: 4 }, domain.memory.bytes, 4),
      queues: 1,
      plugins: [],
      pluginsFrom: '.',
      record: () => undefined,
    }),
    onConnected: ({ mac }) => interfaces.push(mac),
    record: (line) => lines.push(line),
  };
  const until = async (what: () => boolean): Promise<void> => {
    for (let turns = 0; !what(); turns++) {
      if (turns > 200) throw new Error(`it did not come to that; the log: ${JSON.stringify(lines)}`);
      await machine.settle(0);
      await turn();
    }
  };
  const of = (event: string): Line[] => lines.filter((line) => line.event === event);
  /** The toolstack took the guest away and made it again, as domain `to`. */
  const restore = async (to: number): Promise<void> => {
    await run(host.store.remove(`/local/domain/0/backend/vif/${id}`));
    await run(host.store.remove(`/local/domain/${id}`));
    await vif(to);
    id = to;
    restored();
  };
  return { run, home, machine, backend, options, told, vif, until, of, restore, lines, closed, interfaces };
}

function settled(work: Promise<unknown>): () => boolean {
  let over = false;
  const end = (): void => {
    over = true;
  };
  work.then(end, end);
  return () => over;
}

describe('a frontend whose guest is restored', () => {
  test.each([
    { what: 'as another domain', to: 7 },
    { what: 'with the number that it had', to: 3 },
  ])('while it is connected, $what: connects anew, and holds nothing of the old life', async ({ to }) => {
    const { run, machine, backend, options, told, vif, until, of, restore, closed, interfaces } = lab();
    await run(backend.start());
    await vif(3);
    const served = serveLives(options, told.signal);
    await until(() => of('started').length === 1);
    const before = machine.domain(0)!.loop.now();
    await restore(to);
    await until(() => of('started').length === 2);
    expect(of('restored')).toEqual([{ event: 'restored', domain: 3, vif: 0, tap: 'eth0' }]);
    expect(of('started').map(({ domain }) => domain)).toEqual([3, to]);
    expect(of('stopped')[0]).toMatchObject({ ledger: { ...NOTHING } });
    // No peer of the old life is waited for.
    expect(machine.domain(0)!.loop.now() - before).toBeLessThan(1000);
    expect(closed).toEqual([3]);
    expect(interfaces).toHaveLength(2);
    told.abort();
    await until(settled(served));
    expect(of('stopped')[1]).toMatchObject({ ledger: { ...NOTHING } });
    expect(closed).toEqual([3, to]);
  });

  test('while it waits for a backend: waits for the next one', async () => {
    const { run, machine, backend, options, told, vif, until, of, restore } = lab();
    await vif(3);
    const served = serveLives(options, told.signal);
    await machine.settle(0);
    await restore(7);
    await until(() => of('stopped').length === 1);
    expect(of('started')).toEqual([]);
    await run(backend.start());
    await until(() => of('started').length === 1);
    expect(of('started')[0]).toMatchObject({ domain: 7 });
    told.abort();
    await until(settled(served));
  });

  test('that fails for another reason ends, and says why', async () => {
    const { machine, options, told, of, until, closed, home } = lab();
    await home(3);
    const served = serveLives(options, told.signal);
    served.catch(() => undefined);
    await until(settled(served));
    await expect(served).rejects.toMatchObject({ code: 'NO_DEVICE' });
    expect(of('restored')).toEqual([]);
    expect(closed).toEqual([3]);
    expect(machine.domain(3)!.ledger()).toMatchObject(NOTHING);
  });
});
