/**
 * The back half's end is proved here, not assumed: a plugin that records every call that reaches it, and gives back
 * nothing of what it holds, over thousands of moments at which it is taken off and put on again. No two calls overlap,
 * no second half is made before the first is removed, and none comes once `remove` has resolved.
 */
import { expect, test } from 'vitest';
import { CONTRACT_VERSION, Frame, FreeFrames, defineBackendAccelerator } from '@netaccel/core-hooks';
import type { BackendAcceleratorDefinition, BackendServices, NicPortHold } from '@netaccel/core-hooks';
import { XenbusState } from '@netaccel/xen';
import { AccelLab } from './accelerator-lab.js';
import { NOTHING_HELD } from './lab.js';

const SEEDS = [1, 2, 3, 4];
const ROUNDS = 500;
const NAME = 'recording-backend';

function randomOf(seed: number): (below: number) => number {
  let state = (seed * 0x9e3779b9) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 10) % below;
  };
}

/** A NIC port that shows frames, link changes and resets to whoever looks. */
class ShowingPort implements NicPortHold {
  readonly name = 'eth0';
  readonly device = { kind: 'recorded' };
  readonly frames = new Set<(frame: Frame) => void>();
  readonly links = new Set<(up: boolean) => void>();
  readonly resets = new Set<() => void>();
  private readonly frame = new Frame(new FreeFrames(), 0, 4096, 4096);

  onReceive = (handler: (frame: Frame) => void) => keep(this.frames, handler);
  onTransmit = (handler: (frame: Frame) => void) => keep(this.frames, handler);
  onReset = (handler: () => void) => keep(this.resets, handler);
  onLink = (handler: (up: boolean) => void) => {
    handler(true);
    return keep(this.links, handler);
  };
  received = () => Promise.resolve();

  show(): void {
    for (const look of [...this.frames]) look(this.frame);
  }
}

function keep<T>(set: Set<T>, handler: T): () => void {
  set.add(handler);
  return () => void set.delete(handler);
}

/** Notes every call of every attachment, and what must not be. */
class Recorder {
  readonly violations: string[] = [];
  /** Calls by what was called. */
  readonly calls = new Map<string, number>();
  round = 0;
  /** Attachments whose half is not removed yet. */
  private there = 0;
  private inside: string | null = null;
  services: BackendServices | null = null;
  readonly definition: BackendAcceleratorDefinition = defineBackendAccelerator({
    name: NAME,
    version: '1.0.0',
    contract: CONTRACT_VERSION,
    capabilities: { transmitRate: true },
    frontend: `${NAME}-guest`,
    supports: (device) => (device as { kind: string }).kind === 'recorded',
    probe: (services) => this.probe(services),
  });

  /** How the next probe and the next remove go: at once, after some turns, or by failing. */
  constructor(private readonly random: (below: number) => number) {}

  private async probe(services: BackendServices): Promise<{
    remove: () => Promise<void>;
    describe: () => Record<string, never>;
  }> {
    const attachment = { gone: false, removes: 0 };
    if (this.there > 0) this.note('probe before the half that was there is removed');
    const called =
      (what: string, answer: () => unknown = () => undefined) =>
      (): never =>
        this.call(attachment, what, answer) as never;
    this.count('probe');
    const { port, mailbox, clock, events, store } = services;
    port.onReceive(called('onReceive'));
    port.onTransmit(called('onTransmit'));
    port.onReset(called('onReset'));
    port.onLink(called('onLink'));
    services.onCredit(called('onCredit', () => 0));
    mailbox.handle(
      1,
      called('a message', () => ({ ok: true, payload: new Uint8Array(0) })),
    );
    const tick = (): void => void clock.after(this.random(20), called('a timer', tick));
    tick();
    const end = events.open(called('an event'));
    await store.write('port', String(end.port));
    await store.watchPeer('news', called('a watch'));
    for (let turns = this.random(4); turns > 0; turns--) await Promise.resolve();
    if (this.random(12) === 0) throw new Error('it did not work out');
    this.services = services;
    this.there++;
    return {
      remove: async () => {
        if (attachment.removes++ > 0) this.note('remove for the second time');
        this.count('remove');
        for (let turns = this.random(4); turns > 0; turns--) await Promise.resolve();
        attachment.gone = true;
        this.there--;
        if (this.random(12) === 0) throw new Error('it went badly');
      },
      describe: () => ({}),
    };
  }

  private call(attachment: { gone: boolean }, what: string, answer: () => unknown): unknown {
    this.count(what);
    if (this.inside !== null) this.note(`${what} within ${this.inside}`);
    if (attachment.gone) this.note(`${what} after remove`);
    this.inside = what;
    try {
      if (this.random(300) === 0) throw new Error(`${what} has a bug`);
      return answer();
    } finally {
      this.inside = null;
    }
  }

  private note(what: string): void {
    this.violations.push(`round ${this.round}: ${what}`);
  }

  private count(what: string): void {
    this.calls.set(what, (this.calls.get(what) ?? 0) + 1);
  }
}

test.each(SEEDS)(
  `feature 20: ${ROUNDS} times off and on, at any moment, under traffic (seed %i)`,
  { timeout: 240_000 },
  async (seed) => {
    const random = randomOf(seed);
    const recorder = new Recorder(random);
    const port = new ShowingPort();
    const lab = await AccelLab.make({
      audit: false,
      start: false,
      limits: { teardownTimeoutMs: 100 },
      accelerated: { definition: recorder.definition, port },
      backendKeys: { rate: '100000,50000' },
    });
    const { vif, half, registry } = lab;
    const { machine, back, guest, netback } = vif;
    await vif.run(netback.start());
    await vif.run(vif.frontend.connect({ pages: 4 }));
    await vif.settle();
    const accel = `${vif.frontend.path}/accel`;
    const attached = (): boolean => lab.slot()['state'] === 'attached';

    const traffic = (): void => {
      if (random(2) === 0) port.show();
      if (random(4) === 0) for (const tell of [...port.links]) tell(random(2) === 0);
      if (random(8) === 0) for (const tell of [...port.resets]) tell();
      if (random(3) === 0) half.mailbox?.request(1, new Uint8Array(random(8)), 50).catch(() => undefined);
      if (random(4) === 0)
        void guest.store.write(`${accel}/news`, String(random(100))).catch(() => undefined);
    };
    const off: (() => Promise<unknown>)[] = [
      () => registry.unregister(NAME).then(() => registry.register(recorder.definition)),
      () => back.store.remove(`${vif.backPath}/accel`),
      () => back.store.write(`${vif.backPath}/accel`, 'eth5'),
      () => back.store.write(`${vif.backPath}/mac`, `00:16:3e:00:01:${10 + random(80)}`),
      () => Promise.resolve(recorder.services?.failed('it had enough')),
      () => guest.store.write(`${accel}/state`, String(XenbusState.Closing)),
    ];
    for (let round = 0; round < ROUNDS; round++) {
      recorder.round = round;
      // On again: the key names the port, and the guest's half comes whenever it is told to.
      await vif.run(back.store.write(`${vif.backPath}/accel`, 'eth0'));
      for (let tries = 0; tries < 8 && !attached(); tries++) {
        await half.state(XenbusState.Initialising);
        await machine.runUntil(() => lab.slot()['state'] !== 'none', 100_000);
        await half.connect();
        await machine.runUntil(() => lab.slot()['state'] !== 'offered', 10_000);
      }
      for (let n = random(4); n > 0; n--) {
        traffic();
        machine.pump(random(30));
      }
      const done = off[random(off.length)]!();
      for (let n = random(6); n > 0; n--) {
        traffic();
        machine.pump(random(12));
        if (random(2) === 0) await machine.lab.turn();
      }
      // The guest's half goes along, or is slow about it.
      if (random(3) > 0) await half.state(XenbusState.Closed);
      await vif.run(done, 100_000);
    }
    expect(recorder.violations, `seed ${seed}`).toEqual([]);
    const count = (what: string): number => recorder.calls.get(what) ?? 0;
    expect(count('probe')).toBeGreaterThan(ROUNDS / 2);
    for (const what of [
      'onReceive',
      'onTransmit',
      'onLink',
      'onReset',
      'onCredit',
      'a message',
      'a timer',
      'a watch',
    ])
      expect(count(what), what).toBeGreaterThan(ROUNDS / 10);
    await vif.run(netback.stop());
    port.show();
    await vif.settle();
    expect(recorder.violations, `seed ${seed}`).toEqual([]);
    expect(half.release()).toBe(true);
    expect([port.frames.size, port.links.size, port.resets.size]).toEqual([0, 0, 0]);
    vif.frontend.release();
    await vif.settle();
    expect([back.ledger(), guest.ledger()]).toEqual([NOTHING_HELD, NOTHING_HELD]);
  },
);
