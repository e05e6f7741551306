/**
 * One run: makes the lab, lets the scenario happen under traffic, heals everything, and judges. What must hold:
 *
 * - after every step: no access outside what is owned or granted; each frame that arrives was sent, arrives once and
 *   in its flow's order; nothing raises itself for ever;
 * - when all has healed: every frame arrived or is counted by name, and each flow carries frames again, all of them;
 * - after the teardown: no page, grant, mapping, port, watch, timer, task or VI is left.
 */
import type { SharedMemory } from '@netaccel/xen/sim';
import { CheckFailed, fail } from './check.js';
import { Deeds, FOREVER_MS } from './deeds.js';
import { MTU, SimulatedLab } from './lab.js';
import { SIDES, isCalm } from './scenario.js';
import type { Scenario, Side } from './scenario.js';
import { Trace } from './trace.js';
import type { TraceFile } from './trace.js';

/** Virtual time that things get to come to rest. */
const REST_MS = 30_000;
/** Virtual time in which a connection must be back. */
const RECONNECT_MS = 20_000;
/** Virtual time between two steps when nothing else happens. */
const TICK_MS = 0.5;
/** The same while a host hangs for long. */
const HANG_TICK_MS = 20;
/** Steps longer that traffic and faults go on while a guest is being moved. */
const MOVE_STEPS = 3000;
/** Steps of traffic to a guest that takes none, before the lab is taken down. */
const FILL_STEPS = 150;
/** Frames of each direction that must all arrive at the end. */
const PROBES = 24;

/** What a run found. */
export interface Outcome {
  readonly seed: number;
  /** What is wrong; null when all is well. */
  readonly failure: string | null;
  /** When it was found. */
  readonly atStep: number;
  readonly steps: number;
  /** Frames that drivers took, and that arrived. */
  readonly sent: number;
  readonly arrived: number;
  /** Of those that arrived, on the fast path. */
  readonly fast: number;
  /** Guests that went to the other host, and moves that were called off. */
  readonly moves: { readonly done: number; readonly failed: number };
  /** Frames lost, by the counter that names it. */
  readonly losses: Readonly<Record<string, number>>;
  /** The last lines that the domains logged. */
  readonly log: readonly string[];
  /** A number that another run of the seed shares. */
  readonly traceHash: number;
  readonly trace: TraceFile | null;
}

/** How a run is made. */
export interface RunOptions {
  /** Memory of an earlier run. */
  readonly memory?: SharedMemory;
  /** Records a trace. */
  readonly trace?: boolean;
}

/** Runs one scenario. */
export async function run(
  scenario: Scenario,
  options: RunOptions = {},
): Promise<Outcome & { memory: SharedMemory }> {
  const lab = await SimulatedLab.start(scenario, fail, options.memory);
  return new Run(lab, options.trace === true).outcome();
}

class Run {
  private readonly trace: Trace | null;
  private readonly deeds: Deeds;
  private readonly firstStep: number;
  private failed: string | null = null;
  private violation: string | null = null;
  private healing = false;
  /** Losses of announcements and the like are not the traffic's. */
  private readonly excusedConnect: () => boolean;

  constructor(
    private readonly lab: SimulatedLab,
    trace: boolean,
  ) {
    this.firstStep = this.scheduler.steps;
    this.trace = trace ? new Trace(lab.lab.lab) : null;
    this.deeds = new Deeds(lab, this.firstStep, {
      mark: (name, args) => this.trace?.mark(name, args),
      renamed: () => this.nameDomains(),
    });
    this.nameDomains();
    const audit = lab.lab.lab.audit!;
    audit.onViolation = (what) => (this.violation ??= `${what}\n${new Error('at').stack ?? ''}`);
    const { drawn } = lab.faults;
    this.excusedConnect = () => drawn.mapFails + drawn.noGrants + drawn.noPages + drawn.noPorts > 0;
  }

  private get scheduler() {
    return this.lab.lab.lab.scheduler;
  }

  async outcome(): Promise<Outcome & { memory: SharedMemory }> {
    const { lab, scheduler } = this;
    const [a, b] = lab.traffic;
    let atStep = 0;
    try {
      await this.disturb();
      await this.heal();
      await this.probe();
      if (lab.scenario.abrupt) await this.fill();
      await this.tearDown();
    } catch (error) {
      this.failed = error instanceof CheckFailed ? error.message : String((error as Error).stack);
      atStep = scheduler.steps;
      this.trace?.mark('failure', { what: this.failed });
    }
    scheduler.onStep = null;
    const { seed } = lab.scenario;
    return {
      seed,
      failure: this.failed,
      atStep,
      steps: scheduler.steps,
      sent: a.sent + b.sent,
      arrived: a.arrived + b.arrived,
      fast: SIDES.reduce<number>(
        (n, side) => n + lab.guest(side).guest.netfront.statistics().accelerated.rxFrames,
        0,
      ),
      moves: this.deeds.moved,
      losses: Object.fromEntries(lab.losses.counted()),
      log: SIDES.flatMap((side) => lab.host(side).machine.lines).map(
        ({ atMs, host, domain, level, message }) =>
          `${atMs.toFixed(3)} ${host} ${domain} ${level}: ${message}`,
      ),
      traceHash: scheduler.traceHash,
      trace: this.trace?.file({ seed, failure: this.failed, scenario: lab.scenario }) ?? null,
      memory: lab.lab.lab.memory,
    };
  }

  /** Traffic, faults and actions. */
  private async disturb(): Promise<void> {
    const { lab, scheduler } = this;
    const end = this.firstStep + lab.scenario.steps;
    const last = end + MOVE_STEPS;
    scheduler.onStep = (step) => this.beforeStep(step);
    lab.setRates(false);
    for (const side of SIDES) lab.begin(side, FOREVER_MS);
    this.tick();
    await lab.lab.lab.runUntil(() => {
      lab.look();
      this.deeds.actAll(scheduler.steps - this.firstStep);
      // A move is to end under the same traffic and faults.
      return scheduler.steps >= (this.deeds.moving ? last : end);
    }, FOREVER_MS);
  }

  /** Steps go on also while everybody sleeps, is paused or dead. */
  private tick(): void {
    const ms = this.deeds.hanging ? HANG_TICK_MS : TICK_MS;
    if (!this.healing) this.lab.lab.lab.clock.after(ms, () => this.tick());
  }

  /** What must hold at every step; and a pause before it for promises when the scenario wants something there. */
  private beforeStep(step: number): void {
    if (this.violation !== null) fail(this.violation);
    if (this.deeds.broken !== null) throw this.deeds.broken;
    if (this.deeds.next <= step - this.firstStep) this.scheduler.controlPending = true;
  }

  /** Nothing goes wrong any more: the dead boot, the paused go on, and all must come back. */
  private async heal(): Promise<void> {
    const { lab } = this;
    this.healing = true;
    lab.setRates(true);
    lab.plugin.disarm();
    lab.plug(true);
    this.deeds.end();
    for (const traffic of lab.traffic) traffic.stop();
    // A host that hangs goes on when its time is over: whoever waits for it is to give up before.
    if (!this.deeds.hanging)
      for (const side of SIDES) for (const id of ['driver', 'guest'] as const) lab.pause(side, id, false);
    // A boot does not end when there was no memory, grant or port for its device: an operator's way out is another.
    const cancel = lab.lab.lab.clock.after(RECONNECT_MS, () => {
      if (this.excusedConnect()) this.deeds.giveUpBoots();
    });
    await this.until('what was begun ends', () => {
      // A guest that boots begins to send again: whoever waits for what takes seconds is to wait in peace.
      for (const traffic of lab.traffic) traffic.stop();
      this.deeds.actAll(Infinity);
      return this.deeds.over;
    });
    cancel();
    for (const id of ['driver', 'guest'] as const)
      for (const side of SIDES) if (lab.isDead(side, id)) await this.during(this.deeds.boot(side, id));
    for (const traffic of lab.traffic) traffic.stop();
    for (const side of SIDES) await this.usual(side);
    for (const side of SIDES) await this.reconnected(side);
    await lab.lab.lab.settle(REST_MS);
    this.judge();
  }

  /** All groups, and the payload that the lab began with. */
  private async usual(side: Side): Promise<void> {
    this.lab.guest(side).guest.netfront.setGroups(null);
    await this.during(this.lab.setMtu(side, MTU));
  }

  private async reconnected(side: Side): Promise<void> {
    const { lab } = this;
    const { netfront } = lab.guest(side).guest;
    const connected = (): boolean => lab.guest(side).guest.netfront.carrier;
    try {
      await lab.lab.lab.runUntil(connected, RECONNECT_MS);
    } catch (error) {
      // An operator's way out, for a connection that had no memory, grants or ports when it was made.
      if (!this.excusedConnect() && !this.deeds.hungWhileClosing)
        fail(
          `the device of ${lab.host(side).name} is not connected again: ${JSON.stringify(netfront.describe())} (${String(error)})`,
        );
      await this.during(lab.reconnect(side));
      await this.until('a device that was closed and opened connects', connected);
    }
  }

  /** Every frame arrived, or a counter of those who can have had it says why not. */
  private judge(): void {
    const { lab } = this;
    const { sending, outside } = lab.losses.totals();
    const calm = isCalm(lab.scenario);
    for (const side of SIDES)
      this.compare(`that the driver of ${lab.host(side).name} had`, {
        missing: lab.traffic[side].underWay.sending,
        counted: sending[side]!,
        exact: calm,
      });
    this.compare('that were seen outside of their sender', {
      missing: lab.traffic.reduce((n, { underWay }) => n + underWay.outside, 0),
      counted: outside,
      // The announcements of a move are lost and counted, too.
      exact: calm && this.deeds.moved.done + this.deeds.moved.failed === 0,
    });
    for (const traffic of lab.traffic) traffic.giveUp('all');
  }

  private compare(
    which: string,
    { missing, counted, exact }: { missing: number; counted: number; exact: boolean },
  ): void {
    if (missing < counted ? !exact : missing === counted) return;
    const { traffic, losses } = this.lab;
    fail(
      `${missing} frames ${which} are missing and counters name ${counted}: ` +
        SIDES.map((side) => `from ${this.lab.host(side).name}: ${traffic[side].missing()}`).join('; ') +
        `; ${JSON.stringify([...losses.counted()])}`,
    );
  }

  /** Each direction carries frames, all of them. */
  private async probe(): Promise<void> {
    const { lab } = this;
    const before = JSON.stringify([...lab.losses.counted()]);
    for (const side of SIDES) {
      const traffic = lab.traffic[side];
      const { netfront } = lab.guest(side).guest;
      for (let n = 0; n < PROBES; n++) {
        if (!traffic.send(netfront, false))
          await this.until('a driver at rest has room for a frame', () => traffic.send(netfront, false));
        if (n % 4 === 3) await lab.lab.lab.settle(1);
      }
    }
    await lab.lab.lab.settle(REST_MS);
    for (const side of SIDES)
      if (lab.traffic[side].underWay.sending + lab.traffic[side].underWay.outside > 0)
        fail(
          `the lab is at rest and healthy, and frames do not arrive: from ${lab.host(side).name}: ` +
            `${lab.traffic[side].missing()}; losses before ${before}, now ${JSON.stringify([...lab.losses.counted()])}`,
        );
  }

  /** Queues fill, so that what comes next has something to let go of. */
  private async fill(): Promise<void> {
    const { lab, scheduler } = this;
    const side = SIDES[lab.scenario.seed % SIDES.length]!;
    for (const each of SIDES) lab.begin(each, FOREVER_MS);
    lab.pause(side, 'guest', true);
    const end = scheduler.steps + FILL_STEPS;
    await lab.lab.lab.runUntil(() => scheduler.steps >= end, REST_MS);
    lab.pause(side, 'guest', false);
    for (const traffic of lab.traffic) traffic.stop();
  }

  /** Everything closes, and nothing is left. */
  private async tearDown(): Promise<void> {
    const { lab } = this.lab;
    const domains = SIDES.flatMap((side) => [
      this.lab.guest(side).domain,
      this.lab.host(side).machine.domain(0)!,
    ]);
    await lab.stop();
    for (const domain of domains) {
      const { timers } = domain.ledger();
      if (timers > 0) fail(`${domain.name} has ${timers} timers when all its programs have stopped`);
    }
    await lab.lab.settle(REST_MS);
    for (const domain of domains) {
      const ledger = domain.ledger();
      if (Object.values(ledger).some((held) => held !== 0))
        fail(`${domain.name} holds something after the teardown: ${JSON.stringify(ledger)}`);
    }
    for (const nic of lab.hardware.nics)
      if (nic.describe().liveVis !== 0) fail(`${nic.describe().liveVis} VIs live after the teardown`);
    const audit = lab.lab.audit!;
    audit.checkFreePages();
    if (this.violation !== null) fail(this.violation);
    if (lab.lab.scheduler.pendingTimers > 0)
      fail(`${lab.lab.scheduler.pendingTimers} timers are left after the teardown`);
  }

  private async during(work: Promise<void>): Promise<void> {
    await this.lab.lab.during(work);
  }

  private async until(what: string, done: () => boolean): Promise<void> {
    try {
      await this.lab.lab.lab.runUntil(() => {
        this.lab.look();
        return done();
      }, REST_MS * 2);
    } catch (error) {
      if (error instanceof CheckFailed) throw error;
      fail(`expected: ${what}; seen: ${String(error)}; busy: ${this.deeds.underWay}; ${this.state()}`);
    }
  }

  /** Where the devices stand, for a report. */
  private state(): string {
    return SIDES.map((side) => {
      const { accelerator, frontend, backend, reason, carrier } = this.lab.guest(side).guest.netfront.state;
      const vifs = this.lab
        .host(side)
        .driver.driver.vifs()
        .map((vif) => vif.describe());
      return JSON.stringify({ side, frontend, backend, carrier, accelerator, reason, vifs });
    }).join(' ');
  }

  private nameDomains(): void {
    for (const side of SIDES) this.trace?.domains(side, this.lab.host(side).machine, [0, 1, 2]);
  }
}
