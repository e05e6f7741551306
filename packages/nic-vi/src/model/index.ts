/**
 * The NIC behind the VI: ports, filters, offloads, a wire with a rate, a delay and faults. It lives in words of
 * the machine's memory and runs in the thread of whoever writes a register.
 *
 * @packageDocumentation
 */
export type { NicOptions } from './core.js';
export { Nic, type NicModelDescription, type NicPortDescription } from './nic.js';
export { nicStateBytes, type NicConfig } from './plan.js';
export { nicCounters, portCounters, viCounters } from './state.js';
export {
  Wire,
  type CaptureVisitor,
  type ScriptedFault,
  type WireFaults,
  type WirePort,
  type WireSettings,
} from './wire.js';
export { WireChecksums, wireCounters, wireStateBytes, type WireConfig } from './wire-state.js';
