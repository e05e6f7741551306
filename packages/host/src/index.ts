/**
 * What a driver domain adds to the drivers: ports, a learning bridge, lab files, capture files, labs with real
 * guests, and the `netaccel` command.
 *
 * @packageDocumentation
 */
export * from './capture/index.js';
export { FramesLab } from './demo/frames-lab.js';
export type { FramesLabOptions } from './demo/frames-lab.js';
export { FramesRun } from './demo/frames-run.js';
export type { Endpoint, FramesRunOwner, Stretch } from './demo/frames-run.js';
export type {
  Accelerated,
  DemoResult,
  Moment,
  Path,
  ReplayResult,
  Run,
  Sample,
  Stage,
} from './demo/result.js';
export { callLab, runningLabs, serveControl, ControlError } from './control/socket.js';
export type { Arguments, Methods, StreamOut, Streams } from './control/socket.js';
export * from './lab/index.js';
export { DriverDomain } from './machine/driver-domain.js';
export type { DriverDomainOptions, Hardware } from './machine/driver-domain.js';
export { Guest } from './machine/guest.js';
export type { DriverSizes, GuestOptions } from './machine/guest.js';
export type {
  HardwarePlan,
  LabHardware,
  NicPlace,
  NicRequest,
  WirePlace,
  WireRequest,
} from './machine/hardware.js';
export { MigrationError } from './machine/migration.js';
export type { MigrationCode, MigrationReport } from './machine/migration.js';
export type { OneThreadCrashes } from './machine/one-thread-crashes.js';
export type { OneThreadMoves } from './machine/one-thread-moves.js';
export { OneThreadLab, SwitchableSink } from './machine/one-thread-lab.js';
export type {
  GuestPlan,
  Host,
  HostPlan,
  OneThreadPlan,
  RunningGuest,
  RunningHost,
} from './machine/one-thread-lab.js';
export * from './machine/toolstack.js';
export { DomainWorker } from './machine/worker-handle.js';
export { WorkerLab } from './machine/worker-lab.js';
export type {
  WorkerGuest,
  WorkerGuestPlan,
  WorkerHost,
  WorkerHostPlan,
  WorkerLabPlan,
} from './machine/worker-lab.js';
export type { DomainLedger, LabLedgerEntry } from './machine/ledger.js';
export { PluginOptionsError } from './plugin-options.js';
export type { GivenOptions, OptionProblem } from './plugin-options.js';
export { PluginLoadError, loadPlugin, resolvePlugin } from './plugins.js';
export type { AcceleratorDefinition } from './plugins.js';
export { Bridge } from './ports/bridge.js';
export type { BridgeObserver, BridgePort, BridgePortStatistics } from './ports/bridge.js';
export type { FrameBatch, WatchedPorts } from './ports/bridge-watch.js';
export { DomainInterface } from './ports/domain-interface.js';
export type { Replay } from './ports/file-port.js';
export { NicPort } from './ports/nic-port.js';
export type { NicPortOptions, NicPortSizes, NicPortStatistics } from './ports/nic-port.js';
export { TapPort } from './ports/tap-port.js';
export type { TapPortStatistics } from './ports/tap-port.js';
export * from './tap/index.js';
export { FrameCheck } from './traffic/frame-check.js';
export type { Check } from './traffic/frame-check.js';
export { FrameSource } from './traffic/frame-source.js';
export type { SourceOptions } from './traffic/frame-source.js';
export type { Endpoints } from './traffic/frame-format.js';
export type { Transmitter } from './traffic/transmitter.js';
