/**
 * A host for one check: a machine of flat memory and virtual time, a bench, and the vifs that plugins are attached
 * to. Nothing happens here but what a check makes happen.
 */
import type { VifLimits } from '../../backend.js';
import type { FlatMemory } from '../../testing/flat-memory.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import type { Bench, ConformanceSubject, Receiver } from '../subject.js';
import { DriverPort } from './driver-side.js';
import type { OnBreach } from './half.js';
import { BenchTop } from './machine.js';
import { Vif } from './vif.js';

const MICROTASKS = 24;
const MOST_TURNS = 200;
/** How long a wait goes in small steps; after that in larger ones. */
const FINE_MS = 60;
const COARSE_MS = 10;
/** Steps of a long time without traffic. */
const SLEEP_MS = 500;
/** Steps after which plugins that wait for something outside of the host get a turn. */
const OUTSIDE_EVERY = 64;
const BROADCAST_BIT = 1;

/** How a host is made. */
export interface HostOptions {
  readonly limits?: Partial<VifLimits>;
  readonly rateBytesPerSecond?: number;
  readonly mtu?: number;
  /** Its vifs may use their own IP addresses only: those that `lab.outward` sends from. */
  readonly ownAddresses?: true;
}

/** The quotas of the kit's vifs, unless a check says otherwise. */
export const KIT_LIMITS: VifLimits = { maxFilters: 4, maxBufferPages: 64, maxMulticasts: 8 };

/** A host. */
export class ScriptedHost {
  readonly clock = new VirtualClock();
  readonly top: BenchTop;
  readonly bench: Bench;
  readonly port: DriverPort;
  readonly vifs: Vif[] = [];

  constructor(
    readonly subject: ConformanceSubject,
    readonly onBreach: OnBreach,
    memory: FlatMemory,
    readonly options: HostOptions = {},
  ) {
    const { clock } = this;
    const top = (this.top = new BenchTop(memory));
    this.bench = subject.bench({
      memory: top.memory,
      clock,
      allocate: (pages) => top.memory.allocate(pages),
      raise: (vector) => top.raiseOther(vector),
    });
    this.port = new DriverPort(top, (bytes) => this.forward(bytes));
  }

  /** A vif, with nothing attached. */
  vif(): Vif {
    const vif = new Vif(this, this.vifs.length);
    this.vifs.push(vif);
    return vif;
  }

  /** A frame arrives from the wire. */
  arrive(bytes: Uint8Array): Receiver {
    const receiver = this.bench.arrive(bytes);
    if (receiver === 'driver') this.port.arrived(bytes);
    return receiver;
  }

  /** The link changes. */
  setLink(up: boolean): void {
    this.bench.setLink(up);
    this.port.linkUp = up;
    for (const tell of [...this.port.links]) tell(up);
  }

  /** The device is reset. */
  reset(): void {
    this.bench.reset();
    for (const tell of [...this.port.resets]) tell();
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      for (let i = 0; i < MICROTASKS; i++) await Promise.resolve();
      let busy = this.top.deliver();
      for (const vif of this.vifs) if (vif.guest.pump()) busy = true;
      if (!busy) return;
    }
  }

  /** Lets `ms` go by. */
  async run(ms: number): Promise<void> {
    await this.until(() => false, ms);
  }

  /** Lets time go by until something is so, for a limited time; whether it came to be. */
  async until(done: () => boolean, ms: number): Promise<boolean> {
    await this.settle();
    for (let gone = 0, steps = 0; gone < ms && !done(); steps++) {
      const step = gone < FINE_MS ? 1 : Math.min(COARSE_MS, ms - gone);
      this.clock.advance(step);
      gone += step;
      if (steps % OUTSIDE_EVERY === OUTSIDE_EVERY - 1)
        await new Promise<void>((resolve) => void setTimeout(resolve, 0));
      await this.settle();
    }
    return done();
  }

  /** Lets a long time go by in which nothing arrives. */
  async sleep(ms: number): Promise<void> {
    for (let gone = 0; gone < ms; gone += SLEEP_MS) {
      this.clock.advance(SLEEP_MS);
      await this.settle();
    }
  }

  /** Waits for a promise, for a limited time; what became of it, or null when it is still open. */
  async within<T>(work: Promise<T>, ms: number): Promise<Outcome<T> | null> {
    let outcome: Outcome<T> | null = null;
    work.then(
      (value) => (outcome = { ok: true, value }),
      (error: unknown) =>
        (outcome = { ok: false, reason: error instanceof Error ? error.message : String(error) }),
    );
    await this.until(() => outcome !== null, ms);
    return outcome;
  }

  /** What is held, in words: nothing after a clean end. */
  left(): { readonly kind: string; readonly what: string }[] {
    const device = Object.entries(this.bench.resources())
      .filter(([, count]) => count !== 0)
      .map(([kind, count]) => ({ kind: 'device', what: `${count} ${kind}` }));
    return [...this.vifs.flatMap((vif) => vif.left()), ...device];
  }

  private forward(bytes: Uint8Array): void {
    const group = (bytes[0]! & BROADCAST_BIT) !== 0;
    for (const { guest, identity } of this.vifs)
      if (group || identity.mac.every((byte, i) => bytes[i] === byte)) guest.enterSlow(bytes);
  }
}

/** How a promise ended. */
export type Outcome<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };
