/**
 * A real Xen host: a domain whose store, event channels and grants are the kernel's, for the same drivers that run
 * in a lab. `openNativeDomain(options?): Promise<NativeDomain>` is the entry.
 *
 * @packageDocumentation
 */
export { NativeError } from './error.js';
export type { NativeErrorCode } from './error.js';
export type { DescriptorPoll, NativeLibc } from './libc.js';
export type { Interest, NativeCounters, NativeDomain, NativeDomainOptions, NativeLoop } from './types.js';
