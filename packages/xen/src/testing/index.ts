/**
 * Peers that lie: a frontend and a backend that speak in operations, which are plain data. For tests of drivers, for
 * fuzzing, and for a guest on a real host that is to find out what its backend does.
 *
 * @packageDocumentation
 */
export { HostileBackend } from './hostile-backend.js';
export { HostileFrontend } from './hostile-frontend.js';
export { ringIndices } from './operations.js';
export type {
  BackendOperation,
  FrontendOperation,
  PeerOperation,
  RingIndex,
  RingName,
} from './operations.js';
