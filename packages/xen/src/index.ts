/**
 * The substrate of the split drivers: shared rings, grants, event channels, the store, the xenbus state
 * machine, and the domain that a driver runs in.
 *
 * @packageDocumentation
 */
export * from './grant-copy.js';
export * from './layout.js';
export * from './log-limits.js';
export * from './machine.js';
export * from './ring.js';
export * from './xenbus.js';
export * from './mailbox.js';
export * from './worker.js';
