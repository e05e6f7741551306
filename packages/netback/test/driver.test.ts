import { expect, test } from 'vitest';
import { AcceleratorRegistry, CONTRACT_VERSION, defineBackendAccelerator } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition, Frame, NicPortHold } from '@netaccel/core-hooks';
import { XenbusState, openMailbox, parseState } from '@netaccel/xen';
import { SimMachine } from '@netaccel/xen/sim';
import type { SimDomain } from '@netaccel/xen/sim';
import { NetbackDriver } from '../src/index.js';
import type { Netback, VifName } from '../src/index.js';
import { NOTHING_HELD, makeVif, pattern } from './lab.js';
import { ScriptedFrontend } from './scripted-frontend.js';

class Network {
  readonly attached = new Map<string, Netback>();
  readonly events: string[] = [];
  frames = 0;
  make({ guest, handle }: VifName) {
    if (handle === 99) return null;
    const name = `${guest}.${handle}`;
    return {
      sink: {
        deliver: (_: Frame) => {
          this.frames++;
        },
        flush: () => undefined,
      },
      attach: (vif: Netback) => {
        this.attached.set(name, vif);
        this.events.push(`+${name}`);
      },
      detach: (vif: Netback) => {
        if (this.attached.get(name) === vif) this.attached.delete(name);
        this.events.push(`-${name}`);
      },
    };
  }
}

const port: NicPortHold = {
  name: 'eth0',
  device: {},
  onReceive: () => () => undefined,
  onTransmit: () => () => undefined,
  onLink: () => () => undefined,
  onReset: () => () => undefined,
  received: () => Promise.resolve(),
};

class DriverLab {
  readonly machine = new SimMachine({ pages: 2048, domains: 6, ports: 256, mappings: 256 });
  readonly back = this.machine.createDomain(0);
  readonly network = new Network();
  readonly states: string[] = [];
  readonly registry = new AcceleratorRegistry<BackendAcceleratorDefinition>();
  readonly driver = new NetbackDriver({
    domain: this.back,
    accelerators: { registry: this.registry, port: (name) => (name === 'eth0' ? port : undefined) },
    network: (name) => this.network.make(name),
    onState: ({ guest, handle }, state) => this.states.push(`${guest}.${handle} ${state}`),
    limits: { smallBuffers: 16, largeBuffers: 1, backlogBytes: 65536 },
  });

  async run<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const done = () => (over = true);
    work.then(done, done);
    await this.machine.runUntil(() => over);
    return work;
  }

  settle() {
    return this.machine.settle(0);
  }

  guest(id: number): SimDomain {
    return this.machine.domain(id) ?? this.machine.createDomain(id);
  }

  async vif(guest: number, handle: number): Promise<ScriptedFrontend> {
    const frontend = new ScriptedFrontend(this.guest(guest), 0, handle);
    await this.run(makeVif(this.back, 0, guest, handle));
    return frontend;
  }

  async state(guest: number, handle: number) {
    return parseState(
      await this.run(this.back.store.readOptional(`/local/domain/0/backend/vif/${guest}/${handle}/state`)),
    );
  }

  remove(guest: number, handle: number) {
    return this.run(this.back.store.remove(`/local/domain/0/backend/vif/${guest}/${handle}`));
  }
}

test('vifs that are there and vifs that come are served; those that go are let go', async () => {
  const lab = new DriverLab();
  const first = await lab.vif(1, 0);
  await lab.run(lab.driver.start());
  expect(lab.network.events).toEqual(['+1.0']);
  expect(await lab.state(1, 0)).toBe(XenbusState.InitWait);
  const second = await lab.vif(1, 1);
  const third = await lab.vif(2, 0);
  await lab.settle();
  expect(lab.driver.vifs()).toHaveLength(3);
  for (const frontend of [first, second, third]) await lab.run(frontend.connect({ pages: 4 }));
  await lab.settle();
  for (const frontend of [first, second, third]) {
    frontend.queue.packet(pattern(60));
    frontend.queue.publish();
  }
  await lab.settle();
  expect(lab.network.frames).toBe(3);
  expect(lab.driver.vif(1, 1)!.statistics().txFrames).toBe(1);

  await lab.remove(1, 1);
  await lab.settle();
  expect(lab.network.events.at(-1)).toBe('-1.1');
  expect(second.release()).toBe(true);
  expect(lab.driver.vif(1, 1)).toBeUndefined();
  expect(lab.driver.describe()).toMatchObject({ leaving: 0 });

  first.queue.packet(pattern(60));
  first.queue.publish();
  await lab.settle();
  expect(lab.network.frames).toBe(4);
  await lab.run(lab.driver.stop());
  expect(lab.network.attached.size).toBe(0);
  expect(first.release() && third.release()).toBe(true);
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
  expect(lab.states).toContain('2.0 Closed');
});

test('a removed directory is not brought back, whatever the vif was doing', async () => {
  for (const steps of [0, 3, 10, 30, 100, 1000]) {
    const lab = new DriverLab();
    await lab.run(lab.driver.start());
    const frontend = await lab.vif(1, 0);
    const connected = frontend.connect({ pages: 4 }).catch(() => undefined);
    for (let i = 0; i < steps; i++) {
      lab.machine.pump(1);
      await lab.machine.lab.turn();
    }
    await lab.remove(1, 0);
    await lab.run(connected);
    await lab.settle();
    expect(await lab.run(lab.back.store.exists('/local/domain/0/backend/vif/1/0'))).toBe(false);
    expect(frontend.release()).toBe(true);
    await lab.run(lab.driver.stop());
    expect(lab.back.ledger()).toEqual(NOTHING_HELD);
  }
});

test('a vif that is removed and made again at once is served as the new one', async () => {
  const lab = new DriverLab();
  await lab.run(lab.driver.start());
  for (let round = 0; round < 5; round++) {
    const frontend = await lab.vif(1, 0);
    await lab.settle();
    await lab.run(frontend.connect({ pages: 4 }));
    await lab.settle();
    expect(await lab.state(1, 0)).toBe(XenbusState.Connected);
    const gone = lab.back.store
      .remove('/local/domain/1/device/vif/0')
      .then(() => lab.back.store.remove('/local/domain/0/backend/vif/1/0'));
    const again = gone.then(() => makeVif(lab.back, 0, 1, 0));
    await lab.run(again);
    await lab.settle();
    expect(frontend.release()).toBe(true);
    expect(await lab.state(1, 0)).toBe(XenbusState.InitWait);
    await lab.remove(1, 0);
    await lab.settle();
  }
  await lab.run(lab.driver.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});

test('a vif that comes back while its predecessor still stops waits for it', async () => {
  const lab = new DriverLab();
  const plugin = defineBackendAccelerator({
    name: 'slow',
    version: '1.0.0',
    contract: CONTRACT_VERSION,
    capabilities: {},
    frontend: 'slow-guest',
    supports: () => true,
    probe: () => Promise.resolve({ remove: () => new Promise<void>(() => undefined), describe: () => ({}) }),
  });
  lab.registry.register(plugin);
  await lab.run(lab.driver.start());
  const frontend = new ScriptedFrontend(lab.guest(1), 0, 0);
  await lab.run(makeVif(lab.back, 0, 1, 0, { accel: 'eth0' }));
  await lab.run(frontend.connect({ pages: 4 }));
  const guest = lab.guest(1);
  const { mailbox, refs, port } = openMailbox(guest, 0);
  const keys = {
    'mailbox-ref-0': refs[0],
    'mailbox-ref-1': refs[1],
    'mailbox-event-channel': port,
    state: 4,
  };
  for (const [key, value] of Object.entries(keys))
    await lab.run(guest.store.write(`${frontend.path}/accel/${key}`, String(value)));
  await lab.settle();
  expect(lab.driver.vif(1, 0)!.describe()).toMatchObject({ accelerator: { state: 'attached' } });

  await lab.remove(1, 0);
  await lab.run(makeVif(lab.back, 0, 1, 0));
  await lab.settle();
  expect(lab.driver.vif(1, 0)).toBeUndefined();
  expect(lab.driver.describe()).toMatchObject({ leaving: 1 });
  await lab.machine.advance(2_100);
  expect(lab.driver.vif(1, 0)).toBeDefined();
  expect(lab.network.events).toEqual(['+1.0', '-1.0', '+1.0']);
  expect(await lab.state(1, 0)).toBe(XenbusState.InitWait);
  mailbox.close();
  await lab.run(lab.driver.stop());
  expect(frontend.release()).toBe(true);
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});

test('names that are no vif, vifs without a frontend, and vifs that the factory leaves alone are left alone', async () => {
  const lab = new DriverLab();
  await lab.run(lab.driver.start());
  for (const path of ['one/0/frontend', '1/zero/frontend', '1/3/mac', '70000000/1/frontend'])
    await lab.run(lab.back.store.write(`backend/vif/${path}`, 'x'));
  await lab.vif(1, 99);
  await lab.settle();
  expect(lab.driver.vifs()).toEqual([]);
  await lab.run(lab.driver.stop());
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});

test('one vif whose guest hangs delays no other, neither coming nor going', async () => {
  const lab = new DriverLab();
  await lab.run(lab.driver.start());
  const hung = await lab.vif(1, 0);
  await lab.settle();
  await lab.run(hung.connect({ pages: 4 }));
  await lab.settle();
  lab.machine.pauseDomain(1);
  const before = lab.machine.clock.now();
  const stopped = lab.driver.vif(1, 0)!.stop();
  const other = await lab.vif(2, 0);
  await lab.run(other.connect({ pages: 4 }));
  await lab.settle();
  expect(await lab.state(2, 0)).toBe(XenbusState.Connected);
  await lab.remove(2, 0);
  await lab.settle();
  expect(other.release()).toBe(true);
  expect(lab.machine.clock.now() - before).toBeLessThan(100);
  await lab.run(stopped);
  await lab.run(lab.driver.stop());
  lab.machine.resumeDomain(1);
  expect(hung.release()).toBe(true);
  expect(lab.back.ledger()).toEqual(NOTHING_HELD);
});
