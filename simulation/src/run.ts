/**
 * One run: makes the lab, lets the scenario happen under traffic, heals everything, and judges. What must hold:
 *
 * - after every step: no access outside what is owned or granted; each frame that arrives was sent, arrives once and
 *   in its flow's order; nothing raises itself for ever;
 * - when all has healed: every frame arrived or is counted by name, and each flow carries frames again, all of them;
 * - after the teardown: no page, grant, mapping, port, watch, timer, task or VI is left.
 */
import type { SharedMemory } from '@netaccel/xen/sim';
import { SimulatedLab } from './lab.js';
import { SIDES } from './scenario.js';
import type { Action, Scenario, Side, Timed } from './scenario.js';
import { Trace } from './trace.js';
import type { TraceFile } from './trace.js';

/** Virtual time that things get to come to rest. */
const REST_MS = 30_000;
/** Virtual time in which a connection must be back. */
const RECONNECT_MS = 20_000;
/** Virtual time between two steps when nothing else happens. */
const TICK_MS = 0.5;
/** Steps until another try of what cannot be done yet. */
const AGAIN_STEPS = 20;
/** Frames of each direction that must all arrive at the end. */
const PROBES = 24;
/** Real time is long over when traffic would end by itself. */
const FOREVER_MS = 1e9;

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

/** A check failed: the message says which and what was seen. */
class CheckFailed extends Error {
  override name = 'CheckFailed';
}

const fail = (what: string): never => {
  throw new CheckFailed(what);
};

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
  private readonly waiting: { step: number; act: () => void }[] = [];
  /** What was begun and has not ended, with the domain that does it. */
  private readonly working = new Map<Promise<void>, string>();
  private readonly actions: Timed[];
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
    this.actions = [...lab.scenario.actions];
    this.trace = trace ? new Trace(lab.lab.lab) : null;
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
    scheduler.onStep = (step) => this.beforeStep(step);
    lab.setRates(false);
    for (const side of SIDES) lab.begin(side, FOREVER_MS);
    this.tick();
    await lab.lab.lab.runUntil(() => {
      lab.losses.look();
      this.actAll(scheduler.steps - this.firstStep);
      return scheduler.steps >= end;
    }, FOREVER_MS);
  }

  /** Steps go on also while everybody sleeps, is paused or dead. */
  private tick(): void {
    if (!this.healing) this.lab.lab.lab.clock.after(TICK_MS, () => this.tick());
  }

  /** What must hold at every step; and a pause before it for promises when the scenario wants something there. */
  private beforeStep(step: number): void {
    if (this.violation !== null) fail(this.violation);
    if (this.nextAction <= step - this.firstStep) this.scheduler.controlPending = true;
  }

  /** When something is due, in steps. */
  private get nextAction(): number {
    return Math.min(this.actions[0]?.step ?? Infinity, ...this.waiting.map(({ step }) => step));
  }

  /** Does what is due. No promise has anything left to do at this moment, so a domain that dies is dead. */
  private actAll(at: number): void {
    for (let next = this.actions[0]; next !== undefined && next.step <= at; next = this.actions[0]) {
      this.actions.shift();
      this.trace?.mark(next.do, { ...next });
      this.act(next, at);
    }
    for (let i = this.waiting.length - 1; i >= 0; i--)
      if (this.waiting[i]!.step <= at) this.waiting.splice(i, 1)[0]!.act();
  }

  private act(action: Action, at: number): void {
    const { lab } = this;
    switch (action.do) {
      case 'load':
      case 'unload':
        if (!lab.isDead(action.side, 'driver'))
          this.work(action.side, 'driver', () => lab[action.do](action.side));
        break;
      case 'allow':
      case 'forbid':
        if (!lab.isDead(action.side, 'driver'))
          this.work(action.side, 'driver', () =>
            lab.allow(action.side, action.do === 'allow' ? 'eth0' : null),
          );
        break;
      case 'suspend':
        // Whether the device comes back is judged at the end: with a fault in its way it may need an operator.
        if (!lab.isDead(action.side, 'guest'))
          void lab.suspend(action.side).catch((error: unknown) => this.rejected(error));
        break;
      case 'killGuest':
      case 'killDriver':
        this.kill(action.side, action.do === 'killGuest' ? 'guest' : 'driver', at + action.forSteps);
        break;
      case 'pauseGuest':
      case 'pauseDriver': {
        const id = action.do === 'pauseGuest' ? 'guest' : 'driver';
        if (lab.isDead(action.side, id)) break;
        lab.pause(action.side, id, true);
        this.waiting.push({ step: at + action.forSteps, act: () => lab.pause(action.side, id, false) });
        break;
      }
      case 'resetNic':
        lab.resetNic(action.side);
        break;
      case 'unplug':
        lab.plug(false);
        this.waiting.push({ step: at + action.forSteps, act: () => lab.plug(true) });
        break;
      case 'throw':
        lab.plugin.arm(action.hook);
        break;
      case 'quiet':
        for (const side of SIDES)
          if (!lab.isDead(side, 'guest')) {
            const { domain, guest } = lab.guest(side);
            const until = this.scheduler.now() + action.ms;
            lab.traffic[side].pause(domain, guest.netfront, FOREVER_MS, until);
          }
        break;
    }
  }

  private kill(side: Side, id: 'guest' | 'driver', until: number): void {
    const { lab } = this;
    if (lab.isDead(side, id)) return;
    lab.kill(side, id);
    // What it was doing never ends; neither does what others do with its help.
    for (const [work, by] of this.working)
      if (by === `${side} ${id}` || (id === 'driver' && by === `${side} guest` && lab.isDead(side, 'guest')))
        this.working.delete(work);
    this.waiting.push({ step: until, act: () => this.work(side, id, () => this.boot(side, id)) });
  }

  private async boot(side: Side, id: 'guest' | 'driver'): Promise<void> {
    const { lab } = this;
    // A guest's vif is made by the toolstack, which is in the driver domain.
    if (id === 'guest' && lab.isDead(side, 'driver')) {
      this.waiting.push({
        step: AGAIN_STEPS + this.scheduler.steps - this.firstStep,
        act: () => this.work(side, id, () => this.boot(side, id)),
      });
      return;
    }
    await lab.restart(side, id);
    // Frames that came for a guest that was dead went wherever it had room for them.
    if (id === 'guest') lab.traffic[1 - side]!.giveUp();
    this.nameDomains();
    if (id === 'guest') lab.begin(side, FOREVER_MS);
  }

  /** Something that takes its time; what it rejects with is nobody's fault, unless the end shows that it was. */
  private work(side: Side, by: 'guest' | 'driver', begin: () => Promise<void>): void {
    const work = begin().catch((error: unknown) => this.rejected(error));
    this.working.set(work, `${side} ${by}`);
    void work.finally(() => this.working.delete(work));
  }

  private rejected(error: unknown): void {
    this.trace?.mark('rejected', { reason: String(error) });
  }

  /** Nothing goes wrong any more: the dead boot, the paused go on, and all must come back. */
  private async heal(): Promise<void> {
    const { lab } = this;
    this.healing = true;
    lab.setRates(true);
    lab.plugin.disarm();
    lab.plug(true);
    this.actions.length = 0;
    for (const traffic of lab.traffic) traffic.stop();
    for (const side of SIDES) for (const id of ['driver', 'guest'] as const) lab.pause(side, id, false);
    await this.until('what was begun ends', () => {
      this.actAll(Infinity);
      return this.working.size === 0 && this.waiting.length === 0;
    });
    for (const side of SIDES)
      for (const id of ['driver', 'guest'] as const)
        if (lab.isDead(side, id)) await this.during(this.boot(side, id));
    for (const traffic of lab.traffic) traffic.stop();
    for (const side of SIDES) await this.reconnected(side);
    await lab.lab.lab.settle(REST_MS);
    this.judge();
  }

  private async reconnected(side: Side): Promise<void> {
    const { lab } = this;
    const { netfront } = lab.guest(side).guest;
    const connected = (): boolean => lab.guest(side).guest.netfront.carrier;
    try {
      await lab.lab.lab.runUntil(connected, RECONNECT_MS);
    } catch (error) {
      // An operator's way out, for a connection that had no memory, grants or ports when it was made.
      if (!this.excusedConnect())
        fail(
          `the device of ${lab.host(side).name} is not connected again: ${JSON.stringify(netfront.describe())} (${String(error)})`,
        );
      await this.during(lab.suspend(side));
      await this.until('a device that was closed and opened connects', connected);
    }
  }

  /** Every frame arrived, or a counter says why not. */
  private judge(): void {
    const { lab } = this;
    const counted = [...lab.losses.counted().values()].reduce((a, b) => a + b, 0);
    const missing = lab.traffic.reduce((n, traffic) => n + traffic.underWay, 0);
    if (missing > counted)
      fail(
        `${missing} frames are missing and counters name ${counted}: ` +
          lab.traffic
            .map((traffic, side) => `from ${lab.host(side as Side).name}: ${traffic.missing()}`)
            .join('; '),
      );
    for (const traffic of lab.traffic) traffic.giveUp();
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
      if (lab.traffic[side].underWay > 0)
        fail(
          `the lab is at rest and healthy, and frames do not arrive: from ${lab.host(side).name}: ` +
            `${lab.traffic[side].missing()}; losses before ${before}, now ${JSON.stringify([...lab.losses.counted()])}`,
        );
  }

  /** Everything closes, and nothing is left. */
  private async tearDown(): Promise<void> {
    const { lab } = this.lab;
    const domains = SIDES.flatMap((side) => [
      this.lab.guest(side).domain,
      this.lab.host(side).machine.domain(0)!,
    ]);
    await lab.stop();
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
      await this.lab.lab.lab.runUntil(done, REST_MS * 2);
    } catch (error) {
      if (error instanceof CheckFailed) throw error;
      fail(
        `expected: ${what}; seen: ${String(error)}; busy: ${[...this.working.values()].join()}; ${this.state()}`,
      );
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
    for (const side of SIDES) this.trace?.domains(side, this.lab.host(side).machine, [0, 1]);
  }
}
