/**
 * The simulated host with a worker thread for each domain. Node only: see `@netaccel/xen/sim` for the rest.
 *
 * @packageDocumentation
 */
export { DomainLoop } from './domain-loop.js';
export type { DomainLoopOptions, LoopCounters, LoopHooks } from './domain-loop.js';
export { JoinedMachine, joinMachine } from './join.js';
export type { JoinOptions } from './join.js';
export { SharedMachine } from './shared-machine.js';
export type { DomainSeat, MachineDescription, SharedMachineOptions } from './shared-machine.js';
export { wakeDomain } from './wake.js';
export type { Waker } from './wake.js';
