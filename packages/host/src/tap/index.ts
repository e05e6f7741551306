/**
 * Real Linux guests: network namespaces and TAP devices, without root.
 *
 * ```ts
 * // main thread, first thing in the program
 * enterUserNamespace(await loadLibc());
 * const namespaces = await openNetworkNamespaces();
 * const guest = namespaces.add('guest1');
 * const tap = guest.openTap({ name: 'eth0', addresses: ['10.0.0.1/24'] });
 * const worker = new Worker(url, { workerData: tap.describe() });
 * guest.spawn('ping', ['-c', '3', '10.0.0.2'], { stdio: 'inherit' });
 *
 * // worker
 * const libc = await loadLibc();
 * const device = new TapDevice(libc, workerData, memory.bytes);
 * const waiter = new Waiter(libc, [device.descriptor]);
 * while (running() && !device.failed) {
 *   for (let bytes = device.readInto(at, MAX_TAP_FRAME_BYTES); bytes > 0; bytes = device.readInto(...)) {
 *     forward(device.readHeader, at, bytes);
 *   }
 *   waiter.wait(100);
 * }
 * ```
 */
export { TapError } from './error.js';
export type { TapErrorCode } from './error.js';
export { loadLibc } from './ffi.js';
export type { Libc } from './ffi.js';
export { InterfaceControl } from './interface.js';
export type { InterfaceAddress } from './interface.js';
export type { IoVector } from './io-vector.js';
export { NetworkNamespace, NetworkNamespaces, openNetworkNamespaces } from './namespace.js';
export type { NamespaceReport } from './namespace.js';
export { probeTap } from './probe.js';
export type { MissingForTap, TapProbe } from './probe.js';
export { MAX_TAP_FRAME_BYTES, TapDevice } from './tap-device.js';
export type { TapDescription, TapStatistics } from './tap-device.js';
export { openTap } from './tap-interface.js';
export type { TapInterface, TapOptions } from './tap-interface.js';
export type { TetherOptions } from './tether.js';
export { enterUserNamespace } from './user-namespace.js';
export { VNET_ECN, VNET_HEADER_BYTES, VnetFlag, VnetHeader, VnetSegmentation } from './vnet-header.js';
export { Kicker, MAX_WAIT_MS, Waiter } from './waiter.js';
