/**
 * Lets frames arrive that a wire's rate or delay keeps back: in the thread that sent them, and only while there are
 * some, so that an idle lab does nothing.
 *
 * A doorbell of this thread starts it. A frame that is due soon is waited for awake, for no sleep is as short as a
 * wire's delay; for one that is due later a timer is set.
 */
import type { DomainLoop } from '@netaccel/xen/sim/workers';
import type { LabHardware } from './hardware.js';

/** What is due within this time is waited for awake, in microseconds. */
const AWAKE_US = 1000;

/** Starts to keep time for the hardware, as this thread has it; there must be wires that need it. */
export function keepTime(loop: DomainLoop, hardware: LabHardware, clock: () => number): void {
  let due = Infinity;
  let cancel: (() => void) | null = null;
  const look = (): void => {
    cancel = null;
    due = hardware.advance(clock());
    const awayMs = (due - clock() - AWAKE_US) / 1000;
    if (due !== Infinity && awayMs > 0) cancel = loop.after(awayMs, look);
  };
  hardware.onDoorbell = () => {
    if (due === Infinity) due = 0; // not known yet: the next round looks
  };
  loop.addPoller(() => {
    if (due === Infinity || cancel !== null) return false;
    if (due <= clock()) look();
    return due !== Infinity && cancel === null;
  });
}
