/**
 * xenstore: the protocol's bytes, a server core, a client, and transports between them.
 *
 * ```ts
 * const server = new StoreServer();
 * const tools = new StoreClient(connectDirect(server, 0, queueMicrotask));
 * const guest = new StoreClient(connectDirect(server, 5, queueMicrotask));
 *
 * // The toolstack makes the guest's directory and gives it away.
 * await tools.mkdir('/local/domain/5/device');
 * await tools.setPermissions('/local/domain/5/device', [{ domid: 5, access: 'none' }]);
 *
 * // The guest watches a key and writes others, all of them or none.
 * const seen: string[] = [];
 * const watch = await guest.watch('device/vif/0', (path) => seen.push(path));
 * await guest.transaction(async (tx) => {
 *   await guest.write('device/vif/0/tx-ring-ref', '8', tx);
 *   await guest.write('device/vif/0/state', '4', tx);
 * });
 * await watch.remove();
 * ```
 *
 * @packageDocumentation
 */
export { StoreClient, type StoreClientDescription, type StoreClientOptions } from './client.js';
export type { Connection } from './connection.js';
export { connectDirect } from './direct.js';
export type { Schedule } from './direct.js';
export type { DirectTransport } from './direct.js';
export { PRIVILEGED_DOMID, RESERVED_DOMIDS } from './domid.js';
export { ALL_FEATURES, STORE_FEATURES } from './domains.js';
export { ADVICE, StoreError, WIRE_ERRORS, type StoreErrorCode, type WireErrorCode } from './error.js';
export type { EventCounters } from './outbox.js';
export { canonicalPath, childOf, domainPath, PATH_LIMITS, SPECIAL_PATHS } from './path.js';
export {
  ACCESS_LETTERS,
  formatPermission,
  parsePermission,
  type Access,
  type Permission,
  type Permissions,
} from './permissions.js';
export { connectPort, servePort, type PortLike } from './port.js';
export {
  QUOTAS,
  QUOTA_NAMES,
  type CountedItem,
  type Counts,
  type QuotaName,
  type QuotaRow,
} from './quota.js';
export {
  StoreServer,
  type ConnectionDescription,
  type ConnectOptions,
  type StoreDescription,
} from './server.js';
export type { IntroduceRequest, StoreCounters, StoreServerOptions } from './state.js';
export type * from './store.js';
export type { StoreTransport } from './transport.js';
export * from './wire.js';
