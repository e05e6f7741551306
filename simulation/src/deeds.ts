/**
 * What is done to a lab in a run: the scenario's actions at their steps, what follows from them (the dead boot, the
 * paused go on), and what an operator's program keeps in mind meanwhile. Whether all of it was borne is the run's to
 * judge. Owned by a run.
 */
import type { Netfront } from '@netaccel/netfront';
import type { SimulatedLab } from './lab.js';
import { CheckFailed, fail } from './check.js';
import { firstGroups } from './groups.js';
import { SIDES } from './scenario.js';
import type { Action, Side, Timed } from './scenario.js';

/** Steps until another try of what cannot be done yet. */
const AGAIN_STEPS = 20;
/** Virtual time when traffic would end by itself: never. */
export const FOREVER_MS = 1e9;

/** A domain of a side: the guest that began there, or the host's driver domain. */
export type Role = 'guest' | 'driver';

const MOVER = 'mover';

/** Told what is done, for a trace. */
export interface Watcher {
  /** Something happened. */
  mark(name: string, args: Readonly<Record<string, unknown>>): void;
  /** There are other domains than before. */
  renamed(): void;
}

/** The deeds of one run. */
export class Deeds {
  /** A check that failed where no step was there to be told. */
  broken: CheckFailed | null = null;
  /** A host hung while a guest closed its device: both halves may take the other for gone, and need an operator. */
  hungWhileClosing = false;
  /** Moves that ended well, and those that did not. */
  readonly moved = { done: 0, failed: 0 };
  /** Until when a host hangs, and nobody sends. */
  private hangsUntilMs = 0;
  private ended = false;
  private readonly actions: Timed[];
  private readonly waiting: { step: number; act: () => void }[] = [];
  /** What was begun and has not ended, with the domain that does it. */
  private readonly working = new Map<Promise<void>, string>();
  /** Guests that are suspended or moved just now: whoever else would do either waits. */
  private readonly busy = new Set<Side>();
  /** Sides of which somebody died, was paused or lost its cable: a move meanwhile promises less. */
  private troubles = 0;

  constructor(
    private readonly lab: SimulatedLab,
    private readonly firstStep: number,
    private readonly watcher: Watcher,
  ) {
    this.actions = [...lab.scenario.actions];
  }

  /** When something is due, in steps; Infinity when nothing is. */
  get next(): number {
    let next = this.actions[0]?.step ?? Infinity;
    for (const { step } of this.waiting) if (step < next) next = step;
    return next;
  }

  /** Whether nothing that was begun goes on, and nothing waits for its step. */
  get over(): boolean {
    return this.working.size === 0 && this.waiting.length === 0;
  }

  /** Whether a host hangs: time may pass in larger pieces. */
  get hanging(): boolean {
    return this.hangsUntilMs > 0;
  }

  /** Whether a guest is on its way. */
  get moving(): boolean {
    return [...this.working.values()].some((by) => by.endsWith(MOVER));
  }

  /** Who is at something, for a report. */
  get underWay(): string {
    return [...this.working.values()].join();
  }

  /** No further action begins; what has begun goes on. */
  end(): void {
    this.ended = true;
    this.actions.length = 0;
  }

  /** Nobody waits any more for a guest to boot whose device does not connect: it stays dead, and may boot again. */
  giveUpBoots(): void {
    for (const [work, by] of this.working)
      if (SIDES.some((side) => by === `${side} guest` && this.lab.isDead(side, 'guest')))
        this.working.delete(work);
  }

  /** Does what is due. No promise has anything left to do at this moment, so a domain that dies is dead. */
  actAll(at: number): void {
    for (let next = this.actions[0]; next !== undefined && next.step <= at; next = this.actions[0]) {
      this.actions.shift();
      this.watcher.mark(next.do, { ...next });
      this.act(next, at);
    }
    for (let i = this.waiting.length - 1; i >= 0; i--)
      if (this.waiting[i]!.step <= at) this.waiting.splice(i, 1)[0]!.act();
  }

  /**
   * A dead domain boots again; resolves when it serves, or its device is connected. A guest without a driver domain
   * waits for that; at the end it stays dead, for whoever boots its driver domain to boot.
   */
  async boot(side: Side, id: Role): Promise<void> {
    const { lab } = this;
    // A guest's vif is made by the toolstack, which is in the driver domain.
    if (id === 'guest' && lab.isDead(lab.placeOf(side), 'driver')) {
      if (!this.ended) this.again(() => this.work(side, id, () => this.boot(side, id)));
      return;
    }
    await lab.restart(side, id);
    // Frames that came for a guest that was dead went wherever it had room for them.
    if (id === 'guest') lab.traffic[1 - side]!.giveUp('outside');
    this.watcher.renamed();
    if (id !== 'guest') return;
    if (this.hanging) this.silence(side, this.hangsUntilMs);
    // At the end nobody sends: whoever waits for a deadline then would have to wait for millions of frames.
    else if (!this.ended) lab.begin(side, FOREVER_MS);
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
        this.alone(action.side, () => this.permit(action.side, action.do === 'allow' ? 'eth0' : null));
        break;
      case 'suspend':
        this.alone(action.side, () => this.suspend(action.side));
        break;
      case 'migrate':
        this.alone(action.side, () => this.migrate(action.side));
        break;
      case 'killGuest':
      case 'killDriver':
        this.kill(action.side, action.do === 'killGuest' ? 'guest' : 'driver', at + action.forSteps);
        break;
      case 'pauseGuest':
      case 'pauseDriver': {
        const id = action.do === 'pauseGuest' ? 'guest' : 'driver';
        if (lab.isDead(action.side, id)) break;
        this.troubles++;
        lab.pause(action.side, id, true);
        this.waiting.push({ step: at + action.forSteps, act: () => this.unpause(action.side, id) });
        break;
      }
      case 'hang':
        this.hang(action.side, action.ms, action.suspend);
        break;
      case 'resetNic':
        this.troubles++;
        lab.resetNic(action.side);
        break;
      case 'unplug':
        this.troubles++;
        lab.plug(false);
        this.waiting.push({ step: at + action.forSteps, act: () => this.plug() });
        break;
      case 'throw':
        lab.plugin.arm(action.hook);
        break;
      case 'headroom':
        this.ask(action.side, (netfront) => netfront.setHeadroom(action.bytes));
        break;
      case 'groups':
        this.ask(action.side, (netfront) => netfront.setGroups(firstGroups(action.groups)));
        break;
      case 'mtu':
        this.alone(action.side, () => this.allowMtu(action.side, action.mtu));
        break;
      case 'quiet':
        this.quiet(action.ms);
        break;
    }
  }

  private permit(side: Side, port: string | null): void {
    const place = this.lab.placeOf(side);
    if (!this.lab.isDead(place, 'driver')) this.work(place, 'driver', () => this.lab.allow(side, port));
  }

  /** Something is asked of a guest's driver, whatever else that is at. */
  private ask(side: Side, act: (netfront: Netfront) => unknown): void {
    if (this.lab.isDead(side, 'guest')) return;
    this.work(side, 'guest', async () => {
      await act(this.lab.guest(side).guest.netfront);
    });
  }

  private allowMtu(side: Side, mtu: number): void {
    const place = this.lab.placeOf(side);
    if (!this.lab.isDead(place, 'driver')) this.work(place, 'driver', () => this.lab.setMtu(side, mtu));
  }

  private quiet(ms: number): void {
    for (const side of SIDES) if (!this.lab.isDead(side, 'guest')) this.silence(side, this.now + ms);
  }

  private silence(side: Side, untilMs: number): void {
    const { domain, guest } = this.lab.guest(side);
    this.lab.traffic[side].pause(domain, guest.netfront, FOREVER_MS, untilMs);
  }

  private get now(): number {
    return this.lab.lab.lab.scheduler.now();
  }

  /** The host answers nothing for a long time, with frames of its guests on its rings. */
  private hang(place: Side, ms: number, suspend: boolean): void {
    const { lab } = this;
    if (lab.isDead(place, 'driver') || lab.paused.size > 0) return;
    this.troubles++;
    this.quiet(ms);
    this.hangsUntilMs = this.now + ms;
    lab.pause(place, 'driver', true);
    // One that closes or moves already is caught in it, too.
    if (SIDES.some((side) => this.busy.has(side) && lab.placeOf(side) === place))
      this.hungWhileClosing = true;
    for (const side of SIDES)
      if (suspend && lab.placeOf(side) === place)
        this.alone(side, () => {
          this.hungWhileClosing = true;
          this.suspend(side);
        });
    const over = new Promise<void>((resolve) => void lab.lab.lab.clock.after(ms, resolve));
    this.begun(
      over.then(() => {
        this.hangsUntilMs = 0;
        this.unpause(place, 'driver');
      }),
      `${place} hang`,
    );
  }

  private unpause(side: Side, id: Role): void {
    this.troubles++;
    this.lab.pause(side, id, false);
  }

  private plug(): void {
    this.troubles++;
    this.lab.plug(true);
  }

  /** Whether the device comes back is judged at the end: with a fault in its way it may need an operator. */
  private suspend(side: Side): void {
    if (this.lab.isDead(side, 'guest')) return;
    this.busy.add(side);
    void this.lab
      .suspend(side)
      .catch((error: unknown) => this.rejected(error))
      .finally(() => this.busy.delete(side));
  }

  /** Moves a guest, and holds the move to what it promises when nothing else was wrong meanwhile. */
  private migrate(side: Side): void {
    const { lab } = this;
    if (lab.isDead(side, 'guest') || SIDES.some((place) => lab.isDead(place, 'driver'))) return;
    const before = this.wrongs();
    const sender: Side = side === 0 ? 1 : 0;
    const inbound = lab.traffic[sender];
    // A flow that goes by both of its sender's paths may be overtaken (host's migration.ts): its order is not promised.
    const isSlow = (): boolean => lab.guest(sender).guest.netfront.state.accelerator === 'detached';
    const ordered = isSlow();
    inbound.overtaken = 0;
    inbound.mayOvertake = true;
    this.busy.add(side);
    const move = async (): Promise<void> => {
      let report;
      let reason = '';
      try {
        report = await lab.migrate(side);
        this.moved.done++;
        this.watcher.mark('moved', { ...report });
      } catch (error) {
        this.moved.failed++;
        reason = String(error);
        this.rejected(error);
      } finally {
        this.busy.delete(side);
        this.watcher.renamed();
      }
      if (this.wrongs() !== before) {
        inbound.forgive();
        return;
      }
      if (report === undefined) fail(`nothing was wrong, and a guest could not be moved: ${reason}`);
      else if (!report.announced || report.lost.holdFull > 0)
        fail(`nothing was wrong while a guest was moved: ${JSON.stringify(report)}`);
      if (ordered && isSlow()) {
        if (inbound.overtaken > 0)
          fail(`nothing was wrong while a guest was moved, and a frame was overtaken`);
        inbound.mayOvertake = false;
        return;
      }
      // What was sent until now may still be under way by the old host, on either path.
      inbound.forgive();
    };
    const work = move().catch((error: unknown) => {
      if (error instanceof CheckFailed) this.broken ??= error;
      else throw error;
    });
    this.begun(work, `${side} ${MOVER}`);
  }

  /** Changes when something went wrong. */
  private wrongs(): number {
    const { lab } = this;
    const drawn = Object.values(lab.faults.drawn).reduce((sum, n) => sum + n, 0);
    const away = lab.paused.size + lab.dead.size > 0 ? 1 : 0;
    const wire = Object.values(lab.scenario.wire).some((rate) => rate > 0) ? NaN : 0;
    return this.troubles + drawn + lab.plugin.sprung + wire + (away === 1 || lab.unplugged ? NaN : 0);
  }

  private kill(side: Side, id: Role, until: number): void {
    const { lab } = this;
    if (lab.isDead(side, id)) return;
    // A toolstack that dies in the middle of a move is not simulated: it would need another one that cleans up.
    if (this.busy.size > 0) return this.again(() => this.kill(side, id, until));
    this.troubles++;
    lab.kill(side, id);
    // What it was doing never ends; neither does what others do with its help.
    for (const [work, by] of this.working)
      if (by === `${side} ${id}` || (id === 'driver' && this.isBootingOn(by, side)))
        this.working.delete(work);
    this.waiting.push({ step: until, act: () => this.work(side, id, () => this.boot(side, id)) });
  }

  private isBootingOn(by: string, place: Side): boolean {
    return SIDES.some(
      (side) => by === `${side} guest` && this.lab.placeOf(side) === place && this.lab.isDead(side, 'guest'),
    );
  }

  /** Now, or when nobody suspends or moves the guest any more. */
  private alone(side: Side, act: () => void): void {
    if (this.busy.has(side)) this.again(() => this.alone(side, act));
    else act();
  }

  private again(act: () => void): void {
    this.waiting.push({ step: AGAIN_STEPS + this.lab.lab.lab.scheduler.steps - this.firstStep, act });
  }

  /** Something that takes its time; what it rejects with is nobody's fault, unless the end shows that it was. */
  private work(side: Side, by: Role, begin: () => Promise<void>): void {
    this.begun(
      begin().catch((error: unknown) => this.rejected(error)),
      `${side} ${by}`,
    );
  }

  private begun(work: Promise<void>, by: string): void {
    this.working.set(work, by);
    void work.finally(() => this.working.delete(work));
  }

  private rejected(error: unknown): void {
    this.watcher.mark('rejected', { reason: String(error) });
  }
}
