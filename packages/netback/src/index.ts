/**
 * The driver domain's half of Xen's split network driver: serves the rings of each guest, hands frames to the
 * bridge, and runs the backend half of an accelerator plugin.
 *
 * @packageDocumentation
 */
export type { Accelerators } from './candidates.js';
export { LEAST_BURST_BYTES, parseRate, type Rate } from './credit.js';
export { NetbackDriver, type NetbackDriverOptions, type VifName, type VifNetwork } from './driver.js';
export { allFeatures, featureKeys, type BackendFeatures } from './features.js';
export { FenceClosedError } from './fences.js';
export { VifKeyError } from './identity.js';
export { FrontendKeyError } from './keys.js';
export { defaultLimits, type Limits } from './limits.js';
export { Netback, type Hotplug, type NetbackOptions } from './netback.js';
export { defaultQuotas } from './quotas.js';
export { DetachedError } from './scope.js';
export {
  rxDropReasons,
  txErrorReasons,
  type NetbackStatistics,
  type RxDropReason,
  type TxErrorReason,
} from './statistics.js';
