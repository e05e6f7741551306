/**
 * The reference plugin's front half with a mind of its own, as another vendor's might have: it declines frames, says at
 * times that it has no room, takes its time, and a hook of it that was armed throws at its next call. Whatever it does, each flow keeps
 * its order, and the device goes on by the slow path when there is no other.
 */
import { Verdict, declined } from '@netaccel/core-hooks';
import type {
  Frame,
  FrontendAccelerator,
  FrontendAcceleratorDefinition,
  FrontendServices,
} from '@netaccel/core-hooks';
import reference from '@netaccel/dummy-accel-frontend';
import { Random } from '@netaccel/xen/sim';
import type { Mood, ThrowingHook } from './scenario.js';

const refused = declined('not-registered');
/** How long it has no room, at most. */
const FULL_MS = 0.4;

/** How long what it took stays in its queue, at most. */
const LAZY_MS = 0.08;

/** What a trap throws. */
export class SprungTrap extends Error {
  override name = 'SprungTrap';
}

/** The guests' plugin, and what arms it. */
export class TrappedPlugin {
  /** Traps that were sprung. */
  sprung = 0;
  /** Told of each frame that it took. */
  onTaken: (frame: Frame) => void = () => undefined;
  private armed: ThrowingHook | null = null;
  private readonly random: Random;

  /**
   * @param mood how often it does not take a frame.
   * @param seed decides which.
   */
  constructor(
    public mood: Mood,
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  /** What a guest's loader gives. */
  readonly definition: FrontendAcceleratorDefinition = {
    ...reference,
    newDevice: async (services) => this.guard(await reference.newDevice(services), services),
  };

  /** The next call of that hook throws. */
  arm(hook: ThrowingHook): void {
    this.armed = hook;
  }

  /** No hook throws. */
  disarm(): void {
    this.armed = null;
  }

  private guard(device: FrontendAccelerator, services: FrontendServices): FrontendAccelerator {
    const trap = (hook: ThrowingHook): void => {
      if (this.armed !== hook) return;
      this.armed = null;
      this.sprung++;
      throw new SprungTrap(`${hook} throws, as it was told to`);
    };
    const chance = (percent: number): boolean => percent > 0 && this.random.below(100) < percent;
    let room = (): void => undefined;
    let push = (): void => undefined;
    let pushing = false;
    const flush = (): void => {
      if (!this.mood.lazy) return device.flush?.();
      if (pushing) return;
      pushing = true;
      push = services.clock.after(LAZY_MS * (this.random.below(100) / 100), () => {
        pushing = false;
        device.flush?.();
      });
    };
    let full = false;
    // A frame for which there was no room is not declined when there is.
    let owed = false;
    const decide = (): Verdict => {
      if (full) return Verdict.busy;
      if (owed) {
        owed = false;
        return Verdict.sent;
      }
      if (chance(this.mood.declines)) return refused;
      if (!chance(this.mood.busy)) return Verdict.sent;
      full = owed = true;
      room = services.clock.after(FULL_MS * (this.random.below(100) / 100), () => {
        full = false;
        services.wake();
      });
      return Verdict.busy;
    };
    return {
      startTransmit: (frame, more) => {
        trap('startTransmit');
        const { lazy } = this.mood;
        const verdict = decide();
        if (verdict !== Verdict.sent || lazy) flush();
        if (verdict !== Verdict.sent) return verdict;
        const outcome = device.startTransmit(frame, more || lazy);
        if (outcome === Verdict.sent) this.onTaken(frame);
        return outcome;
      },
      flush,
      poll: (budget) => {
        trap('poll');
        return device.poll(budget);
      },
      startInterrupts: () => {
        trap('startInterrupts');
        return device.startInterrupts();
      },
      stopInterrupts: () => device.stopInterrupts(),
      checkReady: () => !full && device.checkReady(),
      statistics: (into) => {
        trap('statistics');
        device.statistics(into);
      },
      quiesce: () => {
        trap('quiesce');
        push();
        device.flush?.();
        return device.quiesce();
      },
      remove: () => {
        room();
        push();
        return device.remove();
      },
      describe: () => device.describe(),
    };
  }
}
