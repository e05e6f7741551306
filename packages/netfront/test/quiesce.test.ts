/**
 * Quiesce is proved here, not assumed: a plugin that records every call of every hook, over thousands of moments at
 * which it is taken off and put on again under traffic. No two calls overlap, none comes from inside of another, no
 * frame is offered once `quiesce` has begun, and none comes once `remove` has begun.
 */
import { expect, test } from 'vitest';
import type { FrontendAccelerator, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import { rig } from './accelerator-rig.js';
import { NOTHING_HELD, tcpFrame } from './lab.js';
import { PLUGIN } from './scripted-plugin.js';

const SEEDS = [1, 2, 3, 4];
const ROUNDS = 500;

function randomOf(seed: number): (below: number) => number {
  let state = (seed * 0x9e3779b9) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 10) % below;
  };
}

/** Stands between a device and its caller, and notes what must not be. */
class Recorder {
  readonly violations: string[] = [];
  calls = 0;
  round = 0;
  private inside: string | null = null;
  private readonly ending = new WeakSet();
  private readonly gone = new WeakSet();

  wrap(device: FrontendAccelerator): FrontendAccelerator {
    return new Proxy(device, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown =>
          this.call(target, String(name), () => Reflect.apply(value, target, args) as unknown);
      },
    });
  }

  private note(what: string): void {
    this.violations.push(`round ${this.round}: ${what}`);
  }

  private call(device: object, hook: string, run: () => unknown): unknown {
    this.calls++;
    if (this.inside !== null) this.note(`${hook} within ${this.inside}`);
    if (this.gone.has(device) && hook !== 'statistics') this.note(`${hook} after remove`);
    if (this.ending.has(device) && hook === 'startTransmit') this.note('startTransmit after quiesce');
    if (hook === 'remove') this.gone.add(device);
    if (hook === 'quiesce') this.ending.add(device);
    this.inside = hook;
    try {
      return run();
    } finally {
      this.inside = null;
    }
  }
}

test.each(SEEDS)(
  `defect 1.8 #1, defect 1.8 #2: ${ROUNDS} times off and on, at any moment, under traffic (seed %i)`,
  { timeout: 240_000 },
  async (seed) => {
    const random = randomOf(seed);
    const recorder = new Recorder();
    const { lab, registry, plugin, half } = await rig({ seed, audit: false });
    const definition: FrontendAcceleratorDefinition = {
      ...plugin.definition,
      newDevice: async (services) => recorder.wrap(await plugin.definition.newDevice(services)),
    };
    registry.register(definition);
    await lab.run(half.offer());
    await lab.settle();

    const { front, backend } = lab;
    let serial = 0;
    const traffic = (): void => {
      for (let n = random(4); n > 0; n--)
        if (front.carrier) lab.send(tcpFrame(random(3), serial++), random(2) === 0);
      const { device } = plugin;
      if (!device.removed && device.pool.free > 8 && random(2) === 0) device.arrive(tcpFrame(7, serial++));
      if (!device.removed && random(2) === 0) device.complete();
      const waiting = front.carrier && random(2) === 0 ? (backend.queues[0]?.take() ?? []) : [];
      if (waiting.length > 0) backend.queue.answer(waiting);
    };
    const off: (() => Promise<unknown>)[] = [
      () => registry.unregister(PLUGIN).then(() => registry.register(definition)),
      () => half.withdraw().then(() => half.offer()),
      () => half.offer('another-plugin').then(() => half.offer()),
      () => {
        plugin.device.services.failed('it had enough');
        return Promise.resolve();
      },
    ];
    lab.stack.onDeliver = () => {
      lab.stack.frames.length = 0;
    };
    for (let round = 0; round < ROUNDS; round++) {
      recorder.round = round;
      for (let n = random(4); n > 0; n--) {
        traffic();
        lab.machine.pump(random(30));
      }
      const done = off[random(off.length)]!();
      for (let n = random(6); n > 0; n--) {
        traffic();
        lab.machine.pump(random(12));
        if (random(2) === 0) await lab.machine.lab.turn();
      }
      await lab.run(done);
      await lab.machine.runUntil(() => front.state.accelerator === 'live' && !plugin.device.removed, 200_000);
    }
    expect(recorder.violations, `seed ${seed}`).toEqual([]);
    expect(plugin.devices.length).toBeGreaterThan(ROUNDS / 2);
    expect(recorder.calls).toBeGreaterThan(ROUNDS * 10);
    lab.backend.answering = true;
    const waiting = lab.backend.queues[0]?.take() ?? [];
    if (waiting.length > 0) lab.backend.queue.answer(waiting);
    await lab.settle();
    await lab.run(front.stop());
    await lab.run(half.stop());
    expect(recorder.violations, `seed ${seed}`).toEqual([]);
    await lab.run(backend.stop());
    await lab.settle();
    expect([lab.guest.ledger(), lab.back.ledger()]).toEqual([NOTHING_HELD, NOTHING_HELD]);
  },
);
