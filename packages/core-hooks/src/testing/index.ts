/**
 * Fakes for tests of plugins: a memory, a clock that is moved by hand, a mailbox without a machine.
 *
 * @packageDocumentation
 */
export * from './flat-memory.js';
export * from './mailbox-pair.js';
export * from './virtual-clock.js';
