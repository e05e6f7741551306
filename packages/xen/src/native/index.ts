/**
 * A real Xen host: a domain whose store, event channels and grants are the kernel's, for the same drivers that run
 * in a lab. {@link openNativeDomain} is the entry.
 *
 * @packageDocumentation
 */
export { openNativeDomain } from './domain.js';
export { NativeError } from './error.js';
export type { NativeErrorCode } from './error.js';
export type { NativeForeign, NativeMappedPages } from './foreign.js';
export type { NativeGrants, NativeSharedPages } from './grants.js';
export { loadNativeLibc } from './libc.js';
export type { DescriptorPoll, NativeLibc } from './libc.js';
export type { Interest, NativeCounters, NativeDomain, NativeDomainOptions, NativeLoop } from './types.js';
