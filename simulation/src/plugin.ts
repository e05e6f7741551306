/**
 * The reference plugin's front half with a trap in it: a hook that was armed throws at its next call, as a plugin
 * with a bug does. Whatever it does, the device must go on by the slow path.
 */
import type { FrontendAccelerator, FrontendAcceleratorDefinition } from '@netaccel/core-hooks';
import reference from '@netaccel/dummy-accel-frontend';
import type { ThrowingHook } from './scenario.js';

/** What a trap throws. */
export class SprungTrap extends Error {
  override name = 'SprungTrap';
}

/** The guests' plugin, and what arms it. */
export class TrappedPlugin {
  /** Traps that were sprung. */
  sprung = 0;
  private armed: ThrowingHook | null = null;

  /** What a guest's loader gives. */
  readonly definition: FrontendAcceleratorDefinition = {
    ...reference,
    newDevice: async (services) => this.guard(await reference.newDevice(services)),
  };

  /** The next call of that hook throws. */
  arm(hook: ThrowingHook): void {
    this.armed = hook;
  }

  /** No hook throws. */
  disarm(): void {
    this.armed = null;
  }

  private guard(device: FrontendAccelerator): FrontendAccelerator {
    const trap = (hook: ThrowingHook): void => {
      if (this.armed !== hook) return;
      this.armed = null;
      this.sprung++;
      throw new SprungTrap(`${hook} throws, as it was told to`);
    };
    return {
      startTransmit: (frame, more) => {
        trap('startTransmit');
        return device.startTransmit(frame, more);
      },
      poll: (budget) => {
        trap('poll');
        return device.poll(budget);
      },
      startInterrupts: () => {
        trap('startInterrupts');
        return device.startInterrupts();
      },
      stopInterrupts: () => device.stopInterrupts(),
      checkReady: () => device.checkReady(),
      statistics: (into) => {
        trap('statistics');
        device.statistics(into);
      },
      quiesce: () => {
        trap('quiesce');
        return device.quiesce();
      },
      remove: () => device.remove(),
      describe: () => device.describe(),
    };
  }
}
