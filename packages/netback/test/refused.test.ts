// A vif whose start fails, for each kind of reason: the toolstack is told, the device is closed whatever a backend before
// this one left, nothing of it is held, and the others are served.
import { describe, expect, test, vi } from 'vitest';
import { XenbusState, parseState } from '@netaccel/xen';
import type { XenbusStateName } from '@netaccel/xen';
import { SimMachine } from '@netaccel/xen/sim';
import { StoreError } from '@netaccel/xen/store';
import type { Store } from '@netaccel/xen/store';
import { NetbackDriver } from '../src/index.js';
import type { VifName, VifNetwork } from '../src/index.js';
import { NOTHING_HELD, makeVif } from './lab.js';

const PATH = '/local/domain/0/backend/vif/1/0';
const ERROR = `/local/domain/0/error/backend/vif/1/0/error`;

/** A driver domain with guests 1 and 2, and a network that can refuse or fail for guest 1. */
class RefusalLab {
  readonly machine = new SimMachine({ pages: 2048, domains: 6, ports: 256, mappings: 256 });
  readonly back = this.machine.createDomain(0);
  readonly attached: string[] = [];
  readonly told: string[] = [];
  /** How guest 1's network goes wrong. */
  spoil: 'open' | 'open later' | 'attach' | null = null;
  readonly driver = new NetbackDriver({
    domain: this.back,
    network: (name) => this.network(name),
    onState: ({ guest }, state, reason) =>
      this.told.push(`${guest} ${state}${reason === null ? '' : `: ${reason}`}`),
    onRefused: ({ guest }, reason) => this.told.push(`${guest} Refused: ${reason}`),
    onGone: ({ guest }) => this.told.push(`${guest} Gone`),
    limits: { smallBuffers: 16, largeBuffers: 1, backlogBytes: 65536 },
  });

  constructor() {
    this.machine.createDomain(1);
    this.machine.createDomain(2);
  }

  network({ guest }: VifName): VifNetwork | Promise<VifNetwork> {
    const spoil = guest === 1 ? this.spoil : null;
    if (spoil === 'open') throw new Error('no TAP');
    if (spoil === 'open later') return Promise.reject(new Error('no bridge'));
    return {
      sink: { deliver: () => undefined, flush: () => undefined },
      attach: () => {
        this.attached.push(`+${guest}`);
        if (spoil === 'attach') throw new Error('not plugged in');
      },
      detach: () => void this.attached.push(`-${guest}`),
    };
  }

  async run<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const done = () => (over = true);
    work.then(done, done);
    await this.machine.runUntil(() => over);
    return work;
  }

  /** Guest 1's vif, as a backend that died left it. */
  async left(state: XenbusStateName): Promise<void> {
    await this.run(makeVif(this.back, 0, 1, 0));
    await this.set('state', String(XenbusState[state]));
    await this.set('hotplug-status', 'connected');
  }

  set(key: string, value: string | null): Promise<void> {
    const { store } = this.back;
    return this.run(value === null ? store.remove(`${PATH}/${key}`) : store.write(`${PATH}/${key}`, value));
  }

  read(path: string): Promise<string | null> {
    return this.run(this.back.store.readOptional(path));
  }

  async state(guest = 1): Promise<number> {
    return parseState(await this.read(`/local/domain/0/backend/vif/${guest}/0/state`));
  }

  /** Guest 2's vif is served, guest 1's is closed and holds nothing. */
  async isRefused(reason: RegExp): Promise<void> {
    expect(await this.read(ERROR)).toMatch(reason);
    expect(await this.state()).toBe(XenbusState.Closed);
    expect(await this.read(`${PATH}/hotplug-status`)).toBeNull();
    expect(this.driver.vif(1, 0)).toBeUndefined();
    expect(this.attached.filter((each) => each.endsWith('1')).length % 2).toBe(0);
    await this.run(makeVif(this.back, 0, 2, 0));
    await this.machine.settle(0);
    expect(await this.state(2)).toBe(XenbusState.InitWait);
    expect(this.driver.vifs()).toHaveLength(1);
    await this.run(this.driver.stop());
    expect(this.back.ledger()).toEqual(NOTHING_HELD);
  }
}

describe('a vif that a dead backend left Connected is closed, and says why, when', () => {
  test.each([
    ['its network cannot be made', 'open', /^no TAP$/],
    ['its network cannot be made after a while', 'open later', /^no bridge$/],
    ['it cannot be plugged in', 'attach', /^not plugged in$/],
  ] as const)('%s', async (_, spoil, reason) => {
    const lab = new RefusalLab();
    lab.spoil = spoil;
    await lab.left('Connected');
    await lab.run(lab.driver.start());
    await lab.isRefused(reason);
  });

  test.each([
    ['frontend', null, /frontend: expected the path/],
    ['mac', null, /mac: expected six bytes/],
    ['mac', '00:16:3e', /mac: expected six bytes .* saw 00:16:3e/],
    ['ip', '10.0.0.256', /ip: expected/],
  ] as const)('its key %s is %j', async (key, value, reason) => {
    const lab = new RefusalLab();
    await lab.left('Connected');
    await lab.set(key, value);
    await lab.run(lab.driver.start());
    await lab.isRefused(reason);
    expect(lab.told.slice(0, 3).map((each) => each.split(':')[0])).toEqual([
      '1 Refused',
      '1 Closing',
      '1 Closed',
    ]);
  });

  test('the store fails, whichever request it is: it is refused, or served a little later', async () => {
    const outcomes = new Set<string>();
    for (let fails = 0, reached = true; reached; fails++) {
      const lab = new RefusalLab();
      await lab.run(lab.driver.start());
      reached = await failsAt(lab, fails);
      if (!reached) break;
      const refused = lab.told.some((each) => each.startsWith('1 Refused'));
      outcomes.add(refused ? 'refused' : 'served');
      if (refused) await lab.isRefused(/ fails/);
      else {
        expect(await lab.state(), `request ${fails}`).toBe(XenbusState.InitWait);
        await lab.run(lab.driver.stop());
        expect(lab.back.ledger()).toEqual(NOTHING_HELD);
      }
    }
    expect([...outcomes].sort()).toEqual(['refused', 'served']);
  });
});

/**
 * Makes guest 1's vif, and has the store fail the request of that number which the driver makes for it.
 * @returns whether there was such a request.
 */
async function failsAt(
  lab: RefusalLab,
  number: number,
  code: 'ENOSPC' | 'ECLOSED' = 'ENOSPC',
): Promise<boolean> {
  await lab.run(makeVif(lab.back, 0, 1, 0));
  const { store } = lab.back;
  let count = 0;
  const spies = (['watch', 'read', 'readOptional', 'exists', 'write', 'list'] as const).map((name) => {
    const spied = vi.spyOn(store, name) as unknown as {
      mockImplementation(as: (...args: readonly unknown[]) => Promise<unknown>): unknown;
      mockRestore(): void;
    };
    const real = Reflect.get(Object.getPrototypeOf(store) as Store, name) as (
      ...args: unknown[]
    ) => Promise<unknown>;
    spied.mockImplementation((...args) =>
      count++ === number
        ? Promise.reject(new StoreError(code, `${name} ${String(args[0])} fails`))
        : real.apply(store, [...args]),
    );
    return spied;
  });
  await lab.machine.settle(0);
  for (const spy of spies) spy.mockRestore();
  // What failed in passing is tried again after a second.
  await lab.machine.advance(1_100);
  await lab.machine.settle(0);
  return count > number;
}

test('one that does not start because the connection to the store is lost is not refused, and served when it is back', async () => {
  let postponed = 0;
  for (let fails = 0, reached = true; reached; fails++) {
    const lab = new RefusalLab();
    await lab.run(lab.driver.start());
    reached = await failsAt(lab, fails, 'ECLOSED');
    postponed += lab.machine.lines.filter((line) => line.message.includes('tried again')).length;
    // A store that is back sets its watches anew, and each fires.
    await lab.run(lab.back.store.write(PATH, ''));
    await lab.set('online', '1');
    await lab.machine.settle(0);
    expect(await lab.state(), `request ${fails}`).toBe(XenbusState.InitWait);
    expect(lab.told.filter((each) => each !== '1 InitWait')).toEqual([]);
    expect(lab.attached.filter((each) => each === '+1').length).toBe(
      lab.attached.filter((each) => each === '-1').length + 1,
    );
    await lab.run(lab.driver.stop());
    expect(lab.back.ledger()).toEqual(NOTHING_HELD);
  }
  expect(postponed).toBeGreaterThan(5);
});

test.each(['Initialising', 'InitWait', 'Closing', 'Closed'] as const)(
  'one that was left %s goes the rest of the way down, and no step twice',
  async (state) => {
    const lab = new RefusalLab();
    lab.spoil = 'open';
    await lab.left(state);
    await lab.run(lab.driver.start());
    const way = { Initialising: ['Closing', 'Closed'], InitWait: ['Closing', 'Closed'], Closing: ['Closed'] };
    expect(lab.told).toEqual([
      '1 Refused: no TAP',
      ...(state === 'Closed' ? [] : way[state]).map((each) => `1 ${each}: no TAP`),
    ]);
    await lab.isRefused(/^no TAP$/);
  },
);

test('one that has no memory is not refused: it gets it when its guest connects', async () => {
  const lab = new RefusalLab();
  const taken: number[] = [];
  for (;;) {
    try {
      taken.push(lab.back.pages.allocate(1));
    } catch {
      break;
    }
  }
  await lab.left('Connected');
  await lab.run(lab.driver.start());
  expect(lab.told).toEqual(['1 InitWait']);
  for (const page of taken) lab.back.pages.free(page);
  await lab.run(lab.driver.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});

test('one that the toolstack makes anew is served; one that it removes while it is refused is not brought back', async () => {
  const lab = new RefusalLab();
  lab.spoil = 'open later';
  await lab.run(lab.driver.start());
  for (let steps = 0; steps < 60; steps++) {
    await lab.left('Connected');
    for (let i = 0; i < steps; i++) {
      lab.machine.pump(1);
      await lab.machine.lab.turn();
    }
    await lab.run(lab.back.store.remove(PATH));
    await lab.machine.settle(0);
    expect(await lab.run(lab.back.store.exists(PATH)), `removed after ${steps} steps`).toBe(false);
  }
  lab.spoil = null;
  await lab.left('Initialising');
  await lab.machine.settle(0);
  expect(await lab.state()).toBe(XenbusState.InitWait);
  await lab.run(lab.driver.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});
