/**
 * What a plugin for this NIC is tested with: the bench that the conformance kit of core-hooks wants, with the NIC
 * model as its device.
 *
 * @packageDocumentation
 */
export { nicBench, type NicBenchOptions } from './nic-bench.js';
