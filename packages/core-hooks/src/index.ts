/**
 * The contract between Xen's split network drivers and accelerator plugins: hooks, frames, verdicts,
 * registry, versions, and the services that a plugin is handed.
 *
 * @packageDocumentation
 */
export * from './backend.js';
export * from './capabilities.js';
export * from './contract.js';
export * from './frame.js';
export * from './frontend.js';
export * from './mailbox.js';
export * from './memory.js';
export * from './options.js';
export * from './registry.js';
export * from './services.js';
export * from './verdict.js';
