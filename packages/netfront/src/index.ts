/**
 * The guest's half of Xen's split network driver, with the accelerated path.
 *
 * @packageDocumentation
 */
export { Netfront } from './netfront.js';
export { ConnectError } from './netfront-options.js';
export type { NetfrontOptions, NetfrontState, StartOptions } from './netfront-options.js';
export { ALL_FEATURES, BackendUnfitError } from './features.js';
export type { AgreedReceive, Agreement, MulticastControl, NetfrontFeatures } from './features.js';
export type { ReceiveHash } from './control.js';
export { DeviceError } from './handshake.js';
export { FrameInUseError } from './transmit.js';
export type { TransmitFeatures } from './transmit.js';
export type { ReceiveFeatures } from './receive-scan.js';
export { LARGE_BUFFER_BYTES } from './transmit-buffers.js';
export type { TransmitBufferOptions } from './transmit-buffers.js';
export { FILL_DEFAULTS } from './receive-fill.js';
export type { FillOptions } from './receive-fill.js';
export { ACCELERATOR_DEADLINES } from './attachment.js';
export type { AcceleratorDeadlines } from './attachment.js';
export { SLOT_STATES } from './accelerator.js';
export type { SlotState } from './accelerator.js';
export { Counters } from './counters.js';
export type { NetfrontStatistics } from './statistics.js';
export type { WaitLimits } from './waiters.js';
