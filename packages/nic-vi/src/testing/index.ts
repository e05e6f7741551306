/**
 * What a plugin for this NIC is tested with: the bench that the conformance kit of core-hooks wants, with the NIC
 * model as its device; and fakes of what either half is handed, for tests of one half alone.
 *
 * @packageDocumentation
 */
export { FakeGuest, type Delivered } from './fake-guest.js';
export { FakeHost, type HostLedger, type HostOptions } from './fake-host.js';
export { FarEnd } from './far-end.js';
export { announcement, broadcast, frameOf, macOf, type FrameSpec } from './frames.js';
export { nicBench, type NicBenchOptions } from './nic-bench.js';
export type { Script } from './scripted-backend.js';
export { Holdings, TwoNics } from './two-nics.js';
